//! A place to run containers in: a mount namespace of the test's own thread, a layer with busybox, a cgroup.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use berth_runtime::spec::{Mount, MountSource, Root, Writable};
use berth_runtime::{Cgroup, Running, Spec, Status, Stdio, read_status, spawn};
use berth_units::spec::Manner;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};

const APPLETS: &str = "awk cat chmod cp cut date echo env false grep head hostname id ifconfig ionice kill ln ls mkdir mknod mount \
                       ps pwd readlink rm sh sleep sort stat stty test touch true tty umask uname wc";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv/web:/bin/sh\n";
const GROUP: &str = "root:x:0:\nweb:x:102:\nlog:x:6:web\nstaff:x:50:\n";

pub struct Sandbox {
    dir: PathBuf,
    pub cgroup: Cgroup,
}

/// How a container ended and what it said.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Exit code, or 128 and the signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make namespaces and mounts: run them as root"
        );
        let name = format!("berth-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir(&dir).unwrap();
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
        mount("tmpfs", &dir, "tmpfs", MountFlags::empty(), None).unwrap();
        for sub in ["cgroup", "layer", "disk"] {
            fs::create_dir(dir.join(sub)).unwrap();
        }
        mount("cgroup2", dir.join("cgroup"), "cgroup2", MountFlags::empty(), None).unwrap();
        let cgroup = Cgroup::ensure(dir.join("cgroup").join(&name)).unwrap();
        let sandbox = Self { dir, cgroup };
        sandbox.fill_layer();
        sandbox
    }

    fn fill_layer(&self) {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = busybox.expect("the layer is made of busybox: apt-get install busybox-static");
        for sub in ["bin", "etc"] {
            fs::create_dir(self.layer().join(sub)).unwrap();
        }
        fs::copy(busybox, self.layer().join("bin/busybox")).unwrap();
        for applet in APPLETS.split_whitespace() {
            symlink("busybox", self.layer().join("bin").join(applet)).unwrap();
        }
        fs::write(self.layer().join("etc/passwd"), PASSWD).unwrap();
        fs::write(self.layer().join("etc/group"), GROUP).unwrap();
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn layer(&self) -> PathBuf {
        self.dir.join("layer")
    }

    /// A read-only container that runs a shell script.
    pub fn spec(&self, script: &str) -> Spec {
        let root = Root { layers: vec![self.layer()], writable: Writable::No, shared: false };
        let argv = ["sh", "-c", script].map(String::from).to_vec();
        let mut spec = Spec::new(root, argv, self.cgroup.path().to_owned());
        spec.hostname = "box".to_owned();
        spec
    }

    /// Runs the script in a container of every default; it has to be executed.
    #[track_caller]
    pub fn run(&self, script: &str) -> Outcome {
        run(&self.spec(script))
    }

    /// As [`Self::run`], and the script has to succeed silently on standard error.
    #[track_caller]
    pub fn says(&self, script: &str) -> String {
        succeed(&self.spec(script))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.cgroup.path().exists() {
            self.cgroup.kill().unwrap();
            let events = self.cgroup.open_events().unwrap();
            while self.cgroup.populated().unwrap() {
                poll(&mut [PollFd::new(&events, PollFlags::PRI)], None).unwrap();
            }
            self.cgroup.remove().unwrap();
        }
        unmount(&self.dir, UnmountFlags::DETACH).unwrap();
        fs::remove_dir(&self.dir).unwrap();
    }
}

pub fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

pub fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").unwrap()
}

pub fn stdio<'a>(stdin: BorrowedFd<'a>, stdout: BorrowedFd<'a>, stderr: BorrowedFd<'a>) -> Stdio<'a> {
    Stdio { stdin, stdout, stderr, extra: Vec::new() }
}

/// Waits until the status pipe says something.
pub fn status(running: &OwnedFd) -> Status {
    poll(&mut [PollFd::new(running, PollFlags::IN)], None).unwrap();
    read_status(running).unwrap()
}

/// Waits for the end: exit code, or 128 and the signal.
pub fn wait(pidfd: impl AsFd) -> i32 {
    let end = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
    end.exit_status().or_else(|| end.terminating_signal().map(|signal| 128 + signal)).unwrap()
}

pub fn read_all(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

/// Collects the output of something that starts with two pipes.
#[track_caller]
pub fn collect(start: impl FnOnce(&Stdio<'_>) -> Running) -> Outcome {
    let ((out, out_write), (err, err_write), null) = (pipe(), pipe(), null());
    let running = start(&stdio(null.as_fd(), out_write.as_fd(), err_write.as_fd()));
    drop((out_write, err_write));
    assert_eq!(status(&running.status), Status::Executed);
    let (stdout, stderr) = (read_all(out), read_all(err));
    Outcome { code: wait(&running.pidfd), stdout, stderr }
}

#[track_caller]
pub fn run(spec: &Spec) -> Outcome {
    collect(|stdio| spawn(spec, stdio).unwrap().release().unwrap())
}

/// A mount that a program may write to, as units have it by default.
pub fn writable(source: MountSource, target: &str) -> Mount {
    let manner = Manner::default();
    Mount { source, target: target.to_owned(), read_only: false, exec: false, manner }
}

#[track_caller]
pub fn succeed(spec: &Spec) -> String {
    let outcome = run(spec);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    outcome.stdout
}

/// The message of the step that fails.
#[track_caller]
pub fn failure(spec: &Spec) -> String {
    let null = null();
    let running = spawn(spec, &stdio(null.as_fd(), null.as_fd(), null.as_fd())).unwrap().release().unwrap();
    let status = status(&running.status);
    assert_eq!(wait(&running.pidfd), 125);
    match status {
        Status::Failed(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}
