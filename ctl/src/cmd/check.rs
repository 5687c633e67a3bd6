//! `berth check`: every fault of an appliance directory or a folder of units, offline.

use std::path::PathBuf;
use std::process::ExitCode;

use berth_units::parse_set;
use serde::Serialize;

use crate::appliance::read_appliance;
use crate::failure::{Failure, Kind};
use crate::output::{Look, print, print_json};
use crate::report;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth check .\n  berth check --json appliance | jq '.errors'")]
pub struct Args {
    /// Holds node.toml and units/*.toml, or just *.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Print the diagnostics as JSON
    #[arg(long)]
    json: bool,
    /// Say nothing when there are no faults
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    diagnostics: &'a [berth_units::diagnostic::Diagnostic],
    errors: usize,
    units: usize,
}

/// Prints each diagnostic with its source line.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let appliance = read_appliance(&args.dir)?;
    let sources = appliance.sources();
    let diagnostics = parse_set(&sources).diagnostics;
    let errors = report::errors(&diagnostics);
    if args.json {
        print_json(&Report {
            diagnostics: &diagnostics,
            errors,
            units: appliance.units.len() - appliance.drop_ins(),
        })?;
    } else if !diagnostics.is_empty() || !args.quiet {
        let look = Look::of_stdout();
        let mut text: String = diagnostics.iter().map(|found| report::draw(found, &sources, look)).collect();
        text.push_str(&report::summary(&diagnostics, &appliance));
        text.push('\n');
        print(&text)?;
    }
    if errors > 0 { Err(Failure::said(Kind::Input)) } else { Ok(ExitCode::SUCCESS) }
}
