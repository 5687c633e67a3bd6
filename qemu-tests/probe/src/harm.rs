//! What somebody with all rights does to the node's network and clock behind berth's back.

use std::error::Error;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use rustix::time::{ClockId, clock_gettime, clock_settime};

use crate::Outcome;

const REQUEST_AND_ACK: u16 = 1 | 4;
/// rtnetlink(7), and IFLA_IFNAME of its attributes.
const RTM_DELLINK: u16 = 17;
const IFLA_IFNAME: u16 = 3;
/// linux/netfilter/nfnetlink.h and nf_tables.h.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFT_DELTABLE: u16 = 10 << 8 | 2;
const NFTA_TABLE_NAME: u16 = 1;
const NFPROTO_INET: u8 = 1;

/// `ip link del NAME`.
pub fn delete_link(name: &str) -> Outcome {
    let body = [&[0; 16][..], &text(IFLA_IFNAME, name)].concat();
    exchange(None, &message(RTM_DELLINK, REQUEST_AND_ACK, &body))
}

/// `nft delete table inet NAME`.
pub fn delete_table(name: &str) -> Outcome {
    let body = [&[NFPROTO_INET, 0, 0, 0][..], &text(NFTA_TABLE_NAME, name)].concat();
    let border = |kind| message(kind, 1, &[0, 0, 0, 10]);
    let batch =
        [border(BATCH_BEGIN), message(NFT_DELTABLE, REQUEST_AND_ACK, &body), border(BATCH_END)].concat();
    exchange(Some(netlink::NETFILTER), &batch)
}

/// `date --set`, so many seconds from now.
pub fn shift_clock(seconds: i64) -> Outcome {
    let mut time = clock_gettime(ClockId::Realtime);
    time.tv_sec = time.tv_sec.saturating_add(seconds);
    Ok(clock_settime(ClockId::Realtime, time)?)
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0], body]
        .concat()
}

/// A string attribute, padded to four bytes.
fn text(kind: u16, text: &str) -> Vec<u8> {
    let length = u16::try_from(4 + text.len() + 1).unwrap_or(u16::MAX);
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), text.as_bytes(), &[0]].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends, and reads the acknowledgement (NLMSG_ERROR with 0).
fn exchange(protocol: Option<rustix::net::Protocol>, bytes: &[u8]) -> Outcome {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    send(&socket, bytes, SendFlags::empty())?;
    let mut answer = [0; 4096];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let code = answer.get(16..20).filter(|_| length >= 20).ok_or("a short answer")?;
    match i32::from_ne_bytes(code.try_into()?) {
        0 => Ok(()),
        code => Err(Box::<dyn Error>::from(std::io::Error::from_raw_os_error(-code))),
    }
}
