//! `berth events`: what happened to the node and its units.

use std::process::ExitCode;

use berth_units::Name;
use berth_units::wire::control::{Call, Events};
use berth_units::wire::event::Event;

use crate::client;
use crate::failure::Failure;
use crate::json_lines::JsonLines;
use crate::node::Node;
use crate::output::printable;
use crate::session::{self, AsIs, Streams};

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
        false => session::run(upgraded, &streams, JsonLines::new(shown))?,
    };
    Ok(ExitCode::from(code))
}

fn shown(json: &[u8]) -> Option<String> {
    serde_json::from_slice(json).ok().as_ref().map(line)
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
    fn an_event_is_a_line() {
        let json = "{\"seq\":7,\"time\":\"2026-11-20T16:50:58.000123Z\",\"unit\":\"web\",\"kind\":\"ready\",\
            \"text\":\"ready\\u001b after 1s\",\"detail\":{}}\n";
        let expected = "7        2026-11-20T16:50:58Z  web           ready\u{fffd} after 1s\n";
        assert_eq!(shown(json.as_bytes()).as_deref(), Some(expected));
        assert_eq!(shown(b"no event"), None);
    }
}
