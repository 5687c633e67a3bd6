//! Brings `lo` up with one netlink message, so that the node's own programs can talk before there is a netd.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use rustix::time::Timespec;

use super::boot::BootError;

/// struct nlmsghdr and struct ifinfomsg.
const MESSAGE_LEN: usize = 32;

/// Sets IFF_UP on interface 1, which is the loopback of every network namespace; the kernel adds the addresses.
pub(super) fn bring_up() -> Result<(), BootError> {
    request_up().map_err(BootError::of("bring up 'lo'"))
}

fn request_up() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    // Protocol 0 of this family is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &link_up_message(1), SendFlags::empty())?;
    // The kernel answers within send(2); the limit is against a kernel that does not.
    let limit = Timespec::try_from(Duration::from_secs(1)).map_err(io::Error::other)?;
    if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&limit))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut answer = [0; 256];
    let (_, len) = recv(&socket, &mut answer, RecvFlags::DONTWAIT)?;
    answer_to_result(answer.get(..len).unwrap_or_default())
}

/// RTM_NEWLINK for an existing interface (rtnetlink(7)): change IFF_UP to IFF_UP, and acknowledge.
fn link_up_message(index: i32) -> [u8; MESSAGE_LEN] {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut message = [0; MESSAGE_LEN];
    message[0..4].copy_from_slice(&32_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    message[8..12].copy_from_slice(&1_u32.to_ne_bytes());
    message[20..24].copy_from_slice(&index.to_ne_bytes());
    message[24..28].copy_from_slice(&IFF_UP.to_ne_bytes());
    message[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    message
}

/// NLMSG_ERROR carries a negative errno after its header, or zero: done.
fn answer_to_result(answer: &[u8]) -> io::Result<()> {
    const NLMSG_ERROR: u16 = 2;
    let field = |range| answer.get(range).ok_or(io::ErrorKind::InvalidData);
    if field(4..6)? != NLMSG_ERROR.to_ne_bytes() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let code = field(16..20)?.try_into().map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let mut answer = [0; 36];
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert!(answer_to_result(&answer).is_ok());
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(answer_to_result(&answer).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(answer_to_result(&answer[..10]).is_err());
        assert!(answer_to_result(&[0; 36]).is_err());
    }
}
