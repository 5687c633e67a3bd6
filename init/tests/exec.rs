//! `berth exec` as its client sees it: a program in other namespaces, its streams and signals over a socket.
//!
//! Needs root and a cgroup2 mount, like a node.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use berth_init::session::{self, Request, SessionError};
use berth_runtime::spec::Process;
use berth_runtime::{ExecSpec, start_time};
use berth_units::wire::session::{Kind, decode, encode};

/// Something with namespaces of its own to run programs in.
struct Container {
    unshare: Child,
    pid: i32,
    cgroup: PathBuf,
}

impl Container {
    fn start(name: &str) -> Self {
        let mut unshare = Command::new("unshare")
            .args(["--fork", "--pid", "--mount-proc", "--uts", "--kill-child"])
            .args(["sh", "-c", "hostname inside; echo ready; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let id = unshare.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        // There has to be one, as on a node.
        let cgroup2 = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let root = cgroup2.unwrap().split(' ').nth(1).unwrap();
        let cgroup = Path::new(root).join(format!("berth-exec-{}-{name}", std::process::id()));
        fs::create_dir(&cgroup).unwrap();
        Self { unshare, pid: children.trim().parse().unwrap(), cgroup }
    }

    fn exec(&self, script: &str, tty: Option<(u16, u16)>) -> Session {
        self.exec_argv(&["sh", "-c", script], tty)
    }

    fn exec_argv(&self, argv: &[&str], tty: Option<(u16, u16)>) -> Session {
        let mut process = Process::new(argv.iter().map(|word| (*word).to_owned()).collect());
        process.terminal = tty.is_some();
        let spec = ExecSpec {
            clone_parent: false,
            pid: self.pid,
            start_time: start_time(self.pid).unwrap(),
            cgroup: self.cgroup.clone(),
            process,
        };
        Session::start(&Request::Exec { spec: Box::new(spec), tty })
    }

    fn is_empty(&self) -> bool {
        fs::read_to_string(self.cgroup.join("cgroup.procs")).unwrap().is_empty()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.unshare.kill().unwrap();
        self.unshare.wait().unwrap();
        let limit = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.cgroup).is_err() && Instant::now() < limit {
            thread::yield_now();
        }
    }
}

/// The client's end.
struct Session {
    socket: UnixStream,
    buffer: Vec<u8>,
    server: JoinHandle<Result<(), SessionError>>,
}

impl Session {
    fn start(request: &Request) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&serde_json::to_vec(request).unwrap()).unwrap();
        drop(writer);
        let server = thread::spawn(move || session::run(theirs.into(), reader.into(), Path::new("/")));
        Self { socket, buffer: Vec::new(), server }
    }

    fn send(&mut self, kind: Kind, payload: &[u8]) {
        send(&mut self.socket, kind, payload);
    }

    fn next(&mut self) -> (Kind, Vec<u8>) {
        loop {
            if let Some((kind, payload, used)) = decode(&self.buffer).unwrap() {
                let frame = (kind, payload.to_vec());
                self.buffer.drain(..used);
                return frame;
            }
            let mut part = [0; 65536];
            let len = self.socket.read(&mut part).unwrap();
            assert!(len > 0, "the session ended without a last frame");
            self.buffer.extend(part.iter().take(len));
        }
    }

    /// Reads output until it holds `text`.
    fn wait_for(&mut self, text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            match self.next() {
                (Kind::Stdout, part) => seen.push_str(&String::from_utf8_lossy(&part)),
                other => panic!("{other:?} after {seen}"),
            }
        }
    }

    /// Standard output, standard error and the last frame.
    fn end(mut self) -> (Vec<u8>, Vec<u8>, (Kind, Vec<u8>)) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match self.next() {
                (Kind::Stdout, part) => out.extend(part),
                (Kind::Stderr, part) => err.extend(part),
                last => return (out, err, last),
            }
        }
    }
}

fn send(socket: &mut UnixStream, kind: Kind, payload: &[u8]) {
    let mut frame = Vec::new();
    encode(kind, payload, &mut frame);
    socket.write_all(&frame).unwrap();
}

#[test]
fn streams_and_exit_codes_come_back() {
    let container = Container::start("streams");
    for (script, out, err, code) in [
        ("hostname; echo wrong >&2; exit 3", "inside\n", "wrong\n", 3),
        ("true", "", "", 0),
        ("kill -9 $$", "", "", 137),
        // What is left in the background does not hold the session.
        ("sleep 1000 & echo started", "started\n", "", 0),
        ("cat >/dev/null </dev/null; exec <&-; echo closed", "closed\n", "", 0),
    ] {
        let (got_out, got_err, last) = container.exec(script, None).end();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let expect = (out.to_owned(), err.to_owned(), (Kind::Exit, vec![code]));
        assert_eq!((text(got_out), text(got_err), last), expect, "{script}");
    }
}

#[test]
fn a_megabyte_goes_in_and_out_whole() {
    let container = Container::start("megabyte");
    let mut session = container.exec("cat", None);
    let input: Vec<u8> = (0..4_000_003_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let (mut socket, sent) = (session.socket.try_clone().unwrap(), input.clone());
    let writer = thread::spawn(move || {
        send(&mut socket, Kind::Stdin, &sent);
        send(&mut socket, Kind::Stdin, &[]);
    });
    // Nobody reads for a while: everything has to wait, nothing may be lost.
    let first = session.next();
    thread::sleep(Duration::from_millis(200));
    let (mut out, _, last) = session.end();
    out.splice(..0, first.1);
    writer.join().unwrap();
    assert_eq!(last, (Kind::Exit, vec![0]));
    assert!(out == input);
}

#[test]
fn signals_reach_the_program() {
    let container = Container::start("signals");
    let mut session = container.exec("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done", None);
    session.wait_for("ready");
    session.send(Kind::Signal, &[15]);
    assert_eq!(session.end().2, (Kind::Exit, vec![9]));
}

#[test]
fn a_terminal_has_a_size_and_is_resized() {
    let container = Container::start("terminal");
    let script = "stty size; trap 'stty size; echo resized' WINCH; echo ready; until read line; do :; done; echo got $line; tty";
    let mut session = container.exec(script, Some((24, 80)));
    session.wait_for("24 80\r\nready");
    session.send(Kind::Resize, &[0, 50, 0, 132]);
    session.send(Kind::Stdin, b"typed\n");
    let (out, _, last) = session.end();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("50 132") && out.contains("got typed") && out.contains("/dev/pts/"), "{out}");
    assert_eq!(last, (Kind::Exit, vec![0]));
}

#[test]
fn what_cannot_be_run_is_told() {
    let container = Container::start("absent");
    for (program, code) in [("/no/such/program", 127), ("/etc", 126)] {
        let (_, errors, last) = container.exec_argv(&[program], None).end();
        let errors = String::from_utf8(errors).unwrap();
        assert!(errors.contains(&format!("cannot execute '{program}'")), "{errors}");
        assert_eq!(last, (Kind::Exit, vec![code]));
    }
}

#[test]
fn a_client_that_leaves_takes_its_program_along() {
    let container = Container::start("leaves");
    for script in ["echo ready; sleep 1000", "trap '' HUP; echo ready; sleep 1000; sleep 1000"] {
        let mut session = container.exec(script, None);
        session.wait_for("ready");
        drop(session.socket);
        assert!(matches!(session.server.join().unwrap(), Err(SessionError::ClientGone(_))));
        let limit = Instant::now() + Duration::from_secs(10);
        while !container.is_empty() {
            assert!(Instant::now() < limit, "'{script}' is still running");
            thread::yield_now();
        }
    }
}
