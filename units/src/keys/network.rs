//! `kind = "network"`.

use super::draft::{NetworkDraft, fit};
use super::forms::{ADDRESS_RANGE, IP, IPV6_NET};
use super::{
    Key, Section, Take, Text, Word, key, later, planned, planned_named, planned_section, planned_word,
    required, section,
};

pub(super) const SECTIONS: &[Section<NetworkDraft>] = &[
    section("ipv4", "Its IPv4 addresses."),
    planned_section("ipv6", "Its IPv6 addresses."),
    planned_named("static_hosts", Text::Hostname, "Names that are answered beside those of members."),
    planned_named("labels", Text::Label, "Free key-value pairs."),
];

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
    planned("driver", "\"bridge\"", Take::Words(DRIVER), "How its members are joined."),
    planned("parent", "the uplink", Take::Text(Text::Interface, later), "Link of the node that it lies on."),
    planned("vlan", "none", Take::Int(1, 4094, later), "VLAN of the parent."),
    planned("ifname", "made of its name", Take::Text(Text::Interface, later), "Name of the bridge."),
    planned("isolate", "false", Take::Bool(later), "Its members do not reach each other."),
    planned("dhcp", "false", Take::Bool(later), "Members ask a DHCP server of the parent for addresses."),
    planned("dns", "true", Take::Bool(later), "Names of members are answered."),
    planned("dns_domain", "none", Take::Text(Text::Hostname, later), "Domain below which they are, too."),
    planned(
        "ipv4.range",
        "the subnet",
        Take::Text(Text::Form(&ADDRESS_RANGE), later),
        "Addresses that members are given.",
    ),
    planned(
        "ipv4.reserved",
        "[]",
        Take::List(Text::Form(&ADDRESS_RANGE), later),
        "Addresses that nobody is given.",
    ),
    planned("ipv6.subnet", "", Take::Text(Text::Form(&IPV6_NET), later), "Addresses of the network."),
    planned("ipv6.ula_auto", "false", Take::Bool(later), "Choose a unique local subnet (RFC 4193)."),
    planned("ipv6.ra", "true", Take::Bool(later), "Announce the subnet to members."),
    planned("static_hosts.*", "", Take::Text(Text::Form(&IP), later), "One name's address."),
    planned("labels.*", "", Take::Text(Text::Value, later), "One label."),
];

const DRIVER: &[Word<NetworkDraft>] = &[
    planned_word("bridge", "a bridge of the node"),
    planned_word("macvlan", "each has an address of the parent's network"),
    planned_word("ipvlan", "the same, with the parent's MAC address"),
    planned_word("host-bridge", "a bridge that is there already"),
];
