//! The examples, as a user runs them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use berth_qemu_tests::client::{http_get, mqtt_connect, patiently, redis};
use berth_qemu_tests::vm::SOON;
use berth_qemu_tests::{Outcome, ensure, ensure_eq};

use crate::lab::Lab;

const WEB: u16 = 8080;
const CACHE: u16 = 6379;
const BROKER: u16 = 1883;

/// Redis gives this answer; while it reads its files it says so, and is asked again.
fn cache_answers(command: &str, answer: &str) -> Outcome {
    patiently(|| {
        ensure_eq!(redis(CACHE, command)?, answer);
        Ok(())
    })
}

pub fn three_programs_answer(lab: &mut Lab) -> Outcome {
    lab.edge()?;
    let page = patiently(|| http_get(WEB, "/"))?;
    ensure!(page.starts_with("HTTP/1.1 200") && page.contains("It runs under berth"), "nginx said {page:?}");
    cache_answers("PING", "+PONG")?;
    patiently(|| mqtt_connect(BROKER))
}

pub fn status_shows_three_ready(lab: &mut Lab) -> Outcome {
    let vm = lab.edge()?;
    let status = vm.status()?;
    ensure_eq!(status.node.hostname, "edge-gateway");
    ensure_eq!(status.node.source, "factory");
    for (name, image) in [("broker", "mosquitto"), ("cache", "redis"), ("web", "nginx")] {
        let unit = vm.unit(name)?;
        ensure_eq!(unit.image.clone().unwrap_or_default(), format!("docker.io/berth-examples/{image}:1"));
        ensure!(unit.pid.is_some_and(|pid| pid > 1), "{name} has no pid: {unit:?}");
        ensure!(unit.memory.is_some_and(|bytes| bytes > 100_000), "{name} has no memory: {unit:?}");
        ensure_eq!(unit.restarts, 0);
        ensure!(unit.addresses.iter().any(|a| a.starts_with("10.89.0.")), "{name}'s address: {unit:?}");
    }
    let table = vm.berth(&["status"], b"")?.ok()?;
    for word in ["edge-gateway", "broker", "cache", "web", "ready"] {
        ensure!(table.contains(word), "no '{word}' in:\n{table}");
    }
    Ok(())
}

pub fn power_button_ends_cleanly(lab: &mut Lab) -> Outcome {
    let vm = lab.edge()?;
    vm.interrupt()?;
    ensure_eq!(vm.wait_end(SOON)?.code(), Some(0));
    vm.start_again()?;
    vm.wait_ready(&["broker", "cache", "web"])
}

pub fn data_outlives_power_off(lab: &mut Lab) -> Outcome {
    let vm = lab.edge()?;
    cache_answers("SET harbour safe", "+OK")?;
    vm.power_off()?;
    vm.start_again()?;
    vm.wait_ready(&["broker", "cache", "web"])?;
    // The first line of a bulk string is its length.
    cache_answers("GET harbour", "$4")?;
    let page = patiently(|| http_get(WEB, "/"))?;
    ensure!(page.contains("200 OK"), "nginx does not answer after the second boot");
    Ok(())
}

pub fn hello_runs_in_128_mib(lab: &mut Lab) -> Outcome {
    let vm = lab.hello()?;
    ensure!(patiently(|| http_get(WEB, "/"))?.contains("hello from berth"), "busybox httpd does not answer");
    let total = vm.status()?.node.memory_total;
    ensure!(total < 128 << 20, "the machine has {total} bytes");
    Ok(())
}

pub fn exec_gives_a_terminal(lab: &mut Lab) -> Outcome {
    let vm = lab.hello()?;
    // script(1) stands in for the terminal of a person.
    let command = format!("./bin/berth --node unix:{} exec web -- sh", vm.socket().display());
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no pipe")?.write_all(b"tty; stty size; hostname\nexit 7\n")?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure_eq!(output.status.code(), Some(7));
    ensure!(said.contains("/dev/pts/") || said.contains("/dev/console"), "no terminal: {said:?}");
    ensure!(said.lines().any(|line| line.trim() == "web"), "not the shell of the container: {said:?}");
    Ok(())
}
