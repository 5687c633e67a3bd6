//! A DHCPv4 client as a state machine without sockets or clock (RFC 2131, section 4.4).
//!
//! ```text
//!            offer             ack                T1              T2
//! Selecting ------> Requesting ----> Bound -----------> Renewing ----> Rebinding
//!     ^                 | nak,         ^ ack               |   ack         | nak, expired
//!     |<----------------+ silence      +-------------------+---------------+--> Selecting
//!     |   nak, silence                 | ack
//!     +---------------------------- Rebooting  (we had this address in an earlier life)
//! ```
//!
//! Own code instead of a crate: with the broadcast flag a UDP socket hears every reply, so all that a client needs
//! beyond [`packet`] is this table; and a synchronous loop wants no runtime. There is no address probe (RFC 5227):
//! it would cost seconds at every boot. Not here: classless routes (option 121).

pub mod packet;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use packet::{Identity, Lease, Reply, Say, encode, parse};

/// First wait for an answer; it doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest wait for an answer.
const RETRY_MAX: Duration = Duration::from_secs(64);
/// Requests for one address before we start anew.
const REQUESTS: u32 = 4;
/// Shortest wait between two renewals (RFC 2131, section 4.4.5).
const RENEW_MIN: Duration = Duration::from_secs(60);

/// What the client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this message to everybody on the link, from this address.
    Broadcast(Vec<u8>, Ipv4Addr),
    /// Send this message to a server.
    Unicast(Vec<u8>, Ipv4Addr),
    /// The address is ours, or ours for longer.
    Bound(Lease),
    /// The address is not ours any more.
    Lost,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Selecting,
    Requesting(Lease),
    Rebooting(Ipv4Addr),
    Bound(Lease, Times),
    Renewing(Lease, Times),
    Rebinding(Lease, Times),
}

/// When a lease has to be renewed, rebound, given up; none is never.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    renew: Option<Instant>,
    rebind: Option<Instant>,
    expire: Option<Instant>,
}

impl Times {
    fn of(lease: &Lease, now: Instant) -> Self {
        let after =
            |seconds| (lease.seconds != u32::MAX).then(|| now + Duration::from_secs(u64::from(seconds)));
        Self { renew: after(lease.renewal), rebind: after(lease.rebinding), expire: after(lease.seconds) }
    }
}

/// One client on one link.
#[derive(Debug)]
pub struct Client {
    who: Identity,
    state: State,
    xid: u32,
    tries: u32,
    deadline: Option<Instant>,
}

impl Client {
    /// A client that acts at its first [`Client::on_timer`]. `known` is an address that the link already has from a
    /// lease; `seed` is random.
    pub fn new(who: Identity, known: Option<Ipv4Addr>, seed: u32, now: Instant) -> Self {
        let state = known.map_or(State::Selecting, State::Rebooting);
        Self { who, state, xid: seed, tries: 0, deadline: Some(now) }
    }

    /// When [`Client::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Time has passed.
    pub fn on_timer(&mut self, now: Instant) -> Vec<Output> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        let lost = self.advance(now);
        let mut outputs: Vec<Output> = lost.then_some(Output::Lost).into_iter().collect();
        outputs.extend(self.speak(now));
        outputs
    }

    /// A UDP packet came to port 68.
    pub fn on_packet(&mut self, bytes: &[u8], now: Instant) -> Vec<Output> {
        let Some(reply) = parse(bytes, &self.who, self.xid) else { return Vec::new() };
        match (&self.state, reply) {
            (State::Selecting, Reply::Offer(lease)) => {
                self.enter(State::Requesting(lease));
                self.speak(now).into_iter().collect()
            }
            (State::Selecting | State::Bound(..), _) | (_, Reply::Offer(_)) => Vec::new(),
            (_, Reply::Ack(lease)) => {
                let times = Times::of(&lease, now);
                self.enter(State::Bound(lease.clone(), times));
                self.deadline = times.renew;
                vec![Output::Bound(lease)]
            }
            (State::Requesting(_), Reply::Nak) => {
                // Not at once: a server that refuses its own offers would have us talk without end.
                self.enter(State::Selecting);
                self.deadline = Some(now + RETRY_MIN);
                Vec::new()
            }
            (_, Reply::Nak) => {
                self.enter(State::Selecting);
                [Output::Lost].into_iter().chain(self.speak(now)).collect()
            }
        }
    }

    /// Goes to the state that the time says; true when the address is lost.
    fn advance(&mut self, now: Instant) -> bool {
        let past = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        match self.state.clone() {
            State::Requesting(_) | State::Rebooting(_) if self.tries >= REQUESTS => {
                self.enter(State::Selecting)
            }
            State::Bound(_, times) | State::Renewing(_, times) | State::Rebinding(_, times)
                if past(times.expire) =>
            {
                self.enter(State::Selecting);
                return true;
            }
            State::Bound(lease, times) | State::Renewing(lease, times) if past(times.rebind) => {
                self.enter(State::Rebinding(lease, times));
            }
            State::Bound(lease, times) => self.enter(State::Renewing(lease, times)),
            _ => {}
        }
        false
    }

    fn enter(&mut self, state: State) {
        // The server may tell its own requests apart by this number; an offer is taken under the number it came with.
        if !matches!(state, State::Requesting(_)) {
            self.xid = self.xid.wrapping_mul(0x915f_77f5).wrapping_add(0x6a09_e667);
        }
        self.tries = 0;
        self.state = state;
    }

    /// What the state says to the servers, and when it says it again.
    fn speak(&mut self, now: Instant) -> Option<Output> {
        self.tries += 1;
        let wait = RETRY_MAX.min(RETRY_MIN.saturating_mul(1 << (self.tries - 1).min(6)));
        // Some spread, so that a room of nodes does not ask in step after a power cut.
        let spread = wait.mul_f32(0.2 * (self.xid.wrapping_mul(self.tries) >> 24) as f32 / 256.0);
        let half = |until: Option<Instant>| {
            until.map(|until| until.min(now + (until.saturating_duration_since(now) / 2).max(RENEW_MIN)))
        };
        let (say, deadline) = match &self.state {
            State::Selecting => (Say::Discover, Some(now + wait + spread)),
            State::Requesting(lease) => (Say::Select(lease.address.address, lease.server), Some(now + wait)),
            State::Rebooting(address) => (Say::Reboot(*address), Some(now + wait)),
            State::Bound(..) => return None,
            State::Renewing(lease, times) => (Say::Renew(lease.address.address), half(times.rebind)),
            State::Rebinding(lease, times) => (Say::Renew(lease.address.address), half(times.expire)),
        };
        self.deadline = deadline;
        let message = encode(say, &self.who, self.xid);
        Some(match &self.state {
            State::Renewing(lease, _) => Output::Unicast(message, lease.server),
            State::Rebinding(lease, _) => Output::Broadcast(message, lease.address.address),
            _ => Output::Broadcast(message, Ipv4Addr::UNSPECIFIED),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::packet::tests::{reply, who};
    use super::*;

    const OFFER: u8 = 2;
    const ACK: u8 = 5;
    const NAK: u8 = 6;

    fn bound(seconds: u32) -> (Client, Instant) {
        let now = Instant::now();
        let mut client = Client::new(who(), None, 1, now);
        assert!(matches!(client.on_timer(now)[..], [Output::Broadcast(..)]));
        let outputs = client.on_packet(&reply(OFFER, client.xid, seconds), now);
        assert!(matches!(outputs[..], [Output::Broadcast(..)]));
        let outputs = client.on_packet(&reply(ACK, client.xid, seconds), now);
        assert!(matches!(outputs[..], [Output::Bound(_)]));
        (client, now)
    }

    #[test]
    fn a_lease_takes_four_packets_and_no_waiting() {
        let (client, now) = bound(86400);
        assert_eq!(client.deadline(), Some(now + Duration::from_secs(43200)));
        assert_eq!(bound(u32::MAX).0.deadline(), None);
    }

    #[test]
    fn silence_is_met_with_patience() {
        let mut now = Instant::now();
        let start = now;
        let mut client = Client::new(who(), None, 1, now);
        for _ in 0..20 {
            assert!(matches!(client.on_timer(now)[..], [Output::Broadcast(..)]));
            assert!(client.on_timer(now).is_empty(), "twice at one time");
            now = client.deadline().unwrap();
        }
        assert!(now - start > Duration::from_secs(13 * 64));
    }

    #[test]
    fn a_lease_is_renewed_then_rebound_then_lost() {
        let (mut client, start) = bound(3600);
        let mut seen = Vec::new();
        while client.state != State::Selecting {
            let now = client.deadline().unwrap();
            seen.push(match &client.on_timer(now)[..] {
                [Output::Unicast(..)] => 'u',
                [Output::Broadcast(_, from)] if !from.is_unspecified() => 'b',
                [Output::Lost, Output::Broadcast(..)] => 'l',
                other => panic!("{other:?}"),
            });
            assert!(now - start <= Duration::from_secs(3600));
        }
        seen.dedup();
        assert_eq!(seen, ['u', 'b', 'l']);
    }

    #[test]
    fn an_acknowledged_renewal_starts_the_lease_anew() {
        let (mut client, start) = bound(3600);
        let now = start + Duration::from_secs(1800);
        client.on_timer(now);
        assert!(matches!(client.on_packet(&reply(ACK, client.xid, 3600), now)[..], [Output::Bound(_)]));
        assert_eq!(client.deadline(), Some(now + Duration::from_secs(1800)));
    }

    #[test]
    fn a_known_address_is_asked_for_again_and_given_up_on_nak() {
        let now = Instant::now();
        let known = Ipv4Addr::new(10, 0, 2, 15);
        let mut client = Client::new(who(), Some(known), 1, now);
        let expect = Output::Broadcast(encode(Say::Reboot(known), &who(), 1), Ipv4Addr::UNSPECIFIED);
        assert_eq!(client.on_timer(now), [expect]);
        let outputs = client.on_packet(&reply(NAK, client.xid, 60), now);
        assert!(matches!(outputs[..], [Output::Lost, Output::Broadcast(..)]));
        assert_eq!(client.state, State::Selecting);
    }

    #[test]
    fn a_refused_offer_is_not_asked_for_in_a_loop() {
        let now = Instant::now();
        let mut client = Client::new(who(), None, 1, now);
        client.on_timer(now);
        client.on_packet(&reply(OFFER, client.xid, 60), now);
        assert!(client.on_packet(&reply(NAK, client.xid, 60), now).is_empty());
        assert!(client.deadline().unwrap() >= now + RETRY_MIN);
    }
}
