//! `berth version`: of this command.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::output::print;

/// Prints it.
pub fn run() -> Result<ExitCode, Failure> {
    print(concat!("berth ", env!("CARGO_PKG_VERSION"), "\n"))?;
    Ok(ExitCode::SUCCESS)
}
