use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use berth_units::wire::mux::{WINDOW, encode};

use super::*;
use crate::mux::link::WRITE_MAX;

/// Two ends over a socket pair, and a listener's worth of accepted streams on the node's side.
struct Pair {
    host: Mux,
    node: Mux,
    dialled: std::rc::Rc<std::cell::RefCell<Vec<UnixStream>>>,
}

fn socketpair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

fn node(port: UnixStream, dialled: &std::rc::Rc<std::cell::RefCell<Vec<UnixStream>>>) -> Mux {
    let dialled = dialled.clone();
    Mux::node(
        OwnedFd::from(port),
        Box::new(move || {
            let (inner, outer) = UnixStream::pair()?;
            dialled.borrow_mut().push(outer);
            Ok(inner)
        }),
    )
}

impl Pair {
    fn new() -> Self {
        let (a, b) = socketpair();
        let dialled = std::rc::Rc::default();
        let mut pair = Self { host: Mux::host(OwnedFd::from(a)), node: node(b, &dialled), dialled };
        pair.until(|pair| pair.host.is_answered() && pair.node.is_answered());
        pair
    }

    /// Turns both loops until `done`.
    #[track_caller]
    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(Instant::now() < deadline, "nothing came of it");
            self.turn(Duration::from_millis(20));
        }
    }

    fn turn(&mut self, wait: Duration) {
        let mut polls = Polls::new();
        self.host.watch(&mut polls, true, |source| (true, source));
        self.node.watch(&mut polls, true, |source| (false, source));
        for ((host, source), flags) in polls.wait(Some(wait)).unwrap() {
            let side = if host { &mut self.host } else { &mut self.node };
            side.on_ready(source, flags).unwrap();
        }
    }

    /// A connection: the client's stream, the server's stream.
    fn connect(&mut self) -> (UnixStream, UnixStream) {
        let (client, inner) = UnixStream::pair().unwrap();
        self.host.open(inner).unwrap();
        self.until(|pair| !pair.dialled.borrow().is_empty());
        let server = self.dialled.borrow_mut().pop().unwrap();
        client.set_nonblocking(true).unwrap();
        server.set_nonblocking(true).unwrap();
        (client, server)
    }
}

/// Reads what there is; `None` at the end.
fn read_some(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 8192];
    match stream.read(&mut buffer) {
        Ok(0) => None,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
        Ok(len) => Some(buffer[..len].to_vec()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Vec::new()),
        Err(error) => panic!("{error}"),
    }
}

/// A small generator: the same numbers every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit).unwrap()
    }
}

#[test]
fn bytes_arrive_whole_in_random_chunks_both_ways() {
    let mut pair = Pair::new();
    let (mut client, mut server) = pair.connect();
    let total = 3 * WINDOW as usize + 17;
    let data: Vec<u8> = (0..total).map(|at| (at % 251) as u8).collect();
    let (mut up, mut down, mut sent_up, mut sent_down) = (Vec::new(), Vec::new(), 0, 0);
    let mut chance = Chance(7);
    pair.until(|_| {
        for (stream, sent) in [(&mut client, &mut sent_up), (&mut server, &mut sent_down)] {
            let end = (*sent + chance.below(40_000)).min(total);
            *sent += stream.write(&data[*sent..end]).unwrap_or(0);
        }
        up.extend(read_some(&mut server).unwrap());
        down.extend(read_some(&mut client).unwrap());
        up.len() == total && down.len() == total
    });
    assert!(up == data && down == data);
}

#[test]
fn a_stalled_reader_stops_only_itself_and_only_after_its_window() {
    let mut pair = Pair::new();
    let (_stalled_client, mut flood) = pair.connect();
    let (mut client, mut server) = pair.connect();
    let mut written = 0;
    let mut quiet = 0;
    pair.until(|_| {
        let len = flood.write(&[1; 4096]).unwrap_or(0);
        written += len;
        quiet = if len == 0 { quiet + 1 } else { 0 };
        quiet > 20
    });
    // The window, and what the kernel buffers of two socket pairs hold.
    assert!(written >= WINDOW as usize && written < 4 * WINDOW as usize, "{written}");
    let held: usize = pair.host.connections.values().map(|c| c.waiting_len()).sum();
    assert!(held <= WINDOW as usize, "{held}");
    server.write_all(b"still here").unwrap();
    let mut seen = Vec::new();
    pair.until(|_| {
        seen.extend(read_some(&mut client).unwrap());
        seen == b"still here"
    });
}

#[test]
fn one_direction_can_end_before_the_other() {
    let mut pair = Pair::new();
    let (mut client, mut server) = pair.connect();
    client.write_all(b"question").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut asked = Vec::new();
    pair.until(|_| match read_some(&mut server) {
        Some(bytes) => {
            asked.extend(bytes);
            false
        }
        None => true,
    });
    assert_eq!(asked, b"question");
    server.write_all(b"answer").unwrap();
    drop(server);
    let mut answer = Vec::new();
    pair.until(|_| match read_some(&mut client) {
        Some(bytes) => {
            answer.extend(bytes);
            false
        }
        None => true,
    });
    assert_eq!(answer, b"answer");
    pair.until(|pair| pair.host.connections.is_empty() && pair.node.connections.is_empty());
}

#[test]
fn a_vanished_client_is_forgotten_on_both_sides() {
    let mut pair = Pair::new();
    let (client, mut server) = pair.connect();
    drop(client);
    pair.until(|pair| pair.host.connections.is_empty() && pair.node.connections.is_empty());
    pair.until(|_| read_some(&mut server).is_none());
}

#[test]
fn a_refused_dial_closes_the_connection() {
    let (a, b) = socketpair();
    let mut pair = Pair::new();
    pair.host = Mux::host(OwnedFd::from(a));
    pair.node = Mux::node(OwnedFd::from(b), Box::new(|| Err(io::ErrorKind::ConnectionRefused.into())));
    pair.until(|pair| pair.host.is_answered());
    let (mut client, inner) = UnixStream::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    pair.host.open(inner).unwrap();
    pair.until(|_| read_some(&mut client).is_none());
    assert!(pair.host.connections.is_empty());
}

#[test]
fn a_new_relay_in_the_middle_of_a_record_starts_clean() {
    let mut pair = Pair::new();
    let (mut client, server) = pair.connect();
    let epoch = pair.host.epoch();
    // The old relay dies with half a record unread, and another half of a record is what the new one reads first.
    client.write_all(&[9; 60_000]).unwrap();
    for (source, flags) in [(Source::Connection(1), PollFlags::IN), (Source::Link, PollFlags::OUT)] {
        pair.host.on_ready(source, flags).unwrap();
    }
    let port = pair.node.port().try_clone().unwrap();
    let mut half = [0; 5000];
    rustix::io::read(&port, &mut half).unwrap();
    pair.node = node(UnixStream::from(port), &pair.dialled);
    drop(server);
    pair.until(|pair| pair.node.is_answered());
    assert!(pair.host.epoch() > epoch);
    pair.until(|_| read_some(&mut client).is_none());
    let (mut client, mut server) = pair.connect();
    client.write_all(b"again").unwrap();
    let mut seen = Vec::new();
    pair.until(|_| {
        seen.extend(read_some(&mut server).unwrap());
        seen == b"again"
    });
}

#[test]
fn a_peer_that_overruns_its_window_is_cut_off() {
    let (a, b) = socketpair();
    let mut pair = Pair::new();
    pair.node = node(b, &pair.dialled);
    let mut liar = Link::new(1);
    let mut raw = a;
    let mut sent = 0;
    pair.until(|_| {
        let front = liar.front().to_vec();
        let len = raw.write(&front).unwrap_or(0);
        liar.wrote(len);
        liar.feed(&read_some(&mut raw).unwrap());
        while liar.next().is_some() {}
        liar.is_answered() && liar.queued() == 0
    });
    let mut out = Vec::new();
    encode(5, Kind::Open, &[], &mut out);
    // The server never reads; its socket buffer takes some, the window the rest.
    encode(5, Kind::Data, &vec![0; 5 * WINDOW as usize], &mut out);
    pair.until(|pair| {
        sent += raw.write(&out[sent..]).unwrap_or(0);
        sent == out.len() && pair.node.connections.is_empty()
    });
}

#[test]
fn a_peer_that_reads_no_answers_does_not_fill_our_memory() {
    let (a, b) = socketpair();
    let mut host = Mux::host(OwnedFd::from(a));
    let mut peer = Mux::node(OwnedFd::from(b), Box::new(|| Err(io::ErrorKind::ConnectionRefused.into())));
    let turn = |host: &mut Mux, flags| {
        host.on_ready(Source::Link, flags).unwrap();
    };
    while !(host.is_answered() && peer.is_answered()) {
        for end in [&mut host, &mut peer] {
            turn(end, PollFlags::OUT | PollFlags::IN);
        }
    }
    let mut opens = Vec::new();
    (0..4000).for_each(|number| encode(number, Kind::Open, &[], &mut opens));
    let (mut most, mut sent) = (0, 0);
    while sent < 8 << 20 {
        sent += rustix::io::write(peer.port(), &opens).unwrap_or(0);
        turn(&mut host, PollFlags::IN);
        most = most.max(host.link.queued());
    }
    assert!(most < QUEUE_LIMIT + (64 << 10), "{most}");
}

#[test]
fn writes_are_whole_records() {
    let mut link = Link::new(1);
    for len in [16 << 10, 16 << 10, 100, 5000] {
        link.send(1, Kind::Data, &vec![1; len]);
    }
    let mut total = 0;
    loop {
        let front = link.front().to_vec();
        if front.is_empty() {
            break;
        }
        assert!(front.len() <= WRITE_MAX);
        let mut at = 0;
        while at < front.len() {
            let (.., used) = berth_units::wire::mux::decode(&front[at..]).unwrap().unwrap();
            at += used;
        }
        total += front.len();
        link.wrote(front.len());
    }
    assert!(total > (32 << 10) + 5100);
    assert_eq!(link.queued(), 0);
}
