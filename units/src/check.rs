//! What only the whole set can show: names that nobody declares, loops, and two who want one thing.

mod depends;
mod joined;
mod networks;
mod ports;
mod resources;
mod sockets;
mod supplies;

use crate::Name;
use std::collections::BTreeMap;

use crate::codes::{HOSTNAME_TWICE, OWN_VOLUME, STOP_LONGER};
use crate::fault::Fault;
use crate::human;
use crate::resolve::{Body, Origin, Parsed};
use crate::spec::{Declared, NetworkMode};
use crate::volumes::Own;
pub use resources::{Capacity, Remark, against_node};

/// Checks the resolved set.
pub(crate) fn whole_set(declared: &Declared, parsed: &Parsed, faults: &mut Vec<Fault>) {
    let set = Set { declared, parsed };
    depends::check_references(&set, faults);
    joined::check_owners(&set, faults);
    depends::check_conflicts(&set, faults);
    depends::check_cycles(&set, faults);
    networks::check_subnets(&set, faults);
    networks::check_memberships(&set, faults);
    networks::check_aliases(&set, faults);
    networks::check_room(&set, faults);
    ports::check_host_ports(&set, faults);
    ports::check_internal(&set, faults);
    sockets::check_sockets(&set, faults);
    resources::check_promises(&set, faults);
    check_hostnames(&set, faults);
    check_own_volumes(&set, faults);
    supplies::check_supplies(&set, faults);
    check_stop(&set, faults);
}

/// A host name that is written twice most often came along with a copied file.
fn check_hostnames(set: &Set<'_>, faults: &mut Vec<Fault>) {
    let mut owners = BTreeMap::new();
    for (name, unit) in set.declared.units.iter().filter(|(_, unit)| unit.network == NetworkMode::Bridge) {
        let Some(origin) = set.origin(name).filter(|origin| origin.spans.has("network.hostname")) else {
            continue;
        };
        let place = origin.value("network.hostname");
        if let Some((other, there)) = owners.insert(&unit.hostname, (name, place.clone())) {
            let message = format!("unit '{other}' has the host name '{}', too", unit.hostname);
            faults.push(Fault::warning(HOSTNAME_TWICE, place, message).related(there, "there"));
        }
    }
}

/// `web@a` and `web-a` are one name as soon as something stands behind it.
fn check_own_volumes(set: &Set<'_>, faults: &mut Vec<Fault>) {
    let mut owners = BTreeMap::new();
    for (name, unit) in &set.declared.units {
        for own in Own::ALL.into_iter().filter(|own| own.is_used(unit)) {
            let (Some(volume), Some(origin)) = (own.name(name), set.origin(name)) else { continue };
            if let Some(other) = owners.insert(volume.clone(), name) {
                let message = format!("unit '{other}' has the volume '{volume}' for itself, too");
                let fault = Fault::error(OWN_VOLUME, origin.key(own.key()), message);
                faults.push(fault.help("call one of the two units differently"));
            }
        }
    }
}

/// The set as it was meant and as it was written.
struct Set<'s> {
    declared: &'s Declared,
    parsed: &'s Parsed,
}

impl Set<'_> {
    /// Where a unit, network or volume is declared; what exists without a file has no origin.
    fn origin(&self, name: &Name) -> Option<&Origin> {
        self.parsed.units.get(name).map(|(origin, _)| origin)
    }

    /// The kind of a name, or none when nobody declares it. A broken file may be of any kind.
    fn kind(&self, name: &Name) -> Option<&'static str> {
        let known = self.parsed.units.get(name).map(|(_, body)| match body {
            Body::Container(_) => "a container",
            Body::Network(_) => "a network",
            Body::Volume(_) => "a volume",
            Body::Config(_) => "a config",
            Body::Secret(_) => "a secret",
            Body::Broken => "broken",
        });
        let of_broken = |(base, _): (&str, &str)| self.parsed.broken_templates.contains(base);
        known.or_else(|| name.parts().filter(|parts| of_broken(*parts)).map(|_| "broken"))
    }
}

fn check_stop(set: &Set<'_>, faults: &mut Vec<Fault>) {
    let node = set.declared.node.stop_timeout;
    for (name, unit) in
        set.declared.units.iter().filter(|(_, unit)| unit.stop.timeout + unit.stop.delay > node)
    {
        let Some(origin) = set.origin(name) else { continue };
        let message = format!(
            "stop.timeout{} {} is longer than the node waits at a shutdown, {}",
            if unit.stop.delay.is_zero() { "" } else { " with stop.delay" },
            human::duration(unit.stop.timeout + unit.stop.delay),
            human::duration(node)
        );
        let fault = Fault::warning(STOP_LONGER, origin.value("stop.timeout"), message);
        faults.push(fault.help("raise stop_timeout in node.toml"));
    }
}

#[cfg(test)]
mod tests;
