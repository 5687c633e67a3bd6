//! Start, stop, restart, pause and resume: ask, then wait until it has come to something.

use std::time::{Duration, Instant};

use berth_units::Name;
use berth_units::wire::control::{Call, State, UnitStatus};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{note, print, printable};

/// Between two looks at the unit.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A wait of this length is explained.
const EXPLAIN_AFTER: Duration = Duration::from_secs(1);

/// What they have in common on the command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Units to act on
    #[arg(required = true, value_parser = Name::parse)]
    unit: Vec<Name>,
    /// Return as soon as the node has accepted it
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
    /// Say nothing on success
    #[arg(short, long)]
    quiet: bool,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Until it is ready.
    Start,
    /// Until it has stopped.
    Stop,
    /// Until it is ready again.
    Restart,
    /// Until it is paused.
    Pause,
    /// Until it is not.
    Resume,
}

/// How far it has come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    UnderWay,
    Done,
    Failed,
}

#[derive(Debug, thiserror::Error)]
enum TransitionError {
    #[error("unit '{unit}' is {state}{why}")]
    Failed { unit: Name, state: State, why: String },
    #[error("unit '{unit}' is still {state} after {seconds} s{why}")]
    Late { unit: Name, state: State, seconds: u64, why: String },
    #[error("unit '{0}' is no longer declared")]
    Gone(Name),
}

impl Verb {
    fn call(self, unit: Name) -> Call {
        match self {
            Self::Start => Call::Start { unit },
            Self::Stop => Call::Stop { unit },
            Self::Restart => Call::Restart { unit },
            Self::Pause => Call::Pause { unit },
            Self::Resume => Call::Resume { unit },
        }
    }

    /// `before` is the unit before the call, if it was there.
    fn progress(self, before: Option<&UnitStatus>, now: &UnitStatus) -> Progress {
        let changed = before.is_none_or(|before| {
            (before.state, &before.since, before.pid) != (now.state, &now.since, now.pid)
        });
        match (self, now.state) {
            (Self::Stop, State::Stopped | State::Completed | State::Failed)
            | (Self::Start, State::Ready | State::Completed)
            | (Self::Pause, State::Paused) => Progress::Done,
            (Self::Resume, state) if state != State::Paused => Progress::Done,
            // It has ended in the moment between.
            (Self::Pause, state) if !matches!(state, State::Ready | State::Starting) => Progress::Failed,
            (Self::Restart, State::Ready | State::Completed) if changed => Progress::Done,
            (Self::Start | Self::Restart, State::Failed | State::Backoff) if changed => Progress::Failed,
            _ => Progress::UnderWay,
        }
    }
}

/// Acts on each unit in the order given, and stops at the first that fails.
pub fn run(node: &Node, verb: Verb, args: &Args) -> Result<(), Failure> {
    for unit in &args.unit {
        let state = if args.no_wait {
            client::tell(node, &verb.call(unit.clone()))?;
            None
        } else {
            Some(act_and_wait(node, verb, unit, Duration::from_secs(args.timeout))?)
        };
        if !args.quiet {
            print(&match state {
                Some(state) => format!("{unit}  {state}\n"),
                None => format!("{unit}  accepted\n"),
            })?;
        }
    }
    Ok(())
}

fn act_and_wait(node: &Node, verb: Verb, unit: &Name, patience: Duration) -> Result<State, Failure> {
    let before = client::status(node)?.units.into_iter().find(|status| status.name == unit.as_str());
    client::tell(node, &verb.call(unit.clone()))?;
    let started = Instant::now();
    let mut explained = None;
    loop {
        let status = client::status(node)?;
        let now = status.units.into_iter().find(|status| status.name == unit.as_str());
        let now = now.ok_or_else(|| Failure::action(TransitionError::Gone(unit.clone())))?;
        let why = now.why.as_deref().map(|why| format!(": {}", printable(why))).unwrap_or_default();
        let (unit, state) = (unit.clone(), now.state);
        match verb.progress(before.as_ref(), &now) {
            Progress::Done => return Ok(state),
            Progress::Failed => {
                let hint = format!("its output is in 'berth logs {unit}'");
                return Err(Failure::action(TransitionError::Failed { unit, state, why }).hint(hint));
            }
            Progress::UnderWay if started.elapsed() > patience => {
                let seconds = patience.as_secs();
                return Err(Failure::action(TransitionError::Late { unit, state, seconds, why }));
            }
            Progress::UnderWay => {}
        }
        if started.elapsed() > EXPLAIN_AFTER && explained != Some((state, why.clone())) {
            note(&format!("{unit}  {state}{why}\n"));
            explained = Some((state, why));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(state: State, pid: i32) -> UnitStatus {
        let json = serde_json::json!({
            "name": "web", "kind": "container", "state": state, "pid": pid, "restarts": 0, "addresses": [],
            "since": "", "since_seconds": 0.0, "ports": [],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_restart_is_not_done_before_something_changed() {
        use Progress::{Done, Failed, UnderWay};
        let ready = unit(State::Ready, 1);
        let failed = unit(State::Failed, 0);
        for (verb, before, now, expected) in [
            (Verb::Restart, &ready, unit(State::Ready, 1), UnderWay),
            (Verb::Restart, &ready, unit(State::Stopping, 1), UnderWay),
            (Verb::Restart, &ready, unit(State::Ready, 2), Done),
            (Verb::Restart, &ready, unit(State::Backoff, 0), Failed),
            (Verb::Start, &failed, unit(State::Failed, 0), UnderWay),
            (Verb::Start, &failed, unit(State::Failed, 7), Failed),
            (Verb::Start, &ready, unit(State::Ready, 1), Done),
            (Verb::Stop, &ready, unit(State::Stopping, 1), UnderWay),
            (Verb::Stop, &ready, unit(State::Stopped, 0), Done),
            (Verb::Pause, &ready, unit(State::Ready, 1), UnderWay),
            (Verb::Pause, &ready, unit(State::Paused, 1), Done),
            (Verb::Pause, &ready, unit(State::Backoff, 0), Failed),
            (Verb::Resume, &ready, unit(State::Paused, 1), UnderWay),
            (Verb::Resume, &ready, unit(State::Ready, 1), Done),
        ] {
            assert_eq!(verb.progress(Some(before), &now), expected, "{verb:?} {now:?}");
        }
    }
}
