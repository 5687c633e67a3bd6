//! Status for people: a line about the node, a table of units, and a line for each unit that needs somebody.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use berth_units::Reference;
use berth_units::human::{age, duration, short_digest, size};
use berth_units::job::Cause;
use berth_units::spec::Protocol;
use berth_units::wire::control::{
    CheckStatus, Inspected, LastExit, NodeStatus, PortStatus, Related, ReloadState, ReloadStatus, RunStatus,
    State, Status, UnitStatus,
};

use crate::output::{Colour, Look, printable};
use crate::rates::{Rates, percent};
use crate::table::{Cell, Column, draw};

const COLUMNS: [Column; 8] = [
    Column { heading: "UNIT", gives_way: 0 },
    Column { heading: "STATE", gives_way: 0 },
    Column { heading: "FOR", gives_way: 1 },
    Column { heading: "RESTARTS", gives_way: 3 },
    Column { heading: "IMAGE", gives_way: 4 },
    Column { heading: "CPU", gives_way: 5 },
    Column { heading: "MEMORY", gives_way: 2 },
    Column { heading: "ADDRESS", gives_way: 1 },
];

/// The whole screen.
pub fn screen(status: &Status, rates: &BTreeMap<String, Rates>, all: bool, look: Look) -> String {
    let shown: Vec<&UnitStatus> =
        status.units.iter().filter(|unit| all || unit.is_program() || needs_somebody(unit.state)).collect();
    let mut text = node_line(&status.node, &status.units, look);
    if let Some(fault) = &status.node.fault {
        text.push_str(&format!("  {}\n", look.paint(Colour::Red, printable(fault))));
    }
    if let Some(failed) = &status.node.failed {
        let said = format!("revision {} has failed and was taken back: {}", failed.revision, failed.reason);
        text.push_str(&format!("  {}\n", look.paint(Colour::Yellow, printable(&said))));
    }
    if !shown.is_empty() {
        let rows: Vec<Vec<Cell>> = shown.iter().map(|unit| row(unit, share(unit, rates))).collect();
        text.push_str(&draw(&COLUMNS, &rows, look));
    }
    for unit in shown.iter().filter(|unit| needs_somebody(unit.state)) {
        // Writing to a String cannot fail.
        writeln!(text, "  {}: {}", printable(&unit.name), explanation(unit)).unwrap_or_default();
    }
    text
}

fn reload_line(reload: &ReloadStatus) -> String {
    let at = reload.at.as_deref().unwrap_or_default();
    match (reload.state, &reload.why) {
        (ReloadState::Running, _) => "under way".to_owned(),
        (ReloadState::Done, _) => format!("done {at}"),
        (ReloadState::Failed, why) => format!("failed {at}: {}", why.as_deref().unwrap_or_default()),
    }
}

/// All that is known of one unit, a line a fact.
pub fn details(unit: &UnitStatus, rates: &BTreeMap<String, Rates>, look: Look) -> String {
    let mut text = String::new();
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let name = look.paint(Colour::Dim, format!("{name:<10}"));
            writeln!(text, "{name} {}", printable(&value)).unwrap_or_default();
        }
    };
    fact("unit", Some(format!("{} ({})", unit.name, unit.kind)));
    fact("state", Some(format!("{}, {}", unit.state, age(seconds(unit.since_seconds)))));
    fact("why", unit.why.clone());
    fact("says", unit.says.clone());
    fact("next try", unit.next_try.clone());
    fact("next run", unit.next_run.clone());
    fact("image", unit.image.clone());
    fact("digest", unit.image_digest.clone());
    fact("pid", unit.pid.map(|pid| pid.to_string()));
    fact("restarts", Some(unit.restarts.to_string()));
    fact("last exit", unit.last_exit.as_ref().map(ToString::to_string));
    fact("memory", unit.memory.map(|_| memory(unit)));
    fact(
        "cpu",
        unit.cpu_usec.map(|usec| {
            let used = duration(Duration::from_micros(usec));
            format!("{}, {used} since its start", percent(share(unit, rates)))
        }),
    );
    fact("processes", unit.pids.map(|pids| pids.to_string()));
    fact("addresses", Some(unit.addresses.join(" ")));
    fact("ports", Some(unit.ports.iter().map(long_port).collect::<Vec<_>>().join(" ")));
    fact("reload", unit.reload.as_ref().map(reload_line));
    fact("sockets", Some(unit.sockets.join(", ")));
    for check in &unit.checks {
        fact("check", Some(check_line(check)));
    }
    for run in unit.runs.iter().rev() {
        fact("run", Some(run_line(run)));
    }
    text
}

/// Two more lines about a container: the units around it.
pub fn related(inspected: &Inspected, look: Look) -> String {
    let line = |name: &str, others: &[Related]| {
        let others: Vec<_> =
            others.iter().map(|other| printable(&format!("{} ({})", other.unit, other.state))).collect();
        match others.is_empty() {
            true => String::new(),
            false => format!("{} {}\n", look.paint(Colour::Dim, format!("{name:<10}")), others.join(", ")),
        }
    };
    line("depends on", &inspected.depends_on) + &line("needed by", &inspected.needed_by)
}

/// `live passing, http://:8080/healthz; passed 2026-11-20T16:50:58Z: HTTP 200 OK`.
fn check_line(check: &CheckStatus) -> String {
    let mut line = format!("{} {}, {}", check.name, check.verdict, check.target);
    for result in check.results.iter().rev().take(2) {
        let what = if result.passed { "passed" } else { "failed" };
        line.push_str(&format!("; {what} {}: {}", result.at, result.text));
    }
    line
}

/// `12 for 2026-11-20T16:50:00Z (schedule), began 2026-11-20T16:50:03Z, took 4s, tries 2: exit code 0`.
fn run_line(run: &RunStatus) -> String {
    let cause = match run.cause {
        Cause::Schedule => "schedule",
        Cause::Boot => "boot",
        Cause::Asked => "asked",
        Cause::Needed => "needed",
    };
    let planned = run.planned.as_ref().map(|at| format!(" for {at}")).unwrap_or_default();
    let took = run.seconds.map(|took| format!(", took {}", duration(seconds(took)))).unwrap_or_default();
    let tries = if run.tries > 1 { format!(", tries {}", run.tries) } else { String::new() };
    let (reason, code, signal) = (run.reason, run.code, run.signal);
    let exit = LastExit { reason, code, signal, at: String::new(), detail: run.detail.clone() };
    format!("{}{planned} ({cause}), began {}{took}{tries}: {exit}", run.number, run.began)
}

fn node_line(node: &NodeStatus, units: &[UnitStatus], look: Look) -> String {
    let programs = || units.iter().filter(|unit| unit.is_program());
    let ready = programs().filter(|unit| unit.state == State::Ready).count();
    // A job between two runs is as ready as it gets.
    let rests = |unit: &UnitStatus| match unit.state {
        State::Stopped | State::Completed => true,
        State::Waiting => unit.next_run.is_some(),
        _ => false,
    };
    let wanted = programs().filter(|unit| !rests(unit)).count();
    let needy = units.iter().filter(|unit| needs_somebody(unit.state)).count();
    let mut parts = vec![
        look.paint(Colour::Bold, printable(&node.hostname)).to_string(),
        revision(node, look),
        format!("berth {}", printable(&node.version)),
        format!("up {}", age(seconds(node.uptime))),
        format!("ready {ready}/{wanted}"),
        format!(
            "memory {} of {}",
            size(node.memory_total.saturating_sub(node.memory_available)),
            size(node.memory_total)
        ),
    ];
    if node.storage == "data" && node.storage_total > 0 {
        let used = node.storage_total.saturating_sub(node.storage_free);
        parts.push(format!("data {} of {}", size(used), size(node.storage_total)));
    }
    if node.storage == "ram" {
        parts.push(look.paint(Colour::Yellow, "nothing lasts: no data disk").to_string());
    }
    if needy > 0 {
        let verb = if needy == 1 { "needs" } else { "need" };
        parts.push(look.paint(Colour::Red, format!("{needy} {verb} you")).to_string());
    }
    format!("{}\n", parts.join("   "))
}

/// Which revision is in force, and whether that is for good.
fn revision(node: &NodeStatus, look: Look) -> String {
    let state = match (&node.trial, node.revision) {
        (Some(trial), _) => {
            let left = duration(Duration::from_secs(seconds(trial.left_seconds).as_secs()));
            let text = format!("on trial, healthy {}/{}, {left} left", trial.healthy, trial.gates);
            look.paint(Colour::Yellow, text).to_string()
        }
        (None, 0) => printable(&node.source).to_string(),
        (None, _) => "good".to_owned(),
    };
    format!("revision {} {state}", node.revision)
}

fn share(unit: &UnitStatus, rates: &BTreeMap<String, Rates>) -> Option<f64> {
    rates.get(&unit.name).and_then(|rates| rates.cpu)
}

fn row(unit: &UnitStatus, cpu: Option<f64>) -> Vec<Cell> {
    let state = Cell { text: unit.state.to_string(), colour: Some(colour(unit.state)) };
    let mut cells = vec![Cell::from(printable(&unit.name)), state];
    cells.extend(
        [
            age(seconds(unit.since_seconds)),
            unit.restarts.to_string(),
            image(unit),
            percent(cpu),
            memory(unit),
            addresses(unit),
        ]
        .map(Cell::from),
    );
    cells
}

fn colour(state: State) -> Colour {
    match state {
        State::Ready => Colour::Green,
        State::Failed | State::Backoff => Colour::Red,
        State::Stopped | State::Completed => Colour::Dim,
        _ => Colour::Yellow,
    }
}

fn needs_somebody(state: State) -> bool {
    matches!(state, State::Failed | State::Backoff)
}

fn image(unit: &UnitStatus) -> String {
    let Some(image) = &unit.image else { return "-".to_owned() };
    let familiar = Reference::parse(image).map_or_else(|_| printable(image), |image| image.familiar());
    let digest = unit.image_digest.as_deref().map(short_digest).unwrap_or_default();
    // Eight digits tell images of one node apart; `berth status UNIT` has them all.
    match digest.get(..8) {
        Some(digest) => format!("{familiar} {digest}"),
        None => familiar,
    }
}

fn memory(unit: &UnitStatus) -> String {
    match (unit.memory, unit.memory_max) {
        (None, _) => "-".to_owned(),
        (Some(used), None) => size(used),
        (Some(used), Some(max)) => format!("{} / {}", size(used), size(max)),
    }
}

fn addresses(unit: &UnitStatus) -> String {
    if let Some(next) = &unit.next_try {
        return format!("next try {}", printable(next));
    }
    if let Some(next) = unit.next_run.as_ref().filter(|_| unit.pid.is_none()) {
        return format!("next run {}", printable(next));
    }
    let mut ports: Vec<String> = unit.ports.iter().map(short_port).collect();
    ports.dedup();
    let address = unit.addresses.first().map(|address| printable(address));
    address.into_iter().chain(ports).collect::<Vec<_>>().join(" ")
}

fn short_port(port: &PortStatus) -> String {
    match port.protocol {
        Protocol::Tcp => format!(":{}", port.host),
        Protocol::Udp => format!(":{}/udp", port.host),
    }
}

fn long_port(port: &PortStatus) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let ip = port.host_ip.map(|ip| format!("{ip}:")).unwrap_or_default();
    format!("{ip}{}->{}/{protocol}", port.host, port.container)
}

/// Why a unit is as it is, and how it ended last.
pub fn explanation(unit: &UnitStatus) -> String {
    let why = unit.why.as_deref().map(printable);
    let exit = unit.last_exit.as_ref().map(|exit| printable(&exit.to_string()));
    let hint = unit.is_program().then(|| format!("berth logs {}", unit.name));
    // The reason often is the last exit; once is enough.
    let exit = exit.filter(|exit| !why.as_deref().is_some_and(|why| why.contains(exit.as_str())));
    [why, exit, hint].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let digest = format!("sha256:3f2a91c0{}", "0".repeat(56));
        let json = serde_json::json!({
            "node": {
                "hostname": "edge-gateway", "version": "0.1.0", "kernel": "6.12", "source": "factory", "fault": null,
                "revision": 0, "uptime": 260_000.0, "storage": "data", "memory_total": 192 << 20,
                "storage_total": 4_u64 << 30, "storage_free": 3_u64 << 30,
                "memory_available": 100 << 20, "addresses": [], "restarts": {},
            },
            "units": [{
                "name": "web", "kind": "container", "state": "ready", "pid": 70, "restarts": 0,
                "image": "docker.io/shop/web:1.4", "image_digest": digest, "addresses": ["10.89.0.12"],
                "since": "2026-11-20T16:50:58Z", "since_seconds": 12.0, "memory": 41 << 20, "memory_max": 256 << 20,
                "cpu_usec": 440_000, "pids": 3,
                "ports": [{"protocol": "tcp", "host_ip": null, "host": 80, "container": 8080}],
                "checks": [{
                    "name": "up", "role": "live", "target": "http://:8080/", "verdict": "failing", "since": "", "row": 3,
                    "results": [
                        {"at": "16:50", "passed": true, "text": "HTTP 200 OK"},
                        {"at": "16:51", "passed": false, "text": "HTTP 500"},
                    ],
                }],
            }, {
                "name": "import", "kind": "container", "state": "backoff", "why": "exit code 1, five times",
                "restarts": 5, "addresses": [], "since": "2026-11-20T16:50:58Z", "since_seconds": 12.0,
                "image": "docker.io/library/imp:0.9", "next_try": "16:51", "ports": [],
                "last_exit": {"reason": "exit", "code": 1, "signal": null, "at": "2026-11-20T16:50:58Z"},
            }, {
                "name": "apps", "kind": "network", "state": "ready", "restarts": 0, "addresses": [],
                "since": "", "since_seconds": 1.0, "ports": [],
            }],
        });
        serde_json::from_value(json).unwrap()
    }

    fn rates() -> BTreeMap<String, Rates> {
        [("web".to_owned(), Rates { cpu: Some(0.42), io: None })].into()
    }

    #[test]
    fn the_screen() {
        assert_eq!(
            screen(&status(), &rates(), false, Look::PLAIN),
            "edge-gateway   revision 0 factory   berth 0.1.0   up 3d   ready 1/2   memory 92M of 192M   data 1G of 4G   \
             1 needs you\n\
             UNIT    STATE    FOR  RESTARTS  IMAGE                  CPU   MEMORY      ADDRESS\n\
             web     ready    12s  0         shop/web:1.4 3f2a91c0  0.4%  41M / 256M  10.89.0.12 :80\n\
             import  backoff  12s  5         imp:0.9                -     -           next try 16:51\n\
             \x20 import: exit code 1, five times; berth logs import\n"
        );
        assert!(screen(&status(), &rates(), true, Look::PLAIN).contains("\napps "));
    }

    #[test]
    fn a_narrow_terminal_keeps_names_and_states() {
        let look = Look { colour: false, width: Some(30) };
        let text = screen(&status(), &rates(), false, look);
        assert!(text.contains("\nweb     ready\n"), "{text}");
    }

    #[test]
    fn one_unit_in_full() {
        let text = details(&status().units[0], &rates(), Look::PLAIN);
        assert!(text.contains("state      ready, 12s\n"), "{text}");
        assert!(text.contains("ports      80->8080/tcp\n"), "{text}");
        let check =
            "check      up failing, http://:8080/; failed 16:51: HTTP 500; passed 16:50: HTTP 200 OK\n";
        assert!(text.contains(check), "{text}");
    }

    #[test]
    fn a_job_shows_its_next_run_and_the_last_ones() {
        let mut status = status();
        let job = &mut status.units[1];
        (job.state, job.next_try, job.next_run) = (State::Waiting, None, Some("17:00".to_owned()));
        let run = |number, code| {
            serde_json::from_value(serde_json::json!({
                "number": number, "cause": "schedule", "planned": "16:50", "began": "16:51", "ended": "16:52",
                "seconds": 1.5, "tries": number, "success": code == 0, "reason": "exit", "code": code, "signal": null,
            }))
        };
        job.runs = vec![run(1, 0).unwrap(), run(2, 3).unwrap()];
        let lines = "run        2 for 16:50 (schedule), began 16:51, took 1.5s, tries 2: exit code 3\n\
                     run        1 for 16:50 (schedule), began 16:51, took 1.5s: exit code 0\n";
        let text = details(job, &rates(), Look::PLAIN);
        assert!(text.ends_with(lines) && text.contains("next run   17:00\n"), "{text}");
        let screen = screen(&status, &rates(), false, Look::PLAIN);
        assert!(screen.contains("ready 1/1") && screen.contains("  next run 17:00\n"), "{screen}");
    }

    #[test]
    fn a_container_cannot_draw_on_the_terminal() {
        let mut status = status();
        status.units[1].why = Some("\x1b[2J".to_owned());
        assert!(!screen(&status, &rates(), false, Look::PLAIN).contains('\x1b'));
    }
}
