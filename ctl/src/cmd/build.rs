//! `berth build`: kernel, initrd and factory store of an appliance directory.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::appliance::read_appliance;
use crate::failure::Failure;
use crate::host::os::{Parts, build_os, summary};
use crate::output::print;
use crate::report;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: berth build appliance -o out\n\n\
    OUT then holds kernel, initrd and factory.erofs. The same input gives the same bytes.")]
pub struct Args {
    /// Appliance directory: node.toml, units/*.toml, images/
    dir: PathBuf,
    /// Where to; made when absent
    #[arg(short, long, value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    parts: Parts,
}

/// Checks first: nothing is built from a set with a fault.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let appliance = read_appliance(&args.dir)?;
    let declared = report::check_or_fail(&appliance)?;
    let located = args.parts.locate()?;
    let built = build_os(&args.dir, &appliance, &declared, &located, &args.out)?;
    print(&summary(&built))?;
    Ok(ExitCode::SUCCESS)
}
