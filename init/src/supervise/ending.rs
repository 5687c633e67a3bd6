//! How runs end: what PID 1 tells of it, why it was, and what follows.

use berth_runtime::Cgroup;
use berth_units::Name;
use berth_units::life::{Event, Life, Rest};
use berth_units::restart::after_exit;
use berth_units::time::rfc3339;
use berth_units::wire::control::{ExitReason, LastExit};
use berth_units::wire::init::ExitStatus;

use super::container::cgroup_dir;
use super::link::fd_name;
use super::poll::Source;
use super::{Supervisor, clock, jobs};
use crate::notice;

impl Supervisor {
    /// The process of a unit has ended; `None` when it is no unit's.
    pub(super) fn unit_exited(&mut self, pid: i32, status: ExitStatus) -> Option<()> {
        let is_it =
            |seen: &berth_units::observed::Seen| seen.record.run.as_ref().is_some_and(|run| run.pid == pid);
        let name = self.observed.units.iter().find(|(_, seen)| is_it(seen)).map(|(name, _)| name.clone())?;
        // The status pipe may tell why, and may not have been read yet.
        self.status_changed(&name);
        let oom = Cgroup::at(cgroup_dir(&name)).memory_events().is_ok_and(|events| events.oom_kill > 0);
        let record = &self.observed.units.get(&name)?.record;
        let run = record.run.as_ref()?;
        let unit = self.set.declared.units.get(&name);
        let has_reaper = unit.is_some_and(|unit| unit.process.init);
        let is_named = |code: u8| unit.is_some_and(|unit| unit.restart.names(code));
        let (code, signal) = match status {
            // As its reaper says that a signal ended it, unless the unit says that its program ends so by itself.
            ExitStatus::Code(code @ 129..=192) if has_reaper && !is_named(code) => {
                (None, Some(i32::from(code) - 128))
            }
            ExitStatus::Code(code) => (Some(i32::from(code)), None),
            ExitStatus::Signal(signal) => (None, Some(i32::from(signal))),
        };
        let reason = if run.failure.is_some() {
            ExitReason::StartFailed
        } else if run.unhealthy.is_some() {
            ExitReason::Unhealthy
        } else if run.timed_out {
            ExitReason::StartTimeout
        } else if run.expired {
            ExitReason::RuntimeMax
        } else if matches!(record.life, Life::Stopping | Life::Killing) {
            ExitReason::Stopped
        } else if oom && signal == Some(9) {
            ExitReason::Oom
        } else if signal.is_some() {
            ExitReason::Signal
        } else {
            ExitReason::Exit
        };
        let failure = run.failure.clone().or_else(|| run.unhealthy.clone());
        self.ended(&name, (reason, code, signal), failure);
        Some(())
    }

    /// Writes an end down and what follows from it.
    pub(super) fn ended(
        &mut self,
        name: &Name,
        end: (ExitReason, Option<i32>, Option<i32>),
        detail: Option<String>,
    ) {
        self.held.remove(name);
        self.close_kept("status", name, &Source::Status(name.clone()));
        self.close_kept("ready", name, &Source::ReadyLine(name.clone()));
        self.close_notify(name);
        // Nothing of it is to be written any more, and what is in it is memory.
        drop(self.link.forget(&fd_name("supplies", name)));
        self.task_status.remove(name);
        self.drift.end_writer(name);
        drop(self.link.forget(&fd_name("hook", name)));
        let (reason, code, signal) = end;
        let now = clock::now();
        let draining = self.observed.draining;
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        let record = &mut seen.record;
        record.again &= !draining;
        let after = after_exit(self.set.declared.units.get(name), record, (reason, code), now);
        let unit = self.set.declared.units.get(name);
        let last = LastExit { reason, code, signal, at: rfc3339(clock::wall()), detail };
        if matches!(after.rest, Rest::Backoff | Rest::Failed) {
            notice!("{name}: {last}");
        }
        match after.rest {
            Rest::Completed => notice!("{name} completed"),
            Rest::Stopped | Rest::Idle => notice!("{name} stopped"),
            Rest::Backoff | Rest::Failed => {}
        }
        let withheld = record.run.as_ref().is_some_and(|run| run.signal_at.is_some());
        let end = jobs::end_of(unit, &last);
        record.rests_as = self.set.declared.identity(name).map(|identity| identity.whole);
        record.failures = after.failures;
        record.recent = after.recent;
        record.last_exit = Some(last);
        record.step(Event::Exited(after.rest), now);
        record.next_try = after.next_try;
        if after.rest == Rest::Backoff {
            record.restarts += 1;
        }
        self.end_try(name, after.rest, end);
        // Before the end is written down: who dies in between comes here again.
        self.chain(name, after.rest);
        if after.reboot {
            self.reboot_over(name);
        }
        self.save(name);
        if withheld {
            self.declare_network();
        }
        self.tell_log_of_end(name);
        self.look_at_cgroup(name);
    }

    /// Sees whether something of a unit still runs; an empty cgroup is removed, and with it its counters.
    pub(super) fn look_at_cgroup(&mut self, name: &Name) {
        let cgroup = Cgroup::at(cgroup_dir(name));
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        seen.populated = cgroup.populated().unwrap_or(false);
        if !seen.populated && !seen.record.life.has_process() {
            drop(cgroup.remove());
        }
    }
}
