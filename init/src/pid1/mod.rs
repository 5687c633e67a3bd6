//! PID 1: starts the machine, keeps the supervisor running, forgets no exit and no descriptor, ends the machine.
//!
//! One thread, one poll(2), until the last acts. It never panics, exits, blocks or waits for a peer; it parses nothing
//! but records of fixed size and a few words of the image and the kernel; it holds tables of fixed size and grows no
//! further. Containers are its children, so they outlive every other process of ours. What a unit is, is not known
//! here.
//!
//! | signal | meaning |
//! |---|---|
//! | SIGINT (Ctrl-Alt-Del) | reboot |
//! | SIGTERM, SIGPWR, SIGUSR2, power key | power off |
//!
//! A second one, after a second or more, ends the units' time at once.

mod backoff;
mod boot;
mod cgroup;
mod end;
mod link;
mod loopback;
mod power;
mod reap;
mod shutdown;
mod signals;
mod spawn;
mod store;
mod supervisor;

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use berth_units::wire::control::Then;
use berth_units::wire::init::ToInit;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use self::link::{Heard, News};
use self::power::{BUTTONS_MAX, PowerButtons};
use self::reap::Exits;
pub(crate) use self::reap::{Reaped, reap};
use self::shutdown::Shutdown;
use self::signals::{Asked, Signals};
pub use self::spawn::{CHANNEL_FD, Program};
use self::store::FdStore;
use self::supervisor::Supervisor;
use crate::{error, notice, warning};

/// Records that are taken from the supervisor before somebody else has a turn.
const RECORDS_A_TURN: usize = 256;

/// Everything that PID 1 remembers.
struct Init {
    signals: Signals,
    exits: Exits,
    store: FdStore,
    supervisor: Supervisor,
    shutdown: Shutdown,
    buttons: PowerButtons,
}

/// Starts the machine, keeps it, ends it. On a node of its own this comes back only where the kernel refuses to
/// stop; in a PID namespace (`on_node` is false) there is no machine, and it comes back at the end.
///
/// # Errors
/// Signals cannot be had: nothing can be done without.
pub fn run(program: Program) -> nix::Result<()> {
    let on_node = program.on_node;
    let signals = Signals::open()?;
    if on_node {
        boot::boot();
        end::take_ctrl_alt_del();
    }
    let buttons = if on_node { PowerButtons::open() } else { PowerButtons::default() };
    let mut init = Init {
        signals,
        exits: Exits::default(),
        store: FdStore::default(),
        supervisor: Supervisor::new(program),
        shutdown: Shutdown::default(),
        buttons,
    };
    let then = init.serve();
    // What is kept for the supervisor may hold file systems busy.
    init.store.clear();
    end::kill_everything(&init.signals);
    if on_node {
        end::let_go_of_disks();
        end::stop_machine(then);
    }
    Ok(())
}

impl Init {
    /// The loop: wait, take in, give out. Every part does all that it can without waiting, so which descriptor
    /// was ready does not matter.
    fn serve(&mut self) -> Then {
        loop {
            let now = Instant::now();
            if let Some((then, cause)) = self.shutdown.due(now) {
                notice!("shutdown: the units' time is over ({cause:?}), {} ms", self.millis_stopping(now));
                return then;
            }
            self.supervisor.start_if_due(now);
            self.listen();
            self.reap_all(now);
            self.tell();
            self.wait();
            self.take_signals();
            self.take_buttons();
        }
    }

    fn millis_stopping(&self, now: Instant) -> u128 {
        self.shutdown.since().map_or(0, |since| now.duration_since(since).as_millis())
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        // The units' time may have ended by what was just heard: nothing else need ever happen then.
        if self.shutdown.due(Instant::now()).is_some() {
            return;
        }
        let due = [self.supervisor.due(), self.shutdown.deadline()].into_iter().flatten().min();
        // A millisecond over, so that waking up early does not make a round for nothing.
        let left = due.map(|due| due.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = Vec::with_capacity(3 + BUTTONS_MAX);
        fds.push(PollFd::new(&self.signals, PollFlags::IN));
        if let Some(link) = self.supervisor.awaited_link() {
            let out = if link.is_blocked() { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(link, PollFlags::IN | out));
        }
        fds.extend(self.buttons.watch().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(self.buttons.devices().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // All signals are blocked, so it fails only for want of kernel memory: go round, there may be more now.
        let _ready = poll(&mut fds, timeout.as_ref());
    }

    fn take_signals(&mut self) {
        while let Some(asked) = self.signals.read() {
            match asked {
                // Children are looked for in every round.
                Asked::Reap => {}
                Asked::End(then) => self.begin_shutdown(then, "signal"),
            }
        }
    }

    fn take_buttons(&mut self) {
        self.buttons.look_again_if_changed();
        if self.buttons.read_pressed() {
            self.begin_shutdown(Then::Poweroff, "power key");
        }
    }

    fn begin_shutdown(&mut self, then: Then, why: &str) {
        let now = Instant::now();
        if self.shutdown.request(then, now) {
            notice!("shutdown: {then:?} asked for by {why}, stopping all units");
            self.supervisor.hurry(now);
        }
    }

    /// Takes dead children from the kernel while there is room to remember them.
    fn reap_all(&mut self, now: Instant) {
        // The supervisor's own end needs no room, and makes room: its successor acknowledges.
        if let Some(pid) = self.supervisor.pid()
            && let Reaped::Dead(_, status) = reap(Some(pid))
        {
            self.bury_supervisor(status, now);
        }
        while !self.exits.is_full()
            && let Reaped::Dead(pid, status) = reap(None)
        {
            if self.supervisor.pid() == Some(pid) {
                self.bury_supervisor(status, now);
            } else if !self.exits.push(pid.as_raw_nonzero().get(), status) {
                error!("exit of process {pid:?} has no room, ignoring it");
            }
        }
    }

    /// What it said last still holds: it may have written down exits and given descriptors before it ended.
    fn bury_supervisor(&mut self, status: berth_units::wire::init::ExitStatus, now: Instant) {
        while self.listen() {}
        self.exits.mark_none_sent();
        self.supervisor.ended(status, now);
        if self.shutdown.is_stopping() {
            self.supervisor.hurry(now);
        }
    }

    fn tell(&mut self) {
        let restarts = self.supervisor.restarts();
        let Some(link) = self.supervisor.link_mut() else { return };
        let is_stopping = self.shutdown.is_stopping();
        let news = News { exits: &mut self.exits, store: &self.store, restarts, is_stopping };
        if link.tell(news).is_err() {
            self.supervisor.kill();
        }
    }

    /// Takes in records; `true` when there may be more.
    fn listen(&mut self) -> bool {
        for _ in 0..RECORDS_A_TURN {
            let Some(link) = self.supervisor.link() else { return false };
            match link.hear() {
                Heard::Record(record, fd) => self.obey(record, fd),
                Heard::Nonsense => warning!("supervisor: sent a record that cannot be, ignoring it"),
                Heard::Nothing => return false,
                Heard::Closed => {
                    self.supervisor.kill();
                    return false;
                }
            }
        }
        true
    }

    fn obey(&mut self, record: ToInit, fd: Option<OwnedFd>) {
        match (record, fd) {
            (ToInit::Ack { seq }, _) => self.exits.acknowledge(seq),
            (ToInit::Keep(name), Some(fd)) => {
                if !self.store.keep(name, fd) {
                    warning!("no room to keep descriptor '{}', closing it", name.as_str());
                }
            }
            (ToInit::Keep(name), None) => {
                warning!("nothing came beside '{}' to be kept, ignoring it", name.as_str());
            }
            (ToInit::Drop(name), _) => self.store.forget(&name),
            (ToInit::Shutdown { reboot }, _) => {
                let then = if reboot { Then::Reboot } else { Then::Poweroff };
                self.begin_shutdown(then, "the supervisor");
            }
            (ToInit::Stopped, _) => self.shutdown.stopped(),
            (ToInit::StopTimeout { millis }, _) => {
                self.shutdown.set_deadline(Duration::from_millis(millis.into()));
            }
        }
    }
}
