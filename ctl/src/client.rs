//! Calls to a node. A connection serves one call: a node that restarts its supervisor between two is not noticed.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use berth_units::wire::control::{Call, Fault, State, Status};
use rustix::event::PollFlags;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::failure::{Failure, Kind};
use crate::node::Node;
use crate::polls::Polls;
use crate::signals::Signals;
use crate::varlink::{self, ReplyError};

/// How long a node may think about a call: one that is booting under emulation needs some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no connection.
    #[error("cannot reach the node at '{node}'")]
    Connect {
        /// Its address.
        node: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("lost the connection to the node")]
    Lost(#[source] io::Error),
    /// The node closed the connection without an answer.
    #[error("the node at '{0}' closed the connection without an answer")]
    Closed(String),
    /// Nothing came back in time.
    #[error("the node at '{0}' does not answer")]
    Silent(String),
    /// The call cannot be written.
    #[error("cannot write the call")]
    Encode(#[source] serde_json::Error),
    /// The answer is an error.
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let hint = match &error {
            CallError::Connect { .. } => Some(
                "is it running? give its address with --node unix:PATH or BERTH_NODE; \
                 'berth run DIR' prints the one of its machine"
                    .to_owned(),
            ),
            CallError::Closed(_) | CallError::Silent(_) => {
                Some("it may be starting or stopping; the console says more".to_owned())
            }
            CallError::Reply(ReplyError::Fault(Fault::NoSuchUnit { nearest: Some(nearest), .. })) => {
                Some(format!("did you mean '{nearest}'?"))
            }
            CallError::Reply(ReplyError::Fault(Fault::NoSuchUnit { .. })) => {
                Some("'berth status --all' lists the units".to_owned())
            }
            CallError::Reply(ReplyError::Fault(Fault::WrongState { unit, state: State::Paused })) => {
                Some(format!("'berth resume {unit}' lets it go on"))
            }
            _ => None,
        };
        let kind = match &error {
            CallError::Reply(_) | CallError::Encode(_) => Kind::Action,
            _ => Kind::Unreachable,
        };
        let failure = Self::new(kind, error);
        hint.into_iter().fold(failure, Self::hint)
    }
}

/// A connection that no longer carries calls, and what of the new protocol has been read already.
pub struct Upgraded {
    /// The connection; blocking.
    pub stream: UnixStream,
    /// Bytes after the reply.
    pub rest: Vec<u8>,
}

/// Makes a call and returns its result.
pub fn call<T: DeserializeOwned>(node: &Node, call: &Call) -> Result<T, CallError> {
    exchange(node, call, false).map(|(result, _)| result)
}

/// Makes a call that may take as long as `patience`; `None` when a signal came before the answer.
pub fn call_or_signal<T: DeserializeOwned>(
    node: &Node,
    call: &Call,
    signals: &Signals,
    patience: Duration,
) -> Result<Option<T>, CallError> {
    let mut stream = connect(node)?;
    let message = varlink::encode(call, false).map_err(CallError::Encode)?;
    stream.write_all(&message).map_err(CallError::Lost)?;
    let mut buffer = Vec::new();
    loop {
        if let Some(message) = varlink::split(&mut buffer)? {
            return Ok(Some(varlink::parse_reply(&message)?));
        }
        let mut polls = Polls::new();
        polls.add(true, signals.fd(), PollFlags::IN);
        polls.add(false, stream.as_fd(), PollFlags::IN);
        let ready = polls.wait(Some(patience)).map_err(CallError::Lost)?;
        match ready.iter().map(|(is_signal, _)| *is_signal).max() {
            Some(true) if signals.next().is_some() => return Ok(None),
            Some(true) => {}
            Some(false) => read_more(node, &mut stream, &mut buffer)?,
            None => return Err(CallError::Silent(node.to_string())),
        }
    }
}

fn connect(node: &Node) -> Result<UnixStream, CallError> {
    let Node::Unix(path) = node;
    UnixStream::connect(path).map_err(|source| CallError::Connect { node: node.to_string(), source })
}

/// Makes a call whose result does not matter.
pub fn tell(node: &Node, what: &Call) -> Result<(), CallError> {
    call::<IgnoredAny>(node, what).map(drop)
}

/// The node and all its units.
pub fn status(node: &Node) -> Result<Status, CallError> {
    call(node, &Call::Status {})
}

/// Makes a call after which the connection speaks another protocol.
pub fn upgrade(node: &Node, call: &Call) -> Result<Upgraded, CallError> {
    exchange::<IgnoredAny>(node, call, true).map(|(_, upgraded)| upgraded)
}

fn exchange<T: DeserializeOwned>(
    node: &Node,
    call: &Call,
    upgrade: bool,
) -> Result<(T, Upgraded), CallError> {
    let mut stream = connect(node)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(CallError::Lost)?;
    let message = varlink::encode(call, upgrade).map_err(CallError::Encode)?;
    stream.write_all(&message).map_err(CallError::Lost)?;
    let mut buffer = Vec::new();
    let reply = loop {
        if let Some(message) = varlink::split(&mut buffer)? {
            break message;
        }
        read_more(node, &mut stream, &mut buffer)?;
    };
    stream.set_read_timeout(None).map_err(CallError::Lost)?;
    let result = varlink::parse_reply(&reply)?;
    Ok((result, Upgraded { stream, rest: buffer }))
}

fn read_more(node: &Node, stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Result<(), CallError> {
    let mut chunk = [0; 16 << 10];
    match stream.read(&mut chunk) {
        Ok(0) => Err(CallError::Closed(node.to_string())),
        Ok(len) => {
            buffer.extend_from_slice(chunk.get(..len).unwrap_or(&[]));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(CallError::Silent(node.to_string())),
        Err(error) => Err(CallError::Lost(error)),
    }
}
