//! `berth exec`: a program in a container, its standard streams and signals carried to and from the client.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use berth_runtime::{ExecSpec, Running, Status, Stdio, Step, StepError, open_pty, read_status};
use berth_units::wire::session::Kind;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, pidfd_send_signal, waitpid};
use rustix::termios::{Winsize, tcsetwinsize};
use rustix::time::Timespec;

use super::SessionError;
use super::client::Client;
use crate::kmsg::Chain;

/// Bytes for the program that may wait for it to read.
const STDIN_MAX: usize = 128 << 10;
/// Bytes of output taken at once.
const READ: usize = 32 << 10;
/// After its client is gone a program has this long to end.
const HANGUP_LIMIT: Duration = Duration::from_secs(5);

/// Runs the program; its exit code, or 128 and the signal that ended it.
pub fn run(client: &mut Client, spec: &ExecSpec, tty: Option<(u16, u16)>) -> Result<u8, SessionError> {
    let mut program = match tty {
        Some(size) => Program::on_terminal(spec, size)?,
        None => Program::on_pipes(spec)?,
    };
    match program.serve(client) {
        Ok(()) => {}
        Err(gone @ SessionError::ClientGone(_)) => {
            program.hang_up();
            return Err(gone);
        }
        Err(error) => return Err(error),
    }
    program.result(client)
}

/// The program and our ends of its streams.
struct Program {
    running: Running,
    /// Its standard input; gone when the client has ended it.
    stdin: Option<OwnedFd>,
    /// The terminal itself, to resize.
    terminal: Option<OwnedFd>,
    outputs: Vec<Output>,
    /// Bytes for its standard input.
    pending: Vec<u8>,
    stdin_ended: bool,
}

struct Output {
    kind: Kind,
    fd: OwnedFd,
}

impl Program {
    fn on_pipes(spec: &ExecSpec) -> Result<Self, SessionError> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(SessionError::system("make a pipe"));
        let ((stdin, ours), (out, stdout), (err, stderr)) = (pipe()?, pipe()?, pipe()?);
        let stdio =
            Stdio { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd(), extra: Vec::new() };
        let running = berth_runtime::exec(spec, &stdio)?;
        for fd in [&ours, &out, &err] {
            rustix::io::ioctl_fionbio(fd, true).map_err(SessionError::system("set up a pipe"))?;
        }
        let outputs = vec![Output { kind: Kind::Stdout, fd: out }, Output { kind: Kind::Stderr, fd: err }];
        Ok(Self {
            running,
            stdin: Some(ours),
            terminal: None,
            outputs,
            pending: Vec::new(),
            stdin_ended: false,
        })
    }

    fn on_terminal(spec: &ExecSpec, size: (u16, u16)) -> Result<Self, SessionError> {
        let pty = open_pty(spec)?;
        resize(pty.master.as_fd(), size);
        let end = pty.terminal.as_fd();
        let stdio = Stdio { stdin: end, stdout: end, stderr: end, extra: Vec::new() };
        let running = berth_runtime::exec(spec, &stdio)?;
        let copy = || pty.master.try_clone().map_err(SessionError::system("set up the terminal"));
        let (stdin, output) = (copy()?, copy()?);
        rustix::io::ioctl_fionbio(&pty.master, true).map_err(SessionError::system("set up the terminal"))?;
        Ok(Self {
            running,
            stdin: Some(stdin),
            terminal: Some(pty.master),
            outputs: vec![Output { kind: Kind::Stdout, fd: output }],
            pending: Vec::new(),
            stdin_ended: false,
        })
    }

    /// Carries everything both ways until the program has ended.
    fn serve(&mut self, client: &mut Client) -> Result<(), SessionError> {
        loop {
            if self.wait(client)? {
                return Ok(());
            }
            if client.has_outgoing() {
                client.flush().map_err(SessionError::ClientGone)?;
            }
            if self.pending.len() < STDIN_MAX && !client.is_full() {
                client.fill().map_err(SessionError::ClientGone)?;
            }
            client.take_frames(|kind, payload| self.obey(kind, payload)).map_err(SessionError::ClientGone)?;
            self.write_stdin();
            if client.has_room() {
                self.read_outputs(client);
            }
        }
    }

    /// Waits for whoever can do something; `true` when the program has ended.
    fn wait(&self, client: &Client) -> Result<bool, SessionError> {
        let mut wanted = PollFlags::empty();
        if self.pending.len() < STDIN_MAX {
            wanted |= PollFlags::IN;
        }
        if client.has_outgoing() {
            wanted |= PollFlags::OUT;
        }
        let mut fds = vec![
            PollFd::new(&self.running.pidfd, PollFlags::IN),
            // A client that hangs up is noticed whatever is wanted of it.
            PollFd::new(client, wanted),
        ];
        if let Some(stdin) = self.stdin.as_ref().filter(|_| !self.pending.is_empty()) {
            fds.push(PollFd::new(stdin, PollFlags::OUT));
        }
        if client.has_room() {
            fds.extend(self.outputs.iter().map(|output| PollFd::new(&output.fd, PollFlags::IN)));
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).map_err(SessionError::system("wait"))?;
        let mut revents = fds.iter().map(PollFd::revents);
        let has_ended = revents.next().is_some_and(|revents| revents.contains(PollFlags::IN));
        let is_gone =
            revents.next().is_some_and(|revents| revents.intersects(PollFlags::HUP | PollFlags::ERR));
        if is_gone && !has_ended {
            return Err(SessionError::ClientGone(io::ErrorKind::ConnectionReset.into()));
        }
        Ok(has_ended)
    }

    /// One frame of the client; `false` when no more should come for now.
    fn obey(&mut self, kind: Kind, payload: &[u8]) -> bool {
        match (kind, payload) {
            (Kind::Stdin, []) => self.stdin_ended = true,
            (Kind::Stdin, bytes) if self.stdin.is_some() => self.pending.extend_from_slice(bytes),
            (Kind::Resize, &[a, b, c, d]) => {
                if let Some(terminal) = &self.terminal {
                    resize(terminal.as_fd(), (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])));
                }
            }
            (Kind::Signal, &[number]) => {
                if let Some(signal) = Signal::from_named_raw(number.into()) {
                    // It may just have ended.
                    let _ended = pidfd_send_signal(&self.running.pidfd, signal);
                }
            }
            // A frame that makes no sense here hurts nobody.
            _ => {}
        }
        self.pending.len() < STDIN_MAX
    }

    /// Writes what the program takes for now. A program that has closed its input misses the rest.
    fn write_stdin(&mut self) {
        let Some(stdin) = &self.stdin else {
            self.pending.clear();
            return;
        };
        while !self.pending.is_empty() {
            match rustix::io::write(stdin, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.stdin = None;
                    self.pending.clear();
                    return;
                }
            }
        }
        // A terminal has no end of input but the one that is typed.
        if self.stdin_ended && self.terminal.is_none() {
            self.stdin = None;
        }
    }

    /// One turn of every output; those at their end are let go.
    fn read_outputs(&mut self, client: &mut Client) -> bool {
        let mut has_more = false;
        self.outputs.retain(|output| {
            let mut buffer = [0; READ];
            match rustix::io::read(&output.fd, &mut buffer) {
                Ok(0) => false,
                Ok(len) => {
                    client.push(output.kind, buffer.get(..len).unwrap_or_default());
                    has_more = true;
                    true
                }
                Err(Errno::AGAIN | Errno::INTR) => true,
                // EIO: nobody has the terminal open any more.
                Err(_) => false,
            }
        });
        has_more
    }

    /// After the program's end: what it has written still goes to the client, then its exit code. What it left
    /// behind in the background may hold the pipes open for ever, so their end is not waited for.
    fn result(&mut self, client: &mut Client) -> Result<u8, SessionError> {
        while self.read_outputs(client) {
            client.flush_all().map_err(SessionError::ClientGone)?;
        }
        if let Ok(Status::Failed(step)) = read_status(&self.running.status) {
            let code = code_of_failure(&step).ok_or_else(|| SessionError::Step(step.clone()))?;
            client.push(Kind::Stderr, format!("{}\n", Chain(&step)).as_bytes());
            return Ok(code);
        }
        let status =
            rustix::io::retry_on_intr(|| waitpid(Pid::from_raw(self.running.pid), WaitOptions::empty()))
                .map_err(SessionError::system("learn how the program ended"))?;
        let code = status.map_or(0, |(_, status)| {
            status.exit_status().or_else(|| Some(128 + status.terminating_signal()?)).unwrap_or(0)
        });
        Ok(u8::try_from(code).unwrap_or(u8::MAX))
    }

    /// The client is gone: the program is told as a terminal would tell it, and killed if that does not help.
    fn hang_up(&mut self) {
        self.outputs.clear();
        self.stdin = None;
        self.terminal = None;
        self.signal(Signal::HUP);
        let limit = Instant::now() + HANGUP_LIMIT;
        let left = || Timespec::try_from(limit.saturating_duration_since(Instant::now())).ok();
        let mut fds = [PollFd::new(&self.running.pidfd, PollFlags::IN)];
        while let Some(timeout) = left()
            && let Err(Errno::INTR) = poll(&mut fds, Some(&timeout))
        {}
        self.signal(Signal::KILL);
    }

    /// To the program and, where it leads one, its process group. It is not reaped yet, so the number is its own.
    fn signal(&self, signal: Signal) {
        let _ended = pidfd_send_signal(&self.running.pidfd, signal);
        if let Some(group) = Pid::from_raw(self.running.pid) {
            let _no_group = kill_process_group(group, signal);
        }
    }
}

/// The exit code of a program that is not there or cannot be executed, as shells have it: 127 and 126. What fails
/// before that is not the program's fault and has no code.
fn code_of_failure(failed: &StepError) -> Option<u8> {
    let is_exec = failed.step == Step::Exec;
    match Errno::from_raw_os_error(failed.errno) {
        Errno::NOENT | Errno::NOTDIR if is_exec => Some(127),
        _ if is_exec => Some(126),
        _ => None,
    }
}

/// A size that the terminal refuses changes nothing.
fn resize(terminal: BorrowedFd<'_>, (rows, columns): (u16, u16)) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let _refused = tcsetwinsize(terminal, size);
}
