//! `berth pause`: freezes units; none of their processes runs until they are resumed or stopped.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::node::Node;
use crate::transition::{self, Verb};

/// Does it.
pub fn run(node: &Node, args: &transition::Args) -> Result<ExitCode, Failure> {
    transition::run(node, Verb::Pause, args).map(|()| ExitCode::SUCCESS)
}
