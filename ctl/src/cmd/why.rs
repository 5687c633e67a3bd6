//! `berth why`: why a unit is in the state that it is in, on a few lines.

use std::process::ExitCode;
use std::time::Duration;

use berth_units::Name;
use berth_units::human::{age, duration};
use berth_units::wire::control::{Call, Events, Inspected, Logs, Related, UnitStatus};
use berth_units::wire::event::Event;

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Colour, Look, print, printable};
use crate::session;

/// Lines of its log that are shown.
const LOG_LINES: u64 = 3;
/// Events that are shown.
const EVENTS: usize = 4;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: berth why import")]
pub struct Args {
    /// Which
    #[arg(value_parser = Name::parse)]
    unit: Name,
}

/// Prints it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let unit = &args.unit;
    let inspected: Inspected = client::call(node, &Call::Inspect { unit: unit.clone() })?;
    let logs = Logs { unit: unit.clone(), follow: false, tail: Some(LOG_LINES) };
    // A unit that keeps no log says so; that is no reason to say nothing else.
    let log = lines(node, &Call::Logs(logs)).unwrap_or_default();
    let events = Events { unit: Some(unit.clone()), ..Events::default() };
    let events: Vec<Event> = lines(node, &Call::Events(events))?
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    print(&answer(&inspected, &log, &events, Look::of_stdout()))?;
    Ok(ExitCode::SUCCESS)
}

fn lines(node: &Node, call: &Call) -> Result<Vec<String>, Failure> {
    let bytes = session::collect(client::upgrade(node, call)?)?;
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

fn answer(inspected: &Inspected, log: &[String], events: &[Event], look: Look) -> String {
    let mut text = format!("{}\n", printable(&sentence(&inspected.status)));
    let mut fact = |name: &str, value: String| {
        text.push_str(&format!(
            "  {} {}\n",
            look.paint(Colour::Dim, format!("{name:<11}")),
            printable(&value)
        ));
    };
    if let Some(exit) = &inspected.status.last_exit {
        fact("last exit", format!("{exit}, at {}", exit.at));
    }
    for (at, line) in log.iter().enumerate() {
        // Time and stream of a line are for `berth logs -t`.
        let said = line.splitn(3, ' ').nth(2).unwrap_or(line);
        fact(if at == 0 { "last lines" } else { "" }, said.to_owned());
    }
    for check in &inspected.status.checks {
        let found = check.results.last().map_or("not run yet", |result| result.text.as_str());
        fact("check", format!("{} {}: {found}", check.name, check.verdict));
    }
    fact("depends on", related(&inspected.depends_on));
    fact("needed by", related(&inspected.needed_by));
    for (at, event) in events.iter().rev().take(EVENTS).rev().enumerate() {
        let time = event.time.get(11..19).unwrap_or(&event.time);
        fact(if at == 0 { "happened" } else { "" }, format!("{time} {}", event.text));
    }
    text
}

/// `import is in backoff for 12s: exit code 1; next try in 48s, restarted 5 times.`
fn sentence(unit: &UnitStatus) -> String {
    let span = Duration::try_from_secs_f64(unit.since_seconds).unwrap_or_default();
    let mut text = format!("{} is {}, since {}", unit.name, unit.state, age(span));
    if let Some(why) = &unit.why {
        text.push_str(&format!(": {why}"));
    }
    if let Some(seconds) = unit.next_try_seconds {
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        text.push_str(&format!("; next try in {}", duration(wait)));
    }
    match unit.restarts {
        0 => {}
        1 => text.push_str("; restarted once"),
        times => text.push_str(&format!("; restarted {times} times")),
    }
    text
}

fn related(others: &[Related]) -> String {
    let one = |other: &Related| format!("{} ({})", other.unit, other.state);
    match others.is_empty() {
        true => "nothing".to_owned(),
        false => others.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crashed_unit_tells_its_whole_story() {
        let inspected: Inspected = serde_json::from_value(serde_json::json!({
            "status": {
                "name": "import", "kind": "container", "state": "backoff", "why": "exit code 1", "restarts": 5,
                "addresses": [], "since": "", "since_seconds": 12.0, "ports": [], "next_try": "T",
                "next_try_seconds": 48.0,
                "last_exit": { "reason": "exit", "code": 1, "signal": null, "at": "2026-11-20T16:50:58Z" },
            },
            "depends_on": [{ "unit": "cache", "state": "ready", "until": "ready", "strength": "need" }],
            "needed_by": [],
        }))
        .unwrap();
        let event = serde_json::from_value(serde_json::json!({
            "seq": 1, "time": "2026-11-20T16:50:58.000001Z", "unit": "import", "kind": "exited",
            "text": "exit code 1; tried again in 1m", "detail": {},
        }));
        let log = ["T1 stdout connecting".to_owned(), "T2 stderr cannot reach\x1b[2J db".to_owned()];
        assert_eq!(
            answer(&inspected, &log, &[event.unwrap()], Look::PLAIN),
            "import is backoff, since 12s: exit code 1; next try in 48s; restarted 5 times\n\
             \x20 last exit   exit code 1, at 2026-11-20T16:50:58Z\n\
             \x20 last lines  connecting\n\
             \x20             cannot reach\u{fffd}[2J db\n\
             \x20 depends on  cache (ready)\n\
             \x20 needed by   nothing\n\
             \x20 happened    16:50:58 exit code 1; tried again in 1m\n"
        );
    }
}
