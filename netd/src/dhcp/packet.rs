//! DHCPv4 messages and the frames they travel in (RFC 2131, RFC 2132). Bytes only; every reply is hostile.

use std::net::Ipv4Addr;

use berth_units::spec::Ipv4Net;

const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Until the server knows that we can receive unicast, everything is broadcast: so a plain UDP socket hears it.
const BROADCAST_FLAG: [u8; 2] = [0x80, 0];
const OPTIONS_AT: usize = 236;
/// Below this size some relays and servers drop a message (RFC 1542, section 2.1).
const SIZE_MIN: usize = 300;
/// Name servers that we keep.
const DNS_MAX: usize = 3;

const MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOSTNAME: u8 = 12;
const REQUESTED: u8 = 50;
const LEASE_TIME: u8 = 51;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const PARAMETERS: u8 = 55;
const RENEWAL: u8 = 58;
const REBINDING: u8 = 59;
const CLIENT: u8 = 61;
const END: u8 = 255;

/// What we say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// DHCPDISCOVER.
    Discover,
    /// DHCPREQUEST for an offer of that server.
    Select(Ipv4Addr, Ipv4Addr),
    /// DHCPREQUEST for an address that we had before.
    Reboot(Ipv4Addr),
    /// DHCPREQUEST for an address that we have.
    Renew(Ipv4Addr),
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Hardware address.
    pub mac: [u8; 6],
    /// Host name for the server's table; empty for none.
    pub hostname: String,
}

/// What a server offers or grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub address: Ipv4Net,
    /// Default route.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Who granted it.
    pub server: Ipv4Addr,
    /// Seconds; `u32::MAX` is for ever.
    pub seconds: u32,
    /// T1, seconds: renew.
    pub renewal: u32,
    /// T2, seconds: ask anybody.
    pub rebinding: u32,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// DHCPOFFER.
    Offer(Lease),
    /// DHCPACK.
    Ack(Lease),
    /// DHCPNAK.
    Nak,
}

/// Writes a message.
pub fn encode(say: Say, who: &Identity, xid: u32) -> Vec<u8> {
    let (kind, client, options) = match say {
        Say::Discover => (1, Ipv4Addr::UNSPECIFIED, vec![]),
        Say::Select(address, server) => {
            (3, Ipv4Addr::UNSPECIFIED, vec![(REQUESTED, address), (SERVER, server)])
        }
        Say::Reboot(address) => (3, Ipv4Addr::UNSPECIFIED, vec![(REQUESTED, address)]),
        Say::Renew(address) => (3, address, vec![]),
    };
    // BOOTREQUEST over ethernet, six bytes of hardware address, no hops.
    let mut bytes = vec![1, 1, 6, 0];
    bytes.extend(xid.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(if client.is_unspecified() { BROADCAST_FLAG } else { [0, 0] });
    bytes.extend(client.octets());
    bytes.extend([0; 12]);
    bytes.extend(who.mac);
    bytes.resize(OPTIONS_AT, 0);
    bytes.extend(MAGIC);
    bytes.extend([KIND, 1, kind, CLIENT, 7, 1]);
    bytes.extend(who.mac);
    for (option, address) in options {
        bytes.extend([option, 4]);
        bytes.extend(address.octets());
    }
    bytes.extend([PARAMETERS, 6, MASK, ROUTER, DNS, LEASE_TIME, RENEWAL, REBINDING]);
    if let Some(length) = u8::try_from(who.hostname.len()).ok().filter(|length| (1..=63).contains(length)) {
        bytes.extend([HOSTNAME, length]);
        bytes.extend(who.hostname.bytes());
    }
    bytes.push(END);
    bytes.resize(bytes.len().max(SIZE_MIN), 0);
    bytes
}

/// Wraps a message into UDP, IPv4 and ethernet, broadcast, from an address that may be 0.0.0.0.
pub fn frame(message: &[u8], mac: [u8; 6], from: Ipv4Addr) -> Vec<u8> {
    let udp = u16::try_from(message.len() + 8).unwrap_or(u16::MAX);
    let mut header = vec![0x45, 0];
    header.extend((udp.saturating_add(20)).to_be_bytes());
    // No fragments, 64 hops, UDP, checksum to come.
    header.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    header.extend(from.octets());
    header.extend([255; 4]);
    let sum = checksum(&header).to_be_bytes();
    let frame = [
        &[255; 6],
        &mac[..],
        &[8, 0],
        header.get(..10).unwrap_or_default(),
        &sum,
        header.get(12..).unwrap_or_default(),
        // From port 68 to 67; a UDP checksum of zero is none.
        &[0, 68, 0, 67],
        &udp.to_be_bytes(),
        &[0, 0],
        message,
    ];
    frame.concat()
}

/// Internet checksum (RFC 1071) over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

/// Reads a reply to us; none for everything else.
pub fn parse(bytes: &[u8], who: &Identity, xid: u32) -> Option<Reply> {
    // BOOTREPLY.
    let ours = bytes.first() == Some(&2)
        && bytes.get(4..8)? == xid.to_be_bytes()
        && bytes.get(28..34)? == who.mac
        && bytes.get(OPTIONS_AT..OPTIONS_AT + 4)? == MAGIC;
    if !ours {
        return None;
    }
    let options = bytes.get(OPTIONS_AT + 4..)?;
    let kind = option(options, KIND)?.first()?;
    if *kind == 6 {
        return Some(Reply::Nak);
    }
    let lease = parse_lease(ipv4(bytes.get(16..20)?)?, options)?;
    match kind {
        2 => Some(Reply::Offer(lease)),
        5 => Some(Reply::Ack(lease)),
        _ => None,
    }
}

fn parse_lease(address: Ipv4Addr, options: &[u8]) -> Option<Lease> {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
        return None;
    }
    let mask = option(options, MASK).and_then(number).unwrap_or(0xffff_ff00);
    let prefix = mask.leading_ones();
    if mask.trailing_zeros() + prefix < 32 || prefix == 0 {
        return None;
    }
    // A lease of a few seconds would have us talk without end.
    let seconds = number(option(options, LEASE_TIME)?)?.max(10);
    let within = |code, low: u32, default| {
        option(options, code).and_then(number).filter(|t| (low..seconds).contains(t)).unwrap_or(default)
    };
    let renewal = within(RENEWAL, 5, seconds / 2);
    let rebinding = within(REBINDING, renewal, (seconds / 8 * 7).max(renewal));
    let usable =
        |address: &Ipv4Addr| !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast();
    let servers = option(options, DNS).unwrap_or_default().chunks(4).filter_map(ipv4);
    Some(Lease {
        address: Ipv4Net { address, prefix: u8::try_from(prefix).ok()? },
        gateway: option(options, ROUTER).and_then(ipv4).filter(usable),
        dns: servers.filter(usable).take(DNS_MAX).collect(),
        server: ipv4(option(options, SERVER)?)?,
        seconds,
        renewal,
        rebinding,
    })
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets))
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The first option of that code.
fn option(mut bytes: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match bytes {
            [0, rest @ ..] => bytes = rest,
            [END, ..] | [_] | [] => return None,
            [code, length, rest @ ..] => {
                let (value, after) = rest.split_at_checked(usize::from(*length))?;
                if *code == wanted {
                    return Some(value);
                }
                bytes = after;
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn who() -> Identity {
        Identity { mac: [0x52, 1, 2, 3, 4, 5], hostname: "berth".into() }
    }

    /// A server's reply as the QEMU user network gives it.
    pub fn reply(kind: u8, xid: u32, seconds: u32) -> Vec<u8> {
        let mut bytes = vec![2, 1, 6, 0];
        bytes.extend(xid.to_be_bytes());
        bytes.resize(16, 0);
        bytes.extend([10, 0, 2, 15]);
        bytes.resize(28, 0);
        bytes.extend(who().mac);
        bytes.resize(OPTIONS_AT, 0);
        bytes.extend(MAGIC);
        bytes.extend([0, KIND, 1, kind, SERVER, 4, 10, 0, 2, 2, MASK, 4, 255, 255, 255, 0]);
        bytes.extend([ROUTER, 4, 10, 0, 2, 2, DNS, 8, 10, 0, 2, 3, 0, 0, 0, 0, LEASE_TIME, 4]);
        bytes.extend(seconds.to_be_bytes());
        bytes.push(END);
        bytes
    }

    #[test]
    fn an_acknowledgement_is_read() {
        let Some(Reply::Ack(lease)) = parse(&reply(5, 7, 86400), &who(), 7) else { panic!() };
        let address = Ipv4Net { address: Ipv4Addr::new(10, 0, 2, 15), prefix: 24 };
        assert_eq!((lease.address, lease.gateway), (address, Some(Ipv4Addr::new(10, 0, 2, 2))));
        assert_eq!(lease.dns, [Ipv4Addr::new(10, 0, 2, 3)]);
        assert_eq!((lease.seconds, lease.renewal, lease.rebinding), (86400, 43200, 75600));
    }

    #[test]
    fn replies_to_others_and_cut_ones_are_ignored() {
        let whole = reply(5, 7, 86400);
        assert!(parse(&whole, &who(), 8).is_none());
        assert!(parse(&whole, &Identity { mac: [0; 6], ..who() }, 7).is_none());
        for length in 0..whole.len() {
            drop(parse(&whole[..length], &who(), 7));
        }
        assert!(parse(&whole[..250], &who(), 7).is_none());
    }

    #[test]
    fn silly_leases_are_refused_or_tamed() {
        let patch = |at: usize, value: &[u8]| {
            let mut bytes = reply(5, 7, 1);
            bytes[at..at + value.len()].copy_from_slice(value);
            parse(&bytes, &who(), 7)
        };
        assert_eq!(patch(16, &[127, 0, 0, 1]), None);
        assert_eq!(patch(16, &[0, 0, 0, 0]), None);
        let mask_at = OPTIONS_AT + 4 + 12;
        assert_eq!(patch(mask_at, &[255, 0, 255, 0]), None);
        let Some(Reply::Ack(lease)) = patch(16, &[10, 0, 2, 15]) else { panic!() };
        assert_eq!((lease.seconds, lease.renewal), (10, 5));
    }

    #[test]
    fn a_frame_has_a_valid_checksum_and_lengths() {
        let message = encode(Say::Discover, &who(), 7);
        assert_eq!(message.len(), SIZE_MIN);
        let frame = frame(&message, who().mac, Ipv4Addr::UNSPECIFIED);
        assert_eq!(frame.len(), 14 + 20 + 8 + SIZE_MIN);
        assert_eq!(checksum(&frame[14..34]), 0);
        assert_eq!(frame[16..18], 328_u16.to_be_bytes());
    }

    proptest! {
        #[test]
        fn no_options_are_too_strange(options in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = reply(5, 7, 86400);
            bytes.truncate(OPTIONS_AT + 4);
            bytes.extend(options);
            if let Some(Reply::Offer(lease) | Reply::Ack(lease)) = parse(&bytes, &who(), 7) {
                prop_assert!(lease.renewal <= lease.rebinding && lease.rebinding <= lease.seconds);
            }
        }
    }
}
