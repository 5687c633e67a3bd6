//! The uplink: which link it is, and what address it should have, from node.toml or a DHCP server.
//!
//! Says what is wanted ([`Uplink::wanted`]); the planner and the executor make it so. Here are the sockets of the
//! DHCP client ([`crate::dhcp`]), nothing of its states.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use berth_units::spec::{self, UplinkMode};
use berth_units::wire::net::UplinkState;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, setsockopt, sockopt};

use crate::dhcp::packet::{Identity, Lease, frame};
use crate::dhcp::{Client, Output};
use crate::kernel::choose_uplink;
use crate::plan::{Seen, UplinkConfig, WantedUplink};
use crate::route::Link;
use crate::{Level, chain, random, say};

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// A DHCP message fits into the smallest ethernet MTU.
const MESSAGE_MAX: usize = 1500;
/// Packets taken before the others have their turn.
const BURST: usize = 32;

/// What could not be done for DHCP.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client's UDP socket.
    #[error("cannot open the DHCP client's socket on '{0}'")]
    Open(String, #[source] io::Error),
    /// A packet.
    #[error("cannot send a DHCP message on '{0}'")]
    Send(String, #[source] io::Error),
}

#[derive(Debug)]
struct Dhcp {
    client: Client,
    socket: UdpSocket,
    mac: [u8; 6],
    ifname: String,
}

/// The node's way out.
#[derive(Debug, Default)]
pub struct Uplink {
    declared: spec::Uplink,
    hostname: String,
    link: Option<Link>,
    dhcp: Option<Dhcp>,
    /// From DHCP.
    lease: Option<Lease>,
    /// The server took the address back.
    lost: bool,
    /// The address is to be given a new lifetime though it is there.
    renewed: bool,
}

impl Uplink {
    /// What node.toml says.
    pub fn declare(&mut self, declared: spec::Uplink, hostname: &str) {
        if declared != self.declared || hostname != self.hostname {
            *self = Self { declared, hostname: hostname.to_owned(), ..Self::default() };
        }
    }

    /// Looks at the links: the one that is wanted may have come, gone, or have got its carrier.
    pub fn observe(&mut self, seen: &Seen, now: Instant) -> Result<(), Error> {
        let link = choose_uplink(&seen.links, self.declared.interface.as_deref());
        let link = link.filter(|_| self.declared.mode != UplinkMode::None).cloned();
        let another =
            |new: &Link| self.link.as_ref().is_none_or(|old| (old.index, old.mac) != (new.index, new.mac));
        if link.as_ref().is_none_or(another) {
            (self.dhcp, self.lease, self.lost, self.renewed) = (None, None, false, false);
        }
        let had_carrier = self.link.as_ref().is_some_and(|link| link.carrier);
        self.link = link;
        let Some(link) = &self.link else { return Ok(()) };
        let ready = self.declared.mode == UplinkMode::Dhcp && link.up && link.carrier;
        // A carrier that comes back may be that of another network: ask at once, keeping what we have.
        if ready && (self.dhcp.is_none() || !had_carrier) {
            let ours = seen.addresses.iter().find(|address| address.link == link.index && address.ours);
            let dhcp = Dhcp::start(link, &self.hostname, ours.map(|address| address.net.address), now)?;
            self.dhcp = Some(dhcp);
            return self.on_timer(now);
        }
        Ok(())
    }

    /// What the uplink should be; none while there is no link for it.
    pub fn wanted(&self) -> Option<WantedUplink> {
        let ifname = self.link.as_ref()?.name.clone();
        let config = match (&self.declared.mode, &self.lease) {
            (UplinkMode::None, _) => return None,
            (UplinkMode::Static { address, gateway, .. }, _) => {
                Some(UplinkConfig { address: Some(*address), gateway: *gateway, ..UplinkConfig::default() })
            }
            (UplinkMode::Dhcp, Some(lease)) => Some(UplinkConfig {
                address: Some(lease.address),
                gateway: lease.gateway,
                lifetime: (lease.seconds != u32::MAX).then_some(lease.seconds),
                renewed: self.renewed,
            }),
            (UplinkMode::Dhcp, None) => self.lost.then(UplinkConfig::default),
        };
        Some(WantedUplink { ifname, config })
    }

    /// The plan with the renewal has been executed.
    pub fn applied(&mut self) {
        self.renewed = false;
    }

    /// Name servers to forward to.
    pub fn dns(&self) -> Vec<Ipv4Addr> {
        match (&self.declared.mode, &self.lease) {
            (UplinkMode::Static { dns, .. }, _) => dns.clone(),
            (UplinkMode::Dhcp, Some(lease)) => lease.dns.clone(),
            _ => Vec::new(),
        }
    }

    /// What to tell the supervisor.
    pub fn state(&self, seen: &Seen) -> UplinkState {
        let Some(link) = &self.link else { return UplinkState::default() };
        let addresses = seen.addresses.iter().filter(|address| address.link == link.index);
        UplinkState {
            interface: Some(link.name.clone()),
            addresses: addresses.map(|address| address.net).collect(),
            gateway: seen.routes.iter().find(|route| route.link == link.index).map(|route| route.gateway),
            dns: self.dns(),
        }
    }

    /// The DHCP client's socket.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.dhcp.as_ref().map(|dhcp| dhcp.socket.as_fd())
    }

    /// When [`Uplink::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.dhcp.as_ref().and_then(|dhcp| dhcp.client.deadline())
    }

    /// Time has passed.
    pub fn on_timer(&mut self, now: Instant) -> Result<(), Error> {
        let Some(dhcp) = &mut self.dhcp else { return Ok(()) };
        let outputs = dhcp.client.on_timer(now);
        self.perform(outputs)
    }

    /// The socket is readable.
    pub fn on_packets(&mut self, now: Instant) -> Result<(), Error> {
        let mut buffer = [0; MESSAGE_MAX];
        for _ in 0..BURST {
            let Some(dhcp) = &mut self.dhcp else { return Ok(()) };
            let Ok(length) = dhcp.socket.recv(&mut buffer) else { return Ok(()) };
            let outputs = dhcp.client.on_packet(buffer.get(..length).unwrap_or_default(), now);
            self.perform(outputs)?;
        }
        Ok(())
    }

    /// Does what the client wants; true outcomes change what is [`Uplink::wanted`].
    fn perform(&mut self, outputs: Vec<Output>) -> Result<(), Error> {
        for output in outputs {
            match output {
                Output::Bound(lease) => {
                    let net = lease.address;
                    say(
                        Level::Notice,
                        format_args!("the uplink has {}/{} for {} s", net.address, net.prefix, lease.seconds),
                    );
                    (self.lease, self.lost, self.renewed) = (Some(lease), false, true);
                }
                Output::Lost => {
                    say(Level::Warning, format_args!("the uplink's lease is lost"));
                    (self.lease, self.lost) = (None, true);
                }
                send => self.dhcp.as_ref().map_or(Ok(()), |dhcp| dhcp.send(&send))?,
            }
        }
        Ok(())
    }
}

impl Dhcp {
    fn start(link: &Link, hostname: &str, known: Option<Ipv4Addr>, now: Instant) -> Result<Self, Error> {
        let open = || -> io::Result<UdpSocket> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket::socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
            setsockopt(&fd, sockopt::ReuseAddr, &true)?;
            setsockopt(&fd, sockopt::Broadcast, &true)?;
            setsockopt(&fd, sockopt::BindToDevice, &link.name.clone().into())?;
            socket::bind(fd.as_raw_fd(), &socket::SockaddrIn::new(0, 0, 0, 0, CLIENT_PORT))?;
            Ok(UdpSocket::from(fd))
        };
        let socket = open().map_err(|cause| Error::Open(link.name.clone(), cause))?;
        let who = Identity { mac: link.mac, hostname: hostname.to_owned() };
        let client = Client::new(who, known, random(), now);
        Ok(Self { client, socket, mac: link.mac, ifname: link.name.clone() })
    }

    fn send(&self, output: &Output) -> Result<(), Error> {
        let sent = match output {
            Output::Unicast(message, server) => {
                self.socket.send_to(message, (*server, SERVER_PORT)).map(|_| ())
            }
            Output::Broadcast(message, from) => send_frame(&self.ifname, &frame(message, self.mac, *from)),
            Output::Bound(_) | Output::Lost => Ok(()),
        };
        match sent {
            // Not now, said as loudly as silence: the client asks again in time.
            Err(cause) if is_passing(&cause) => {
                say(Level::Error, format_args!("{}", chain(&Error::Send(self.ifname.clone(), cause))));
                Ok(())
            }
            other => other.map_err(|cause| Error::Send(self.ifname.clone(), cause)),
        }
    }
}

fn is_passing(cause: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, WouldBlock};
    matches!(cause.kind(), HostUnreachable | NetworkDown | NetworkUnreachable | WouldBlock)
}

/// Sends a whole ethernet frame. UDP will not do: where the link has no address the kernel would put that of some
/// bridge into the packet. The socket takes no protocol, so that nothing is ever received by it, and its address
/// comes from getifaddrs(3), which alone makes one without unsafe code.
fn send_frame(ifname: &str, frame: &[u8]) -> io::Result<()> {
    let links = nix::ifaddrs::getifaddrs()?;
    let mut addresses = links.filter(|link| link.interface_name == ifname).filter_map(|link| link.address);
    let address = addresses.find_map(|address| address.as_link_addr().copied());
    let address = address.ok_or(io::ErrorKind::NetworkDown)?;
    let fd = socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    socket::bind(fd.as_raw_fd(), &address)?;
    socket::send(fd.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}
