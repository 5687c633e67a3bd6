//! `berth apply`: another set of units on a running node, whole or not at all; `berth diff` is the same without doing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use berth_units::wire::control::{Applied, Apply, Call, Fault};

use crate::appliance::{Appliance, read_appliance};
use crate::arrival::{Arrival, arrivals, awaited};
use crate::changes_text;
use crate::client::{self, CallError};
use crate::failure::{Failure, Kind};
use crate::node::Node;
use crate::output::{Look, note, print, print_json};
use crate::report;
use crate::signals::{Signal, Signals};
use crate::varlink::ReplyError;

/// Where files of units are, below /etc/berth and in an appliance.
const UNITS: &str = "units/";
/// How long a node may take to write a set to its disk.
const STORING: Duration = Duration::from_secs(120);
/// A set that is in its place is taken within this time.
const TAKEN_BY: Duration = Duration::from_secs(5);
/// Between two looks at the node.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What a command ends with that was interrupted, as a shell has it.
const INTERRUPTED: u8 = 130;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth apply .\n  berth apply --dry-run appliance\n  \
    berth --node unix:SOCKET apply --json appliance | jq '.changes[] | select(.action != \"none\")'")]
pub struct Args {
    /// Holds node.toml and units/*.toml, or just *.toml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print the changes as JSON
    #[arg(long)]
    json: bool,
    /// Say nothing on success
    #[arg(short, long)]
    quiet: bool,
    /// Return as soon as the set is in its place
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error("the set is in force, but {0}")]
    NotUp(String),
    #[error("the set is in its place, but not in force after {0} s")]
    NotTaken(u64),
    #[error("the node took the set and refused it: {0}")]
    Refused(String),
}

/// Does it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let appliance = read_appliance(&args.dir)?;
    let signals = take_signals()?;
    let Some(applied) = ask(node, &appliance, args.dry_run, &signals)? else {
        note("interrupted: the node has the old set or the new one, never a part; 'berth diff' says which\n");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if !args.json && !args.quiet {
        print(&changes_text::draw(&applied, Look::of_stdout()))?;
    }
    if !args.dry_run && !args.no_wait && !settle(node, &applied, args, &signals)? {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if args.json {
        print_json(&applied)?;
    } else if !args.quiet && !args.dry_run {
        print(if args.no_wait { "the set is in its place\n" } else { "done\n" })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what would be done.
pub fn diff(node: &Node, dir: &Path, json: bool) -> Result<ExitCode, Failure> {
    let appliance = read_appliance(dir)?;
    let Some(applied) = ask(node, &appliance, true, &take_signals()?)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    match json {
        true => print_json(&applied)?,
        false => print(&changes_text::draw(&applied, Look::of_stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C and the like are answered with what state was left.
fn take_signals() -> Result<Signals, Failure> {
    Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]).map_err(Failure::action)
}

/// Checks the set here, then has the node check it and take it; `None` when a signal came first.
fn ask(
    node: &Node,
    appliance: &Appliance,
    dry_run: bool,
    signals: &Signals,
) -> Result<Option<Applied>, Failure> {
    let declared = report::check_or_fail(appliance)?;
    let own = |(place, file): &(String, berth_units::SourceFile)| {
        Some((place.strip_prefix(UNITS)?.to_owned(), file.text.clone()))
    };
    let files: BTreeMap<String, String> = appliance.units.iter().filter_map(own).collect();
    let said = appliance.node.is_some().then_some(declared.node);
    let call = Call::Apply(Apply { files, node: said, dry_run });
    client::call_or_signal(node, &call, signals, STORING).map_err(|error| refused(error, appliance))
}

/// Faults that only the node can find are drawn like those that are found here.
fn refused(error: CallError, appliance: &Appliance) -> Failure {
    let CallError::Reply(ReplyError::Fault(Fault::Refused { mut diagnostics })) = error else {
        return error.into();
    };
    let shown = |path: &str| {
        let place = format!("{UNITS}{path}");
        appliance.units.iter().find(|(known, _)| *known == place).map(|(_, file)| file.path.clone())
    };
    for diagnostic in &mut diagnostics {
        diagnostic.path = shown(&diagnostic.path).unwrap_or_else(|| diagnostic.path.clone());
        for related in &mut diagnostic.related {
            related.path = shown(&related.path).unwrap_or_else(|| related.path.clone());
        }
    }
    let sources = appliance.sources();
    let look = Look { colour: false, width: None };
    for diagnostic in &diagnostics {
        note(&report::draw(diagnostic, &sources, look));
    }
    note(&format!("{}\n", report::summary(&diagnostics, appliance)));
    Failure::said(Kind::Input)
}

/// Waits until what was changed has arrived; `false` when a signal came first.
fn settle(node: &Node, applied: &Applied, args: &Args, signals: &Signals) -> Result<bool, Failure> {
    let started = Instant::now();
    let mut last = Vec::new();
    while awaited(applied).next().is_some() {
        let now = client::status(node)?;
        let is_taken = now.node.set == applied.set;
        // It may speak of an earlier set for a moment.
        let fault = now.node.fault.as_ref().filter(|_| !is_taken && started.elapsed() > TAKEN_BY);
        if let Some(fault) = fault {
            return Err(Failure::action(ApplyError::Refused(fault.clone())));
        }
        let found = if is_taken { arrivals(applied, &now) } else { Vec::new() };
        let failed: Vec<_> =
            found.iter().filter(|(_, arrival)| matches!(arrival, Arrival::Failed(_))).collect();
        let under_way: Vec<_> =
            found.iter().filter(|(_, arrival)| matches!(arrival, Arrival::UnderWay(_))).collect();
        if is_taken && under_way.is_empty() && failed.is_empty() {
            return Ok(true);
        }
        let late = started.elapsed() > Duration::from_secs(args.timeout);
        if late && !is_taken {
            return Err(Failure::action(ApplyError::NotTaken(args.timeout)));
        }
        if late || is_taken && under_way.is_empty() {
            let all = failed.iter().chain(&under_way).map(|(unit, arrival)| format!("'{unit}' {arrival}"));
            let text = all.collect::<Vec<_>>().join(", ");
            let first =
                failed.iter().chain(&under_way).next().map(|(unit, _)| unit.clone()).unwrap_or_default();
            let failure = Failure::action(ApplyError::NotUp(text));
            return Err(failure.hint(format!("its output is in 'berth logs {first}'")));
        }
        let waits: Vec<_> = under_way.iter().map(|(unit, arrival)| format!("{unit}  {arrival}\n")).collect();
        if waits != last && started.elapsed() > Duration::from_secs(1) && !args.quiet {
            note(&waits.concat());
            last = waits;
        }
        if signals.next().is_some() {
            let names: Vec<_> = under_way.iter().map(|(unit, _)| unit.as_str()).collect();
            let left = if is_taken { "the new set is in force" } else { "the new set is in its place" };
            note(&format!("stopped waiting: {left}; not there yet: {}\n", names.join(", ")));
            return Ok(false);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(true)
}
