//! `berth poweroff`: stops every unit in reverse order, then turns the machine off.

use std::process::ExitCode;

use berth_units::wire::control::{Call, Then};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::note;

/// Returns as soon as the node has accepted it.
pub fn run(node: &Node) -> Result<ExitCode, Failure> {
    client::tell(node, &Call::Shutdown { then: Then::Poweroff })?;
    note("the node stops its units and powers off\n");
    Ok(ExitCode::SUCCESS)
}
