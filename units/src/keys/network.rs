//! `kind = "network"`.

use super::draft::{NetworkDraft, fit};
use super::{Key, Section, Take, Text, key, required, section};

pub(super) const SECTIONS: &[Section<NetworkDraft>] = &[section("ipv4", "Its IPv4 addresses.")];

pub(super) const KEYS: &[Key<NetworkDraft>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    required("kind", Take::Header("\"network\""), "What the file declares."),
    key("description", "", Take::Text(Text::Line, |_, _, _| ()), "One line for people."),
    key(
        "ipv4.subnet",
        "a free /24 of 10.89.0.0/16",
        Take::Subnet(|d, _, v| d.subnet = Some(v)),
        "Addresses of the network.",
    ),
    key(
        "ipv4.gateway",
        "the first address",
        Take::Ipv4(|d, _, v| d.gateway = Some(v)),
        "Address of the bridge.",
    ),
    key("nat", "true", Take::Bool(|d, _, v| d.nat = v), "Masquerade towards the uplink."),
    key(
        "internal",
        "false",
        Take::Bool(|d, _, v| d.internal = v),
        "No way out and none in, only between its members.",
    ),
    key("mtu", "1500", Take::Int(576, 65_535, |d, _, v| d.mtu = fit(v)), "Largest packet, bytes."),
];
