//! berth-netd: everything netlink, DNS and DHCP of a node, as the supervisor declares it.
//!
//! One process, one thread. It may be killed at any time: bridges, veths, rules and addresses are the kernel's, and
//! traffic goes on. The next one reads the kernel and changes what differs from the declaration, which is nothing.
//! Containers' files and processes are none of its business. See berth_units::wire::net for the conversation.
#![forbid(unsafe_code)]

mod daemon;
mod dhcp;
mod dns;
mod firewall;
mod kernel;
mod netlink;
mod plan;
mod protocol;
mod route;
mod uplink;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use rustix::rand::{GetRandomFlags, getrandom};

fn main() -> ExitCode {
    match daemon::Daemon::open().and_then(|mut daemon| daemon.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(Level::Error, format_args!("{}", chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Severity as in syslog(3), which the kernel's log takes from the front of a line.
#[derive(Clone, Copy)]
enum Level {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// Says one line in one write(2): standard error is the kernel's log, where each write is a line of its own.
fn say(level: Level, text: std::fmt::Arguments<'_>) {
    let line = format!("<{}>berth: network: {text}\n", level as u8);
    // Nobody is left to tell.
    let _lost = std::io::stderr().write_all(line.as_bytes());
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A number that nobody outside can guess.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // Short reads do not happen below 256 bytes, failures only where the call does not exist.
    let _filled = getrandom(&mut bytes, GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}
