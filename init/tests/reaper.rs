//! A container with `process.init`: PID 1's program as its first process.
//!
//! Needs root, a cgroup2 mount, like a node, and busybox for the container.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what is wrong by failing")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_runtime::spec::{Root, Writable};
use berth_runtime::{Cgroup, Running, Spec, Status, Stdio, read_status, send_signal, spawn};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};

struct Sandbox {
    dir: PathBuf,
    cgroup: Cgroup,
}

impl Sandbox {
    fn new(name: &str) -> Self {
        let name = format!("berth-reaper-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(dir.join("bin")).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        fs::copy(busybox.expect("apt-get install busybox-static"), dir.join("bin/busybox")).unwrap();
        for applet in ["sh", "true", "sleep", "grep"] {
            symlink("busybox", dir.join("bin").join(applet)).unwrap();
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let cgroup2 = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let root = cgroup2.unwrap().split(' ').nth(1).unwrap();
        Self { dir, cgroup: Cgroup::ensure(Path::new(root).join(name)).unwrap() }
    }

    fn spec(&self, argv: &[&str]) -> Spec {
        let root = Root { layers: vec![self.dir.clone()], writable: Writable::No, shared: false };
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        let reaper = Some(PathBuf::from(env!("CARGO_BIN_EXE_berth-init")));
        Spec { reaper, ..Spec::new(root, argv, self.cgroup.path().to_owned()) }
    }

    /// Starts a shell script; what it writes to 1 and to 3.
    fn start(&self, script: &str) -> (Running, OwnedFd, OwnedFd) {
        let [(out, out_write), (extra, extra_write)] = [std::io::pipe().unwrap(), std::io::pipe().unwrap()];
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let extras = vec![(extra_write.as_fd(), 3)];
        let stdio =
            Stdio { stdin: null.as_fd(), stdout: out_write.as_fd(), stderr: null.as_fd(), extra: extras };
        let running = spawn(&self.spec(&["sh", "-c", script]), &stdio).unwrap().release().unwrap();
        (running, out.into(), extra.into())
    }

    fn run(&self, script: &str) -> (i32, String) {
        let (running, out, _) = self.start(script);
        let mut said = String::new();
        File::from(out).read_to_string(&mut said).unwrap();
        (wait(&running), said)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.cgroup.kill());
        let limit = Instant::now() + Duration::from_secs(10);
        while self.cgroup.remove().is_err() && Instant::now() < limit {
            std::thread::yield_now();
        }
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

fn wait(running: &Running) -> i32 {
    let end = waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
    end.exit_status().unwrap()
}

#[test]
fn it_ends_as_its_program_does() {
    let sandbox = Sandbox::new("ends");
    assert_eq!(sandbox.run("echo $$; exit 7"), (7, "2\n".to_owned()));
    assert_eq!(sandbox.run("kill -9 $$"), (137, String::new()));
}

#[test]
fn orphans_are_reaped() {
    let sandbox = Sandbox::new("orphans");
    let script = "i=0; while [ $i -lt 30 ]; do sh -c 'true &'; i=$((i+1)); done
                  while grep -qs '^State:.Z' /proc/[0-9]*/status; do :; done; echo /proc/[0-9]*";
    assert_eq!(sandbox.run(script), (0, "/proc/1 /proc/2\n".to_owned()));
}

#[test]
fn signals_reach_the_program_whatever_it_does_about_them() {
    let sandbox = Sandbox::new("signals");
    for (script, code) in [
        ("trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done", 5),
        // As number 1 it would not have heard it.
        ("echo ready; exec sleep 1000", 143),
    ] {
        let (running, out, _) = sandbox.start(script);
        let mut line = String::new();
        BufReader::new(File::from(out)).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        send_signal(&running.pidfd, 15).unwrap();
        assert_eq!(wait(&running), code, "{script}");
    }
}

#[test]
fn it_keeps_nothing_of_the_program_open() {
    let sandbox = Sandbox::new("open");
    let (running, out, extra) = sandbox.start("echo there >&3; exec 3>&-; echo closed; exec sleep 1000");
    let mut said = String::new();
    // Up to its end, which comes while the program runs.
    File::from(extra).read_to_string(&mut said).unwrap();
    assert_eq!(said, "there\n");
    let mut line = String::new();
    BufReader::new(File::from(out)).read_line(&mut line).unwrap();
    assert_eq!(line, "closed\n");
    send_signal(&running.pidfd, 15).unwrap();
    assert_eq!(wait(&running), 143);
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let sandbox = Sandbox::new("absent");
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let stdio = Stdio { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd(), extra: Vec::new() };
    let running = spawn(&sandbox.spec(&["/no/such"]), &stdio).unwrap().release().unwrap();
    assert_eq!(wait(&running), 125);
    poll(&mut [PollFd::new(&running.status, PollFlags::IN)], None).unwrap();
    match read_status(&running.status).unwrap() {
        Status::Failed(error) => assert!(error.to_string().contains("/no/such"), "{error}"),
        other => panic!("{other:?}"),
    }
}
