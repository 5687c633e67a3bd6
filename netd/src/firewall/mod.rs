//! nftables: the table `inet berth` equal to the declared state, replaced in one atomic batch when it differs.
//!
//! A table that is right is not touched. What it was made from is written as a hash into its comment, so that a new
//! netd recognizes it; how many rules and elements it has, and while netd lives a sum over its dump, tell whether
//! somebody else changed it. What the rules say is in [`rules`], how they are written in [`nft`].

mod nft;
mod rules;

use berth_units::wire::net::NetState;
use rustix::io::Errno;

use crate::netlink::{self, Message, NETFILTER, Socket, attrs};
use rules::{Ruleset, ruleset};

/// Group NFNLGRP_NFTABLES as bind(2) takes it.
pub const EVENT_GROUPS: u32 = 1 << 6;

/// What could not be done to the table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Dumps.
    #[error("cannot read the nftables table 'inet berth'; are the nf_tables modules loaded?")]
    Observe(#[source] netlink::Error),
    /// The batch.
    #[error("cannot commit {rules} nftables rules and {elements} elements; are the nft_* modules loaded?")]
    Commit {
        /// Rules in it.
        rules: usize,
        /// Elements in it.
        elements: usize,
        /// The first refusal.
        #[source]
        source: netlink::Error,
    },
}

/// What a dump of the table shows, handles and counters left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Content {
    rules: usize,
    elements: usize,
    sum: u64,
}

/// What was done, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensured {
    /// The table was replaced or removed.
    pub changed: bool,
    /// Ports that cannot be published, with the reason.
    pub refused: Vec<String>,
}

/// The table of this node.
#[derive(Debug)]
pub struct Firewall {
    socket: Socket,
    /// Of the table as we made or found it.
    trusted: Option<(String, Content)>,
}

impl Firewall {
    /// Opens the socket; the table stays as it is.
    pub fn open() -> Result<Self, netlink::Error> {
        Ok(Self { socket: Socket::open(NETFILTER)?, trusted: None })
    }

    /// Makes the table equal to `state`. Without networks and ports there is none.
    pub fn ensure(&mut self, state: &NetState) -> Result<Ensured, Error> {
        let found = self.comment().map_err(Error::Observe)?;
        if state.networks.is_empty() && state.ports.is_empty() {
            self.trusted = None;
            let changed = found.is_some();
            if changed {
                self.commit(&Ruleset::default(), vec![nft::new_table(None), nft::delete_table()])?;
            }
            return Ok(Ensured { changed, refused: Vec::new() });
        }
        let ruleset = ruleset(state);
        let comment = format!("berth:{:016x}", digest(&ruleset.messages));
        let changed = found.as_deref() != Some(&comment) || !self.is_untouched(&comment, &ruleset)?;
        if changed {
            let mut messages =
                vec![nft::new_table(None), nft::delete_table(), nft::new_table(Some(&comment))];
            messages.extend(ruleset.messages.iter().cloned());
            self.commit(&ruleset, messages)?;
            self.trusted = Some((comment, self.content().map_err(Error::Observe)?));
        }
        Ok(Ensured { changed, refused: ruleset.refused })
    }

    fn commit(&mut self, ruleset: &Ruleset, messages: Vec<Message>) -> Result<(), Error> {
        let (rules, elements) = (ruleset.rules, ruleset.elements);
        self.socket.batch(nft::batch(messages)).map_err(|source| Error::Commit { rules, elements, source })
    }

    /// Whether the table still has what `comment` says that it has.
    fn is_untouched(&mut self, comment: &str, ruleset: &Ruleset) -> Result<bool, Error> {
        let content = self.content().map_err(Error::Observe)?;
        match &self.trusted {
            Some((trusted, before)) if trusted == comment => Ok(*before == content),
            _ => {
                let whole = content.rules == ruleset.rules && content.elements == ruleset.elements;
                self.trusted = whole.then(|| (comment.to_owned(), content));
                Ok(whole)
            }
        }
    }

    fn comment(&mut self) -> Result<Option<String>, netlink::Error> {
        let mut comment = None;
        let seen = self.socket.get(nft::get_table(), |_, payload| {
            comment = Some(nft::parse_comment(payload).unwrap_or_default());
        });
        match seen {
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            other => other.map(|()| comment),
        }
    }

    fn content(&mut self) -> Result<Content, netlink::Error> {
        const HOOK: u16 = 4;
        const POLICY: u16 = 5;
        let mut content = Content::default();
        let chain = |payload: &[u8]| Some(sum_of(payload, &[3, HOOK, POLICY]));
        let chains = self.socket.dump(&nft::get_chains(), chain)?;
        // Table, chain and expressions; the order of rules counts, that of everything else does not.
        let rules = self.socket.dump(&nft::get_rules(), |payload| Some(sum_of(payload, &[2, 4])))?;
        content.rules = rules.len();
        content.sum = chains.iter().fold(content.sum, |sum, part| sum.wrapping_add(*part));
        content.sum = rules.iter().fold(content.sum, |sum, part| fnv(sum, &part.to_ne_bytes()));
        let name = |payload: &[u8]| {
            let (_, name) = attrs(payload.get(4..)?).find(|(kind, _)| *kind == 2)?;
            Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
        };
        for set in self.socket.dump(&nft::get_sets(), name)? {
            let elements = |payload: &[u8]| {
                let (_, list) = attrs(payload.get(4..)?).find(|(kind, _)| *kind == 3)?;
                Some(
                    attrs(list)
                        .map(|(_, element)| fnv(fnv(START, set.as_bytes()), element))
                        .collect::<Vec<_>>(),
                )
            };
            for sum in self.socket.dump(&nft::get_elements(&set), elements)?.into_iter().flatten() {
                content.elements += 1;
                content.sum = content.sum.wrapping_add(sum);
            }
        }
        Ok(content)
    }
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits: tells accidents apart, not attackers; whoever may change the table may change the hash.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn digest(messages: &[Message]) -> u64 {
    messages.iter().fold(START, |hash, message| fnv(hash, &message.clone().finish(0, 0)))
}

/// Sum over the named attributes of an entry.
fn sum_of(payload: &[u8], kinds: &[u16]) -> u64 {
    let wanted = attrs(payload.get(4..).unwrap_or_default()).filter(|(kind, _)| kinds.contains(kind));
    wanted.fold(START, |hash, (_, value)| fnv(hash, value))
}

#[cfg(test)]
mod tests;
