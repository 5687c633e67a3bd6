//! The DNS server of every network, on its gateway's port 53: own names at once, the rest from the upstreams.
//!
//! Everything is bounded: queries in flight and TCP connections by network, every wait by a deadline. No cache: the
//! containers and the upstreams have theirs. What is answered is in [`zone`], the bytes in [`message`].

mod connection;
mod message;
mod zone;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use berth_units::wire::net::NetState;
use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::random;
use connection::Connection;
use message::{Code, QUERY_MAX, Query, Refusal, answer, is_reply, truncated, with_id};
use zone::Zone;

const PORT: u16 = 53;
/// Queries in flight to upstreams, by network.
const PENDING_MAX: usize = 64;
/// TCP connections from containers, by network.
const CONNECTIONS_MAX: usize = 16;
/// Networks that can have all of that at once within 1024 descriptors.
const NETWORKS_FULL: usize = 8;
/// Wait for one upstream.
const UPSTREAM_WAIT: Duration = Duration::from_secs(2);
/// Upstreams asked for one query, counting repetitions.
const UPSTREAM_TRIES: usize = 3;
/// A connection that says nothing new for this long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Packets taken from one socket before the others have their turn.
const BURST: usize = 64;
/// Replies to clients without EDNS, bytes (RFC 1035, section 4.2.1).
const PLAIN_UDP_MAX: usize = 512;
const UDP_MAX: usize = 4096;

/// Whose descriptor is ready. Numbers are never used again, so a stale one hits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The UDP socket of a listener.
    Udp(u64),
    /// The TCP socket of a listener.
    Accept(u64),
    /// A container's connection.
    Client(u64),
    /// An upstream.
    Upstream(u64),
}

#[derive(Debug)]
struct Listener {
    gateway: Ipv4Addr,
    zone: Zone,
    udp: UdpSocket,
    tcp: TcpListener,
}

/// Where a query came from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    listener: u64,
    asker: Asker,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Udp(SocketAddr),
    Tcp(u64),
}

#[derive(Debug)]
enum Upstream {
    Udp(UdpSocket),
    Tcp(Connection),
}

/// A query that an upstream has been asked.
#[derive(Debug)]
struct Pending {
    origin: Origin,
    query: Query,
    raw: Vec<u8>,
    id: [u8; 2],
    upstream: Upstream,
    tries: usize,
    deadline: Instant,
}

#[derive(Debug)]
struct Client {
    listener: u64,
    connection: Connection,
    deadline: Instant,
}

/// All DNS servers of the node.
#[derive(Debug, Default)]
pub struct Dns {
    listeners: BTreeMap<u64, Listener>,
    clients: BTreeMap<u64, Client>,
    pending: BTreeMap<u64, Pending>,
    upstreams: Vec<Ipv4Addr>,
    last: u64,
}

impl Dns {
    /// Makes the servers those of `state`; their addresses have to exist. Returns what failed.
    pub fn declare(&mut self, state: &NetState) -> Vec<String> {
        let wanted = |gateway: &Ipv4Addr| state.networks.values().any(|network| network.gateway == *gateway);
        self.listeners.retain(|_, listener| wanted(&listener.gateway));
        let mut failed = Vec::new();
        let none = BTreeMap::new();
        for (name, network) in &state.networks {
            let names = state.names.get(name).unwrap_or(&none);
            let zone = Zone::new(name.as_str(), network.subnet, network.internal, names);
            let present = self.listeners.values_mut().find(|listener| listener.gateway == network.gateway);
            match present {
                Some(listener) => listener.zone = zone,
                None => match listen(network.gateway, zone) {
                    Ok(listener) => {
                        self.last += 1;
                        self.listeners.insert(self.last, listener);
                    }
                    Err(error) => {
                        failed.push(format!(
                            "cannot serve names of '{name}' on {}:{PORT}: {error}",
                            network.gateway
                        ));
                    }
                },
            }
        }
        let listeners = &self.listeners;
        self.clients.retain(|_, client| listeners.contains_key(&client.listener));
        self.pending.retain(|_, pending| listeners.contains_key(&pending.origin.listener));
        failed
    }

    /// Who is asked about other names, in order.
    pub fn set_upstreams(&mut self, upstreams: Vec<Ipv4Addr>) {
        self.upstreams = upstreams;
    }

    /// What to wait for.
    pub fn interests(&self) -> impl Iterator<Item = (Ready, BorrowedFd<'_>, PollFlags)> {
        let listeners = self.listeners.iter().flat_map(|(id, listener)| {
            [(Ready::Udp(*id), listener.udp.as_fd()), (Ready::Accept(*id), listener.tcp.as_fd())]
        });
        let listeners = listeners.map(|(ready, fd)| (ready, fd, PollFlags::IN));
        let clients = self.clients.iter().map(|(id, client)| {
            (Ready::Client(*id), client.connection.as_fd(), client.connection.interest())
        });
        let upstreams = self.pending.iter().map(|(id, pending)| match &pending.upstream {
            Upstream::Udp(socket) => (Ready::Upstream(*id), socket.as_fd(), PollFlags::IN),
            Upstream::Tcp(connection) => (Ready::Upstream(*id), connection.as_fd(), connection.interest()),
        });
        listeners.chain(clients).chain(upstreams)
    }

    /// When [`Dns::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.values().map(|client| client.deadline);
        clients.chain(self.pending.values().map(|pending| pending.deadline)).min()
    }

    /// Gives up on whom has been waited for long enough.
    pub fn on_timer(&mut self, now: Instant) {
        self.clients.retain(|_, client| client.deadline > now);
        let late: Vec<u64> =
            self.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.ask_next(id, now);
        }
    }

    /// A descriptor is ready.
    pub fn on_ready(&mut self, ready: Ready, now: Instant) {
        match ready {
            Ready::Udp(id) => self.on_datagrams(id, now),
            Ready::Accept(id) => self.on_accept(id, now),
            Ready::Client(id) => self.on_client(id, now),
            Ready::Upstream(id) => self.on_upstream(id, now),
        }
    }

    fn on_datagrams(&mut self, id: u64, now: Instant) {
        let mut buffer = [0; QUERY_MAX + 1];
        for _ in 0..BURST {
            let Some(listener) = self.listeners.get(&id) else { return };
            match listener.udp.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let query = buffer.get(..length).unwrap_or_default();
                    self.on_query(Origin { listener: id, asker: Asker::Udp(from) }, query, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An earlier answer could not be delivered; the error is taken with this call.
                Err(_) => {}
            }
        }
    }

    fn on_accept(&mut self, id: u64, now: Instant) {
        for _ in 0..BURST {
            let Some(listener) = self.listeners.get(&id) else { return };
            let Ok((stream, _)) = listener.tcp.accept() else { return };
            let open = self.clients.values().filter(|client| client.listener == id).count();
            let full = open >= CONNECTIONS_MAX || self.clients.len() >= CONNECTIONS_MAX * NETWORKS_FULL;
            // Over the limit it is closed at once: left in the queue it would wake us again and again.
            if let Ok(connection) = Connection::new(stream)
                && !full
            {
                self.last += 1;
                self.clients.insert(self.last, Client { listener: id, connection, deadline: now + IDLE });
            }
        }
    }

    fn on_client(&mut self, id: u64, now: Instant) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let listener = client.listener;
        let Ok(queries) = client.connection.exchange(QUERY_MAX) else {
            self.clients.remove(&id);
            return;
        };
        if !queries.is_empty() {
            client.deadline = now + IDLE;
        }
        for query in queries {
            self.on_query(Origin { listener, asker: Asker::Tcp(id) }, &query, now);
        }
    }

    fn on_query(&mut self, origin: Origin, bytes: &[u8], now: Instant) {
        let Some(zone) = self.listeners.get(&origin.listener).map(|listener| &listener.zone) else { return };
        match message::parse(bytes) {
            Err(Refusal::Silent) => {}
            Err(Refusal::Answer(bytes)) => self.reply(origin, &bytes),
            Ok(query) => match zone.resolve(&query) {
                Some(bytes) => self.reply(origin, &bytes),
                None => self.forward(origin, query, bytes, now),
            },
        }
    }

    fn reply(&mut self, origin: Origin, bytes: &[u8]) {
        match origin.asker {
            Asker::Udp(to) => {
                if let Some(listener) = self.listeners.get(&origin.listener) {
                    // One that cannot be sent is lost, as UDP may be: the asker asks again.
                    let _lost = listener.udp.send_to(bytes, to);
                }
            }
            Asker::Tcp(id) => {
                let Some(client) = self.clients.get_mut(&id) else { return };
                if client.connection.send(bytes).is_err() {
                    self.clients.remove(&id);
                }
            }
        }
    }

    fn forward(&mut self, origin: Origin, query: Query, raw: &[u8], now: Instant) {
        let asked =
            self.pending.values().filter(|pending| pending.origin.listener == origin.listener).count();
        let full = asked >= PENDING_MAX || self.pending.len() >= PENDING_MAX * NETWORKS_FULL;
        let [a, b, ..] = random().to_ne_bytes();
        let sent = if full { None } else { self.ask(0, origin.asker, &with_id(raw, [a, b])) };
        let Some(upstream) = sent else {
            self.reply(origin, &answer(&query, Code::ServerFailure, &[]));
            return;
        };
        self.last += 1;
        let deadline = now + UPSTREAM_WAIT;
        let raw = raw.to_vec();
        let pending = Pending { origin, query, raw, id: [a, b], upstream, tries: 1, deadline };
        self.pending.insert(self.last, pending);
    }

    /// Sends a query to the upstream whose turn it is; TCP for whom asked by TCP.
    fn ask(&self, turn: usize, asker: Asker, bytes: &[u8]) -> Option<Upstream> {
        let address = *self.upstreams.get(turn.checked_rem(self.upstreams.len())?)?;
        let sent = match asker {
            Asker::Udp(_) => ask_udp(address, bytes).map(Upstream::Udp),
            Asker::Tcp(_) => ask_tcp(address, bytes).map(Upstream::Tcp),
        };
        sent.ok()
    }

    /// The upstream is silent or refuses: the next one's turn, until there were enough.
    fn ask_next(&mut self, id: u64, now: Instant) {
        let Some(mut pending) = self.pending.remove(&id) else { return };
        while pending.tries < UPSTREAM_TRIES {
            let [a, b, ..] = random().to_ne_bytes();
            let sent = self.ask(pending.tries, pending.origin.asker, &with_id(&pending.raw, [a, b]));
            pending.tries += 1;
            if let Some(upstream) = sent {
                self.pending
                    .insert(id, Pending { upstream, id: [a, b], deadline: now + UPSTREAM_WAIT, ..pending });
                return;
            }
        }
        self.reply(pending.origin, &answer(&pending.query, Code::ServerFailure, &[]));
    }

    fn on_upstream(&mut self, id: u64, now: Instant) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let replies = match &mut pending.upstream {
            Upstream::Udp(socket) => receive(socket),
            Upstream::Tcp(connection) => connection.exchange(usize::from(u16::MAX)),
        };
        let Ok(replies) = replies else {
            self.ask_next(id, now);
            return;
        };
        let Some(reply) = replies.into_iter().find(|reply| is_reply(reply, pending.id, &pending.query))
        else {
            return;
        };
        let Some(pending) = self.pending.remove(&id) else { return };
        let mut reply = with_id(&reply, message::id(&pending.query));
        // Without EDNS, the query is its header and question, and the asker has room for 512 bytes.
        if matches!(pending.origin.asker, Asker::Udp(_))
            && pending.query.is_plain()
            && reply.len() > PLAIN_UDP_MAX
        {
            reply = truncated(&reply, &pending.query);
        }
        self.reply(pending.origin, &reply);
    }
}

fn listen(gateway: Ipv4Addr, zone: Zone) -> io::Result<Listener> {
    let udp = UdpSocket::bind((gateway, PORT))?;
    let tcp = TcpListener::bind((gateway, PORT))?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok(Listener { gateway, zone, udp, tcp })
}

/// A socket of its own for each query: the kernel takes a random port and drops what others send to it.
fn ask_udp(upstream: Ipv4Addr, bytes: &[u8]) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect((upstream, PORT))?;
    socket.send(bytes)?;
    Ok(socket)
}

fn ask_tcp(upstream: Ipv4Addr, bytes: &[u8]) -> io::Result<Connection> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&fd, &SocketAddr::from((upstream, PORT))) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    Connection::connecting(TcpStream::from(fd), bytes)
}

fn receive(socket: &UdpSocket) -> io::Result<Vec<Vec<u8>>> {
    let mut buffer = [0; UDP_MAX];
    match socket.recv(&mut buffer) {
        Ok(length) => Ok(vec![buffer.get(..length).unwrap_or_default().to_vec()]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
