//! `berth reset`: back to the units that came with the OS image.

use std::process::ExitCode;
use std::time::Duration;

use berth_units::wire::control::Call;

use crate::client;
use crate::cmd::apply::{INTERRUPTED, take_signals};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::print;
use crate::trial::Wait;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth reset\n  berth reset --volumes")]
pub struct Args {
    /// Remove every volume too; the node reboots
    #[arg(long)]
    volumes: bool,
}

/// Does it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let signals = take_signals()?;
    client::tell(node, &Call::Reset { volumes: args.volumes })?;
    if args.volumes {
        print("the node reboots, without volumes\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let wait = Wait { timeout: Duration::from_secs(30), quiet: true };
    if !wait.until_good(node, 0, &signals)? {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    print("good     revision 0, the factory's\n")?;
    Ok(ExitCode::SUCCESS)
}
