//! What changes of a unit that runs, and what somebody changes behind our back: limits and checks in place, limits
//! put back, processes brought back into their cgroup.
//!
//! Whoever changes a limit or empties a cgroup is told by an event. What happened while no supervisor ran is looked
//! for once after its start, a few units a turn, so that nobody waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use berth_runtime::Cgroup;
use berth_runtime::cgroup::{Setting, Writer};
use berth_units::Name;
use berth_units::life::{Event, Life};
use berth_units::observed::Seen;
use berth_units::spec::Unit;
use berth_units::wire::init::ExitStatus;

use super::container::{self, cgroup_dir};
use super::watches::Changed;
use super::{Supervisor, clock, limits, signal};
use crate::kmsg::Chain;
use crate::{error, notice, warning};

/// Units that are looked at in one turn.
const LOOKS_MAX: usize = 8;
/// A container that starts processes while its processes are moved is followed that often.
const SWEEPS_MAX: usize = 8;

/// Units whose limits are to be looked at, and what the kernel keeps in other words than we write.
#[derive(Debug, Default)]
pub struct Drift {
    unsure: BTreeSet<Name>,
    /// What differed still when it had just been written, or had been refused: no drift.
    unlike: BTreeMap<Name, Vec<Setting>>,
    /// Who writes what takes time.
    writers: BTreeMap<Name, Writer>,
}

impl Drift {
    /// Whether there is something to look at.
    pub fn is_due(&self) -> bool {
        !self.unsure.is_empty()
    }

    /// Has a unit's limits looked at.
    pub fn suspect(&mut self, unit: Name) {
        self.unsure.insert(unit);
    }

    /// The unit has a new cgroup, in which nothing has been refused yet.
    pub fn renew(&mut self, unit: &Name) {
        self.unlike.remove(unit);
        self.end_writer(unit);
    }

    /// Ends the process that writes limits of a unit: it would hold the cgroup, and write what counts no more.
    pub fn end_writer(&mut self, unit: &Name) {
        if let Some(writer) = self.writers.remove(unit) {
            writer.end();
        }
    }

    /// Whether what a unit's cgroup differs in is somebody's doing.
    fn is_drift(&self, unit: &Name, writes: &[Setting]) -> bool {
        !writes.is_empty() && self.unlike.get(unit).is_none_or(|unlike| unlike != writes)
    }
}

impl Supervisor {
    /// Takes in what has happened to cgroups.
    pub(super) fn note_drift(&mut self, changed: Changed) {
        let Changed { mut members, limits, anything } = changed;
        self.drift.unsure.extend(limits);
        if anything {
            self.drift.unsure.extend(self.observed.units.keys().cloned());
            members.extend(self.observed.units.keys().cloned());
        }
        for name in members {
            if let Some(seen) = self.observed.units.get_mut(&name) {
                seen.strayed = has_strayed(&name, seen);
            }
        }
    }

    /// Looks at the limits of a few of those that may have drifted.
    pub(super) fn look_for_drift(&mut self) {
        self.drift.unsure.extend(self.cgroup_events.reopen(clock::now()));
        for _ in 0..LOOKS_MAX {
            let Some(name) = self.drift.unsure.pop_first() else {
                return;
            };
            if let Some(writes) = self.differences(&name)
                && let Some(seen) = self.observed.units.get_mut(&name)
            {
                seen.drifted = self.drift.is_drift(&name, &writes);
                seen.strayed = has_strayed(&name, seen);
            }
        }
    }

    /// What of a unit's limits is not as declared; none where it does not matter or cannot be found out.
    fn differences(&self, name: &Name) -> Option<Vec<Setting>> {
        let seen = self.observed.units.get(name)?;
        // What is being written is looked at when that is done.
        let is_settled = seen.record.life.has_process() && !self.drift.writers.contains_key(name);
        let unit = self.set.declared.units.get(name).filter(|_| is_settled)?;
        let limits = limits::limits(unit, self.node_memory).ok()?;
        Cgroup::at(cgroup_dir(name)).differences(&limits).ok()
    }

    /// Writes what of a unit's limits is not as declared.
    pub(super) fn update(&mut self, name: &Name) {
        let identity = self.set.declared.identity(name);
        let is_known = |seen: &Seen| {
            let written = seen.record.run.as_ref().and_then(|run| run.limits);
            written.is_none() || written == identity.map(|identity| identity.limits)
        };
        // Where the file has changed as well, nobody else is to blame.
        let was_drift = self.observed.units.get(name).is_some_and(|seen| seen.drifted && is_known(seen));
        self.drift.end_writer(name);
        let done = self.set.declared.units.get(name).map(|unit| write_limits(unit, self.node_memory));
        let note = match done {
            Some(Ok(Written { settings, unlike, writer })) => {
                self.drift.unlike.insert(name.clone(), unlike);
                self.drift.writers.extend(writer.map(|writer| (name.clone(), writer)));
                say_written(name, &settings, was_drift);
                None
            }
            Some(Err(error)) => {
                // A write that was refused tells of itself like any other: it would be tried again without end.
                let unlike = self.differences(name).unwrap_or_default();
                self.drift.unlike.insert(name.clone(), unlike);
                error!("the limits of {name} are not as its file has them: {}", Chain(&error));
                Some(format!("its limits are not as its file has them: {}", Chain(&error)))
            }
            None => None,
        };
        if let Some(seen) = self.observed.units.get_mut(name) {
            // One that failed would fail again: the next change is the next try.
            seen.drifted = false;
            seen.record.note = note;
            if let Some(run) = &mut seen.record.run {
                run.limits = identity.map(|identity| identity.limits);
            }
        }
        self.save(name);
    }

    /// The process that wrote limits of a unit has ended; `None` when it is none.
    pub(super) fn writer_exited(&mut self, pid: i32, status: ExitStatus) -> Option<()> {
        let name = self.drift.writers.iter().find(|(_, writer)| writer.pid == pid)?.0.clone();
        self.drift.writers.remove(&name);
        if status == ExitStatus::Code(0) {
            self.drift.suspect(name);
            return Some(());
        }
        let unlike = self.differences(&name).unwrap_or_default();
        self.drift.unlike.insert(name.clone(), unlike);
        let why = match status {
            ExitStatus::Code(errno) => std::io::Error::from_raw_os_error(i32::from(errno)).to_string(),
            ExitStatus::Signal(signal) => format!("who wrote them was killed by signal {signal}"),
        };
        error!("the limits of {name} are not as its file has them: {why}");
        if let Some(seen) = self.observed.units.get_mut(&name) {
            seen.record.note = Some(format!("its limits are not as its file has them: {why}"));
        }
        self.save(&name);
        Some(())
    }

    /// Has a unit's checks carried out as they are now.
    pub(super) fn recheck(&mut self, name: &Name) {
        let Some((unit, seen)) = self.set.declared.units.get(name).zip(self.observed.units.get_mut(name))
        else {
            return;
        };
        notice!("{name}: other checks from now on");
        seen.record.health.adapt(unit, clock::now());
        if let Some(run) = &mut seen.record.run {
            run.checks = self.set.declared.identity(name).map(|identity| identity.checks);
        }
        self.save(name);
        self.end_checker(name);
        self.settle_readiness(name);
    }

    /// Brings the processes of a unit back into its cgroup, which is made anew where it is gone.
    pub(super) fn gather(&mut self, name: &Name) {
        warning!("the processes of {name} are not in its cgroup; bringing them back");
        let Some(seen) = self.observed.units.get_mut(name) else {
            return;
        };
        seen.strayed = false;
        let (life, pid) = (seen.record.life, seen.record.run.as_ref().map(|run| run.pid));
        match Cgroup::ensure(cgroup_dir(name)) {
            Ok(cgroup) => {
                self.watch_cgroup(name);
                sweep(&cgroup, pid.unwrap_or_default());
            }
            Err(error) => error!("{}; ignoring", Chain(&error)),
        }
        self.look_at_cgroup(name);
        self.update(name);
        // It was killed by way of the cgroup that it was not in.
        if life == Life::Killing {
            self.kill_cgroup(name);
        }
    }

    /// It is another unit than the one that came to rest.
    pub(super) fn reconsider(&mut self, name: &Name) {
        notice!("{name} has changed; another try");
        if let Some(seen) = self.observed.units.get_mut(name) {
            seen.record.restarts = 0;
            seen.record.failures = 0;
            seen.record.recent.clear();
        }
        self.step(name, Event::StartAsked);
    }
}

fn say_written(name: &Name, written: &[Setting], was_drift: bool) {
    let words: Vec<_> = written.iter().map(|(knob, value)| format!("{knob} {value}")).collect();
    match was_drift {
        _ if words.is_empty() => {}
        true => warning!("{name}: somebody changed its limits; put back: {}", words.join(", ")),
        false => notice!("{name}: limits changed in place: {}", words.join(", ")),
    }
}

/// Limits that were written.
struct Written {
    settings: Vec<Setting>,
    /// Those that differ still.
    unlike: Vec<Setting>,
    /// Who is still writing some of them.
    writer: Option<Writer>,
}

/// Writes the limits that differ; what takes time is done beside.
fn write_limits(unit: &Unit, node_memory: u64) -> Result<Written, container::Error> {
    let limits = limits::limits(unit, node_memory)?;
    let cgroup = Cgroup::at(cgroup_dir(&unit.name));
    let settings = cgroup.differences(&limits)?;
    let (slow, quick): (Vec<_>, Vec<_>) =
        settings.iter().cloned().partition(|setting| cgroup.takes_time(setting));
    cgroup.write_all(&quick)?;
    let mut unlike = cgroup.differences(&limits)?;
    unlike.retain(|setting| !slow.contains(setting));
    let writer = (!slow.is_empty()).then(|| cgroup.write_beside(&slow, true)).transpose()?;
    Ok(Written { settings, unlike, writer })
}

/// Whether the process of a unit lives, and not in its cgroup.
fn has_strayed(name: &Name, seen: &Seen) -> bool {
    let Some(run) = seen.record.run.as_ref().filter(|_| seen.record.life.has_process()) else {
        return false;
    };
    // PID 1 has not told its end yet, so the number is still its own, if only that of a zombie.
    lives(run.pid) && signal::is_member(run.pid, &cgroup_dir(name)).is_ok_and(|is_member| !is_member)
}

/// Whether a process runs and is no zombie, by the state in /proc/PID/stat (proc_pid_stat(5)).
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Moves every process of a container into a cgroup: they share the PID namespace of its first one.
fn sweep(cgroup: &Cgroup, pid: i32) {
    let namespace = |pid: &str| fs::read_link(Path::new("/proc").join(pid).join("ns/pid")).ok();
    let Some(own) = namespace(&pid.to_string()) else {
        return;
    };
    for _ in 0..SWEEPS_MAX {
        let Ok(entries) = fs::read_dir("/proc") else {
            return;
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let members = names.filter(|name| namespace(name).as_ref() == Some(&own));
        let pids = members.filter_map(|name| name.parse::<i32>().ok());
        let is_out = |pid: &i32| signal::is_member(*pid, cgroup.path()).is_ok_and(|is_member| !is_member);
        let out: Vec<_> = pids.filter(is_out).collect();
        if out.is_empty() {
            return;
        }
        for pid in out {
            // One that has ended in between is no loss.
            drop(cgroup.attach(pid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_no_drift_until_something_else_changes() {
        let unit = Name::parse("web").unwrap();
        let setting = |knob: &str| (knob.to_owned(), "1".to_owned());
        let refused = vec![setting("cpu.max.burst")];
        let mut drift = Drift::default();
        assert!(!drift.is_drift(&unit, &[]) && drift.is_drift(&unit, &refused));
        drift.unlike.insert(unit.clone(), refused.clone());
        assert!(!drift.is_drift(&unit, &refused));
        assert!(drift.is_drift(&unit, &[refused[0].clone(), setting("memory.max")]));
        drift.renew(&unit);
        assert!(drift.is_drift(&unit, &refused));
    }

    #[test]
    fn a_process_that_is_there_lives() {
        assert!(lives(i32::try_from(std::process::id()).unwrap()));
        assert!(!lives(-1));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let stat = format!("/proc/{pid}/stat");
        while !fs::read_to_string(&stat).unwrap().contains(") Z") {
            std::thread::yield_now();
        }
        assert!(!lives(pid));
        child.wait().unwrap();
    }
}
