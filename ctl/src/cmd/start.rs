//! `berth start`: starts units that are stopped, completed, failed or in backoff.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::node::Node;
use crate::transition::{self, Verb};

/// Does it.
pub fn run(node: &Node, args: &transition::Args) -> Result<ExitCode, Failure> {
    transition::run(node, Verb::Start, args).map(|()| ExitCode::SUCCESS)
}
