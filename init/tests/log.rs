//! The real log process, killed at any moment: every line is in the log exactly once.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what is wrong by failing")]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use berth_init::channel::{Channel, Received};
use berth_units::Name;
use berth_units::spec::{Log, LogSink, Overflow, Rate};
use berth_units::wire::log::{Awaited, Reply, Request};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::time::Timespec;

/// A root directory with a data partition of that many KiB; needs root, like the process itself.
struct Root(PathBuf);

impl Root {
    fn new(name: &str, data: &str) -> Self {
        let root = Self(std::env::temp_dir().join(format!("berth-log-{}-{name}", std::process::id())));
        fs::create_dir_all(root.data()).unwrap();
        let options = std::ffi::CString::new(format!("size={data}")).unwrap();
        mount(c"tmpfs", root.data(), c"tmpfs", MountFlags::empty(), options.as_c_str()).unwrap();
        root
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The lines of the log of unit `web`, the oldest first.
    fn lines(&self) -> Vec<String> {
        read_lines(&self.data().join("logs/web"))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        unmount(self.data(), UnmountFlags::DETACH).unwrap();
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn read_lines(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let number = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap_or(0);
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|path| std::cmp::Reverse(number(path)));
    let text: Vec<u8> = files.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    String::from_utf8(text).unwrap().lines().map(String::from).collect()
}

struct LogProcess {
    child: Child,
    channel: Channel,
}

impl LogProcess {
    fn start(root: &Root) -> Self {
        let (channel, theirs) = Channel::pair().unwrap();
        let child = Command::new("/bin/sh")
            .args(["-c", "exec 3<&0 0</dev/null; exec \"$0\" \"$1\"", env!("CARGO_BIN_EXE_berth-log")])
            .arg(&root.0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        Self { child, channel }
    }

    fn add(&self, log: &Log, pipes: [&OwnedFd; 2]) {
        self.add_awaiting(log, pipes, None);
    }

    fn add_awaiting(&self, log: &Log, pipes: [&OwnedFd; 2], awaits: Option<Awaited>) {
        let request = Request::Add { unit: Name::parse("web").unwrap(), log: log.clone(), awaits };
        let fds = pipes.map(AsFd::as_fd);
        self.channel.send(&serde_json::to_vec(&request).unwrap(), &fds).unwrap();
    }

    /// What it says next.
    fn hear(&self) -> Reply {
        poll(&mut [PollFd::new(&self.channel, PollFlags::IN)], Some(&Timespec { tv_sec: 10, tv_nsec: 0 }))
            .unwrap();
        let mut buffer = [0; 4096];
        let len = match self.channel.receive(&mut buffer).unwrap() {
            Received::Packet { len, .. } => len,
            Received::Closed => 0,
        };
        serde_json::from_slice(&buffer[..len]).unwrap()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in order: everything that is in the pipes is in the log then.
    fn end(mut self) {
        let request = Request::Remove { unit: Name::parse("web").unwrap() };
        self.channel.send(&serde_json::to_vec(&request).unwrap(), &[]).unwrap();
        drop(self.channel);
        assert!(self.child.wait().unwrap().success());
    }
}

/// A log that drops nothing while there is room.
fn unlimited() -> Log {
    Log { rate: None, ..Log::default() }
}

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Writes numbered lines, torn in pieces at places that do not respect them, while `goes_on` says so; their count.
fn write_while(mut pipe: File, seed: u64, goes_on: impl Fn(u32) -> bool) -> u32 {
    let mut chance = Chance(seed);
    let mut pending = Vec::new();
    let mut number = 0;
    while goes_on(number) {
        let padding = "x".repeat(usize::try_from(chance.next(300)).unwrap());
        writeln!(pending, "line {number} {padding}").unwrap();
        let cut = usize::try_from(chance.next(pending.len() as u64)).unwrap();
        if chance.next(4) == 0 {
            let rest = pending.split_off(cut);
            pipe.write_all(&pending).unwrap();
            pending = rest;
        }
        number += 1;
    }
    pipe.write_all(&pending).unwrap();
    number
}

fn write_lines(pipe: File, count: u32, seed: u64) {
    write_while(pipe, seed, |number| number < count);
}

fn pipe() -> (OwnedFd, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader.into(), OwnedFd::from(writer).into())
}

/// The text of one stream's lines.
fn stream<'a>(lines: &'a [String], stream: &str) -> Vec<&'a str> {
    let fields = lines.iter().map(|line| line.splitn(3, ' ').collect::<Vec<_>>());
    fields.filter(|fields| fields[1] == stream).map(|fields| fields[2]).collect()
}

fn number(text: &str) -> u32 {
    text.strip_prefix("line ").unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn no_line_is_lost_or_doubled_over_a_hundred_kills() {
    static GOES_ON: AtomicBool = AtomicBool::new(true);
    let root = Root::new("kills", "1g");
    let log = Log { max_size: 500_000, keep: 100_000, ..unlimited() };
    let ((out, out_writer), (err, err_writer)) = (pipe(), pipe());
    let writers = [(out_writer, 1), (err_writer, 2)]
        .map(|(pipe, seed)| thread::spawn(move || write_while(pipe, seed, |_| GOES_ON.load(Relaxed))));
    let mut chance = Chance(42);
    let mut kills = 0;
    while kills < 100 {
        let process = LogProcess::start(&root);
        process.add(&log, [&out, &err]);
        // Any moment of its life, the start included: there is no event to wait for.
        thread::sleep(Duration::from_micros(chance.next(20_000)));
        process.kill();
        kills += 1;
    }
    let process = LogProcess::start(&root);
    process.add(&log, [&out, &err]);
    GOES_ON.store(false, Relaxed);
    let counts = writers.map(|writer| writer.join().unwrap());
    process.end();
    let lines = root.lines();
    for (name, count) in ["stdout", "stderr"].into_iter().zip(counts) {
        assert!(count > 10_000, "only {count} lines: nothing was shown");
        let numbers: Vec<_> = stream(&lines, name).into_iter().map(number).collect();
        let wrong = numbers.iter().zip(0..).find(|(found, expect)| **found != *expect);
        assert_eq!((wrong, numbers.len()), (None, count as usize), "{name}");
    }
    assert!(fs::read_dir(root.data().join("logs/web")).unwrap().count() > 5, "it was hardly rotated");
    assert_eq!(fs::read_dir(root.0.join("run/berth/spool")).unwrap().count(), 0);
}

#[test]
fn rotation_keeps_the_newest_lines() {
    let root = Root::new("rotation", "10m");
    let log = Log { max_size: 20_000, keep: 3, ..unlimited() };
    let ((out, out_writer), (err, err_writer)) = (pipe(), pipe());
    let process = LogProcess::start(&root);
    process.add(&log, [&out, &err]);
    write_lines(out_writer, 5000, 7);
    drop(err_writer);
    process.end();
    let numbers: Vec<_> =
        root.lines().iter().map(|line| number(line.splitn(3, ' ').nth(2).unwrap())).collect();
    assert_eq!(numbers.last(), Some(&4999));
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    let mut names: Vec<_> =
        fs::read_dir(root.data().join("logs/web")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["1", "2", "3", "current"]);
    for name in ["1", "2", "3"] {
        let len = fs::metadata(root.data().join("logs/web").join(name)).unwrap().len();
        assert!((20_000..90_000).contains(&len), "{name} has {len} bytes");
    }
}

#[test]
fn a_full_disk_stalls_nobody_and_drops_the_oldest() {
    const LINES: u32 = 30_000;
    let root = Root::new("full", "64k");
    let log = Log { max_size: 100 << 20, keep: 1, ..unlimited() };
    let ((out, mut out_writer), (err, _err_writer)) = (pipe(), pipe());
    let process = LogProcess::start(&root);
    process.add(&log, [&out, &err]);
    // Comes back only if somebody reads, though nothing can be written.
    write_lines(out_writer.try_clone().unwrap(), LINES, 3);
    mount_remount(root.data(), MountFlags::empty(), c"size=64m").unwrap();
    writeln!(out_writer, "line {LINES} ").unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    let last = format!("line {LINES} ");
    while !root.lines().last().is_some_and(|line| line.ends_with(&last)) {
        assert!(Instant::now() < limit, "the log is not written again");
        thread::sleep(Duration::from_millis(20));
    }
    process.kill();
    let lines = root.lines();
    let (dropped, kept): (Vec<_>, Vec<_>) = lines
        .iter()
        .map(|line| line.splitn(3, ' ').nth(2).unwrap())
        .partition(|text| text.starts_with("berth: "));
    assert!(kept.len() < LINES as usize, "nothing was dropped: nothing was shown");
    let lost: usize =
        dropped.iter().map(|text| text.split(' ').nth(1).unwrap().parse::<usize>().unwrap()).sum();
    let found: usize = kept.iter().map(|text| text.len() + 1).sum();
    let mut expect = Vec::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let count = thread::spawn(move || std::io::Read::read_to_end(&mut { reader }, &mut expect).unwrap());
    write_lines(OwnedFd::from(writer).into(), LINES, 3);
    assert_eq!(lost + found, count.join().unwrap() + last.len() + 1, "every byte is in the log or counted");
}

#[test]
fn lines_over_the_rate_are_dropped_and_counted_over_a_kill() {
    const LINES: u32 = 2000;
    let root = Root::new("rate", "10m");
    let log = Log { rate: Rate::parse("50/h"), ..Log::default() };
    let ((out, out_writer), (err, _err_writer)) = (pipe(), pipe());
    let process = LogProcess::start(&root);
    process.add(&log, [&out, &err]);
    write_lines(out_writer.try_clone().unwrap(), LINES, 5);
    // All but a pipe's room has been read by then; what was counted is not forgotten with the process.
    process.kill();
    let process = LogProcess::start(&root);
    process.add(&log, [&out, &err]);
    process.end();
    let lines = root.lines();
    let (said, kept): (Vec<_>, Vec<_>) = lines
        .iter()
        .map(|line| line.splitn(3, ' ').nth(2).unwrap())
        .partition(|text| text.starts_with("berth: "));
    assert!((50..=100).contains(&kept.len()), "{} lines for two processes", kept.len());
    assert!(said.iter().all(|text| text.ends_with(" dropped, over log.rate 50/h")), "{said:?}");
    let count = |text: &&str| text.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    let dropped: usize = said.iter().map(count).sum();
    assert_eq!(kept.len() + dropped, LINES as usize, "every line is in the log or counted");
}

#[test]
fn a_unit_that_blocks_waits_for_the_disk() {
    const LINES: u32 = 30_000;
    let root = Root::new("block", "64k");
    let log = Log { max_size: 100 << 20, overflow: Overflow::Block, ..unlimited() };
    let ((out, out_writer), (err, _err_writer)) = (pipe(), pipe());
    let process = LogProcess::start(&root);
    process.add(&log, [&out, &err]);
    let seen = out_writer.try_clone().unwrap();
    let writer = thread::spawn(move || write_lines(out_writer, LINES, 3));
    let limit = Instant::now() + Duration::from_secs(20);
    // Its spool is full, and nobody reads any more: the pipe is full at one look after the other.
    let mut full = 0;
    while full < 20 {
        assert!(Instant::now() < limit && !writer.is_finished(), "it did not have to wait");
        let mut fds = [PollFd::new(&seen, PollFlags::OUT)];
        let has_room = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0;
        full = if has_room { 0 } else { full + 1 };
        thread::sleep(Duration::from_millis(20));
    }
    drop(seen);
    mount_remount(root.data(), MountFlags::empty(), c"size=64m").unwrap();
    writer.join().unwrap();
    process.end();
    let numbers: Vec<_> = stream(&root.lines(), "stdout").into_iter().map(number).collect();
    assert_eq!(numbers, (0..LINES).collect::<Vec<_>>());
}

#[test]
fn another_run_of_a_unit_ends_the_line_of_the_one_before() {
    let root = Root::new("runs", "1m");
    let log = Log::default();
    let process = LogProcess::start(&root);
    for text in ["first run", "second run"] {
        let ((out, mut writer), (err, _)) = (pipe(), pipe());
        process.add(&log, [&out, &err]);
        writer.write_all(text.as_bytes()).unwrap();
    }
    process.end();
    assert_eq!(stream(&root.lines(), "stdout"), ["first run", "second run"]);
}

#[test]
fn an_awaited_line_is_told_of_its_run_alone_and_over_a_kill() {
    let root = Root::new("awaited", "1m");
    let log = Log::default();
    let process = LogProcess::start(&root);
    let ((out, mut writer), (err, _err_writer)) = (pipe(), pipe());
    let awaits = |run, is_new| Some(Awaited { run, pattern: "^up in [0-9]+ ms".to_owned(), is_new });
    let listening = |run| Reply::Listening { unit: Name::parse("web").unwrap(), run };
    let found = |run| Reply::Found { unit: Name::parse("web").unwrap(), run };
    // Of the run before, also what has no end.
    writer.write_all(b"up in 1 ms\nup in 2 ms").unwrap();
    process.add_awaiting(&log, [&out, &err], awaits(7, true));
    assert_eq!(process.hear(), listening(7));
    writer.write_all(b"it is up in 3 ms\nup in ").unwrap();
    // Another supervisor asks again, and another log process goes on in the middle of the line.
    process.add_awaiting(&log, [&out, &err], awaits(7, false));
    assert_eq!(process.hear(), listening(7));
    process.kill();
    let process = LogProcess::start(&root);
    process.add_awaiting(&log, [&out, &err], awaits(7, false));
    assert_eq!(process.hear(), listening(7));
    writer.write_all(b"4 ms\n").unwrap();
    assert_eq!(process.hear(), found(7));
    process.kill();
    // What was found is known to the next one, and is of no other run.
    let process = LogProcess::start(&root);
    process.add_awaiting(&log, [&out, &err], awaits(7, false));
    assert_eq!((process.hear(), process.hear()), (listening(7), found(7)));
    process.add_awaiting(&log, [&out, &err], awaits(8, true));
    assert_eq!(process.hear(), listening(8));
    writer.write_all(b"up in 5 ms\n").unwrap();
    assert_eq!(process.hear(), found(8));
    process.end();
    let expect = ["up in 1 ms", "up in 2 ms", "it is up in 3 ms", "up in 4 ms", "up in 5 ms"];
    assert_eq!(stream(&root.lines(), "stdout"), expect);
}

#[test]
fn last_words_without_a_line_break_are_a_line() {
    let root = Root::new("last-words", "1m");
    let process = LogProcess::start(&root);
    let ((out, mut writer), (err, _err_writer)) = (pipe(), pipe());
    process.add(&Log::default(), [&out, &err]);
    writer.write_all(b"all is lost").unwrap();
    let ended = Request::EndLines { unit: Name::parse("web").unwrap() };
    process.channel.send(&serde_json::to_vec(&ended).unwrap(), &[]).unwrap();
    // The next run writes to the same pipes, after the line of the one before has been ended.
    let limit = Instant::now() + Duration::from_secs(10);
    while root.lines().is_empty() {
        assert!(Instant::now() < limit, "the line was not ended");
        thread::yield_now();
    }
    writer.write_all(b"here again\n").unwrap();
    process.end();
    assert_eq!(stream(&root.lines(), "stdout"), ["all is lost", "here again"]);
}

#[test]
fn old_files_go_by_themselves() {
    let root = Root::new("age", "1m");
    let process = LogProcess::start(&root);
    let ((out, mut writer), (err, _)) = (pipe(), pipe());
    let log = Log { max_size: 1, max_age: Some(Duration::from_secs(1)), ..unlimited() };
    process.add(&log, [&out, &err]);
    writer.write_all(b"soon old\n").unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    let directory = root.data().join("logs/web");
    let rotated = || directory.join("1").exists();
    while !rotated() {
        assert!(Instant::now() < limit, "nothing was rotated");
        thread::yield_now();
    }
    let began = Instant::now();
    while rotated() {
        assert!(Instant::now() < limit, "it is still there");
        thread::yield_now();
    }
    assert!(began.elapsed() > Duration::from_millis(900), "too soon");
    writer.write_all(b"young\n").unwrap();
    process.end();
    assert_eq!(stream(&root.lines(), "stdout"), ["young"]);
}

#[test]
fn the_console_shows_what_is_kept_in_ram() {
    let root = Root::new("console", "1m");
    fs::create_dir_all(root.0.join("dev")).unwrap();
    fs::write(root.0.join("dev/console"), "").unwrap();
    let process = LogProcess::start(&root);
    let ((out, mut writer), (err, _)) = (pipe(), pipe());
    process.add(&Log { to: LogSink::Console, ..unlimited() }, [&out, &err]);
    writer.write_all(b"one\ntwo \x1b[2J\n").unwrap();
    let limit = Instant::now() + Duration::from_secs(20);
    let shown = || fs::read_to_string(root.0.join("dev/console")).unwrap();
    while shown().lines().count() < 2 {
        assert!(Instant::now() < limit, "{:?}", shown());
        thread::yield_now();
    }
    process.end();
    assert_eq!(shown(), "web: one\nweb: two \u{fffd}[2J\n");
    let kept = read_lines(&root.0.join("run/berth/logs/web"));
    assert_eq!(stream(&kept, "stdout"), ["one", "two \x1b[2J"]);
}

#[test]
fn without_a_data_partition_logs_are_in_ram() {
    let root = Root::new("ram", "1m");
    unmount(root.data(), UnmountFlags::empty()).unwrap();
    let process = LogProcess::start(&root);
    let ((out, mut writer), (err, _)) = (pipe(), pipe());
    process.add(&Log::default(), [&out, &err]);
    writer.write_all(b"hello\n").unwrap();
    drop(writer);
    process.end();
    assert_eq!(stream(&read_lines(&root.0.join("run/berth/logs/web")), "stdout"), ["hello"]);
    mount(c"tmpfs", root.data(), c"tmpfs", MountFlags::empty(), c"").unwrap();
}
