//! `berth status`: the node and its units, on one screen.

use std::process::ExitCode;

use berth_units::Name;
use berth_units::wire::control::{Fault, Status};

use crate::client::{self, CallError};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Look, print, print_json};
use crate::status_text;
use crate::varlink::ReplyError;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth status\n  berth status web\n  \
    berth --node unix:SOCKET status --json | jq '.units[].state'")]
pub struct Args {
    /// Only this unit, with all that is known of it
    #[arg(value_parser = Name::parse)]
    unit: Option<Name>,
    /// Networks and volumes too
    #[arg(short, long)]
    all: bool,
    /// Print JSON; its members are described in docs/contract.md
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let mut status: Status = client::status(node)?;
    let look = Look::of_stdout();
    if let Some(unit) = &args.unit {
        status.units.retain(|status| status.name == unit.as_str());
        if status.units.is_empty() {
            let fault = Fault::NoSuchUnit { unit: unit.to_string(), nearest: None };
            return Err(CallError::from(ReplyError::Fault(fault)).into());
        }
    }
    if args.json {
        print_json(&status)?;
    } else if args.unit.is_some() {
        print(&status.units.iter().map(|unit| status_text::details(unit, look)).collect::<String>())?;
    } else {
        print(&status_text::screen(&status, args.all, look))?;
    }
    Ok(ExitCode::SUCCESS)
}
