//! Triggers of `[pressure.NAME]`: each is a descriptor that the kernel has something to say on when processes of a unit
//! had to wait too long. They live as long as a run, and a supervisor that starts makes its own.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use berth_runtime::Cgroup;
use berth_runtime::cgroup::CgroupError;
use berth_units::Name;
use berth_units::pressure::{Deed, Said, respond};
use berth_units::spec::{Pressure, PressureKind};

use super::container::{Error, cgroup_dir};
use super::poll::{Interest, Source};
use super::signal::{Delivery, send};
use super::{Supervisor, clock};
use crate::kmsg::Chain;
use crate::{error, warning};

/// By unit and name.
pub type Triggers = BTreeMap<(Name, String), Trigger>;

/// One of them.
#[derive(Debug)]
pub struct Trigger {
    /// The run that it belongs to: the next one has another cgroup.
    run: u64,
    wanted: Pressure,
    /// None where the kernel would not have it, which has been said.
    fd: Option<OwnedFd>,
    said: Said,
}

impl Supervisor {
    /// Makes the triggers of a run that is about to begin: a kernel without them fails the start.
    pub(super) fn arm_pressure(&mut self, name: &Name) -> Result<(), Error> {
        let run = self.observed.units.get(name).map_or(0, |seen| seen.record.runs) + 1;
        let wanted = self.set.declared.units.get(name).map(|unit| unit.pressure.clone()).unwrap_or_default();
        for (trigger, wanted) in wanted {
            let fd = make(name, &wanted)?;
            self.poll
                .add(&fd, Source::Pressure(name.clone(), trigger.clone()), Interest::Priority)
                .map_err(|error| Error::System("wait for pressure", error))?;
            let made = Trigger { run, wanted, fd: Some(fd), said: Said::default() };
            self.triggers.insert((name.clone(), trigger), made);
        }
        Ok(())
    }

    /// Has the triggers be those of the units that run: after an end, a change of the set, or a new supervisor.
    pub(super) fn settle_pressure(&mut self) {
        let mut wanted = self.wanted_triggers();
        let is_right = |key: &(Name, String), trigger: &Trigger| {
            wanted.get(key).is_some_and(|(run, pressure)| *run == trigger.run && *pressure == trigger.wanted)
        };
        let (keep, drop): (Triggers, Triggers) =
            std::mem::take(&mut self.triggers).into_iter().partition(|(key, trigger)| is_right(key, trigger));
        for ((unit, name), trigger) in drop {
            if let Some(fd) = trigger.fd {
                self.poll.remove(fd, &Source::Pressure(unit, name));
            }
        }
        wanted.retain(|key, _| !keep.contains_key(key));
        self.triggers = keep;
        for ((unit, name), (run, wanted)) in wanted {
            let source = Source::Pressure(unit.clone(), name.clone());
            let made = make(&unit, &wanted).map_err(|error| Chain(&error).to_string());
            let watched = made.and_then(|fd| {
                self.poll.add(&fd, source, Interest::Priority).map(|()| fd).map_err(|error| error.to_string())
            });
            let fd =
                watched.inspect_err(|why| error!("{unit}: pressure '{name}' is not watched: {why}")).ok();
            self.triggers.insert((unit, name), Trigger { run, wanted, fd, said: Said::default() });
        }
    }

    fn wanted_triggers(&self) -> BTreeMap<(Name, String), (u64, Pressure)> {
        let mut wanted = BTreeMap::new();
        for (name, unit) in self.set.declared.units.iter().filter(|(_, unit)| !unit.pressure.is_empty()) {
            let record = self.observed.units.get(name).map(|seen| &seen.record);
            let Some(run) =
                record.filter(|record| record.life.has_process()).and_then(|record| record.run.as_ref())
            else {
                continue;
            };
            for (trigger, pressure) in &unit.pressure {
                wanted.insert((name.clone(), trigger.clone()), (run.number, pressure.clone()));
            }
        }
        wanted
    }

    /// A trigger fired.
    pub(super) fn pressed(&mut self, unit: &Name, name: &str) {
        let record = self.observed.units.get(unit).map(|seen| &seen.record);
        let trigger = self.triggers.get_mut(&(unit.clone(), name.to_owned()));
        let (Some(record), Some(trigger)) = (record, trigger) else {
            return;
        };
        let response = respond(name, &trigger.wanted, record.life, &mut trigger.said, clock::now());
        if let Some(line) = response.line {
            warning!("{unit}: {line}");
        }
        match response.deed {
            Deed::Nothing => {}
            Deed::Signal(signal) => {
                let pid = record.run.as_ref().map(|run| run.pid);
                match pid.map(|pid| send(pid, &cgroup_dir(unit), signal)) {
                    Some(Ok(Delivery::Unheard)) => warning!("{unit}: it does not listen to signal {signal}"),
                    Some(Err(error)) => error!("cannot signal '{unit}': {error}"),
                    Some(Ok(Delivery::Sent)) | None => {}
                }
            }
            Deed::Replace { kill, why } => self.replace(unit, kill, &why),
        }
    }
}

fn make(unit: &Name, wanted: &Pressure) -> Result<OwnedFd, CgroupError> {
    let full = wanted.kind == PressureKind::Full;
    let times = (wanted.threshold, wanted.window);
    Cgroup::at(cgroup_dir(unit)).pressure_trigger(wanted.resource.word(), full, times)
}
