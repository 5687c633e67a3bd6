//! Units that are paused by hand: what was asked is written down, the freezer of their cgroup follows it.

use berth_runtime::Cgroup;
use berth_units::Name;
use berth_units::observed::Run;
use berth_units::wire::control::Fault;
use serde_json::{Value, json};

use super::container::cgroup_dir;
use super::{Supervisor, clock};
use crate::error;
use crate::kmsg::Chain;

impl Supervisor {
    pub(super) fn ask_pause(&mut self, unit: &Name) -> Result<Value, Fault> {
        self.change_pause(unit, |run| {
            run.paused.get_or_insert_with(clock::now);
        })
    }

    pub(super) fn ask_resume(&mut self, unit: &Name) -> Result<Value, Fault> {
        self.change_pause(unit, |run| run.resume(clock::now()))
    }

    fn change_pause(&mut self, unit: &Name, change: impl FnOnce(&mut Run)) -> Result<Value, Fault> {
        self.known(unit)?;
        let seen = self.observed.units.get_mut(unit).filter(|seen| seen.record.life.is_up());
        match seen.and_then(|seen| seen.record.run.as_mut()) {
            Some(run) => change(run),
            None => return Err(self.wrong_state(unit)),
        }
        self.save(unit);
        Ok(json!({}))
    }

    /// Has the freezer follow. One that cannot be frozen is not paused, and one that cannot be thawed is gone.
    pub(super) fn freeze(&mut self, name: &Name, frozen: bool) {
        let result = Cgroup::at(cgroup_dir(name)).freeze(frozen);
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        seen.frozen = frozen && result.is_ok();
        if let Err(error) = result
            && frozen
        {
            error!("cannot pause '{name}': {}", Chain(&error));
            if let Some(run) = &mut seen.record.run {
                run.resume(clock::now());
            }
            self.save(name);
        }
    }

    /// Somebody may have changed a freezer behind our back.
    pub(super) fn look_at_freezers(&mut self) {
        for (name, seen) in self.observed.units.iter_mut().filter(|(_, seen)| seen.frozen || seen.is_paused())
        {
            seen.frozen = Cgroup::at(cgroup_dir(name)).is_frozen();
        }
    }
}
