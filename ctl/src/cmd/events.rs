//! `berth events`: what happened to the node and its units.

use std::process::ExitCode;

use berth_units::Name;
use berth_units::wire::control::{Call, Events};
use berth_units::wire::event::Event;

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::printable;
use crate::pending::Pending;
use crate::session::{self, AsIs, Filter, Streams};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth events\n  berth events -f --unit web\n  \
    berth events -f --json --since 1000042 | jq -c 'select(.kind == \"exited\")'")]
pub struct Args {
    /// Go on with events as they come
    #[arg(short, long)]
    follow: bool,
    /// Only those after the one with this number
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// Only those of this unit or network
    #[arg(short, long, value_parser = Name::parse)]
    unit: Option<Name>,
    /// One JSON object a line; its members are described in docs/contract.md
    #[arg(long)]
    json: bool,
}

/// Prints them, the oldest first.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let asked = Events { since: args.since, unit: args.unit.clone(), follow: args.follow };
    let upgraded = client::upgrade(node, &Call::Events(asked))?;
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
                if let Ok(event) = serde_json::from_slice(&self.0) {
                    out.push(line(&event).as_bytes());
                }
                self.0.clear();
            }
        }
    }
}

/// `1000042  2026-11-20T16:50:58Z  web  ready after 1.2s`.
pub fn line(event: &Event) -> String {
    let unit = event.unit.as_ref().map_or("-", Name::as_str);
    // Seconds are enough for people.
    let time = event.time.get(..19).map_or_else(|| event.time.clone(), |time| format!("{time}Z"));
    format!("{:<7}  {}  {unit:<12}  {}\n", event.seq, printable(&time), printable(&event.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_shown_a_line_each_however_they_arrive() {
        let text = "{\"seq\":7,\"time\":\"2026-11-20T16:50:58.000123Z\",\"unit\":\"web\",\"kind\":\"ready\",\
            \"text\":\"ready\\u001b after 1s\",\"detail\":{}}\n";
        let (mut lines, mut out) = (Lines(Vec::new()), Pending::default());
        let (first, second) = text.as_bytes().split_at(30);
        lines.take(first, &mut out);
        lines.take(second, &mut out);
        let expected = "7        2026-11-20T16:50:58Z  web           ready\u{fffd} after 1s\n";
        assert_eq!(String::from_utf8_lossy(&out.to_vec()), expected);
    }
}
