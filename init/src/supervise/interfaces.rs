//! The interfaces of units: netd puts them into a namespace when a unit starts, and again when somebody took them away.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use berth_units::Name;
use berth_units::observed::{Attach, Seen};
use berth_units::wire::net::{Attached, Interface, Request};

use super::container::cgroup_dir;
use super::{Supervisor, network, signal};
use crate::warning;

/// Whether that run is the present one.
fn is_run(seen: &Seen, number: u64) -> bool {
    seen.record.run.as_ref().is_some_and(|run| run.number == number)
}

impl Supervisor {
    /// Asks for the interfaces of a held process.
    pub(super) fn ask_attach(&mut self, name: &Name, interfaces: Vec<Interface>) {
        let run = self.observed.units.get(name).and_then(|seen| seen.record.run.as_ref());
        let netns = self.held.get(name).and_then(|held| held.netns.as_ref());
        let netns = netns.map(|fd| fd.as_fd().try_clone_to_owned());
        if let (Some(run), Some(Ok(netns))) = (run, netns) {
            let request = Request::Attach { unit: name.clone(), run: run.number, interfaces };
            self.ask_netd(&request, &[netns.as_fd()]);
        }
    }

    /// netd has put the interfaces of a unit into its namespace, or could not.
    pub(super) fn attached(&mut self, name: &Name, run: u64, error: Option<String>) {
        let Some(seen) = self.observed.units.get_mut(name).filter(|seen| is_run(seen, run)) else {
            return;
        };
        match error {
            None => seen.attach = Attach::Done,
            Some(why) if seen.record.life.is_up() => {
                self.replace(name, false, &format!("its interfaces were taken away: {why}"));
            }
            Some(why) => self.fail_run(name, &why),
        }
    }

    /// An interface of a unit is gone. With its container: then there is nothing to do.
    pub(super) fn detached(&mut self, name: &Name, run: u64) {
        let seen = self.observed.units.get(name).filter(|seen| is_run(seen, run));
        let Some(pid) = seen.and_then(|seen| seen.record.run.as_ref()).map(|run| run.pid) else {
            return;
        };
        let unit = self.set.declared.units.get(name);
        let interfaces = unit.and_then(|unit| network::interfaces(&self.set.declared, &self.leases, unit));
        if let (Some(interfaces), Ok(netns)) = (interfaces, network_namespace(pid, name)) {
            warning!("{name}: an interface was taken away; putting it back");
            self.ask_netd(&Request::Attach { unit: name.clone(), run, interfaces }, &[netns.as_fd()]);
        }
    }

    /// Tells a netd that has just started which units have their interfaces: should one of these be gone, it says so.
    pub(super) fn tell_attached(&self) {
        let attached = |(name, seen): (&Name, &Seen)| {
            let run = seen.record.run.as_ref().filter(|_| seen.record.life.is_up())?;
            let unit = self.set.declared.units.get(name)?;
            let interfaces = network::interfaces(&self.set.declared, &self.leases, unit)?;
            let links: Vec<_> = interfaces.into_iter().map(|interface| interface.host_ifname).collect();
            (!links.is_empty()).then(|| (name.clone(), Attached { run: run.number, links }))
        };
        let units = self.observed.units.iter().filter_map(attached).collect();
        self.ask_netd(&Request::Attached { units }, &[]);
    }
}

/// The network namespace of a unit's process. Opened first and the cgroup compared then: a process that has the
/// number of one that is gone belongs elsewhere.
fn network_namespace(pid: i32, name: &Name) -> io::Result<OwnedFd> {
    let netns = File::open(format!("/proc/{pid}/ns/net"))?;
    match signal::is_member(pid, &cgroup_dir(name))? {
        true => Ok(netns.into()),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}
