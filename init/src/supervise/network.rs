//! What netd is told: the whole wanted state of the network, made from the declared set and the leases.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use berth_units::Name;
use berth_units::addresses::Leases;
use berth_units::spec::{Declared, Host, Ipv4Net, NetworkMode, Unit};
use berth_units::wire::net::{Interface, NetState, PublishedPort, host_ifname};

/// The networks of a unit in the order of its interfaces.
fn networks_of(unit: &Unit) -> impl Iterator<Item = &Name> {
    unit.networks.keys().filter(|_| unit.network == NetworkMode::Bridge)
}

/// The addresses of a unit, in the order of its interfaces.
pub fn addresses(unit: &Unit, leases: &Leases) -> Vec<Ipv4Addr> {
    networks_of(unit).filter_map(|network| leases.get(network, &unit.name)).collect()
}

/// Where the node reaches a server: of a unit in another one's network it is that one's address.
pub fn address_of(declared: &Declared, leases: &Leases, host: &Host) -> Option<Ipv4Addr> {
    let name = match host {
        Host::Address(address) => return Some(*address),
        Host::Unit(name) => name,
    };
    let unit = declared.units.get(name)?;
    let unit = unit.network.owner().and_then(|owner| declared.units.get(owner)).unwrap_or(unit);
    match unit.network {
        NetworkMode::Host => Some(Ipv4Addr::LOCALHOST),
        _ => addresses(unit, leases).first().copied(),
    }
}

/// Everything that netd should make so; units in `closing` take no new connections at their ports.
pub fn wanted(declared: &Declared, leases: &Leases, closing: &BTreeSet<Name>) -> NetState {
    let open = declared.units.values().filter(|unit| !closing.contains(&unit.name));
    NetState {
        uplink: declared.node.uplink.clone(),
        hostname: declared.node.hostname.to_string(),
        networks: declared.networks.clone(),
        names: names(declared, leases),
        ports: open.flat_map(|unit| ports(unit, leases)).collect(),
    }
}

fn names(declared: &Declared, leases: &Leases) -> BTreeMap<Name, BTreeMap<String, Vec<Ipv4Addr>>> {
    let mut all: BTreeMap<Name, BTreeMap<String, Vec<Ipv4Addr>>> = BTreeMap::new();
    for unit in declared.units.values().filter(|unit| unit.network == NetworkMode::Bridge) {
        for (network, attachment) in &unit.networks {
            let Some(address) = leases.get(network, &unit.name) else {
                continue;
            };
            let names = all.entry(network.clone()).or_default();
            for name in attachment.aliases.iter().cloned().chain([unit.name.label()]) {
                names.entry(name).or_default().push(address);
            }
        }
    }
    all
}

fn ports(unit: &Unit, leases: &Leases) -> Vec<PublishedPort> {
    let Some(address) = addresses(unit, leases).first().copied() else {
        return Vec::new();
    };
    let published = unit.ports.values().map(|port| PublishedPort {
        unit: unit.name.clone(),
        protocol: port.protocol,
        host_ip: port.host_ip,
        host: port.host,
        address,
        container: port.container,
    });
    published.collect()
}

/// The interfaces of a unit; `None` for a network in which no address is left.
pub fn interfaces(declared: &Declared, leases: &Leases, unit: &Unit) -> Option<Vec<Interface>> {
    let make = |(at, name): (usize, &Name)| {
        let network = declared.networks.get(name)?;
        Some(Interface {
            network: name.clone(),
            ifname: format!("eth{at}"),
            host_ifname: host_ifname(&unit.name, name),
            address: Ipv4Net { address: leases.get(name, &unit.name)?, prefix: network.subnet.prefix },
            gateway: (at == 0 && !network.internal).then_some(network.gateway),
        })
    };
    networks_of(unit).enumerate().map(make).collect()
}

/// /etc/hosts and /etc/resolv.conf of a unit: its own name, and the DNS server of its first network. Of one that shares a
/// network, it is the owner's address and server.
pub fn etc_files(declared: &Declared, leases: &Leases, unit: &Unit) -> Vec<(String, String)> {
    let mut hosts = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    let owner = unit.network.owner().and_then(|owner| declared.units.get(owner)).unwrap_or(unit);
    if let Some(address) = addresses(owner, leases).first() {
        hosts.push_str(&format!("{address} {}\n", unit.hostname));
    }
    let first = networks_of(owner).next().and_then(|name| Some((name, declared.networks.get(name)?)));
    let resolv = first.map_or(String::new(), |(name, network)| {
        format!("nameserver {}\nsearch {name}.internal\noptions ndots:1\n", network.gateway)
    });
    vec![
        ("/etc/hostname".to_owned(), format!("{}\n", unit.hostname)),
        ("/etc/hosts".to_owned(), hosts),
        ("/etc/resolv.conf".to_owned(), resolv),
    ]
}

#[cfg(test)]
mod tests {
    use berth_units::{SourceFile, addresses::assign, parse_set};

    use super::*;

    #[test]
    fn the_state_names_and_publishes_every_unit() {
        let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
        let checked = parse_set(&[
            file("node.toml", "schema = 1\nhostname = \"edge\"\n"),
            file("units/side.toml", "schema = 1\n[image]\nref = \"a\"\n[network]\nmode = \"unit:web\"\n"),
            file("units/agent.toml", "schema = 1\n[image]\nref = \"a\"\n[network]\nmode = \"host\"\n"),
            file("units/apps.toml", "schema = 1\nkind = \"network\"\n[ipv4]\nsubnet = \"10.9.0.0/24\"\n"),
            file(
                "units/web.toml",
                "schema = 1\n[image]\nref = \"web\"\n[networks.apps]\nipv4 = \"10.9.0.7\"\naliases = [\"shop\"]\n\
                 [ports.http]\nhost = 80\ncontainer = 8080\n",
            ),
        ]);
        let declared = checked.declared.unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
        let (leases, _) = assign(&declared, &Leases::default());
        let unit = |name: &str| Host::Unit(Name::parse(name).unwrap());
        assert_eq!(address_of(&declared, &leases, &unit("web")), Some(Ipv4Addr::new(10, 9, 0, 7)));
        assert_eq!(address_of(&declared, &leases, &unit("side")), Some(Ipv4Addr::new(10, 9, 0, 7)));
        assert_eq!(address_of(&declared, &leases, &unit("agent")), Some(Ipv4Addr::LOCALHOST));
        assert_eq!(address_of(&declared, &leases, &unit("nobody")), None);
        let resolv = |name: &str| etc_files(&declared, &leases, &declared.units[name]).pop().unwrap().1;
        assert_eq!(resolv("side"), resolv("web"));
        let closing = [Name::parse("web").unwrap()].into();
        assert!(wanted(&declared, &leases, &closing).ports.is_empty());
        let state = wanted(&declared, &leases, &BTreeSet::new());
        let apps = Name::parse("apps").unwrap();
        assert_eq!(state.names[&apps]["shop"], [Ipv4Addr::new(10, 9, 0, 7)]);
        assert_eq!(state.ports[0].address, Ipv4Addr::new(10, 9, 0, 7));
        let interfaces = interfaces(&declared, &leases, &declared.units["web"]).unwrap();
        assert_eq!((interfaces[0].ifname.as_str(), interfaces[0].address.prefix), ("eth0", 24));
        assert_eq!(interfaces[0].gateway, Some(Ipv4Addr::new(10, 9, 0, 1)));
    }
}
