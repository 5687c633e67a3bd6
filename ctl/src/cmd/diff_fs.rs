//! `berth diff-fs`: what a container has changed against its image.

use std::process::ExitCode;

use berth_units::Name;
use berth_units::wire::control::Call;
use serde_json::Value;

use crate::client;
use crate::failure::Failure;
use crate::json_lines::JsonLines;
use crate::node::Node;
use crate::output::printable;
use crate::session::{self, AsIs, Streams};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: berth diff-fs web\n\n\
    A added, C changed, D deleted. Volumes and other mounts are not looked at.")]
pub struct Args {
    /// One JSON object a line: change, path
    #[arg(long)]
    json: bool,
    /// Which
    #[arg(value_parser = Name::parse)]
    unit: Name,
}

/// Prints a line for each path.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let upgraded = client::upgrade(node, &Call::DiffFs { unit: args.unit.clone() })?;
    let streams = Streams { stdin: false, signals: None };
    let code = match args.json {
        true => session::run(upgraded, &streams, AsIs)?,
        false => session::run(upgraded, &streams, JsonLines::new(|json| Some(line(json))))?,
    };
    Ok(ExitCode::from(code))
}

fn line(json: &[u8]) -> String {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let text = |member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let sign = match text("change").as_str() {
        "added" => 'A',
        "changed" => 'C',
        "deleted" => 'D',
        _ => '?',
    };
    format!("{sign} {}\n", printable(&text("path")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_path_and_nothing_that_draws() {
        let shown = |json: &str| line(json.as_bytes());
        assert_eq!(shown(r#"{"change":"added","path":"/a\u001b"}"#), "A /a\u{fffd}\n");
        assert_eq!(shown(r#"{"change":"deleted","path":"/b c"}"#), "D /b c\n");
    }
}
