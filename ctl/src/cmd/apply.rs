//! `berth apply`: another set of units on a running node, whole or not at all, and only for as long as its units are
//! healthy; `berth diff` is the same without doing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use berth_units::wire::control::{Applied, Apply, Call, Fault};

use crate::appliance::{Appliance, read_appliance};
use crate::changes_text;
use crate::client::{self, CallError};
use crate::failure::{Failure, Kind};
use crate::node::Node;
use crate::output::{Look, note, print, print_json};
use crate::report;
use crate::signals::{Signal, Signals};
use crate::trial::Wait;
use crate::varlink::ReplyError;

/// Where files of units are, below /etc/berth and in an appliance.
const UNITS: &str = "units/";
/// How long a node may take to write a set to its disk.
const STORING: Duration = Duration::from_secs(120);
/// What a command ends with that was interrupted, as a shell has it.
pub const INTERRUPTED: u8 = 130;

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
    /// Try it even if it has failed before
    #[arg(long)]
    again: bool,
    /// Return as soon as the revision is on the node; it decides by itself whether it is good
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    timeout: u64,
}

/// Does it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let appliance = read_appliance(&args.dir)?;
    let signals = take_signals()?;
    let Some(applied) = ask(node, &appliance, (args.dry_run, args.again), &signals)? else {
        note("interrupted: the node has the old set or the new one, never a part; 'berth diff' says which\n");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if !args.json && !args.quiet {
        print(&changes_text::draw(&applied, Look::of_stdout()))?;
    }
    let wait = Wait { timeout: Duration::from_secs(args.timeout), quiet: args.quiet };
    if !args.dry_run && !args.no_wait && !wait.until_good(node, applied.revision, &signals)? {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if args.json {
        print_json(&applied)?;
    } else if !args.quiet && !args.dry_run {
        let word = if args.no_wait { "stored" } else { "good" };
        print(&format!("{word:<8} revision {}\n", applied.revision))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what would be done.
pub fn diff(node: &Node, dir: &Path, json: bool) -> Result<ExitCode, Failure> {
    let appliance = read_appliance(dir)?;
    let Some(applied) = ask(node, &appliance, (true, true), &take_signals()?)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    match json {
        true => print_json(&applied)?,
        false => print(&changes_text::draw(&applied, Look::of_stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C and the like are answered with what state was left.
pub fn take_signals() -> Result<Signals, Failure> {
    Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]).map_err(Failure::action)
}

/// Checks the set here, then has the node check it and take it; `None` when a signal came first.
fn ask(
    node: &Node,
    appliance: &Appliance,
    (dry_run, again): (bool, bool),
    signals: &Signals,
) -> Result<Option<Applied>, Failure> {
    let declared = report::check_or_fail(appliance)?;
    let own = |(place, file): &(String, berth_units::SourceFile)| {
        Some((place.strip_prefix(UNITS)?.to_owned(), file.text.clone()))
    };
    let files: BTreeMap<String, String> = appliance.units.iter().filter_map(own).collect();
    let said = appliance.node.is_some().then_some(declared.node);
    let call = Call::Apply(Apply { files, node: said, dry_run, again });
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
