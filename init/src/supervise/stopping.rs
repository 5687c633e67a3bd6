//! How a unit is asked to end: its ports are taken back and its hook runs first, then its signal, to its first process or to all.

use std::collections::BTreeSet;
use std::time::Duration;

use berth_runtime::Cgroup;
use berth_units::Name;
use berth_units::launch::launch;
use berth_units::life::Event;
use berth_units::signal::TERM;
use berth_units::spec::StopMode;
use berth_units::task::{Task, is_done};

use super::container::{self, cgroup_dir};
use super::link::fd_name;
use super::signal::{Delivery, send, send_to_other};
use super::{Supervisor, clock};
use crate::error;

/// Whoever forks faster than this many looks at the cgroup ends at the deadline instead.
const LOOKS_MAX: usize = 8;

impl Supervisor {
    /// Begins to stop a unit. With a hook to run first, its signal is an action of its own.
    pub(super) fn stop(&mut self, name: &Name) {
        let wanted = self.is_wanted_again(name);
        self.kill_task(name);
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        seen.record.again = wanted;
        let unit = self.set.declared.units.get(name);
        let delay = unit.map_or(Duration::ZERO, |unit| unit.stop.delay);
        // One that fails its check or has run for its time has had its chance.
        let is_over = seen.record.run.as_ref().is_some_and(|run| run.expired || run.unhealthy.is_some());
        let is_drained = seen.record.life.is_up() && !is_over;
        let delay = Some(delay).filter(|delay| !delay.is_zero() && is_drained);
        if let Some(run) = &mut seen.record.run {
            run.doing = None;
            run.signal_at = delay.map(|delay| clock::now().after(delay));
        }
        // What has not been executed has nothing to run a hook in.
        let is_free =
            !seen.record.life.is_up() || unit.is_none_or(|unit| is_done(unit, &seen.record, Task::PreStop));
        self.step(name, Event::StopSent);
        drop(self.link.forget(&fd_name("hook", name)));
        if delay.is_some() {
            // New connections find nobody any more; those that are there go on.
            self.declare_network();
        } else if is_free {
            self.signal_stop(name);
        }
    }

    /// Sends the stop signal; from here on `stop.timeout` runs.
    pub(super) fn signal_stop(&mut self, name: &Name) {
        let unit = self.set.declared.units.get(name);
        let (timeout, mode) = unit.map(|unit| (unit.stop.timeout, unit.stop.mode)).unwrap_or_default();
        let has_reaper = unit.is_some_and(|unit| unit.process.init);
        let base = unit.and_then(|unit| container::base(&self.images.images, unit).ok());
        let launch = unit.zip(base).and_then(|(unit, base)| launch(unit, &base.config).ok());
        let signal = launch.map_or(TERM, |launch| launch.stop_signal);
        let run = self.observed.units.get_mut(name).and_then(|seen| seen.record.run.as_mut());
        let Some(run) = run else {
            return;
        };
        run.stop_deadline = Some(clock::now().after(timeout));
        run.signalled = true;
        let pid = run.pid;
        self.save(name);
        if mode == StopMode::All {
            signal_all(name, pid, signal);
            // Its init would pass the signal on to the program, which has it already.
            if has_reaper {
                return;
            }
        }
        match send(pid, &cgroup_dir(name), signal) {
            // What the signal would have done to it anywhere else; waiting for the deadline would change nothing.
            Ok(Delivery::Unheard) => self.kill_cgroup(name),
            Err(error) => error!("cannot signal '{name}': {error}; it is killed at its deadline"),
            Ok(Delivery::Sent) => {}
        }
    }
}

/// Signals every process of a unit but the first, also those that are forked meanwhile. One that has ended is none.
fn signal_all(name: &Name, first: i32, signal: i32) {
    let cgroup = Cgroup::at(cgroup_dir(name));
    let mut told = BTreeSet::from([first]);
    for _ in 0..LOOKS_MAX {
        let members = cgroup.all_procs().unwrap_or_default();
        let new: Vec<_> = members.into_iter().filter(|pid| told.insert(*pid)).collect();
        if new.is_empty() {
            return;
        }
        for pid in new {
            let _ended = send_to_other(pid, cgroup.path(), signal);
        }
    }
}
