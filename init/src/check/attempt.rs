//! One run of a check: begun, carried on when a descriptor of it is ready, given up when its time is over.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use berth_runtime::ExecSpec;
use berth_units::human;
use berth_units::spec::Probe;
use rustix::event::PollFd;

use super::exec::Program;
use super::grpc::Question;
use super::http::Exchange;
use super::socket::Connection;
use crate::kmsg::Chain;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// It found what it hoped for.
    pub passed: bool,
    /// What it found.
    pub text: String,
}

impl Outcome {
    /// It found what it hoped for.
    pub fn passed(text: impl Into<String>) -> Self {
        Self { passed: true, text: text.into() }
    }

    /// It did not.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { passed: false, text: text.into() }
    }

    /// It could not even begin.
    fn of(error: &dyn std::error::Error) -> Self {
        Self::failed(Chain(error).to_string())
    }
}

/// A run under way.
pub enum Attempt {
    /// A program in the unit.
    Exec(Box<Program>),
    /// A request and its answer.
    Http(Exchange),
    /// A call and its answer.
    Grpc(Question),
    /// A connection.
    Tcp(Connection),
    /// Over before it began.
    Over(Outcome),
}

impl Attempt {
    /// Begins. Nothing of it blocks.
    pub fn start(probe: &Probe, exec: Option<&ExecSpec>) -> Self {
        match (probe, exec) {
            (Probe::Exec(_), Some(spec)) => Program::start(spec)
                .map_or_else(|error| Self::Over(Outcome::of(&error)), |it| Self::Exec(Box::new(it))),
            (Probe::Exec(_), None) => Self::Over(Outcome::failed("the unit has no process to run it in")),
            (Probe::Http(http), _) => {
                Exchange::start(http).map_or_else(|error| Self::Over(refused(&error)), Self::Http)
            }
            (Probe::Grpc(port), _) => {
                Question::start(*port).map_or_else(|error| Self::Over(refused(&error)), Self::Grpc)
            }
            (Probe::Tcp(port), _) => Self::reach(SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port)),
            (Probe::Reach(address), _) => Self::reach(*address),
        }
    }

    fn reach(address: SocketAddrV4) -> Self {
        Connection::open(*address.ip(), address.port(), Vec::new())
            .map_or_else(|error| Self::Over(refused(&error)), Self::Tcp)
    }

    /// Does what can be done without waiting; how it ended, once it has.
    pub fn advance(&mut self) -> Option<Outcome> {
        match self {
            Self::Exec(program) => program.advance(),
            Self::Http(exchange) => exchange.advance(),
            Self::Grpc(question) => question.advance(),
            Self::Tcp(connection) => match connection.advance() {
                Ok(true) => Some(Outcome::passed("accepts connections")),
                Ok(false) => None,
                Err(error) => Some(refused(&error)),
            },
            Self::Over(outcome) => Some(outcome.clone()),
        }
    }

    /// What to wait for before the next [`Attempt::advance`].
    pub fn fds(&self) -> Vec<PollFd<'_>> {
        match self {
            Self::Exec(program) => program.fds(),
            Self::Http(exchange) => vec![exchange.fd()],
            Self::Grpc(question) => vec![question.fd()],
            Self::Tcp(connection) => vec![connection.fd()],
            Self::Over(_) => Vec::new(),
        }
    }

    /// Its time is over.
    pub fn give_up(&self, timeout: Duration) -> Outcome {
        let what = match self {
            Self::Exec(_) => "still runs",
            Self::Http(exchange) if exchange.is_connected() => "no answer",
            Self::Grpc(question) if question.is_connected() => "no answer",
            Self::Http(_) | Self::Grpc(_) | Self::Tcp(_) | Self::Over(_) => "no connection",
        };
        Outcome::failed(format!("{what} after {}", human::duration(timeout)))
    }
}

/// Nobody to talk to.
pub fn refused(error: &std::io::Error) -> Outcome {
    Outcome::failed(format!("cannot connect: {error}"))
}
