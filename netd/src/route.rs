//! The words of rtnetlink that berth-netd speaks: links, addresses and routes as requests and as dump entries.
//!
//! Nothing here decides anything ([`crate::plan`]) or keeps state. Sources: rtnetlink(7),
//! include/uapi/linux/{rtnetlink,if_link,if_addr}.h.

use std::ffi::CStr;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use berth_units::spec::Ipv4Net;
use rustix::io::Errno;

use crate::netlink::{Error, F_CREATE, F_REPLACE, Message, Socket, attrs, read_u16, read_u32};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_PROTO: u16 = 11;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTN_UNICAST: u8 = 1;
const RTNH_F_ONLINK: u32 = 4;

const AF_INET: u8 = 2;
const AF_INET6: u16 = 10;
const IFF_UP: u32 = 1;
const IFF_LOWER_UP: u32 = 1 << 16;
/// ARPHRD_ETHER.
const ETHERNET: u16 = 1;

/// Link group of everything that berth-netd made: given in the message that makes the link, so that no crash
/// leaves a link of ours that looks foreign. The letters "be".
pub const OUR_GROUP: u32 = 0x6265;
/// IFA_PROTO of our addresses and rtm_protocol of our routes.
pub const OUR_PROTOCOL: u8 = 98;
/// rtnetlink multicast groups LINK, IPV4_IFADDR and IPV4_ROUTE as bind(2) takes them.
pub const EVENT_GROUPS: u32 = 0x1 | 0x10 | 0x40;

/// A link as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// "bridge", "veth", …; none for a link with a driver of its own.
    pub kind: Option<String>,
    /// Framed as ethernet.
    pub ethernet: bool,
    /// Link group: [`OUR_GROUP`] if it is ours.
    pub group: u32,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier.
    pub carrier: bool,
    /// Index of its bridge, or 0.
    pub master: u32,
    /// ifalias; ours holds the network's name on veths.
    pub alias: String,
    /// Hardware address.
    pub mac: [u8; 6],
}

/// An IPv4 address as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of its link.
    pub link: u32,
    /// Address and prefix.
    pub net: Ipv4Net,
    /// Added by us.
    pub ours: bool,
}

/// A default route of the main table as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Index of its link.
    pub link: u32,
    /// Next hop.
    pub gateway: Ipv4Addr,
    /// Added by us.
    pub ours: bool,
}

fn ifinfo(index: u32, flags: u32, change: u32) -> Vec<u8> {
    [&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &change.to_ne_bytes()].concat()
}

/// All links.
pub fn links(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    socket.dump(&Message::new(RTM_GETLINK, 0).put(&ifinfo(0, 0, 0)), parse_link)
}

/// One link by name.
pub fn link(socket: &mut Socket, name: &str) -> Result<Option<Link>, Error> {
    let message = Message::new(RTM_GETLINK, 0).put(&ifinfo(0, 0, 0)).text(IFLA_IFNAME, name);
    let mut found = None;
    match socket.get(message, |_, payload| found = parse_link(payload)) {
        Err(error) if error.is(Errno::NODEV) => Ok(None),
        other => other.map(|()| found),
    }
}

/// All IPv4 addresses.
pub fn addresses(socket: &mut Socket) -> Result<Vec<Address>, Error> {
    socket.dump(&Message::new(RTM_GETADDR, 0).put(&[AF_INET, 0, 0, 0, 0, 0, 0, 0]), parse_address)
}

/// All default routes by one gateway in the main table.
pub fn default_routes(socket: &mut Socket) -> Result<Vec<DefaultRoute>, Error> {
    socket.dump(&Message::new(RTM_GETROUTE, 0).put(&[AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), parse_route)
}

fn parse_text(value: &[u8]) -> String {
    CStr::from_bytes_until_nul(value).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

fn parse_link(payload: &[u8]) -> Option<Link> {
    let flags = read_u32(payload, 8)?;
    let mut link = Link {
        index: read_u32(payload, 4)?,
        ethernet: read_u16(payload, 2)? == ETHERNET,
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        ..Link::default()
    };
    for (kind, value) in attrs(payload.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = parse_text(value),
            IFLA_IFALIAS => link.alias = parse_text(value),
            IFLA_MTU => link.mtu = read_u32(value, 0)?,
            IFLA_GROUP => link.group = read_u32(value, 0)?,
            IFLA_MASTER => link.master = read_u32(value, 0)?,
            IFLA_ADDRESS => link.mac = value.first_chunk().copied().unwrap_or_default(),
            IFLA_LINKINFO => {
                link.kind =
                    attrs(value).find(|(kind, _)| *kind == IFLA_INFO_KIND).map(|(_, text)| parse_text(text));
            }
            _ => {}
        }
    }
    Some(link)
}

fn parse_ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    value.first_chunk().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets))
}

fn parse_address(payload: &[u8]) -> Option<Address> {
    let prefix = *payload.get(1)?;
    let (mut address, mut ours) = (None, false);
    for (kind, value) in attrs(payload.get(8..)?) {
        match kind {
            IFA_LOCAL => address = parse_ipv4(value),
            IFA_PROTO => ours = value.first() == Some(&OUR_PROTOCOL),
            _ => {}
        }
    }
    Some(Address { link: read_u32(payload, 4)?, net: Ipv4Net { address: address?, prefix }, ours })
}

fn parse_route(payload: &[u8]) -> Option<DefaultRoute> {
    let &[family, prefix, _, _, table, protocol, _, kind] = payload.first_chunk()?;
    if (family, prefix, table, kind) != (AF_INET, 0, RT_TABLE_MAIN, RTN_UNICAST) {
        return None;
    }
    let (mut link, mut gateway) = (None, None);
    for (kind, value) in attrs(payload.get(12..)?) {
        match kind {
            RTA_OIF => link = read_u32(value, 0),
            RTA_GATEWAY => gateway = parse_ipv4(value),
            // Not a default route after all.
            RTA_DST => return None,
            _ => {}
        }
    }
    Some(DefaultRoute { link: link?, gateway: gateway?, ours: protocol == OUR_PROTOCOL })
}

/// Makes a bridge that floods multicast (nothing here asks for snooping) and keeps the MAC address it is given: the
/// kernel's own choice would change with the members, and with it the gateway that containers have cached.
pub fn create_bridge(name: &str, mac: [u8; 6], mtu: u32) -> Message {
    Message::new(RTM_NEWLINK, F_CREATE)
        .put(&ifinfo(0, 0, 0))
        .text(IFLA_IFNAME, name)
        .attr(IFLA_ADDRESS, &mac)
        .u32(IFLA_MTU, mtu)
        .u32(IFLA_GROUP, OUR_GROUP)
        .nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "bridge")
                .nest(IFLA_INFO_DATA, |data| data.attr(IFLA_BR_MCAST_SNOOPING, &[0]))
        })
}

/// Both ends of a veth.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// Name of the end that stays.
    pub host: &'a str,
    /// Index of the bridge that it joins.
    pub bridge: u32,
    /// Name of the other end.
    pub peer: &'a str,
    /// Hardware address of the other end.
    pub mac: [u8; 6],
    /// Of both ends, bytes.
    pub mtu: u32,
    /// Where the other end is born.
    pub namespace: BorrowedFd<'a>,
}

/// Makes a veth whose peer is born inside its namespace: no move, so no rename race and no kernel grace period.
pub fn create_veth(veth: &Veth<'_>) -> Message {
    let namespace = u32::try_from(veth.namespace.as_raw_fd()).unwrap_or(u32::MAX);
    let peer = |data: Message| {
        data.nest(VETH_INFO_PEER, |peer| {
            peer.put(&ifinfo(0, 0, 0))
                .text(IFLA_IFNAME, veth.peer)
                .attr(IFLA_ADDRESS, &veth.mac)
                .u32(IFLA_MTU, veth.mtu)
                .u32(IFLA_NET_NS_FD, namespace)
        })
    };
    Message::new(RTM_NEWLINK, F_CREATE)
        .put(&ifinfo(0, 0, 0))
        .text(IFLA_IFNAME, veth.host)
        .u32(IFLA_MTU, veth.mtu)
        .u32(IFLA_GROUP, OUR_GROUP)
        .u32(IFLA_MASTER, veth.bridge)
        .nest(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, peer))
}

fn change_link(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0).put(&ifinfo(index, 0, 0))
}

/// Brings a link up.
pub fn set_up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0).put(&ifinfo(index, IFF_UP, IFF_UP))
}

/// Puts a link on a bridge.
pub fn set_master(index: u32, bridge: u32) -> Message {
    change_link(index).u32(IFLA_MASTER, bridge)
}

/// Changes the MTU, bytes.
pub fn set_mtu(index: u32, mtu: u32) -> Message {
    change_link(index).u32(IFLA_MTU, mtu)
}

/// Changes the hardware address.
pub fn set_mac(index: u32, mac: [u8; 6]) -> Message {
    change_link(index).attr(IFLA_ADDRESS, &mac)
}

/// Marks a link as ours.
pub fn set_group(index: u32) -> Message {
    change_link(index).u32(IFLA_GROUP, OUR_GROUP)
}

/// Writes the ifalias.
pub fn set_alias(index: u32, alias: &str) -> Message {
    change_link(index).text(IFLA_IFALIAS, alias)
}

/// Keeps the kernel from inventing an IPv6 link-local address, and from the probes that come with it. Has to be
/// sent before the link is brought up.
pub fn set_no_ipv6_address(index: u32) -> Message {
    change_link(index).nest(IFLA_AF_SPEC, |families| {
        families.nest(AF_INET6, |v6| v6.attr(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE]))
    })
}

/// Removes a link by name.
pub fn delete_link(name: &str) -> Message {
    Message::new(RTM_DELLINK, 0).put(&ifinfo(0, 0, 0)).text(IFLA_IFNAME, name)
}

fn ifaddr(kind: u16, flags: u16, link: u32, net: Ipv4Net) -> Message {
    Message::new(kind, flags)
        .put(&[&[AF_INET, net.prefix, 0, 0][..], &link.to_ne_bytes()].concat())
        .attr(IFA_LOCAL, &net.address.octets())
        .attr(IFA_ADDRESS, &net.address.octets())
}

/// Adds an address, or renews its lifetime; `lifetime` in seconds, none is for ever.
pub fn set_address(link: u32, net: Ipv4Net, lifetime: Option<u32>) -> Message {
    let seconds = lifetime.unwrap_or(u32::MAX).to_ne_bytes();
    let message = ifaddr(RTM_NEWADDR, F_REPLACE, link, net)
        .attr(IFA_PROTO, &[OUR_PROTOCOL])
        .attr(IFA_CACHEINFO, &[&seconds[..], &seconds, &[0; 8]].concat());
    if net.prefix > 30 { message } else { message.attr(IFA_BROADCAST, &broadcast(net).octets()) }
}

/// Removes an address.
pub fn delete_address(link: u32, net: Ipv4Net) -> Message {
    ifaddr(RTM_DELADDR, 0, link, net)
}

/// Network mask of a prefix length.
pub fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// Whether `address` lies in the subnet of `net`.
pub fn contains(net: Ipv4Net, address: Ipv4Addr) -> bool {
    (u32::from(net.address) ^ u32::from(address)) & mask(net.prefix) == 0
}

fn broadcast(net: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.address) | !mask(net.prefix))
}

fn rtmsg(kind: u16, flags: u16, protocol: u8, onlink: bool) -> Message {
    let next_hop = if onlink { RTNH_F_ONLINK } else { 0 };
    let fixed = [AF_INET, 0, 0, 0, RT_TABLE_MAIN, protocol, 0, RTN_UNICAST];
    Message::new(kind, flags).put(&[&fixed[..], &next_hop.to_ne_bytes()].concat())
}

/// Sets the default route; `onlink` where the gateway lies outside the link's subnet.
pub fn set_default_route(link: u32, gateway: Ipv4Addr, onlink: bool) -> Message {
    rtmsg(RTM_NEWROUTE, F_REPLACE, OUR_PROTOCOL, onlink)
        .u32(RTA_OIF, link)
        .attr(RTA_GATEWAY, &gateway.octets())
}

/// Removes a default route of ours.
pub fn delete_default_route(link: u32, gateway: Ipv4Addr) -> Message {
    rtmsg(RTM_DELROUTE, 0, OUR_PROTOCOL, false).u32(RTA_OIF, link).attr(RTA_GATEWAY, &gateway.octets())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefixes_make_masks() {
        for (prefix, expect) in [(0, 0), (8, 0xff00_0000), (24, 0xffff_ff00), (32, u32::MAX), (99, u32::MAX)]
        {
            assert_eq!(mask(prefix), expect, "/{prefix}");
        }
        let net = Ipv4Net { address: Ipv4Addr::new(10, 0, 2, 15), prefix: 24 };
        assert!(contains(net, Ipv4Addr::new(10, 0, 2, 2)) && !contains(net, Ipv4Addr::new(10, 0, 3, 2)));
        assert_eq!(broadcast(net), Ipv4Addr::new(10, 0, 2, 255));
    }

    #[test]
    fn short_entries_are_no_entries() {
        for length in 0..16 {
            assert!(parse_link(&vec![0; length]).is_none());
            assert!(parse_address(&vec![0; length]).is_none());
            assert!(parse_route(&vec![0; length]).is_none());
        }
    }

    proptest! {
        #[test]
        fn no_entry_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop((parse_link(&bytes), parse_address(&bytes), parse_route(&bytes)));
        }
    }
}
