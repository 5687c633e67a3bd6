//! A session's process as its client sees it: frames over a socket.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use berth_init::session::{self, Request, SessionError};
use berth_units::Name;
use berth_units::wire::control::{Events, Logs};
use berth_units::wire::session::{Kind, decode};

/// The client's end of a session that serves in a thread.
struct Session {
    socket: UnixStream,
    buffer: Vec<u8>,
    server: JoinHandle<Result<(), SessionError>>,
}

impl Session {
    fn start(request: &str, root: &Path) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(request.as_bytes()).unwrap();
        let root = root.to_owned();
        let server = thread::spawn(move || session::run(theirs.into(), reader.into(), &root));
        Self { socket, buffer: Vec::new(), server }
    }

    fn logs(root: &Path, follow: bool, tail: Option<u64>) -> Self {
        let logs = Logs { unit: Name::parse("web").unwrap(), follow, tail };
        Self::start(&serde_json::to_string(&Request::Logs { logs, ram: true }).unwrap(), root)
    }

    fn next(&mut self) -> (Kind, Vec<u8>) {
        loop {
            if let Some((kind, payload, used)) = decode(&self.buffer).unwrap() {
                let frame = (kind, payload.to_vec());
                self.buffer.drain(..used);
                return frame;
            }
            let mut part = [0; 4096];
            let len = self.socket.read(&mut part).unwrap();
            assert!(len > 0, "the session ended without a last frame");
            self.buffer.extend_from_slice(&part[..len]);
        }
    }

    /// Standard output until so many bytes have come.
    fn output(&mut self, len: usize) -> String {
        let mut text = Vec::new();
        while text.len() < len {
            match self.next() {
                (Kind::Stdout, part) => text.extend(part),
                other => panic!("{other:?} after {}", String::from_utf8_lossy(&text)),
            }
        }
        String::from_utf8(text).unwrap()
    }

    fn end(mut self) -> (String, (Kind, Vec<u8>)) {
        let mut text = Vec::new();
        loop {
            match self.next() {
                (Kind::Stdout, part) => text.extend(part),
                last => return (String::from_utf8(text).unwrap(), last),
            }
        }
    }
}

/// A root with the log files of unit `web`.
fn root(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = std::env::temp_dir().join(format!("berth-session-{}-{name}", std::process::id()));
    fs::create_dir_all(web(&root)).unwrap();
    for (name, text) in files {
        fs::write(web(&root).join(name), text).unwrap();
    }
    root
}

fn web(root: &Path) -> PathBuf {
    root.join("run/berth/logs/web")
}

fn append(root: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(web(root).join("current")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_log_is_read_from_its_oldest_file_on() {
    let files = [("current", "e\n"), ("1", "c\nd\n"), ("2", "b\n"), ("10", "a\n"), ("x", "no\n")];
    let root = root("read", &files);
    for (tail, expect) in [
        (None, "a\nb\nc\nd\ne\n"),
        (Some(0), ""),
        (Some(1), "e\n"),
        (Some(2), "d\ne\n"),
        (Some(4), "b\nc\nd\ne\n"),
        (Some(99), "a\nb\nc\nd\ne\n"),
    ] {
        let (text, last) = Session::logs(&root, false, tail).end();
        assert_eq!((text.as_str(), last), (expect, (Kind::Exit, vec![0])), "{tail:?}");
    }
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_log_larger_than_a_frame_comes_whole() {
    let text: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
    let root = root("large", &[("current", &text)]);
    assert!(Session::logs(&root, false, None).end().0 == text);
    let tail = Session::logs(&root, false, Some(50_000)).end().0;
    assert!(text.ends_with(&tail) && tail.starts_with("line 50000\n"));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn following_goes_on_over_rotations_until_the_client_is_gone() {
    let root = root("follow", &[("current", "a\nb\n")]);
    let mut session = Session::logs(&root, true, Some(1));
    assert_eq!(session.output(2), "b\n");
    append(&root, "c\nhal");
    assert_eq!(session.output(2), "c\n");
    append(&root, "f\n");
    assert_eq!(session.output(5), "half\n");
    // Two rotations before the reader may look again.
    append(&root, "d\n");
    for (from, to) in [("current", "1"), ("1", "2")] {
        fs::rename(web(&root).join(from), web(&root).join(to)).unwrap();
    }
    fs::write(web(&root).join("1"), "e\n").unwrap();
    append(&root, "f\n");
    assert_eq!(session.output(6), "d\ne\nf\n");
    drop(session.socket);
    assert!(matches!(session.server.join().unwrap(), Err(SessionError::ClientGone(_))));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_unit_that_has_not_run_yet_can_be_followed() {
    let root = root("new", &[]);
    fs::remove_dir(web(&root)).unwrap();
    assert_eq!(Session::logs(&root, false, None).end(), (String::new(), (Kind::Exit, vec![0])));
    let mut session = Session::logs(&root, true, None);
    while !web(&root).exists() {
        thread::yield_now();
    }
    append(&root, "first\n");
    assert_eq!(session.output(6), "first\n");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn events_are_chosen_by_number_and_unit_and_followed() {
    let line = |seq: u64, unit: &str| {
        format!(
            "{{\"seq\":{seq},\"time\":\"T\",\"unit\":{unit},\"kind\":\"ready\",\"text\":\"\",\"detail\":{{}}}}\n"
        )
    };
    let root = std::env::temp_dir().join(format!("berth-session-{}-events", std::process::id()));
    let dir = root.join("run/berth/events");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("1"), line(1, "null") + &line(2, "\"web\"")).unwrap();
    fs::write(dir.join("current"), line(3, "\"db\"") + "no event\n" + &line(4, "\"web\"") + "{\"seq\":5")
        .unwrap();
    let ask =
        |events: Events| Session::start(&serde_json::to_string(&Request::Events(events)).unwrap(), &root);
    let web = Name::parse("web").ok();
    for (since, unit, expect) in [
        (None, None, vec![1, 2, 3, 4]),
        (Some(2), None, vec![3, 4]),
        (None, web.clone(), vec![2, 4]),
        (Some(2), web.clone(), vec![4]),
        (Some(4), None, vec![]),
    ] {
        let (text, last) = ask(Events { since, unit, follow: false }).end();
        let numbers =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64());
        assert_eq!(numbers.map(Option::unwrap).collect::<Vec<u64>>(), expect);
        assert_eq!(last, (Kind::Exit, vec![0]));
    }
    let mut session = ask(Events { since: Some(3), unit: None, follow: true });
    assert_eq!(session.output(line(4, "\"web\"").len()), line(4, "\"web\""));
    // The rest of the line that was half written, and another file.
    let mut file = fs::OpenOptions::new().append(true).open(dir.join("current")).unwrap();
    file.write_all(line(5, "null").as_bytes().strip_prefix(b"{\"seq\":5").unwrap()).unwrap();
    fs::rename(dir.join("current"), dir.join("1")).unwrap();
    fs::write(dir.join("current"), line(6, "null")).unwrap();
    let expect = line(5, "null") + &line(6, "null");
    assert_eq!(session.output(expect.len()), expect);
    drop(session.socket);
    assert!(matches!(session.server.join().unwrap(), Err(SessionError::ClientGone(_))));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn what_is_no_request_is_told_to_the_client() {
    for request in ["", "{}", "[1", "{\"exec\":{}}"] {
        let (_, (kind, text)) = Session::start(request, Path::new("/nonexistent")).end();
        let text = String::from_utf8(text).unwrap();
        assert!(kind == Kind::Error && text.starts_with("cannot read the request: "), "{text}");
    }
}
