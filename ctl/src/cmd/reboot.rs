//! `berth reboot`: stops every unit in reverse order, then restarts the machine.

use std::process::ExitCode;

use berth_units::wire::control::{Call, Then};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::note;

/// Returns as soon as the node has accepted it.
pub fn run(node: &Node) -> Result<ExitCode, Failure> {
    client::tell(node, &Call::Shutdown { then: Then::Reboot })?;
    note("the node stops its units and reboots\n");
    Ok(ExitCode::SUCCESS)
}
