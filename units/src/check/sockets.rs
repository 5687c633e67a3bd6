//! Sockets that are held open: one owner for each address of the node.

use std::net::{IpAddr, SocketAddr};

use super::Set;
use crate::Name;
use crate::codes::HOST_PORT;
use crate::fault::{Fault, Place};
use crate::spec::{Listen, Protocol};

/// Something of the node that only one can have.
struct Taken<'s> {
    unit: &'s Name,
    what: What<'s>,
    /// In words: `socket 'http'`.
    words: String,
    place: Place,
}

#[derive(PartialEq)]
enum What<'s> {
    /// No address stands for all of them.
    Port(Protocol, u16, Option<IpAddr>),
    Path(&'s str),
}

impl What<'_> {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Port(a, port, one), Self::Port(b, other, two)) => {
                (a, port) == (b, other) && (one.is_none() || two.is_none() || one == two)
            }
            _ => self == other,
        }
    }
}

pub(super) fn check_sockets(set: &Set<'_>, faults: &mut Vec<Fault>) {
    let mut taken = published(set);
    for (unit, declared) in &set.declared.units {
        let Some(origin) = set.origin(unit) else { continue };
        for (name, socket) in &declared.sockets {
            let what = match &socket.listen {
                Listen::Tcp(address) => port(Protocol::Tcp, address),
                Listen::Udp(address) => port(Protocol::Udp, address),
                Listen::Unix(path) => What::Path(path),
            };
            let place = origin.value(&format!("sockets.{name}.listen"));
            if let Some(other) = taken.iter().find(|other| other.what.meets(&what)) {
                let message = format!("{} of unit '{}' has this already", other.words, other.unit);
                let fault = Fault::error(HOST_PORT, place.clone(), message);
                faults.push(
                    fault.related(other.place.clone(), "here").help("give one of them another port or path"),
                );
            }
            taken.push(Taken { unit, what, words: format!("socket '{name}'"), place });
        }
    }
}

fn published<'s>(set: &Set<'s>) -> Vec<Taken<'s>> {
    let mut taken = Vec::new();
    for (unit, declared) in &set.declared.units {
        let Some(origin) = set.origin(unit) else { continue };
        taken.extend(declared.ports.iter().map(|(name, port)| Taken {
            unit,
            what: What::Port(port.protocol, port.host, port.host_ip.map(IpAddr::V4)),
            words: format!("port '{name}'"),
            place: origin.value(&format!("ports.{name}.host")),
        }));
    }
    taken
}

/// A socket on the unspecified address of IPv6 takes IPv4, too.
fn port<'s>(protocol: Protocol, address: &SocketAddr) -> What<'s> {
    let ip = address.ip().to_canonical();
    What::Port(protocol, address.port(), Some(ip).filter(|ip| !ip.is_unspecified()))
}
