//! `berth diff-fs`: what a container has changed against its image.

use std::process::ExitCode;

use berth_units::Name;
use berth_units::wire::control::Call;
use serde_json::Value;

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::printable;
use crate::pending::Pending;
use crate::session::{self, AsIs, Filter, Streams};

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
        false => session::run(upgraded, &streams, Lines(Vec::new()))?,
    };
    Ok(ExitCode::from(code))
}

/// Lines of JSON, shown for people. Holds the one that is not whole yet; the node sends none longer than a frame.
struct Lines(Vec<u8>);

impl Filter for Lines {
    fn take(&mut self, bytes: &[u8], out: &mut Pending) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.0.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                out.push(line(&self.0).as_bytes());
                self.0.clear();
            }
        }
    }
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
    fn a_line_a_path_however_it_arrives() {
        let text =
            b"{\"change\":\"added\",\"path\":\"/a\\u001b\"}\n{\"change\":\"deleted\",\"path\":\"/b c\"}\n";
        let (mut lines, mut out) = (Lines(Vec::new()), Pending::default());
        let (first, second) = text.split_at(12);
        lines.take(first, &mut out);
        lines.take(second, &mut out);
        assert_eq!(String::from_utf8_lossy(&out.to_vec()), "A /a\u{fffd}\nD /b c\n");
    }
}
