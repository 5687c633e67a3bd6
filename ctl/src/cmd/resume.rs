//! `berth resume`: lets paused units go on.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::node::Node;
use crate::transition::{self, Verb};

/// Does it.
pub fn run(node: &Node, args: &transition::Args) -> Result<ExitCode, Failure> {
    transition::run(node, Verb::Resume, args).map(|()| ExitCode::SUCCESS)
}
