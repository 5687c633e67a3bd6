//! A second process in a running container.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use berth_runtime::spec::{Network, Peer, Process};
use berth_runtime::{ExecSpec, Running, Spec, Status, exec, open_pty, spawn, start_time};

use crate::sandbox::{Sandbox, collect, null, pipe, status, stdio, succeed, wait};

/// A container that waits for its standard input to end.
struct Waiting {
    running: Running,
    stdin: OwnedFd,
}

impl Waiting {
    fn start(spec: &Spec) -> Self {
        let ((read, stdin), null) = (pipe(), null());
        let stdio = stdio(read.as_fd(), null.as_fd(), null.as_fd());
        let running = spawn(spec, &stdio).unwrap().release().unwrap();
        assert_eq!(status(&running.status), Status::Executed);
        Self { running, stdin }
    }

    fn target(&self, sandbox: &Sandbox, script: &str) -> ExecSpec {
        let pid = self.running.pid;
        let process = Process::new(["sh", "-c", script].map(String::from).to_vec());
        ExecSpec {
            clone_parent: false,
            pid,
            start_time: start_time(pid).unwrap(),
            cgroup: sandbox.cgroup.path().to_owned(),
            process,
        }
    }

    fn end(self) {
        drop(self.stdin);
        assert_eq!(wait(&self.running.pidfd), 0);
    }
}

#[test]
fn it_is_in_every_namespace_and_in_the_cgroup() {
    let sandbox = Sandbox::new();
    let waiting = Waiting::start(&sandbox.spec("cat"));
    let script = "for ns in mnt pid net ipc uts cgroup; do \
                    test $(readlink /proc/1/ns/$ns) = $(readlink /proc/self/ns/$ns) || echo other $ns; done; \
                  hostname; cat /proc/self/cgroup | grep ^0:; ls /proc/self/fd | wc -l; pwd; \
                  grep -E '^(CapBnd|CapEff|NoNewPrivs)' /proc/self/status | cut -f2; cat /proc/self/oom_score_adj; \
                  cut -d' ' -f19 /proc/self/stat";
    let mut target = waiting.target(&sandbox, script);
    target.process.cwd = "/etc".to_owned();
    target.process.oom_score_adj = 300;
    target.process.scheduling.nice = 7;
    let target: ExecSpec = serde_json::from_str(&serde_json::to_string(&target).unwrap()).unwrap();
    let outcome = collect(|stdio| exec(&target, stdio).unwrap());
    let none = "0000000000000000";
    assert_eq!(outcome.stdout, format!("box\n0::/\n4\n/etc\n{none}\n{none}\n1\n300\n7\n"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    waiting.end();
}

#[test]
fn the_caller_is_left_where_it_was() {
    let sandbox = Sandbox::new();
    let namespaces = || {
        ["pid_for_children", "mnt", "net"]
            .map(|name| std::fs::read_link(format!("/proc/thread-self/ns/{name}")).ok())
    };
    let before = namespaces();
    let waiting = Waiting::start(&sandbox.spec("cat"));
    collect(|stdio| exec(&waiting.target(&sandbox, "true"), stdio).unwrap());
    assert_eq!(namespaces(), before);
    waiting.end();
}

#[test]
fn users_are_looked_up_and_failures_told() {
    let sandbox = Sandbox::new();
    let waiting = Waiting::start(&sandbox.spec("cat"));
    let mut target = waiting.target(&sandbox, "id -u; id -G; echo $HOME");
    target.process.user.user = "web".to_owned();
    assert_eq!(collect(|stdio| exec(&target, stdio).unwrap()).stdout, "101\n102 6\n/srv/web\n");
    let null = null();
    for (change, expect) in [
        (
            (|process| process.cwd = "/nowhere".to_owned()) as fn(&mut Process),
            "cannot enter working directory '/nowhere': No such file or directory",
        ),
        (|process| process.argv[0] = "none".to_owned(), "cannot execute 'none': No such file or directory"),
    ] {
        let mut target = waiting.target(&sandbox, "");
        change(&mut target.process);
        let running = exec(&target, &stdio(null.as_fd(), null.as_fd(), null.as_fd())).unwrap();
        let Status::Failed(error) = status(&running.status) else { panic!("it ran") };
        assert_eq!(error.to_string(), expect);
        assert_eq!(wait(&running.pidfd), 125);
    }
    waiting.end();
}

#[test]
fn a_terminal_is_one_of_the_container() {
    let sandbox = Sandbox::new();
    let waiting = Waiting::start(&sandbox.spec("cat"));
    let mut target =
        waiting.target(&sandbox, "tty; echo $(stat -c %u $(tty)); stty size; read line; echo got $line");
    target.process.terminal = true;
    target.process.user.user = "web".to_owned();
    let pty = open_pty(&target).unwrap();
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&pty.master, size).unwrap();
    let fd = pty.terminal.as_fd();
    let running = exec(&target, &stdio(fd, fd, fd)).unwrap();
    drop(pty.terminal);
    assert_eq!(status(&running.status), Status::Executed);
    let mut master = File::from(pty.master);
    let mut lines = BufReader::new(master.try_clone().unwrap()).lines().map(|line| line.unwrap());
    assert_eq!(lines.next().unwrap(), "/dev/pts/0");
    assert_eq!(lines.next().unwrap(), "101");
    assert_eq!(lines.next().unwrap(), "33 99");
    master.write_all(b"hello\n").unwrap();
    assert_eq!(lines.next().unwrap(), "hello", "the echo");
    assert_eq!(lines.next().unwrap(), "got hello");
    assert_eq!(wait(&running.pidfd), 0);
    waiting.end();
}

#[test]
fn control_c_reaches_the_terminals_session() {
    let sandbox = Sandbox::new();
    let waiting = Waiting::start(&sandbox.spec("cat"));
    let mut target =
        waiting.target(&sandbox, "trap 'exit 42' INT; echo up; while :; do sleep 1000 & wait; done");
    target.process.terminal = true;
    let pty = open_pty(&target).unwrap();
    let fd = pty.terminal.as_fd();
    let running = exec(&target, &stdio(fd, fd, fd)).unwrap();
    drop(pty.terminal);
    let mut master = File::from(pty.master);
    let mut up = [0; 4];
    master.read_exact(&mut up).unwrap();
    assert_eq!(&up, b"up\r\n");
    master.write_all(b"\x03").unwrap();
    assert_eq!(wait(&running.pidfd), 42);
    waiting.end();
}

#[test]
fn a_pid_of_somebody_else_is_refused() {
    let sandbox = Sandbox::new();
    let waiting = Waiting::start(&sandbox.spec("cat"));
    let mut target = waiting.target(&sandbox, "true");
    target.start_time += 1;
    let null = null();
    let fd = null.as_fd();
    let expect = format!("pid '{}' cannot be: the container is gone", target.pid);
    assert_eq!(exec(&target, &stdio(fd, fd, fd)).unwrap_err().to_string(), expect);
    assert_eq!(open_pty(&target).unwrap_err().to_string(), expect);
    target.start_time -= 1;
    waiting.end();
    assert_eq!(exec(&target, &stdio(fd, fd, fd)).unwrap_err().to_string(), expect);
}

/// A container of another sandbox that shares what the first one has.
fn beside(other: &Sandbox, waiting: &Waiting, pod: bool, script: &str) -> Spec {
    let pid = waiting.running.pid;
    let mut spec = other.spec(script);
    spec.hostname = "own".to_owned();
    spec.network = Network::Join(Peer { pid, start_time: start_time(pid).unwrap(), pod });
    spec
}

#[test]
fn a_container_shares_the_network_of_another_and_of_a_pod_more() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let waiting = Waiting::start(&sandbox.spec("cat"));
    let own = |name: &str| std::fs::read_link(format!("/proc/{}/ns/{name}", waiting.running.pid)).unwrap();
    let script = "for ns in net ipc uts mnt pid cgroup; do readlink /proc/self/ns/$ns; done; hostname; ls /sys/class/net";
    for (pod, hostname) in [(false, "own"), (true, "box")] {
        let said = succeed(&beside(&other, &waiting, pod, script));
        let mut lines = said.lines();
        for (name, shared) in
            [("net", true), ("ipc", pod), ("uts", pod), ("mnt", false), ("pid", false), ("cgroup", false)]
        {
            assert_eq!(lines.next() == own(name).to_str(), shared, "{name}, pod: {pod}");
        }
        assert_eq!(lines.collect::<Vec<_>>(), [hostname, "lo"]);
    }
    waiting.end();
}

#[test]
fn a_network_whose_owner_is_gone_is_not_joined() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let waiting = Waiting::start(&sandbox.spec("cat"));
    let spec = beside(&other, &waiting, true, "true");
    waiting.end();
    let null = null();
    let error = spawn(&spec, &stdio(null.as_fd(), null.as_fd(), null.as_fd())).unwrap_err();
    assert!(error.to_string().contains("the container is gone"), "{error}");
}
