//! Answers to Stats, Inspect, DiffFs, CopyOut and CopyIn: figures of the kernel, and all that is known of one unit.

use berth_runtime::Cgroup;
use berth_units::Name;
use berth_units::observed::Seen;
use berth_units::plan::View;
use berth_units::spec::Depends;
use berth_units::wire::control::{Fault, Figures, UnitFigures};
use berth_units::wire::plain::plain;
use serde_json::{Map, Value, json};

use super::container::{self, cgroup_dir};
use super::signal::start_time_of;
use super::{Supervisor, clock};
use crate::session::{CopySpec, DiffSpec, Request, RootSpec};

/// PATH_MAX.
const PATH_MAX: usize = 4096;

/// Files of a cgroup that Inspect shows, as far as the kernel has them.
const KNOBS: [&str; 22] = [
    "cgroup.events",
    "cgroup.freeze",
    "cpu.max",
    "cpu.pressure",
    "cpu.stat",
    "cpu.weight",
    "cpuset.cpus.effective",
    "io.max",
    "io.pressure",
    "io.stat",
    "io.weight",
    "memory.current",
    "memory.events",
    "memory.high",
    "memory.low",
    "memory.max",
    "memory.peak",
    "memory.pressure",
    "memory.swap.max",
    "pids.current",
    "pids.max",
    "pids.peak",
];

impl Supervisor {
    /// What every container uses now.
    pub(super) fn figures(&self) -> Figures {
        let units = self.observed.units.iter().map(|(name, seen)| self.unit_figures(name, seen));
        Figures { at_usec: clock::now().0, units: units.collect() }
    }

    fn unit_figures(&self, name: &Name, seen: &Seen) -> UnitFigures {
        let cgroup = seen.record.run.as_ref().map(|_| Cgroup::at(cgroup_dir(name)));
        let stats = cgroup.as_ref().map(Cgroup::stats).unwrap_or_default();
        let io = cgroup.as_ref().and_then(Cgroup::io_bytes);
        let pressure = |what| cgroup.as_ref().and_then(|cgroup| cgroup.pressure(what));
        UnitFigures {
            name: name.to_string(),
            state: self.state_of(name),
            cpu_usec: stats.cpu_usage_usec,
            memory: stats.memory_current,
            memory_max: stats.memory_max,
            pids: stats.pids_current,
            io_read: io.map(|(read, _)| read),
            io_write: io.map(|(_, written)| written),
            pressure_cpu: pressure("cpu"),
            pressure_memory: pressure("memory"),
            pressure_io: pressure("io"),
        }
    }

    /// All that is known of a container. Secrets are no part of what is declared: units only name them.
    pub(super) fn inspect(&self, name: &Name) -> Result<Value, Fault> {
        self.known(name)?;
        let failed = |error: serde_json::Error| Fault::Failed { why: error.to_string() };
        let Some(seen) = self.observed.units.get(name) else {
            return Ok(json!({}));
        };
        let unit = self.set.declared.units.get(name);
        let image = unit.and_then(|unit| self.images.images.get(unit.reference()?));
        let view = View::new(&self.set.declared, &self.observed);
        let units = self.set.declared.units.iter();
        let needed_by = units.filter_map(|(other, unit)| Some((other, unit.depends.get(name)?)));
        let cgroup = Cgroup::at(cgroup_dir(name));
        let knobs = KNOBS
            .into_iter()
            .filter_map(|knob| Some((knob.to_owned(), Value::from(cgroup.read(knob).ok()?.trim_end()))));
        Ok(json!({
            "name": name,
            "status": serde_json::to_value(self.container_status(&view, name, seen)).map_err(failed)?,
            "declared": plain(serde_json::to_value(unit).map_err(failed)?),
            "image": image.map(|image| json!({ "digest": image.digest, "layers": image.layers })),
            "record": plain(serde_json::to_value(&seen.record).map_err(failed)?),
            "cgroup": knobs.collect::<Map<_, _>>(),
            "depends_on": unit.map(|unit| self.related(unit.depends.iter())).unwrap_or_default(),
            "needed_by": self.related(needed_by),
        }))
    }

    /// The two trees that a session process is to compare. One that is paused can be compared, too.
    pub(super) fn ask_diff(&self, name: &Name) -> Result<Request, Fault> {
        let root = self.root_of(name)?;
        let unit = self.set.declared.units.get(name);
        let base = unit.and_then(|unit| container::base(&self.images.images, unit).ok());
        let (Some(unit), Some(base)) = (unit, base) else {
            return Err(self.wrong_state(name));
        };
        if unit.rootfs.read_only {
            return Ok(Request::Diff(None));
        }
        Ok(Request::Diff(Some(DiffSpec { root, layers: base.layers })))
    }

    /// Where a session process is to copy from or to; also of a unit that is paused.
    pub(super) fn ask_copy(
        &self,
        unit: &Name,
        path: String,
        name: Option<String>,
    ) -> Result<CopySpec, Fault> {
        let root = self.root_of(unit)?;
        let invalid = |parameter: &str| Fault::InvalidParameter { parameter: parameter.to_owned() };
        if !path.starts_with('/') || path.len() > PATH_MAX || path.contains('\0') {
            return Err(invalid("path"));
        }
        let is_name =
            |name: &String| !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']);
        if !name.as_ref().is_none_or(is_name) {
            return Err(invalid("name"));
        }
        Ok(CopySpec { root, path, name })
    }

    /// Whose root to open, of a unit that is up.
    fn root_of(&self, name: &Name) -> Result<RootSpec, Fault> {
        self.known(name)?;
        let seen = self.observed.units.get(name).filter(|seen| seen.record.life.is_up());
        let pid = seen.and_then(|seen| seen.record.run.as_ref()).map(|run| run.pid);
        let pid = pid.ok_or_else(|| self.wrong_state(name))?;
        let start_time = start_time_of(pid, &cgroup_dir(name));
        let start_time = start_time.map_err(|error| Fault::Failed { why: error.to_string() })?;
        Ok(RootSpec { pid, start_time })
    }

    fn related<'d>(&self, others: impl Iterator<Item = (&'d Name, &'d Depends)>) -> Vec<Value> {
        let one = |(name, depends): (&Name, &Depends)| {
            json!({
                "unit": name, "state": self.state_of(name), "until": depends.until, "strength": depends.strength,
            })
        };
        others.map(one).collect()
    }
}
