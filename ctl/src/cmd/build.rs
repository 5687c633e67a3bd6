//! `berth build`: an appliance directory as kernel, initrd and factory store, as one EFI program and as a disk.

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
    OUT then holds os.efi (kernel, initrd and command line in one EFI program), disk.raw (to be written to a disk; it boots \
    through UEFI firmware), kernel, initrd and factory.erofs. The same input gives the same bytes.")]
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
    let located = args.parts.locate(true)?;
    let built = build_os(&args.dir, &appliance, &declared, &located, &args.out)?;
    print(&summary(&built))?;
    Ok(ExitCode::SUCCESS)
}
