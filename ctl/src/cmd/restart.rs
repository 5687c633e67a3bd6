//! `berth restart`: stops units and starts them again.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::node::Node;
use crate::transition::{self, Verb};

/// Does it.
pub fn run(node: &Node, args: &transition::Args) -> Result<ExitCode, Failure> {
    transition::run(node, Verb::Restart, args).map(|()| ExitCode::SUCCESS)
}
