//! From the clone to the end: the go-ahead, who reaps, signals, daemons, extra descriptors.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio as Pipe};
use std::time::Instant;

use berth_runtime::{Daemon, Spec, Status, Stdio, spawn};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::sandbox::{Sandbox, collect, null, pipe, read_all, status, stdio, wait};

#[test]
fn it_waits_for_the_go_ahead_and_has_its_network_before() {
    let sandbox = Sandbox::new();
    let ((out, out_write), null) = (pipe(), null());
    let held =
        spawn(&sandbox.spec("echo ran"), &stdio(null.as_fd(), out_write.as_fd(), null.as_fd())).unwrap();
    drop(out_write);
    assert!(held.netns.is_some());
    assert_eq!(sandbox.cgroup.procs().unwrap(), [held.pid]);
    assert_eq!(berth_runtime::read_status(&held.status).unwrap(), Status::Pending);
    let running = held.release().unwrap();
    assert_eq!(status(&running.status), Status::Executed);
    assert_eq!(read_all(out), "ran\n");
    assert_eq!(wait(&running.pidfd), 0);
}

#[test]
fn no_go_ahead_is_the_end_of_it() {
    let sandbox = Sandbox::new();
    let ((out, out_write), null) = (pipe(), null());
    let held =
        spawn(&sandbox.spec("echo ran"), &stdio(null.as_fd(), out_write.as_fd(), null.as_fd())).unwrap();
    drop(out_write);
    let pidfd = held.pidfd.try_clone().unwrap();
    drop(held);
    assert_eq!(wait(&pidfd), 125);
    assert_eq!(read_all(out), "");
    assert!(!sandbox.cgroup.populated().unwrap());
}

#[test]
fn a_held_one_does_not_keep_another_alive() {
    let sandbox = Sandbox::new();
    let null = null();
    let make = || spawn(&sandbox.spec("true"), &stdio(null.as_fd(), null.as_fd(), null.as_fd())).unwrap();
    let (first, second) = (make(), make());
    let pidfd = first.pidfd.try_clone().unwrap();
    // The second child was cloned while the first one's pipe was open here.
    drop(first);
    assert_eq!(wait(&pidfd), 125);
    assert_eq!(wait(&second.release().unwrap().pidfd), 0);
}

#[test]
fn the_kill_of_its_cgroup_is_the_end_of_all_of_it() {
    let sandbox = Sandbox::new();
    let null = null();
    let spec = sandbox.spec("sleep 1000 & sleep 1000 & wait");
    let running = spawn(&spec, &stdio(null.as_fd(), null.as_fd(), null.as_fd())).unwrap().release().unwrap();
    assert_eq!(status(&running.status), Status::Executed);
    assert!(sandbox.cgroup.populated().unwrap());
    let events = sandbox.cgroup.open_events().unwrap();
    sandbox.cgroup.kill().unwrap();
    assert_eq!(wait(&running.pidfd), 128 + 9);
    while sandbox.cgroup.populated().unwrap() {
        poll(&mut [PollFd::new(&events, PollFlags::PRI)], None).unwrap();
    }
    sandbox.cgroup.remove().unwrap();
    sandbox.cgroup.remove().unwrap();
}

#[test]
fn signals_reach_it_as_if_nobody_had_touched_them() {
    let sandbox = Sandbox::new();
    let ((out, out_write), null) = (pipe(), null());
    let spec = sandbox.spec("trap 'exit 9' TERM; echo up; while :; do sleep 1000 & wait; done");
    let running =
        spawn(&spec, &stdio(null.as_fd(), out_write.as_fd(), null.as_fd())).unwrap().release().unwrap();
    drop(out_write);
    let mut line = String::new();
    BufReader::new(File::from(out)).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    pidfd_send_signal(&running.pidfd, Signal::TERM).unwrap();
    assert_eq!(wait(&running.pidfd), 9);
}

#[test]
fn extra_descriptors_arrive_at_their_numbers() {
    let sandbox = Sandbox::new();
    let ((out, out_write), (extra, extra_write), null) = (pipe(), pipe(), null());
    let spec = sandbox.spec("echo ready >&5; ls /proc/1/fd; true");
    let mut stdio = stdio(null.as_fd(), out_write.as_fd(), null.as_fd());
    stdio.extra.push((extra_write.as_fd(), 5));
    let running = spawn(&spec, &stdio).unwrap().release().unwrap();
    drop((out_write, extra_write));
    assert_eq!(read_all(extra), "ready\n");
    assert_eq!(read_all(out), "0\n1\n2\n5\n");
    assert_eq!(wait(&running.pidfd), 0);
}

/// What the other process of [`a_sibling_outlives_its_maker_and_is_reaped_above`] does.
#[test]
#[ignore = "runs as a process of another test"]
fn make_a_sibling() {
    let spec: Spec = serde_json::from_str(&std::env::var("BERTH_TEST_SPEC").unwrap()).unwrap();
    let (stdin, null) = (std::io::stdin(), null());
    let held = spawn(&spec, &stdio(stdin.as_fd(), null.as_fd(), null.as_fd())).unwrap();
    let running = held.release().unwrap();
    assert_eq!(status(&running.status), Status::Executed);
    writeln!(std::io::stderr(), "pid {}", running.pid).unwrap();
}

#[test]
fn a_sibling_outlives_its_maker_and_is_reaped_above() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("cat; exit 7");
    spec.clone_parent = true;
    let mut maker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life::make_a_sibling", "--ignored", "--nocapture"])
        .env("BERTH_TEST_SPEC", serde_json::to_string(&spec).unwrap())
        .stdin(Pipe::piped())
        .stdout(Pipe::null())
        .stderr(Pipe::piped())
        .spawn()
        .unwrap();
    let stdin = maker.stdin.take().unwrap();
    let mut lines = BufReader::new(maker.stderr.take().unwrap()).lines();
    let pid: i32 = lines.find_map(|line| line.unwrap().strip_prefix("pid ")?.parse().ok()).unwrap();
    assert!(maker.wait().unwrap().success());
    let pid = Pid::from_raw(pid).unwrap();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    assert!(waitid(WaitId::Pid(pid), options).unwrap().is_none(), "it runs on");
    drop(stdin);
    let end = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(end.exit_status(), Some(7));
}

fn daemon(
    script: &str,
    fds: &[(std::os::fd::BorrowedFd<'_>, u8)],
    cgroup: Option<&std::path::Path>,
) -> (Status, i32) {
    let argv = ["other", "sh", "-c", script].map(String::from);
    let path = std::path::Path::new("/bin/busybox");
    let env = ["A=1".to_owned()];
    let daemon =
        Daemon { path, argv: &argv[1..], env: &env, fds, cgroup, clone_parent: false, oom_score_adj: 7 };
    let running = daemon.spawn().unwrap();
    (status(&running.status), wait(&running.pidfd))
}

#[test]
fn a_daemon_has_what_it_is_given_and_nothing_else() {
    let sandbox = Sandbox::new();
    let (out, out_write) = pipe();
    let script = "ls /proc/$$/fd; echo $A $(cat /proc/self/oom_score_adj) $(umask); readlink /proc/$$/fd/0; \
                  grep ^0: /proc/self/cgroup; exec grep SigIgn /proc/self/status";
    let fds = [(out_write.as_fd(), 1), (out_write.as_fd(), 2), (out_write.as_fd(), 9)];
    assert_eq!(daemon(script, &fds, Some(sandbox.cgroup.path())), (Status::Executed, 0));
    drop(out_write);
    let name = sandbox.cgroup.path().file_name().unwrap().to_str().unwrap();
    let expect = format!("0\n1\n2\n9\n1 7 0022\n/dev/null\n0::/{name}\nSigIgn:\t0000000000000000\n");
    assert_eq!(read_all(out), expect);
}

#[test]
fn a_daemon_that_is_not_there_is_named() {
    let path = std::path::Path::new("/nowhere");
    let argv = ["x".to_owned()];
    let daemon =
        Daemon { path, argv: &argv, env: &[], fds: &[], cgroup: None, clone_parent: false, oom_score_adj: 0 };
    let running = daemon.spawn().unwrap();
    let Status::Failed(error) = status(&running.status) else { panic!("it ran") };
    assert_eq!(error.to_string(), "cannot execute '/nowhere': No such file or directory");
    assert_eq!(wait(&running.pidfd), 125);
}

/// Prints the time from the call of spawn to the execve, with the go-ahead given at once.
#[test]
#[ignore = "a measurement"]
fn measure_spawn_to_exec() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("");
    spec.process.argv = vec!["/bin/true".to_owned()];
    let null = null();
    let mut measure = |name: &str, private: bool| {
        if !private {
            spec.network = berth_runtime::spec::Network::Host;
        }
        let mut times: Vec<_> = (0..50)
            .map(|_| {
                let stdio: Stdio<'_> = stdio(null.as_fd(), null.as_fd(), null.as_fd());
                let start = Instant::now();
                let running = spawn(&spec, &stdio).unwrap().release().unwrap();
                assert_eq!(status(&running.status), Status::Executed);
                let time = start.elapsed();
                wait(&running.pidfd);
                time
            })
            .collect();
        times.sort_unstable();
        eprintln!("{name}: p10 {:?}, median {:?}, p90 {:?}", times[5], times[25], times[45]);
    };
    measure("private network", true);
    measure("host network", false);
    let outcome = collect(|stdio| spawn(&spec, stdio).unwrap().release().unwrap());
    assert_eq!(outcome.code, 0);
}
