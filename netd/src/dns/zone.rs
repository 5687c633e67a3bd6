//! What a network's DNS server says to a query: an answer of its own, or that others have to be asked. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use berth_units::spec::Ipv4Net;

use super::message::{A, ANY, Code, PTR, Query, Record, answer};
use crate::route::contains;

/// The names of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// `.NETWORK.internal`.
    suffix: String,
    subnet: Ipv4Net,
    /// Nothing is asked outside: a query would be a way out.
    internal: bool,
    names: BTreeMap<String, Vec<Ipv4Addr>>,
}

impl Zone {
    /// A network's names, in any capitals.
    pub fn new(
        network: &str,
        subnet: Ipv4Net,
        internal: bool,
        names: &BTreeMap<String, Vec<Ipv4Addr>>,
    ) -> Self {
        let names =
            names.iter().map(|(name, addresses)| (name.to_ascii_lowercase(), addresses.clone())).collect();
        Self { suffix: format!(".{network}.internal"), subnet, internal, names }
    }

    /// The answer, or none when the query is for an upstream.
    pub fn resolve(&self, query: &Query) -> Option<Vec<u8>> {
        if !query.internet {
            return Some(answer(query, Code::NotImplemented, &[]));
        }
        let no_such_name = || answer(query, Code::NoSuchName, &[]);
        if let Some(address) = parse_reverse(&query.name) {
            return self.reverse(query, address);
        }
        let inside = query.name.strip_suffix(&self.suffix);
        if let Some(addresses) = self.names.get(inside.unwrap_or(&query.name)) {
            let asked = matches!(query.kind, A | ANY);
            let records: Vec<Record> =
                addresses.iter().filter(|_| asked).map(|a| Record::Address(*a)).collect();
            return Some(answer(query, Code::NoError, &records));
        }
        // A single label means nothing outside; the root itself does.
        let local = inside.is_some() || !query.name.contains('.') && !query.name.is_empty();
        (local || self.internal).then(no_such_name)
    }

    fn reverse(&self, query: &Query, address: Ipv4Addr) -> Option<Vec<u8>> {
        let mut named = self.names.iter().filter(|(_, addresses)| addresses.contains(&address));
        match named.next() {
            Some((name, _)) => {
                let pointer = Record::Pointer(format!("{name}{}", self.suffix));
                let asked = matches!(query.kind, PTR | ANY);
                Some(answer(query, Code::NoError, if asked { std::slice::from_ref(&pointer) } else { &[] }))
            }
            None if self.internal || contains(self.subnet, address) => {
                Some(answer(query, Code::NoSuchName, &[]))
            }
            None => None,
        }
    }
}

/// `4.3.2.1.in-addr.arpa` is 1.2.3.4.
fn parse_reverse(name: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let [a, b, c, d] = address.octets();
    Some(Ipv4Addr::new(d, c, b, a))
}

#[cfg(test)]
mod tests {
    use super::super::message::parse;
    use super::super::message::tests::query;
    use super::*;

    const AAAA: u16 = 28;
    const WEB: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);

    fn zone(internal: bool) -> Zone {
        let subnet = Ipv4Net { address: Ipv4Addr::new(10, 88, 0, 0), prefix: 24 };
        let names = [("web".to_owned(), vec![WEB]), ("Shop.example.com".to_owned(), vec![WEB])].into();
        Zone::new("apps", subnet, internal, &names)
    }

    /// RCODE and number of answers, or none when forwarded.
    #[track_caller]
    fn check(name: &str, kind: u16, expect: Option<(u8, u8)>) {
        let answered = zone(false).resolve(&parse(&query(name, kind)).unwrap());
        assert_eq!(answered.map(|bytes| (bytes[3] & 15, bytes[7])), expect, "{name}");
    }

    #[test]
    fn own_names_are_answered_and_others_forwarded() {
        for (name, kind, expect) in [
            ("web", A, Some((0, 1))),
            ("WEB.apps.internal", A, Some((0, 1))),
            ("shop.example.com", A, Some((0, 1))),
            ("web", AAAA, Some((0, 0))),
            ("web", ANY, Some((0, 1))),
            ("nobody", A, Some((3, 0))),
            ("nobody.apps.internal", A, Some((3, 0))),
            ("web.other.internal", A, None),
            ("example.com", A, None),
            ("", 2, None),
            ("2.0.88.10.in-addr.arpa", PTR, Some((0, 1))),
            ("2.0.88.10.in-addr.arpa", A, Some((0, 0))),
            ("9.0.88.10.in-addr.arpa", PTR, Some((3, 0))),
            ("8.8.8.8.in-addr.arpa", PTR, None),
        ] {
            check(name, kind, expect);
        }
    }

    #[test]
    fn an_internal_network_asks_nobody() {
        for (name, kind) in [("example.com", A), ("8.8.8.8.in-addr.arpa", PTR)] {
            let answered = zone(true).resolve(&parse(&query(name, kind)).unwrap()).unwrap();
            assert_eq!(answered[3] & 15, 3, "{name}");
        }
    }
}
