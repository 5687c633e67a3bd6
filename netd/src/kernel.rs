//! Links of the kernel: observing them, executing a plan, putting a container's interfaces into its namespace.
//!
//! Decides nothing: what to do comes from [`crate::plan`] or from a request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use berth_units::Name;
use berth_units::wire::net::{Interface, NetState, bridge_ifname, mac_address};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::chain;
use crate::netlink::{self, ROUTE, Socket};
use crate::plan::{Op, Plan, Seen, sysctls};
use crate::route::{self, Link, Veth};

/// What could not be done to the links.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Dumps of links, addresses, routes.
    #[error("cannot read the kernel's links")]
    Observe(#[source] netlink::Error),
    /// One [`Op`].
    #[error("cannot {0}")]
    Apply(String, #[source] netlink::Error),
    /// A sysctl.
    #[error("cannot write '{1}' to /proc/sys/{0}")]
    Sysctl(String, String, #[source] io::Error),
    /// An op names a link that is not there.
    #[error("there is no link '{0}'")]
    NoLink(String),
    /// An interface names a network that is not declared or could not be made.
    #[error("the network '{0}' is not up")]
    NoNetwork(Name),
    /// setns or the thread for it.
    #[error("cannot enter the container's network namespace")]
    Enter(#[source] io::Error),
}

/// Reads everything that a plan is made from.
pub fn observe(socket: &mut Socket, state: &NetState) -> Result<Seen, Error> {
    let read = |path: String| {
        let value = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
        Some((path, value.trim().to_owned()))
    };
    Ok(Seen {
        links: route::links(socket).map_err(Error::Observe)?,
        addresses: route::addresses(socket).map_err(Error::Observe)?,
        routes: route::default_routes(socket).map_err(Error::Observe)?,
        sysctls: sysctls(state).into_iter().filter_map(read).collect(),
    })
}

/// What remained undone of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// By network.
    pub failed: BTreeMap<Name, String>,
    /// Everything else.
    pub errors: Vec<String>,
}

/// Executes a plan as far as it goes: what fails takes only its own network with it.
pub fn apply(socket: &mut Socket, plan: Plan) -> Outcome {
    let mut outcome = Outcome { failed: plan.failed, errors: Vec::new() };
    let mut broken: BTreeSet<Name> = outcome.failed.keys().cloned().collect();
    for (network, op) in plan.ops {
        if network.as_ref().is_some_and(|name| broken.contains(name)) {
            continue;
        }
        let Err(error) = execute(socket, &op) else { continue };
        match network {
            Some(name) => {
                broken.insert(name.clone());
                outcome.failed.insert(name, chain(&error));
            }
            None => outcome.errors.push(chain(&error)),
        }
    }
    outcome
}

fn index(socket: &mut Socket, name: &str) -> Result<u32, Error> {
    let link = route::link(socket, name).map_err(Error::Observe)?;
    link.map(|link| link.index).ok_or_else(|| Error::NoLink(name.to_owned()))
}

fn execute(socket: &mut Socket, op: &Op) -> Result<(), Error> {
    let (what, message) = match op {
        Op::Sysctl(path, value) => return write_sysctl(path, value),
        Op::DeleteLink(name) => (format!("remove the link '{name}'"), route::delete_link(name)),
        Op::CreateBridge(name, mac, mtu) => {
            (format!("create the bridge '{name}'"), route::create_bridge(name, *mac, *mtu))
        }
        Op::Mark(name) => (format!("mark the link '{name}'"), route::set_group(index(socket, name)?)),
        Op::SetMac(name, mac) => {
            (format!("set the hardware address of '{name}'"), route::set_mac(index(socket, name)?, *mac))
        }
        Op::SetMtu(name, mtu) => {
            (format!("set the MTU of '{name}' to {mtu}"), route::set_mtu(index(socket, name)?, *mtu))
        }
        Op::AddAddress(name, net, lifetime) => (
            format!("give '{name}' the address {}/{}", net.address, net.prefix),
            route::set_address(index(socket, name)?, *net, *lifetime),
        ),
        Op::DeleteAddress(name, net) => (
            format!("take the address {}/{} from '{name}'", net.address, net.prefix),
            route::delete_address(index(socket, name)?, *net),
        ),
        Op::Up(name) => (format!("bring '{name}' up"), route::set_up(index(socket, name)?)),
        Op::Enslave(name, bridge) => (
            format!("put '{name}' on the bridge '{bridge}'"),
            route::set_master(index(socket, name)?, index(socket, bridge)?),
        ),
        Op::SetRoute(name, gateway, onlink) => (
            format!("route by {gateway} on '{name}'"),
            route::set_default_route(index(socket, name)?, *gateway, *onlink),
        ),
        Op::DeleteRoute(link, gateway) => {
            (format!("drop the route by {gateway}"), route::delete_default_route(*link, *gateway))
        }
    };
    match socket.request(message) {
        // Gone together with its link or address: that is what was wanted.
        Err(error) if is_removal(op) && (error.is(Errno::NODEV) || error.is(Errno::SRCH)) => Ok(()),
        Err(error) if is_removal(op) && error.is(Errno::ADDRNOTAVAIL) => Ok(()),
        other => other.map_err(|cause| Error::Apply(what, cause)),
    }
}

fn is_removal(op: &Op) -> bool {
    matches!(op, Op::DeleteLink(_) | Op::DeleteAddress(..) | Op::DeleteRoute(..))
}

fn write_sysctl(path: &str, value: &str) -> Result<(), Error> {
    match fs::write(format!("/proc/sys/{path}"), value) {
        // A kernel without IPv6 has nothing to switch off.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && path.starts_with("net/ipv6/") => Ok(()),
        other => other.map_err(|cause| Error::Sysctl(path.to_owned(), value.to_owned(), cause)),
    }
}

/// Puts interfaces into a container's namespace, up and with address and route.
pub fn attach(
    socket: &mut Socket,
    state: &NetState,
    unit: &Name,
    interfaces: &[Interface],
    namespace: BorrowedFd<'_>,
) -> Result<(), Error> {
    let mut inside = open_inside(namespace)?;
    let lo = index(&mut inside, "lo")?;
    inside.request(route::set_up(lo)).map_err(|cause| Error::Apply("bring loopback up".into(), cause))?;
    for interface in interfaces {
        let network = state.networks.get(&interface.network);
        let bridge = route::link(socket, &bridge_ifname(&interface.network)).map_err(Error::Observe)?;
        let (Some(network), Some(bridge)) = (network, bridge) else {
            return Err(Error::NoNetwork(interface.network.clone()));
        };
        let mac = mac_address(unit, &interface.network);
        let veth = Veth {
            host: &interface.host_ifname,
            bridge: bridge.index,
            peer: &interface.ifname,
            mac,
            mtu: network.mtu,
            namespace,
        };
        create_veth(socket, &veth, &interface.network)?;
        let gateway = interface.gateway.filter(|_| !network.internal);
        configure_inside(&mut inside, &Interface { gateway, ..interface.clone() })?;
    }
    Ok(())
}

fn create_veth(socket: &mut Socket, veth: &Veth<'_>, network: &Name) -> Result<(), Error> {
    let failed = |cause| Error::Apply(format!("create the veth '{}'", veth.host), cause);
    let mut created = socket.request(route::create_veth(veth));
    if created.as_ref().is_err_and(|error| error.is(Errno::EXIST)) {
        // Left over from the run before: its namespace may still be on its way out.
        socket.request(route::delete_link(veth.host)).map_err(failed)?;
        created = socket.request(route::create_veth(veth));
    }
    created.map_err(failed)?;
    let host = index(socket, veth.host)?;
    start_link(socket, host).map_err(failed)?;
    socket.request(route::set_alias(host, network.as_str())).map_err(failed)
}

/// Brings a link up without an IPv6 address of its own.
fn start_link(socket: &mut Socket, index: u32) -> Result<(), netlink::Error> {
    match socket.request(route::set_no_ipv6_address(index)) {
        Err(error) if !error.is(Errno::AFNOSUPPORT) && !error.is(Errno::OPNOTSUPP) => return Err(error),
        _ => {}
    }
    socket.request(route::set_up(index))
}

fn configure_inside(inside: &mut Socket, interface: &Interface) -> Result<(), Error> {
    let name = &interface.ifname;
    let failed = |cause| Error::Apply(format!("configure '{name}' inside the container"), cause);
    let index = index(inside, name)?;
    start_link(inside, index).map_err(failed)?;
    inside.request(route::set_address(index, interface.address, None)).map_err(failed)?;
    let Some(gateway) = interface.gateway else { return Ok(()) };
    let onlink = !route::contains(interface.address, gateway);
    inside.request(route::set_default_route(index, gateway, onlink)).map_err(failed)
}

/// A netlink socket belongs to the namespace of the thread that opens it, for as long as it lives. So a thread goes
/// into the namespace, opens one and ends; no other thread is ever anywhere but at home.
fn open_inside(namespace: BorrowedFd<'_>) -> Result<Socket, Error> {
    let namespace = namespace.try_clone_to_owned().map_err(Error::Enter)?;
    let enter = move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| Error::Enter(errno.into()))?;
        Socket::open(ROUTE).map_err(Error::Observe)
    };
    let thread = thread::Builder::new().stack_size(64 << 10).spawn(enter).map_err(Error::Enter)?;
    thread.join().map_err(|_| Error::Enter(io::Error::other("the thread for it died")))?
}

/// The link that a node without a setting uses: the first by name that is ethernet and has a driver of its own.
pub fn choose_uplink<'a>(links: &'a [Link], declared: Option<&str>) -> Option<&'a Link> {
    match declared {
        Some(name) => links.iter().find(|link| link.name == name),
        None => links
            .iter()
            .filter(|link| link.ethernet && link.kind.is_none())
            .min_by(|a, b| a.name.cmp(&b.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uplink_is_the_first_link_with_a_driver() {
        let link = |name: &str, kind: Option<&str>, ethernet| Link {
            name: name.into(),
            kind: kind.map(String::from),
            ethernet,
            ..Link::default()
        };
        let links = [
            link("lo", None, false),
            link("br-a", Some("bridge"), true),
            link("eth1", None, true),
            link("eth0", None, true),
            link("veth9", Some("veth"), true),
        ];
        let chosen = |declared| choose_uplink(&links, declared).map(|link| link.name.as_str());
        assert_eq!(chosen(None), Some("eth0"));
        assert_eq!(chosen(Some("veth9")), Some("veth9"));
        assert_eq!(chosen(Some("eth7")), None);
    }
}
