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
use std::process::ExitCode;

use rustix::rand::{GetRandomFlags, getrandom};

fn main() -> ExitCode {
    match daemon::Daemon::open().and_then(|mut daemon| daemon.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netd: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
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
