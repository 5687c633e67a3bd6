//! The poll loop of `berth run`: QEMU's console, port and monitor, the clients of the control socket, and signals.
//!
//! ```text
//! running --first Ctrl-C--> stopping --the guest turns itself off--> ended, exit 0
//!    |                         |--second Ctrl-C, or patience is over--> quitting --3 s--> killed
//!    '--the guest turns itself off--> ended, exit 0        (quitting and killed end with exit 4)
//! ```

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use berth_units::spec::Declared;
use berth_units::wire::control::{Call, Status, Then};
use berth_units::wire::mux::ASK_AGAIN;
use rustix::event::PollFlags;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::de::IgnoredAny;

use super::console::Console;
use super::machine::{Inherited, Machine, arguments};
use super::monitor::{Event, Monitor};
use super::progress::Progress;
use super::qemu::Qemu;
use super::question::{Answer, Question};
use super::socket::ControlSocket;
use crate::failure::Failure;
use crate::mux::{Mux, Source};
use crate::output::note;
use crate::polls::Polls;
use crate::signals::{Signal, Signals};
use crate::varlink::parse_reply;

/// Between two looks at the units while the node starts.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// A node takes an order to shut down within this time, or the power button is pressed.
const ORDER_PATIENCE: Duration = Duration::from_secs(5);
/// From QMP's quit to SIGKILL.
const QUIT_PATIENCE: Duration = Duration::from_secs(3);
/// Resets within this time are one.
const RESET_AGAIN: Duration = Duration::from_secs(2);
/// What of QEMU's standard error is kept.
const STDERR_MAX: usize = 64 << 10;

/// What to run.
pub struct Setup<'a> {
    /// QEMU.
    pub qemu: &'a Qemu,
    /// The machine.
    pub machine: &'a Machine<'a>,
    /// What the node was built from.
    pub declared: &'a Declared,
    /// Where clients come in.
    pub control: ControlSocket,
    /// The console goes out as plain lines.
    pub headless: bool,
    /// How units are reached, a line each.
    pub ports: Vec<String>,
    /// How the machine is reached and stopped.
    pub ending: String,
}

/// How a machine can end otherwise than well.
#[derive(Debug, thiserror::Error)]
enum VmError {
    #[error("QEMU ended with {0}")]
    Qemu(ExitStatus),
    #[error("the machine was ended without a clean shutdown")]
    Cut,
    #[error("QEMU ended without a clean shutdown of the node: {0}")]
    Ended(String),
    #[error("cannot watch the machine")]
    Watch(#[source] io::Error),
}

#[derive(Clone, Copy, Debug)]
enum Token {
    Console,
    Stdout,
    Stderr,
    Monitor,
    Mux(Source),
    Listener,
    Signals,
    Child,
    Status,
    Order,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    Stopping { until: Instant },
    Quitting { until: Instant },
    Killed,
}

struct Vm<'a> {
    setup: Setup<'a>,
    child: Child,
    exited: OwnedFd,
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
    console: Console,
    monitor: Monitor,
    mux: Mux,
    signals: Signals,
    phase: Phase,
    progress: Progress,
    /// Of the connections when the node was last asked.
    epoch: u64,
    status: Option<Question>,
    status_due: Instant,
    ask_due: Instant,
    /// The order to shut down, and when it is late.
    order: Option<(Question, Instant)>,
    reset: Option<Instant>,
    guest_off: bool,
    reason: String,
}

/// Runs a machine to its end.
pub fn run(setup: Setup<'_>) -> Result<(), Failure> {
    let watch = |error| Failure::action(VmError::Watch(error));
    let mut vm = Vm::start(setup)?;
    while !vm.turn().map_err(watch)? {
        vm.on_time();
    }
    vm.finish()
}

impl<'a> Vm<'a> {
    fn start(setup: Setup<'a>) -> Result<Self, Failure> {
        let watch = |error: io::Error| Failure::action(VmError::Watch(error));
        let (console, control, monitor) = (pair()?, pair()?, pair()?);
        let theirs = [&console.1, &control.1, &monitor.1];
        for socket in theirs {
            fcntl_setfd(socket, FdFlags::empty()).map_err(|error| watch(error.into()))?;
        }
        let [console_fd, control_fd, monitor_fd] = theirs.map(AsRawFd::as_raw_fd);
        let fds = Inherited { console: console_fd, control: control_fd, monitor: monitor_fd };
        let mut command = setup.qemu.command(arguments(setup.machine, fds));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]).map_err(watch)?;
        let mut child = setup.qemu.spawn(command)?;
        let exited = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        control.0.set_nonblocking(true).map_err(watch)?;
        let now = Instant::now();
        let stderr = child.stderr.take();
        Ok(Self {
            console: Console::new(console.0, setup.headless).map_err(watch)?,
            monitor: Monitor::new(monitor.0).map_err(watch)?,
            mux: Mux::host(OwnedFd::from(control.0)),
            exited: exited.map_err(|error| watch(error.into()))?,
            progress: Progress::new(setup.declared),
            setup,
            child,
            stderr,
            said: Vec::new(),
            signals,
            phase: Phase::Running,
            epoch: 0,
            status: None,
            status_due: now,
            ask_due: now + ASK_AGAIN,
            order: None,
            reset: None,
            guest_off: false,
            reason: "unknown".to_owned(),
        })
    }

    /// Waits once and does what can be done; true when QEMU has ended.
    fn turn(&mut self) -> io::Result<bool> {
        let mut ended = false;
        for (token, flags) in self.wait()? {
            match token {
                Token::Console => _ = self.console.read(),
                Token::Stdout => self.console.write(),
                Token::Stderr => self.read_stderr(),
                Token::Monitor => self.on_monitor(flags),
                // QEMU closes the port only when it ends, which its process says better.
                Token::Mux(source) => _ = self.mux.on_ready(source, flags)?,
                Token::Listener => self.on_client()?,
                Token::Signals => self.on_signals(),
                Token::Child => ended = true,
                Token::Status => self.on_status(),
                Token::Order => self.on_order(),
            }
        }
        Ok(ended)
    }

    fn wait(&self) -> io::Result<Vec<(Token, PollFlags)>> {
        let stdout = io::stdout();
        let mut polls = Polls::new();
        let (console, flags) = self.console.socket();
        polls.add(Token::Console, console, flags);
        polls.add(Token::Stdout, stdout.as_fd(), self.console.stdout_interest());
        if let Some(stderr) = &self.stderr {
            polls.add(Token::Stderr, stderr.as_fd(), PollFlags::IN);
        }
        polls.add(Token::Monitor, self.monitor.fd(), self.monitor.interest());
        self.mux.watch(&mut polls, true, Token::Mux);
        if self.mux.has_room() {
            polls.add(Token::Listener, self.setup.control.fd(), PollFlags::IN);
        }
        polls.add(Token::Signals, self.signals.fd(), PollFlags::IN);
        polls.add(Token::Child, self.exited.as_fd(), PollFlags::IN);
        if let Some(status) = &self.status {
            polls.add(Token::Status, status.fd(), PollFlags::IN);
        }
        if let Some((order, _)) = &self.order {
            polls.add(Token::Order, order.fd(), PollFlags::IN);
        }
        polls.wait(self.patience())
    }

    /// Until the next thing that has to be done whatever comes.
    fn patience(&self) -> Option<Duration> {
        let mut next = Vec::new();
        if !self.mux.is_answered() {
            next.push(self.ask_due);
        }
        if self.wants_status() {
            next.push(self.status_due);
        }
        next.extend(self.order.as_ref().map(|(_, late)| *late));
        if let Phase::Stopping { until } | Phase::Quitting { until } = self.phase {
            next.push(until);
        }
        next.into_iter().min().map(|next| next.saturating_duration_since(Instant::now()))
    }

    fn wants_status(&self) -> bool {
        let running = matches!(self.phase, Phase::Running);
        running && self.status.is_none() && !self.progress.is_ready() && self.mux.has_room()
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if !self.mux.is_answered() && now >= self.ask_due {
            self.mux.ask_again();
            self.ask_due = now + ASK_AGAIN;
        }
        if self.mux.epoch() != self.epoch {
            self.epoch = self.mux.epoch();
            (self.status, self.status_due) = (None, now);
        }
        if self.wants_status() && now >= self.status_due {
            self.status = Question::ask(&mut self.mux, &Call::Status {}).ok();
            self.status_due = now + LOOK_AGAIN;
        }
        if self.order.as_ref().is_some_and(|(_, late)| now >= *late) {
            self.press_power_button("the node does not take the order");
        }
        match self.phase {
            Phase::Stopping { until } if now >= until => {
                self.quit("the node did not stop in time: QEMU is ended");
            }
            Phase::Quitting { until } if now >= until => {
                // It may be ending this moment.
                self.child.kill().unwrap_or_default();
                self.phase = Phase::Killed;
            }
            _ => {}
        }
    }

    fn read_stderr(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        let mut buffer = [0; 4096];
        match stderr.read(&mut buffer) {
            Ok(0) | Err(_) => self.stderr = None,
            Ok(len) if self.said.len() < STDERR_MAX => {
                self.said.extend_from_slice(buffer.get(..len).unwrap_or(&[]));
            }
            Ok(_) => {}
        }
    }

    fn on_monitor(&mut self, flags: PollFlags) {
        for event in self.monitor.on_ready(flags) {
            match event {
                Event::GuestOff => self.guest_off = true,
                Event::Ends(reason) => self.reason = reason,
                Event::Reset => self.on_reset(),
            }
        }
    }

    /// The relay is gone: clients wait for the next one instead of hanging in its connections.
    fn on_reset(&mut self) {
        let now = Instant::now();
        // The guest tries several ways to reset, and QEMU reports each.
        if self.reset.is_none_or(|last| now - last > RESET_AGAIN) {
            self.console.say("node     restarts");
        }
        self.reset = Some(now);
        self.mux.restart();
        self.status = None;
        self.progress = Progress::new(self.setup.declared);
    }

    fn on_client(&mut self) -> io::Result<()> {
        match self.setup.control.accept() {
            Some(client) => self.mux.open(client),
            None => Ok(()),
        }
    }

    fn on_status(&mut self) {
        let Some(question) = &mut self.status else { return };
        let answer = question.on_ready();
        if let Answer::Reply(reply) = &answer
            && let Ok(status) = parse_reply::<Status>(reply)
        {
            for line in self.progress.take(&status, &self.setup.ports, &self.setup.ending) {
                self.console.say(&line);
            }
        }
        if answer != Answer::NotYet {
            self.status = None;
        }
    }

    fn on_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            if signal == Signal::SIGINT {
                self.console.interrupted();
            }
            match self.phase {
                Phase::Running => self.stop(),
                Phase::Stopping { .. } => self.quit("ending QEMU at once, as if the power were cut"),
                Phase::Quitting { .. } | Phase::Killed => {}
            }
        }
    }

    fn stop(&mut self) {
        let node = &self.setup.declared.node;
        let patience = Duration::from_secs(30).max(node.stop_timeout + Duration::from_secs(10));
        let line = format!("stop     {} is powering off; Ctrl-C again ends QEMU at once", node.hostname);
        self.console.say(&line);
        self.phase = Phase::Stopping { until: Instant::now() + patience };
        self.status = None;
        let call = Call::Shutdown { then: Then::Poweroff };
        let order = if self.mux.has_room() { Question::ask(&mut self.mux, &call).ok() } else { None };
        match order {
            Some(order) => self.order = Some((order, Instant::now() + ORDER_PATIENCE)),
            None => self.press_power_button("the node does not answer yet"),
        }
    }

    fn on_order(&mut self) {
        let Some((order, _)) = &mut self.order else { return };
        match order.on_ready() {
            Answer::NotYet => {}
            Answer::Reply(reply) => match parse_reply::<IgnoredAny>(&reply) {
                Ok(_) => self.order = None,
                Err(error) => self.press_power_button(&error.to_string()),
            },
            Answer::Closed => self.press_power_button("the node closed the connection"),
        }
    }

    fn press_power_button(&mut self, why: &str) {
        self.order = None;
        self.console.say(&format!("stop     {why}: pressing the power button"));
        self.monitor.execute("system_powerdown");
    }

    fn quit(&mut self, why: &str) {
        self.console.say(&format!("stop     {why}"));
        self.monitor.execute("quit");
        self.phase = Phase::Quitting { until: Instant::now() + QUIT_PATIENCE };
    }

    /// What QEMU left behind, and what it means.
    fn finish(mut self) -> Result<(), Failure> {
        let status = self.child.wait().map_err(|error| Failure::action(VmError::Watch(error)))?;
        self.on_monitor(PollFlags::IN);
        self.console.finish();
        if let Some(mut stderr) = self.stderr.take() {
            // What can be read is shown; a reason not to read it changes nothing.
            (&mut stderr).take(STDERR_MAX as u64).read_to_end(&mut self.said).unwrap_or_default();
        }
        if self.guest_off && status.success() {
            self.console.say(&format!("off      {}", self.setup.declared.node.hostname));
            self.console.finish();
            return Ok(());
        }
        let said = String::from_utf8_lossy(&self.said).into_owned();
        note(&said);
        let failure = match self.phase {
            Phase::Quitting { .. } | Phase::Killed => Failure::action(VmError::Cut),
            _ if status.success() => Failure::action(VmError::Ended(self.reason)),
            _ => Failure::action(VmError::Qemu(status)),
        };
        Err(if said.contains("lock") {
            failure.hint("the data disk is in use: give this machine another one with --data")
        } else {
            failure
        })
    }
}

/// Ours and QEMU's.
fn pair() -> Result<(UnixStream, UnixStream), Failure> {
    UnixStream::pair().map_err(|error| Failure::action(VmError::Watch(error)))
}
