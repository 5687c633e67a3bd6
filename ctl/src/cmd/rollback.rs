//! `berth rollback`: an earlier revision once more, on trial like a new one.

use std::process::ExitCode;
use std::time::Duration;

use berth_units::wire::control::{Applied, Call, Rollback};

use crate::changes_text;
use crate::client;
use crate::cmd::apply::{INTERRUPTED, take_signals};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Look, print};
use crate::trial::Wait;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth rollback\n  berth rollback 5 --dry-run")]
pub struct Args {
    /// Which; without, the end of a trial, or else the good revision before the one in force
    revision: Option<u64>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Return as soon as the node has begun
    #[arg(long)]
    no_wait: bool,
    /// Say nothing on success
    #[arg(short, long)]
    quiet: bool,
    /// Give up waiting after this many seconds
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    timeout: u64,
}

/// Does it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let signals = take_signals()?;
    let asked = Rollback { revision: args.revision, dry_run: args.dry_run };
    let applied: Applied = client::call(node, &Call::Rollback(asked))?;
    if !args.quiet {
        print(&changes_text::draw(&applied, Look::of_stdout()))?;
    }
    let wait = Wait { timeout: Duration::from_secs(args.timeout), quiet: args.quiet };
    if !args.dry_run && !args.no_wait && !wait.until_good(node, applied.revision, &signals)? {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if !args.quiet && !args.dry_run {
        let word = if args.no_wait { "trying" } else { "good" };
        print(&format!("{word:<8} revision {}\n", applied.revision))?;
    }
    Ok(ExitCode::SUCCESS)
}
