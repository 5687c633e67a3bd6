//! The real PID 1 in a PID namespace, with a supervisor that dies often: this same program under another name.
//!
//! What the supervisor lives through it writes to files beside itself, which the tests read at the end.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by failing"
)]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use berth_init::channel::{Channel, Received};
use berth_init::inherit::inherited;
use berth_units::wire::init::{Exit, ExitStatus as Status, FdName, ToInit, ToSupervisor};
use rustix::event::{PollFd, PollFlags, poll};

/// Orphans made in the long test, by shells that end before them.
const ORPHANS: usize = 10_000;
/// How they end, to tell them from everybody else.
const ORPHAN_CODE: u8 = 7;
/// Exits that a supervisor sees before it dies without acknowledging the last of them.
const EXITS_A_LIFE: usize = 1500;

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("exits_and_descriptors_outlive_supervisors", exits_and_descriptors_outlive_supervisors),
    (
        "a_supervisor_that_dies_on_the_way_down_is_told_again",
        a_supervisor_that_dies_on_the_way_down_is_told_again,
    ),
    ("a_supervisor_that_does_not_answer_has_until_the_deadline", a_silent_supervisor_has_until_the_deadline),
    ("asking_twice_is_faster", asking_twice_is_faster),
    ("a_program_that_is_not_there_is_tried_for_ever", a_program_that_is_not_there_is_tried_for_ever),
    ("outside_a_namespace_it_refuses", outside_a_namespace_it_refuses),
];

fn main() -> ExitCode {
    if std::env::args().next().is_some_and(|name| name.ends_with("supervisor")) {
        supervise();
        return ExitCode::SUCCESS;
    }
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(&filter)) {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

// ---- the supervisor's side

struct Supervisor {
    directory: PathBuf,
    channel: Channel,
}

impl Supervisor {
    fn receive(&self) -> (ToSupervisor, Option<OwnedFd>) {
        let mut buffer = [0; 64];
        loop {
            match self.channel.receive(&mut buffer) {
                Ok(Received::Packet { len, mut fds }) => {
                    return (ToSupervisor::decode(&buffer[..len]).unwrap(), fds.pop());
                }
                Ok(Received::Closed) => panic!("PID 1 closed the channel"),
                Err(_) => drop(poll(&mut [PollFd::new(&self.channel, PollFlags::IN)], None)),
            }
        }
    }

    fn send(&self, record: ToInit, fd: Option<OwnedFd>) {
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        self.channel.send(&record.encode(), &fds).unwrap();
    }

    fn keep(&self, name: &str, text: &str) {
        let memfd = rustix::fs::memfd_create("kept", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        File::from(memfd.try_clone().unwrap()).write_all(text.as_bytes()).unwrap();
        self.send(ToInit::Keep(FdName::new(name).unwrap()), Some(memfd));
    }

    fn note(&self, file: &str, line: &str) {
        let path = self.directory.join(file);
        writeln!(OpenOptions::new().append(true).create(true).open(path).unwrap(), "{line}").unwrap();
    }

    fn note_memory(&self) {
        let status = fs::read_to_string("/proc/1/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        self.note("memory", line.split_whitespace().nth(1).unwrap());
    }
}

fn supervise() {
    let directory = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let mode = fs::read_to_string(directory.join("mode")).unwrap();
    let channel = Channel::from_fd(inherited(3).unwrap()).unwrap();
    let supervisor = Supervisor { directory, channel };
    match mode.as_str() {
        "exits" => live_with_exits(&supervisor),
        "dies-on-stop" => die_on_first_stop(&supervisor),
        _ => stay_silent(&supervisor),
    }
}

/// What PID 1 says before Go; notes it and returns the number of starts before this one.
fn hear_start(supervisor: &Supervisor, mut on_exit: impl FnMut(Exit)) -> u32 {
    let mut kept = Vec::new();
    loop {
        match supervisor.receive() {
            (ToSupervisor::Kept(name), Some(fd)) => {
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
                kept.push(format!("{}={}", name.as_str(), fs::read_to_string(path).unwrap()));
            }
            (ToSupervisor::Exit(exit), None) => on_exit(exit),
            (ToSupervisor::Go { restarts }, None) => {
                supervisor.note("kept", &format!("{restarts}: {}", kept.join(" ")));
                return restarts;
            }
            other => panic!("{other:?} before Go"),
        }
    }
}

fn live_with_exits(supervisor: &Supervisor) {
    let mut seen = 0;
    // Written down first, then acknowledged, as a supervisor has to. The last ones of a life are seen and not
    // acknowledged; they must come again.
    let mut on_exit = |exit: Exit, supervisor: &Supervisor| {
        seen += 1;
        let code = if let Status::Code(code) = exit.status { code } else { u8::MAX };
        if seen == EXITS_A_LIFE {
            supervisor.note("unacknowledged", &format!("{} {} {code}", exit.seq, exit.pid));
            std::process::abort();
        }
        supervisor.note("acknowledged", &format!("{} {} {code}", exit.seq, exit.pid));
        supervisor.send(ToInit::Ack { seq: exit.seq }, None);
    };
    let life = hear_start(supervisor, |exit| on_exit(exit, supervisor));
    supervisor.note_memory();
    supervisor.keep("replaced", &format!("of-life-{life}"));
    supervisor.keep(&format!("life-{life}"), "x");
    supervisor.keep("dropped", "never");
    supervisor.send(ToInit::Drop(FdName::new("dropped").unwrap()), None);
    if life == 0 {
        // Each subshell ends at once; what it has started becomes PID 1's.
        let script = format!("i=0; while [ $i -lt {ORPHANS} ]; do (exit {ORPHAN_CODE} & ); i=$((i+1)); done");
        drop(Command::new("/bin/sh").args(["-c", &script]).spawn().unwrap());
    }
    let orphans = || {
        let text = fs::read_to_string(supervisor.directory.join("acknowledged")).unwrap_or_default();
        text.lines().filter(|line| line.ends_with(&format!(" {ORPHAN_CODE}"))).count()
    };
    let mut so_far = orphans();
    while so_far < ORPHANS {
        let (ToSupervisor::Exit(exit), None) = supervisor.receive() else { panic!("not an exit") };
        on_exit(exit, supervisor);
        so_far += usize::from(exit.status == Status::Code(ORPHAN_CODE));
    }
    supervisor.note_memory();
    supervisor.send(ToInit::Shutdown { reboot: false }, None);
    stop_when_told(supervisor);
}

fn stop_when_told(supervisor: &Supervisor) {
    loop {
        match supervisor.receive() {
            (ToSupervisor::StopAll, None) => break,
            (ToSupervisor::Exit(exit), None) => supervisor.send(ToInit::Ack { seq: exit.seq }, None),
            other => panic!("{other:?}"),
        }
    }
    supervisor.note("stopped", "yes");
    supervisor.send(ToInit::Stopped, None);
    wait_for_the_end();
}

fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}

fn die_on_first_stop(supervisor: &Supervisor) {
    let restarts = hear_start(supervisor, |_| {});
    if restarts > 0 {
        stop_when_told(supervisor);
    }
    supervisor.send(ToInit::Shutdown { reboot: true }, None);
    while !matches!(supervisor.receive(), (ToSupervisor::StopAll, None)) {}
    supervisor.note("told", "once");
}

fn stay_silent(supervisor: &Supervisor) {
    hear_start(supervisor, |_| {});
    let millis = fs::read_to_string(supervisor.directory.join("millis")).unwrap().parse().unwrap();
    supervisor.send(ToInit::StopTimeout { millis }, None);
    while !matches!(supervisor.receive(), (ToSupervisor::StopAll, None)) {}
    supervisor.note("told", "once");
    wait_for_the_end();
}

// ---- the tests' side

/// A PID namespace with our PID 1.
struct Namespace {
    directory: PathBuf,
    unshare: Child,
}

impl Namespace {
    fn start(mode: &str, files: &[(&str, &str)]) -> Self {
        let directory = std::env::temp_dir().join(format!("berth-pid1-{}-{mode}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files.iter().chain(&[("mode", mode)]) {
            fs::write(directory.join(name), text).unwrap();
        }
        let program = directory.join("supervisor");
        if mode != "absent" {
            fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        }
        let unshare = Command::new("unshare")
            .args(["--fork", "--pid", "--mount-proc", "--kill-child"])
            .args([env!("CARGO_BIN_EXE_berth-init"), "--in-namespace"])
            .arg(&program)
            .stderr(File::create(directory.join("words")).unwrap())
            .spawn()
            .unwrap();
        Self { directory, unshare }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.join(file)).unwrap_or_default()
    }

    /// Until PID 1, or the supervisor, has said something.
    fn wait_for(&self, file: &str, text: &str) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !self.read(file).contains(text) {
            assert!(Instant::now() < limit, "no '{text}' in {file}: {}", self.read("words"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let pid = rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    #[track_caller]
    fn end(mut self) -> ExitStatus {
        let limit = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(status) = self.unshare.try_wait().unwrap() {
                assert!(status.success(), "{status}: {}", self.read("words"));
                return status;
            }
            if Instant::now() > limit {
                self.unshare.kill().unwrap();
                panic!("it does not end: {}", self.read("words"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn clean(directory: &Path) {
    fs::remove_dir_all(directory).unwrap();
}

fn exits_and_descriptors_outlive_supervisors() {
    let namespace = Namespace::start("exits", &[]);
    let directory = namespace.directory.clone();
    namespace.end();
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap();
    let (acknowledged, unacknowledged) = (read("acknowledged"), read("unacknowledged"));

    let acknowledged: Vec<_> = acknowledged.lines().collect();
    let orphans = acknowledged.iter().filter(|line| line.ends_with(&format!(" {ORPHAN_CODE}"))).count();
    let distinct: BTreeSet<_> = acknowledged.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(orphans, ORPHANS);
    assert_eq!(distinct.len(), acknowledged.len(), "an exit came again after it was acknowledged");
    for line in unacknowledged.lines() {
        assert!(acknowledged.contains(&line), "{line}: seen, not acknowledged, and lost");
    }
    let deaths = unacknowledged.lines().count();
    assert!(deaths >= 5, "only {deaths} deaths");

    for (life, line) in read("kept").lines().enumerate() {
        let mut expect: Vec<_> = (0..life).map(|old| format!("life-{old}=x")).collect();
        if life > 0 {
            expect.push(format!("replaced=of-life-{}", life - 1));
        }
        let (restarts, kept) = line.split_once(": ").unwrap();
        let mut kept: Vec<_> = kept.split_whitespace().map(String::from).collect();
        kept.sort();
        assert_eq!((restarts, kept), (life.to_string().as_str(), expect));
    }

    let memory: Vec<i64> = read("memory").lines().map(|line| line.parse().unwrap()).collect();
    let growth = memory.last().unwrap() - memory[2];
    println!("PID 1: VmRSS {memory:?} kB over {deaths} deaths and {} exits", acknowledged.len());
    assert!(growth <= 16, "PID 1 has grown by {growth} kB");
    clean(&directory);
}

fn a_supervisor_that_dies_on_the_way_down_is_told_again() {
    let namespace = Namespace::start("dies-on-stop", &[]);
    let directory = namespace.directory.clone();
    let start = Instant::now();
    namespace.end();
    assert!(start.elapsed() < Duration::from_secs(15), "it waited for the deadline, though all was stopped");
    assert_eq!(fs::read_to_string(directory.join("told")).unwrap(), "once\n");
    assert_eq!(fs::read_to_string(directory.join("stopped")).unwrap(), "yes\n");
    clean(&directory);
}

fn a_silent_supervisor_has_until_the_deadline() {
    for (signal, word) in [
        (rustix::process::Signal::TERM, "Poweroff"),
        (rustix::process::Signal::INT, "Reboot"),
        (rustix::process::Signal::POWER, "Poweroff"),
    ] {
        let namespace = Namespace::start("silent", &[("millis", "400")]);
        let directory = namespace.directory.clone();
        namespace.wait_for("kept", "0: ");
        let start = Instant::now();
        namespace.signal(signal);
        namespace.end();
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
        let words = fs::read_to_string(directory.join("words")).unwrap();
        assert!(words.contains(&format!("{word} asked for")) && words.contains("Deadline"), "{words}");
        clean(&directory);
    }
}

fn asking_twice_is_faster() {
    let namespace = Namespace::start("silent", &[("millis", "60000")]);
    let directory = namespace.directory.clone();
    namespace.wait_for("kept", "0: ");
    namespace.signal(rustix::process::Signal::TERM);
    namespace.wait_for("told", "once");
    // A second within the first second would be taken for a bouncing key.
    std::thread::sleep(Duration::from_millis(1100));
    let start = Instant::now();
    namespace.signal(rustix::process::Signal::TERM);
    namespace.end();
    assert!(start.elapsed() < Duration::from_secs(10));
    clean(&directory);
}

fn a_program_that_is_not_there_is_tried_for_ever() {
    let namespace = Namespace::start("absent", &[]);
    let directory = namespace.directory.clone();
    namespace.wait_for("words", "start 4");
    namespace.signal(rustix::process::Signal::TERM);
    std::thread::sleep(Duration::from_millis(1100));
    namespace.signal(rustix::process::Signal::TERM);
    namespace.end();
    let words = fs::read_to_string(directory.join("words")).unwrap();
    assert!(words.contains("No such file"), "{words}");
    clean(&directory);
}

fn outside_a_namespace_it_refuses() {
    let output = Command::new(env!("CARGO_BIN_EXE_berth-init")).output().unwrap();
    assert!(!output.status.success() && output.status.signal().is_none());
    let mut words = String::new();
    output.stderr.as_slice().read_to_string(&mut words).unwrap();
    assert!(words.contains("process 1"), "{words}");
}
