//! From single files to one state: networks get subnets, volumes that are only named come into being, units in
//! bridge mode that name no network join the default one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::Name;
use crate::codes::{GATEWAY, NO_SUBNET};
use crate::fault::{Fault, Place};
use crate::keys::NetworkDraft;
use crate::spec::{
    Attachment, Config, DEFAULT_NETWORK, Declared, Depends, Ipv4Net, Network, NetworkMode, Node, Secret,
    Unit, Until, Volume,
};
use crate::volumes::{mounted_by, own_volumes};
use crate::walk::Spans;

/// What a file turned out to be.
pub(crate) enum Body {
    Container(Box<Unit>),
    Network(NetworkDraft),
    Volume(Volume),
    /// Nothing where its content is not known; faults have been reported.
    Config(Option<Config>),
    /// Nothing where its source is not known; faults have been reported.
    Secret(Option<Secret>),
    /// Nobody knows; faults have been reported.
    Broken,
}

/// Where a unit was declared.
#[derive(Debug)]
pub(crate) struct Origin {
    pub spans: Spans,
}

impl Origin {
    pub fn key(&self, path: &str) -> Place {
        Place(self.spans.key(path))
    }

    pub fn value(&self, path: &str) -> Place {
        Place(self.spans.value(path))
    }

    pub fn file(&self) -> Place {
        Place(self.spans.root())
    }
}

/// All files of a set.
#[derive(Default)]
pub(crate) struct Parsed {
    pub node: Node,
    pub node_origin: Option<Origin>,
    pub units: BTreeMap<Name, (Origin, Body)>,
    /// Templates of whose instances nobody knows.
    pub broken_templates: BTreeSet<Name>,
}

/// Fills in what follows from the set as a whole.
pub(crate) fn resolve(parsed: &Parsed, faults: &mut Vec<Fault>) -> Declared {
    let mut declared = Declared { node: parsed.node.clone(), ..Declared::default() };
    for (name, (_, body)) in &parsed.units {
        match body {
            Body::Container(unit) => {
                let mut unit = (**unit).clone();
                let has = |profile: &String| parsed.node.profiles.contains(profile);
                unit.enabled &= unit.profiles.is_empty() || unit.profiles.iter().any(has);
                drop(declared.units.insert(name.clone(), unit));
            }
            Body::Volume(volume) => drop(declared.volumes.insert(name.clone(), volume.clone())),
            Body::Config(Some(config)) => drop(declared.configs.insert(name.clone(), config.clone())),
            Body::Secret(Some(secret)) => drop(declared.secrets.insert(name.clone(), secret.clone())),
            Body::Config(None) | Body::Secret(None) | Body::Network(_) | Body::Broken => (),
        }
    }
    join_default(&mut declared);
    bind_joined(&mut declared);
    add_volumes(&mut declared);
    declared.networks = resolve_networks(parsed, &declared, faults);
    declared
}

fn default_network() -> Name {
    Name::parse(DEFAULT_NETWORK).unwrap_or_else(|_| unreachable!("a literal that is a name"))
}

fn join_default(declared: &mut Declared) {
    for unit in declared.units.values_mut() {
        if unit.network == NetworkMode::Bridge && unit.networks.is_empty() {
            unit.networks.insert(default_network(), Attachment::default());
        }
    }
}

/// A unit in the network of another one comes after it and shares its life, and a unit of a pod has its host name.
fn bind_joined(declared: &mut Declared) {
    let hostnames: BTreeMap<Name, String> = declared
        .units
        .values()
        .filter(|unit| unit.is_pod)
        .map(|pod| (pod.name.clone(), pod.hostname.clone()))
        .collect();
    for unit in declared.units.values_mut() {
        if let Some(owner) = unit.network.owner() {
            let implied = Depends { until: Until::Started, ..Depends::default() };
            unit.depends.entry(owner.clone()).or_insert(implied);
        }
        if let NetworkMode::Pod(pod) = &unit.network
            && let Some(hostname) = hostnames.get(pod)
        {
            unit.hostname.clone_from(hostname);
        }
    }
}

fn add_volumes(declared: &mut Declared) {
    for unit in declared.units.values() {
        for volume in mounted_by(unit) {
            let implicit = || Volume { implicit: true, ..Volume::default() };
            declared.volumes.entry(volume).or_insert_with(implicit);
        }
        // Nobody can declare these: their names are none for a file.
        declared.volumes.extend(own_volumes(unit));
    }
}

fn resolve_networks(
    parsed: &Parsed,
    declared: &Declared,
    faults: &mut Vec<Fault>,
) -> BTreeMap<Name, Network> {
    let implicit = NetworkDraft::default();
    let mut drafts: BTreeMap<Name, (&NetworkDraft, Option<&Origin>)> = BTreeMap::new();
    for (name, (origin, body)) in &parsed.units {
        // With a subnet that could not be read, nothing about the network's addresses is certain.
        let unsure = |draft: &NetworkDraft| draft.subnet.is_none() && origin.spans.has("ipv4.subnet");
        if let Body::Network(draft) = body
            && !unsure(draft)
        {
            drafts.insert(name.clone(), (draft, Some(origin)));
        }
    }
    let default = default_network();
    if declared.units.values().any(|unit| unit.networks.contains_key(&default)) {
        drafts.entry(default).or_insert((&implicit, None));
    }
    let mut taken: Vec<Ipv4Net> = drafts.values().filter_map(|(draft, _)| draft.subnet).collect();
    let mut networks = BTreeMap::new();
    for (name, (draft, origin)) in drafts {
        let subnet = draft.subnet.or_else(|| {
            let free = free_subnet(&name, &taken)?;
            taken.push(free);
            Some(free)
        });
        let Some(subnet) = subnet else {
            let place = origin.map_or(Place::NOWHERE, Origin::file);
            let message = format!("no /24 is left for network '{name}'");
            faults.push(Fault::error(NO_SUBNET, place, message).help("give it an ipv4.subnet"));
            continue;
        };
        let gateway = draft.gateway.unwrap_or_else(|| subnet.first_host());
        if let (Some(origin), false) = (origin, subnet.is_host(gateway)) {
            let message = format!("{gateway} cannot be the gateway of {subnet}");
            let help = format!("take an address from {} to {}", subnet.first_host(), subnet.last_host());
            faults.push(Fault::error(GATEWAY, origin.value("ipv4.gateway"), message).help(help));
        }
        let NetworkDraft { nat, internal, mtu, .. } = *draft;
        networks.insert(name, Network { subnet, gateway, nat, internal, mtu });
    }
    networks
}

/// The first free /24: 10.88.0.0 for the default network, for others from 10.89.0.0 to 10.95.255.0.
fn free_subnet(name: &Name, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let others = (89..=95_u8).flat_map(|second| (0..=255_u8).map(move |third| (second, third)));
    let first = (name.as_str() == DEFAULT_NETWORK).then_some((88, 0));
    let candidates = first.into_iter().chain(others);
    candidates
        .map(|(second, third)| Ipv4Net { address: Ipv4Addr::new(10, second, third, 0), prefix: 24 })
        .find(|candidate| !taken.iter().any(|other| candidate.overlaps(other)))
}
