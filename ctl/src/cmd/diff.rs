//! `berth diff`: what applying an appliance directory would do on the node.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cmd::apply;
use crate::failure::Failure;
use crate::node::Node;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth diff .\n  berth --node unix:SOCKET diff --json appliance")]
pub struct Args {
    /// Holds node.toml and units/*.toml, or just *.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Print the changes as JSON
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    apply::diff(node, &args.dir, args.json)
}
