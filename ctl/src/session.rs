//! The client's end of an upgraded connection: frames in, frames out, standard streams on this side.
//!
//! One poll loop. Standard input is read only while the node takes it, frames only while standard output and
//! standard error take theirs: nothing is held beyond [`HELD_MAX`] and a frame.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use berth_units::wire::session::{FrameError, Kind, decode, encode};
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::client::Upgraded;
use crate::failure::{Failure, Kind as FailureKind};
use crate::pending::Pending;
use crate::polls::Polls;
use crate::signals::{Signal, Signals};
use crate::terminal;

/// A direction that holds this many bytes takes no more.
const HELD_MAX: usize = 64 << 10;

/// poll(2) promises room for so many bytes in a pipe; a longer write could block (pipe(7), PIPE_BUF).
const WRITE_MAX: usize = 4096;

/// Why a session has no proper end.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The node went away.
    #[error("lost the connection to the node before the end of the session")]
    Lost(#[source] Option<io::Error>),
    /// It sent what cannot be.
    #[error("the node does not speak the session protocol")]
    Frame(#[from] FrameError),
    /// A local stream or poll(2) failed.
    #[error("cannot pass the streams of the session")]
    Local(#[source] io::Error),
    /// The node could not do it.
    #[error("{0}")]
    Refused(String),
    /// A signal ended it.
    #[error("interrupted")]
    Interrupted,
    /// Nobody reads our output any more.
    #[error("the reader of standard output is gone")]
    ReaderGone,
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let kind = match &error {
            SessionError::Lost(_) => FailureKind::Unreachable,
            SessionError::ReaderGone => FailureKind::ReaderGone,
            _ => FailureKind::Action,
        };
        Self::new(kind, error)
    }
}

/// What is done with the bytes of Stdout frames before they are written.
pub trait Filter {
    /// Adds to `out` what `bytes` become.
    fn take(&mut self, bytes: &[u8], out: &mut Pending);
}

/// As they are.
pub struct AsIs;

impl Filter for AsIs {
    fn take(&mut self, bytes: &[u8], out: &mut Pending) {
        out.push(bytes);
    }
}

/// What of this process takes part.
pub struct Streams<'a> {
    /// Standard input is sent.
    pub stdin: bool,
    /// Signals that are passed on; a second one of a kind ends the session. SIGWINCH sends the new size.
    pub signals: Option<&'a Signals>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Socket,
    Stdin,
    Stdout,
    Stderr,
    Signals,
}

struct Session<'a, F> {
    socket: UnixStream,
    inbox: Vec<u8>,
    to_node: Pending,
    to_stdout: Pending,
    to_stderr: Pending,
    stdin_open: bool,
    signals: Option<&'a Signals>,
    passed: Vec<Signal>,
    filter: F,
    /// The exit code, or why there is none.
    end: Option<Result<u8, String>>,
    closed: bool,
}

/// Runs a session to its end and returns the exit code that the node reports.
pub fn run(upgraded: Upgraded, streams: &Streams<'_>, filter: impl Filter) -> Result<u8, SessionError> {
    upgraded.stream.set_nonblocking(true).map_err(SessionError::Local)?;
    let mut session = Session {
        socket: upgraded.stream,
        inbox: upgraded.rest,
        to_node: Pending::default(),
        to_stdout: Pending::default(),
        to_stderr: Pending::default(),
        stdin_open: streams.stdin,
        signals: streams.signals,
        passed: Vec::new(),
        filter,
        end: None,
        closed: false,
    };
    loop {
        session.take_frames()?;
        if session.to_stdout.is_empty() && session.to_stderr.is_empty() {
            match session.end.take() {
                Some(Ok(code)) => return Ok(code),
                Some(Err(text)) => return Err(SessionError::Refused(text)),
                None if session.closed => return Err(SessionError::Lost(None)),
                None => {}
            }
        }
        for (token, flags) in session.wait().map_err(SessionError::Local)? {
            session.on_ready(token, flags)?;
        }
    }
}

impl<F: Filter> Session<'_, F> {
    fn held(&self) -> usize {
        self.to_stdout.len() + self.to_stderr.len()
    }

    fn is_over(&self) -> bool {
        self.end.is_some() || self.closed
    }

    fn wait(&self) -> io::Result<Vec<(Token, PollFlags)>> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let when = |wanted: bool, flags: PollFlags| if wanted { flags } else { PollFlags::empty() };
        let mut polls = Polls::new();
        let read = when(!self.is_over() && self.held() < HELD_MAX, PollFlags::IN);
        let write = when(!self.is_over() && !self.to_node.is_empty(), PollFlags::OUT);
        polls.add(Token::Socket, self.socket.as_fd(), read | write);
        let stdin_wanted = self.stdin_open && !self.is_over() && self.to_node.len() < HELD_MAX;
        polls.add(Token::Stdin, stdin.as_fd(), when(stdin_wanted, PollFlags::IN));
        polls.add(Token::Stdout, stdout.as_fd(), when(!self.to_stdout.is_empty(), PollFlags::OUT));
        polls.add(Token::Stderr, stderr.as_fd(), when(!self.to_stderr.is_empty(), PollFlags::OUT));
        if let Some(signals) = self.signals {
            polls.add(Token::Signals, signals.fd(), PollFlags::IN);
        }
        polls.wait(None)
    }

    fn on_ready(&mut self, token: Token, flags: PollFlags) -> Result<(), SessionError> {
        match token {
            Token::Socket => self.on_socket(flags),
            Token::Stdin => self.on_stdin(),
            Token::Stdout => match self.to_stdout.write_to(io::stdout(), WRITE_MAX) {
                Ok(_) => Ok(()),
                Err(Errno::PIPE) => Err(SessionError::ReaderGone),
                Err(error) => Err(SessionError::Local(error.into())),
            },
            Token::Stderr => {
                // Without a reader of standard error the rest still matters.
                if self.to_stderr.write_to(io::stderr(), WRITE_MAX).is_err() {
                    self.to_stderr = Pending::default();
                }
                Ok(())
            }
            Token::Signals => self.on_signals(),
        }
    }

    fn on_socket(&mut self, flags: PollFlags) -> Result<(), SessionError> {
        if flags.contains(PollFlags::OUT) {
            // A node that has ended the session takes no more; its last words are still to be read.
            if self.to_node.write_to(&self.socket, HELD_MAX).is_err() {
                self.to_node = Pending::default();
                self.stdin_open = false;
            }
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        }
        let mut buffer = [0; 32 << 10];
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => self.closed = true,
            Ok(len) => self.inbox.extend_from_slice(buffer.get(..len).unwrap_or(&[])),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(SessionError::Lost(Some(error.into()))),
        }
        Ok(())
    }

    fn take_frames(&mut self) -> Result<(), SessionError> {
        let mut at = 0;
        while self.end.is_none() && self.held() < HELD_MAX {
            let Some((kind, payload, used)) = decode(self.inbox.get(at..).unwrap_or(&[]))? else { break };
            match kind {
                Kind::Stdout => self.filter.take(payload, &mut self.to_stdout),
                Kind::Stderr => self.to_stderr.push(payload),
                Kind::Exit => self.end = Some(Ok(payload.first().copied().unwrap_or(0))),
                Kind::Error => self.end = Some(Err(String::from_utf8_lossy(payload).into_owned())),
                Kind::Stdin | Kind::Resize | Kind::Signal => {}
            }
            at += used;
        }
        self.inbox.drain(..at.min(self.inbox.len()));
        Ok(())
    }

    fn on_stdin(&mut self) -> Result<(), SessionError> {
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(len) => {
                // An empty frame is the end of the input.
                self.stdin_open = len > 0;
                self.frame(Kind::Stdin, buffer.get(..len).unwrap_or(&[]));
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            // A closed standard input, or a terminal that is gone.
            Err(Errno::BADF | Errno::IO) => {
                self.stdin_open = false;
                self.frame(Kind::Stdin, &[]);
                Ok(())
            }
            Err(error) => Err(SessionError::Local(error.into())),
        }
    }

    fn on_signals(&mut self) -> Result<(), SessionError> {
        while let Some(signal) = self.signals.and_then(Signals::next) {
            if signal == Signal::SIGWINCH {
                if let Some((rows, columns)) = terminal::size_of(io::stdout()) {
                    let [a, b] = rows.to_be_bytes();
                    let [c, d] = columns.to_be_bytes();
                    self.frame(Kind::Resize, &[a, b, c, d]);
                }
            } else if self.passed.contains(&signal) {
                self.end = Some(Ok(128 + number(signal)));
            } else {
                self.passed.push(signal);
                self.frame(Kind::Signal, &[number(signal)]);
            }
        }
        Ok(())
    }

    fn frame(&mut self, kind: Kind, payload: &[u8]) {
        let mut frame = Vec::new();
        encode(kind, payload, &mut frame);
        self.to_node.push(&frame);
    }
}

fn number(signal: Signal) -> u8 {
    u8::try_from(signal as i32).unwrap_or(0)
}

/// The longest output that is collected, bytes.
const COLLECT_MAX: usize = 16 << 20;

/// The whole standard output of a session that needs no input.
pub fn collect(upgraded: Upgraded) -> Result<Vec<u8>, Failure> {
    let Upgraded { mut stream, rest: mut inbox } = upgraded;
    let mut output = Vec::new();
    let mut buffer = [0; 32 << 10];
    loop {
        while let Some((kind, payload, used)) = decode(&inbox).map_err(SessionError::Frame)? {
            match kind {
                Kind::Exit => return Ok(output),
                Kind::Error => {
                    return Err(SessionError::Refused(String::from_utf8_lossy(payload).into_owned()).into());
                }
                Kind::Stdout if output.len() < COLLECT_MAX => output.extend_from_slice(payload),
                _ => {}
            }
            inbox.drain(..used);
        }
        match stream.read(&mut buffer).map_err(|error| SessionError::Lost(Some(error)))? {
            0 => return Err(SessionError::Lost(None).into()),
            len => inbox.extend_from_slice(buffer.get(..len).unwrap_or_default()),
        }
    }
}

/// Whether both ends of a dialogue are terminals.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
