//! `berth inspect`: all that is declared, written down and counted of a unit, as JSON.

use std::process::ExitCode;

use berth_units::Name;
use berth_units::wire::control::Call;
use serde_json::Value;

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::print_json;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  berth inspect web\n  berth inspect web | jq '.cgroup.\"memory.events\"'"
)]
pub struct Args {
    /// Accepted for habit: it is always JSON
    #[arg(long, hide = true)]
    json: bool,
    /// Which
    #[arg(value_parser = Name::parse)]
    unit: Name,
}

/// Prints it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let value: Value = client::call(node, &Call::Inspect { unit: args.unit.clone() })?;
    print_json(&value)?;
    Ok(ExitCode::SUCCESS)
}
