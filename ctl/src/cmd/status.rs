//! `berth status`: the node and its units, on one screen.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use berth_units::Name;
use berth_units::wire::control::{Call, Fault, Figures, Inspected, Status};

use crate::client::{self, CallError};
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Look, print, print_json};
use crate::rates::{self, Rates};
use crate::status_text;
use crate::varlink::ReplyError;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth status\n  berth status web\n  berth status --label team=shop\n  \
    berth --node unix:SOCKET status --json | jq '.units[].state'")]
pub struct Args {
    /// Only this unit, with all that is known of it
    #[arg(value_parser = Name::parse)]
    unit: Option<Name>,
    /// Only units with this label; several times: with all of them
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Networks and volumes too
    #[arg(short, long)]
    all: bool,
    /// Print JSON; its members are described in docs/contract.md
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let before = if args.json { None } else { Some(client::call(node, &Call::Stats {})?) };
    let mut status: Status = client::status(node)?;
    let look = Look::of_stdout();
    if let Some(unit) = &args.unit {
        status.units.retain(|status| status.name == unit.as_str());
        if status.units.is_empty() {
            let fault = Fault::NoSuchUnit { unit: unit.to_string(), nearest: None };
            return Err(CallError::from(ReplyError::Fault(fault)).into());
        }
    }
    status.units.retain(|unit| args.label.iter().all(|wanted| has_label(&unit.labels, wanted)));
    if args.json {
        print_json(&status)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rates = before.map(|before| rates_since(node, &before)).transpose()?.unwrap_or_default();
    match &args.unit {
        Some(unit) => {
            let details = status.units.iter().map(|unit| status_text::details(unit, &rates, look));
            print(&details.collect::<String>())?;
            print(&related(node, unit, look)?)?;
        }
        None => print(&status_text::screen(&status, &rates, args.all, look))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a label is there; with a value, whether it has that.
fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

/// Over this much time the share of a processor is measured.
const SAMPLE: Duration = Duration::from_millis(250);

fn rates_since(node: &Node, before: &Figures) -> Result<BTreeMap<String, Rates>, Failure> {
    std::thread::sleep(SAMPLE);
    Ok(rates::between(before, &client::call(node, &Call::Stats {})?))
}

/// Whom a container depends on and who needs it; networks and volumes have none.
fn related(node: &Node, unit: &Name, look: Look) -> Result<String, Failure> {
    match client::call::<Inspected>(node, &Call::Inspect { unit: unit.clone() }) {
        Ok(inspected) => Ok(status_text::related(&inspected, look)),
        Err(CallError::Reply(ReplyError::Fault(Fault::NoSuchUnit { .. }))) => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_with_or_without_its_value() {
        let labels = [("team".to_owned(), "shop".to_owned()), ("tier".to_owned(), String::new())].into();
        for (wanted, expect) in [
            ("team", true),
            ("team=shop", true),
            ("team=", false),
            ("team=ops", false),
            ("tier=", true),
            ("x", false),
        ] {
            assert_eq!(has_label(&labels, wanted), expect, "{wanted}");
        }
    }
}
