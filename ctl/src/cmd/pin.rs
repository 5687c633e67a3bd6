//! `berth pin` and `berth unpin`: which revisions are kept whatever comes.

use std::process::ExitCode;

use berth_units::wire::control::Call;

use crate::client;
use crate::failure::Failure;
use crate::node::Node;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which, as 'berth history' numbers them
    revision: u64,
}

/// Keeps it, or no longer.
pub fn run(node: &Node, args: &Args, keep: bool) -> Result<ExitCode, Failure> {
    client::tell(node, &Call::Pin { revision: args.revision, keep })?;
    Ok(ExitCode::SUCCESS)
}
