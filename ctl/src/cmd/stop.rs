//! `berth stop`: stops units; they stay stopped until they are started or the node restarts.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::node::Node;
use crate::transition::{self, Verb};

/// Does it.
pub fn run(node: &Node, args: &transition::Args) -> Result<ExitCode, Failure> {
    transition::run(node, Verb::Stop, args).map(|()| ExitCode::SUCCESS)
}
