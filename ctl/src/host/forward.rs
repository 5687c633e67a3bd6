//! Ports of this machine that lead to ports of the node.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::str::FromStr;

use berth_units::spec::{Declared, Protocol};

use crate::failure::Failure;

/// One forwarded port; this machine's end is on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    /// Protocol.
    pub protocol: Protocol,
    /// Port of this machine.
    pub host: u16,
    /// Port of the node.
    pub node: u16,
}

/// Why a text is not a [`Forward`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a forward is written [tcp:|udp:]HOSTPORT:NODEPORT, ports from 1 to 65535")]
pub struct ForwardError;

#[derive(Debug, thiserror::Error)]
#[error("port {port}/{protocol} of this machine cannot be used")]
struct PortError {
    port: u16,
    protocol: &'static str,
    #[source]
    source: io::Error,
}

impl FromStr for Forward {
    type Err = ForwardError;
    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let (protocol, ports) = match text.split_once(':') {
            Some(("tcp", ports)) => (Protocol::Tcp, ports),
            Some(("udp", ports)) => (Protocol::Udp, ports),
            _ => (Protocol::Tcp, text),
        };
        let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0).ok_or(ForwardError);
        let (host, node) = ports.split_once(':').ok_or(ForwardError)?;
        Ok(Self { protocol, host: port(host)?, node: port(node)? })
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", protocol_name(self.protocol), self.host, self.node)
    }
}

/// `tcp` or `udp`.
pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The ports that units publish, each under its own number, and `more`; none twice.
pub fn of_units(declared: &Declared, more: &[Forward]) -> Vec<Forward> {
    let ports = declared.units.values().filter(|unit| unit.enabled).flat_map(|unit| unit.ports.values());
    let reachable = ports.filter(|port| !port.host_ip.is_some_and(|ip| ip.is_loopback()));
    let of_units =
        reachable.map(|port| Forward { protocol: port.protocol, host: port.host, node: port.host });
    let mut forwards: Vec<Forward> = of_units.chain(more.iter().copied()).collect();
    forwards.sort();
    forwards.dedup();
    forwards
}

/// Fails when a port is taken, before anything is started.
pub fn check_free(forwards: &[Forward]) -> Result<(), Failure> {
    for forward in forwards {
        let address = (Ipv4Addr::LOCALHOST, forward.host);
        let bound = match forward.protocol {
            Protocol::Tcp => TcpListener::bind(address).map(drop),
            Protocol::Udp => UdpSocket::bind(address).map(drop),
        };
        bound.map_err(|source| taken(*forward, source))?;
    }
    Ok(())
}

fn taken(forward: Forward, source: io::Error) -> Failure {
    let protocol = protocol_name(forward.protocol);
    let (port, node) = (forward.host, forward.node);
    let other = if port < 50_000 { port + 10_000 } else { port - 10_000 };
    let first = match source.kind() {
        io::ErrorKind::PermissionDenied => "ports below 1024 are for root".to_owned(),
        _ => format!("'ss -lnp | grep :{port}' shows who has it"),
    };
    let second = format!("or use another: --no-unit-forwards --forward {protocol}:{other}:{node}");
    Failure::action(PortError { port, protocol, source }).hint(first).hint(second)
}

#[cfg(test)]
mod tests {
    use berth_units::spec::{Port, Unit};
    use berth_units::{Name, Reference};

    use super::*;

    #[test]
    fn forwards_are_parsed() {
        for (text, shown) in
            [("8080:80", "tcp:8080:80"), ("tcp:1:2", "tcp:1:2"), ("udp:5353:53", "udp:5353:53")]
        {
            assert_eq!(text.parse::<Forward>().unwrap().to_string(), shown);
        }
        for bad in ["", "80", "0:80", "80:0", "tcp:80", "sctp:1:2", "1:2:3", "70000:1", "-1:1"] {
            assert_eq!(bad.parse::<Forward>(), Err(ForwardError), "{bad}");
        }
    }

    #[test]
    fn units_ports_and_more_are_forwarded_once() {
        let name = Name::parse("web").unwrap();
        let mut unit = Unit::new(name.clone(), Reference::parse("web").unwrap());
        let port = Port { host: 80, container: 8080, protocol: Protocol::Tcp, host_ip: None };
        unit.ports.insert("http".to_owned(), port.clone());
        unit.ports.insert("again".to_owned(), port.clone());
        let hidden = Port { host: 81, host_ip: Some(Ipv4Addr::LOCALHOST), ..port };
        unit.ports.insert("hidden".to_owned(), hidden);
        let mut declared = Declared::default();
        declared.units.insert(name, unit);
        let more = Forward { protocol: Protocol::Tcp, host: 8080, node: 80 };
        let forwards = of_units(&declared, &[more, more]);
        assert_eq!(forwards, [Forward { host: 80, ..more }, more]);
    }

    #[test]
    fn a_taken_port_is_found_before_boot() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = listener.local_addr().unwrap().port();
        let failure = check_free(&[Forward { protocol: Protocol::Tcp, host, node: 80 }]).unwrap_err();
        assert!(failure.text().contains(&host.to_string()) && failure.text().contains("--forward"));
    }
}
