//! The command against a node that is played by a thread: what it prints, and its exit codes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use berth_units::wire::control::{Call, Fault, State};
use berth_units::wire::session::{Kind, decode, encode};
use serde_json::{Value, json};

/// A node that answers each call by a function, and its socket.
struct FakeNode {
    dir: PathBuf,
}

impl FakeNode {
    /// `answer` gets the call and the connection; it returns the reply, after which the session begins for an
    /// upgraded call.
    fn start(name: &str, answer: fn(&Call) -> Result<Value, Fault>, session: fn(UnixStream)) -> Self {
        let dir = std::env::temp_dir().join(format!("berth-node-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let listener = UnixListener::bind(dir.join("s")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), answer, session);
            }
        });
        Self { dir }
    }

    fn berth(&self, args: &[&str], stdin: &[u8]) -> Output {
        berth(&format!("unix:{}", self.dir.join("s").display()), args, stdin)
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

fn serve(mut stream: UnixStream, answer: fn(&Call) -> Result<Value, Fault>, session: fn(UnixStream)) {
    let mut message = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != 0 {
        message.push(byte[0]);
    }
    if message.is_empty() {
        return;
    }
    let request: Value = serde_json::from_slice(&message).unwrap();
    let call: Call = serde_json::from_value(request.clone()).unwrap();
    let (reply, upgraded) = match answer(&call) {
        Ok(result) => (json!({"parameters": result}), request["upgrade"] == true),
        Err(fault) => (serde_json::to_value(fault).unwrap(), false),
    };
    stream.write_all(format!("{reply}\0").as_bytes()).unwrap();
    if upgraded {
        session(stream);
    }
}

fn berth(node: &str, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(args)
        .env("BERTH_NODE", node)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to_child = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // A command that does not read its input is none the worse for it.
    let writer = std::thread::spawn(move || to_child.write_all(&stdin).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn no_session(_: UnixStream) {}

fn status() -> Value {
    json!({
        "node": {
            "hostname": "edge", "version": "0.1.0", "kernel": "6.12", "source": "factory", "fault": null,
            "revision": 0, "uptime": 5.0, "storage": "data", "storage_total": 3, "storage_free": 2, "memory_total": 1, "memory_available": 1,
            "addresses": [], "restarts": {},
        },
        "units": [{
            "name": "web", "kind": "container", "state": "ready", "why": null, "pid": 7, "image": "docker.io/x/y:1",
            "image_digest": null, "restarts": 2, "addresses": ["10.88.0.2"], "since": "2026-11-20T16:50:58Z",
            "since_seconds": 3.0, "next_try": null, "next_try_seconds": null, "last_exit": null, "memory": null, "memory_max": null,
            "cpu_usec": null, "pids": null, "ports": [],
        }],
    })
}

/// Takes frames until the end of the input, and returns the input.
fn read_input(stream: &mut UnixStream) -> Vec<u8> {
    let (mut inbox, mut input, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    loop {
        while let Some((kind, payload, used)) = decode(&inbox).unwrap() {
            assert_eq!(kind, Kind::Stdin);
            if payload.is_empty() {
                return input;
            }
            input.extend_from_slice(payload);
            inbox.drain(..used);
        }
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "the input has no end");
        inbox.extend_from_slice(&buffer[..len]);
    }
}

fn send(stream: &mut UnixStream, kind: Kind, payload: &[u8]) {
    let mut frames = Vec::new();
    encode(kind, payload, &mut frames);
    stream.write_all(&frames).unwrap();
}

#[test]
fn status_as_a_table_and_as_json() {
    let answer = |call: &Call| match call {
        Call::Stats {} => Ok(json!({ "at_usec": 1, "units": [] })),
        _ => Ok(status()),
    };
    let node = FakeNode::start("status", answer, no_session);
    let output = node.berth(&["status"], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("web   ready"), "{}", text(&output.stdout));
    let output = node.berth(&["status", "--json"], b"");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, status());
    assert_eq!(node.berth(&["status", "wep"], b"").status.code(), Some(4));
}

#[test]
fn exec_passes_streams_and_the_exit_code() {
    let node = FakeNode::start(
        "exec",
        |call| match call {
            Call::Exec(exec) if exec.argv == ["cat", "-A"] && exec.env["A"] == "b=c" => Ok(json!({})),
            call => Err(Fault::Failed { why: format!("{call:?}") }),
        },
        |mut stream| {
            let input = read_input(&mut stream);
            send(&mut stream, Kind::Stderr, b"warned");
            send(&mut stream, Kind::Stdout, &input);
            send(&mut stream, Kind::Exit, &[42]);
        },
    );
    // More than any buffer on the way.
    let input: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    let output = node.berth(&["exec", "-e", "A=b=c", "web", "--", "cat", "-A"], &input);
    assert_eq!(output.status.code(), Some(42), "{}", text(&output.stderr));
    assert!(output.stdout == input);
    assert_eq!(text(&output.stderr), "warned");
}

#[test]
fn exec_says_what_went_wrong() {
    let refuse = |mut stream: UnixStream| send(&mut stream, Kind::Error, b"cannot enter the container");
    let node = FakeNode::start("refused", |_| Ok(json!({})), refuse);
    let output = node.berth(&["exec", "web", "--", "true"], b"");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(text(&output.stderr), "error: cannot enter the container\n");
    let cut = FakeNode::start("cut", |_| Ok(json!({})), drop);
    assert_eq!(cut.berth(&["exec", "web", "--", "true"], b"").status.code(), Some(3));
}

#[test]
fn logs_are_text_and_end_with_the_session() {
    let node = FakeNode::start(
        "logs",
        |call| match call {
            Call::Logs(logs) if logs.tail == Some(2) && !logs.follow => Ok(json!({})),
            call => Err(Fault::Failed { why: format!("{call:?}") }),
        },
        |mut stream| {
            send(&mut stream, Kind::Stdout, b"2026-11-20T16:50:58.000001Z stdout hello\n");
            send(&mut stream, Kind::Stdout, b"2026-11-20T16:50:58.000002Z stderr oh no\n");
            send(&mut stream, Kind::Exit, &[0]);
        },
    );
    let output = node.berth(&["logs", "-n", "2", "web"], b"");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "hello\noh no\n".to_owned()));
    let output = node.berth(&["logs", "-t", "-n", "2", "web"], b"");
    assert!(text(&output.stdout).ends_with("000002Z stderr oh no\n"));
}

#[test]
fn faults_of_the_node_are_exit_code_4_with_a_hint() {
    let node = FakeNode::start(
        "faults",
        |call| match call {
            Call::Stop { .. } => Err(Fault::WrongState { unit: "web".to_owned(), state: State::Stopped }),
            _ => Err(Fault::NoSuchUnit { unit: "wep".to_owned(), nearest: Some("web".to_owned()) }),
        },
        no_session,
    );
    let output = node.berth(&["logs", "wep"], b"");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(text(&output.stderr), "error: there is no unit 'wep'\nhelp: did you mean 'web'?\n");
    let output = node.berth(&["stop", "--no-wait", "web"], b"");
    assert_eq!(text(&output.stderr), "error: unit 'web' is stopped\n");
}

#[test]
fn stop_waits_for_the_state() {
    static LOOKS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let node = FakeNode::start(
        "stop",
        |call| match call {
            Call::Status {} => {
                let mut status = status();
                let look = LOOKS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let states = ["ready", "stopping", "stopping", "stopped"];
                status["units"][0]["state"] = json!(states[(look as usize).min(3)]);
                Ok(status)
            }
            _ => Ok(json!({})),
        },
        no_session,
    );
    let output = node.berth(&["stop", "web"], b"");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "web  stopped\n".to_owned()));
    assert_eq!(LOOKS.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[test]
fn usage_is_2_and_a_node_that_is_not_there_3() {
    let nowhere = "unix:/nonexistent/berth.sock";
    assert_eq!(berth(nowhere, &["statsu"], b"").status.code(), Some(2));
    assert_eq!(berth("tcp:1", &["status"], b"").status.code(), Some(2));
    let output = berth(nowhere, &["status"], b"");
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(
        said.starts_with(&format!("error: cannot reach the node at '{nowhere}': No such file")),
        "{said}"
    );
    assert!(said.contains("\nhelp: "), "{said}");
}

#[test]
fn a_directory_without_units_is_at_fault() {
    let empty = std::env::temp_dir().join(format!("berth-empty-{}", std::process::id()));
    std::fs::create_dir_all(&empty).unwrap();
    let output = berth("unix:/x", &["check", empty.to_str().unwrap()], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("holds neither node.toml nor units"));
    std::fs::remove_dir_all(&empty).unwrap();
}

#[cfg(feature = "builder")]
#[test]
fn a_shell_can_be_taught() {
    for shell in ["bash", "zsh", "fish"] {
        let output = berth("unix:/x", &["completions", shell], b"");
        assert!(output.status.success() && text(&output.stdout).contains("berth"));
    }
}

/// A terminal as `exec` has it: raw while it runs, and after it as before.
#[test]
fn exec_with_a_terminal_is_raw_sends_sizes_and_restores() {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

    let node = FakeNode::start(
        "tty",
        |call| match call {
            Call::Exec(exec) if exec.tty == Some((33, 101)) => Ok(json!({})),
            call => Err(Fault::Failed { why: format!("{call:?}") }),
        },
        |mut stream| {
            // A key arrives as it was pressed, then a size; each is answered.
            for kind in [Kind::Stdin, Kind::Resize] {
                let (mut inbox, mut byte) = (Vec::new(), [0]);
                while decode(&inbox).unwrap().is_none() {
                    assert_eq!(stream.read(&mut byte).unwrap(), 1);
                    inbox.push(byte[0]);
                }
                let (found, payload, _) = decode(&inbox).unwrap().unwrap();
                assert_eq!(found, kind);
                send(&mut stream, Kind::Stdout, format!("{payload:?};").as_bytes());
            }
            send(&mut stream, Kind::Exit, &[0]);
        },
    );
    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&main).unwrap();
    unlockpt(&main).unwrap();
    let side = ioctl_tiocgptpeer(&main, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    let size = |rows, columns| Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&side, size(33, 101)).unwrap();
    let before = tcgetattr(&side).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["--node", &format!("unix:{}", node.dir.join("s").display()), "exec", "web", "--", "sh"])
        .stdin(side.try_clone().unwrap())
        .stdout(side.try_clone().unwrap())
        .spawn()
        .unwrap();
    let until = |end: &str| {
        let (mut seen, mut buffer) = (String::new(), [0; 256]);
        while !seen.ends_with(end) {
            let len = rustix::io::read(&main, &mut buffer).unwrap();
            seen.push_str(&text(&buffer[..len]));
        }
        seen
    };
    // Ctrl-C is only a byte in raw mode; pressed before, it would be echoed as ^C.
    while tcgetattr(&side).unwrap().local_modes.contains(LocalModes::ICANON) {
        std::thread::yield_now();
    }
    rustix::io::write(&main, b"\x03").unwrap();
    assert_eq!(until(";"), "[3];");
    tcsetwinsize(&side, size(50, 200)).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::WINCH).unwrap();
    assert_eq!(until(";"), "[0, 50, 0, 200];");
    assert!(child.wait().unwrap().success());
    assert_eq!(tcgetattr(&side).unwrap().local_modes, before.local_modes);
}
