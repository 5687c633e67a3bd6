//! `berth schema`: what an editor has to know about unit files.

use std::process::ExitCode;

use berth_units::schema::{drop_in_schema, node_schema, unit_schema};

use crate::failure::Failure;
use crate::output::print_json;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  berth schema > berth.unit.schema.json\n  berth schema node | jq .properties.uplink"
)]
pub struct Args {
    /// Of which files: units/*.toml, node.toml or drop-ins
    #[arg(value_enum, default_value_t = File::Unit)]
    file: File,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum File {
    /// units/*.toml
    Unit,
    /// node.toml
    Node,
    /// NAME.d/*.toml
    DropIn,
}

/// Prints the JSON Schema.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    print_json(&match args.file {
        File::Unit => unit_schema(),
        File::Node => node_schema(),
        File::DropIn => drop_in_schema(),
    })?;
    Ok(ExitCode::SUCCESS)
}
