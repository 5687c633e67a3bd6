//! `berth man`: the manual page of unit files.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::output::print;

/// Prints berth.unit(5).
pub fn run() -> Result<ExitCode, Failure> {
    print(&berth_units::manual::unit_page())?;
    Ok(ExitCode::SUCCESS)
}
