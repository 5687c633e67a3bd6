//! `berth reload`: has units read their configuration again.

use std::process::ExitCode;
use std::time::Duration;

use berth_units::Name;
use berth_units::wire::control::{Call, ReloadState, UnitStatus};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{print, printable};

/// Between two looks at the unit; `reload.timeout` bounds the wait.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The command line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: berth reload web")]
pub struct Args {
    /// Units that are to reload
    #[arg(required = true, value_parser = Name::parse)]
    unit: Vec<Name>,
    /// Return as soon as the node has accepted it
    #[arg(long)]
    no_wait: bool,
    /// Say nothing on success
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("the reload of unit '{unit}' has failed: {why}")]
    Failed { unit: Name, why: String },
    #[error("unit '{0}' has ended meanwhile")]
    Ended(Name),
}

/// Reloads each unit in the order given, and stops at the first that fails.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    for unit in &args.unit {
        client::tell(node, &Call::Reload { unit: unit.clone() })?;
        if !args.no_wait {
            wait(node, unit)?;
        }
        if !args.quiet {
            print(&format!("{unit}  {}\n", if args.no_wait { "accepted" } else { "reloaded" }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn wait(node: &Node, unit: &Name) -> Result<(), Failure> {
    loop {
        let units = client::status(node)?.units;
        let found = units.iter().find(|status| status.name == unit.as_str());
        match outcome(unit, found) {
            None => std::thread::sleep(LOOK_AGAIN),
            Some(result) => return result.map_err(Failure::action),
        }
    }
}

/// How it ended; none while it is under way.
fn outcome(unit: &Name, status: Option<&UnitStatus>) -> Option<Result<(), ReloadError>> {
    // The next process of the unit knows nothing of it.
    let Some(reload) = status.and_then(|status| status.reload.as_ref()) else {
        return Some(Err(ReloadError::Ended(unit.clone())));
    };
    let why = printable(reload.why.as_deref().unwrap_or_default());
    match reload.state {
        ReloadState::Running => None,
        ReloadState::Done => Some(Ok(())),
        ReloadState::Failed => Some(Err(ReloadError::Failed { unit: unit.clone(), why })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_and_a_dead_unit_is_no_success() {
        let unit = Name::parse("web").unwrap();
        let status = |reload: serde_json::Value| -> UnitStatus {
            serde_json::from_value(serde_json::json!({
                "name": "web", "kind": "container", "state": "ready", "restarts": 0, "addresses": [],
                "since": "", "since_seconds": 0.0, "ports": [], "reload": reload,
            }))
            .unwrap()
        };
        let say =
            |reload| outcome(&unit, Some(&status(reload))).map(|end| end.map_err(|error| error.to_string()));
        assert_eq!(say(serde_json::json!({"state": "running"})), None);
        assert_eq!(say(serde_json::json!({"state": "done", "at": "now"})), Some(Ok(())));
        let failed = "the reload of unit 'web' has failed: exit code 3".to_owned();
        assert_eq!(say(serde_json::json!({"state": "failed", "why": "exit code 3"})), Some(Err(failed)));
        assert!(matches!(say(serde_json::Value::Null), Some(Err(_))));
    }
}
