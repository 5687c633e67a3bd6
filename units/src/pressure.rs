//! What follows when a trigger of `[pressure.NAME]` fires.

use std::time::Duration;

use crate::human;
use crate::life::Life;
use crate::observed::Moment;
use crate::signal::signal_name;
use crate::spec::{Pressure, PressureAction, PressureKind, Resource};

/// A trigger that fires all the time is said this often.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What was said of a trigger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    at: Option<Moment>,
    unsaid: u64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// A line for people, when it is time for one.
    pub line: Option<String>,
    /// And then.
    pub deed: Deed,
}

/// What is done to the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    Nothing,
    /// Its first process gets a signal.
    Signal(i32),
    /// Its process is ended.
    Replace {
        /// Without asking.
        kill: bool,
        /// Why.
        why: String,
    },
}

/// What follows from a trigger of that name that fired. A unit that is starting or on its way out is left alone.
pub fn respond(name: &str, pressure: &Pressure, life: Life, said: &mut Said, now: Moment) -> Response {
    if !life.is_up() {
        return Response { line: None, deed: Deed::Nothing };
    }
    let why = why(name, pressure);
    let deed = match pressure.action {
        PressureAction::Log => Deed::Nothing,
        PressureAction::Signal(signal) => Deed::Signal(signal),
        // The end says why.
        PressureAction::Restart | PressureAction::Kill => {
            let kill = pressure.action == PressureAction::Kill;
            return Response { line: None, deed: Deed::Replace { kill, why } };
        }
    };
    if said.at.is_some_and(|at| now.since(at) < SAY_AGAIN) {
        said.unsaid += 1;
        return Response { line: None, deed };
    }
    let sent = match deed {
        Deed::Signal(signal) => format!("; it gets {}", signal_name(signal)),
        _ => String::new(),
    };
    let times = match said.unsaid {
        0 => String::new(),
        count => format!(" ({count} times more since it was said last)"),
    };
    *said = Said { at: Some(now), unsaid: 0 };
    Response { line: Some(format!("{why}{sent}{times}")), deed }
}

fn why(name: &str, pressure: &Pressure) -> String {
    let who = match pressure.kind {
        PressureKind::Some => "processes",
        PressureKind::Full => "all its processes",
    };
    let what = match pressure.resource {
        Resource::Memory => "memory",
        Resource::Cpu => "processors",
        Resource::Io => "disks",
    };
    let (threshold, window) = (human::duration(pressure.threshold), human::duration(pressure.window));
    format!("pressure '{name}': {who} waited for {what} over {threshold} of {window}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    #[test]
    fn it_is_said_once_a_minute_and_done_each_time() {
        let action = PressureAction::Signal(10);
        let pressure = Pressure { action, ..Pressure::default() };
        let mut said = Said::default();
        let mut respond = |seconds| respond("short", &pressure, Life::Ready, &mut said, at(seconds));
        let line = "pressure 'short': processes waited for memory over 150ms of 1s; it gets SIGUSR1";
        let expect = |line: Option<String>| Response { line, deed: Deed::Signal(10) };
        assert_eq!(respond(100), expect(Some(line.to_owned())));
        assert_eq!(respond(101), expect(None));
        assert_eq!(respond(159), expect(None));
        let again = format!("{line} (2 times more since it was said last)");
        assert_eq!(respond(160), expect(Some(again)));
    }

    #[test]
    fn only_what_runs_is_touched() {
        let pressure = Pressure {
            resource: Resource::Io,
            kind: PressureKind::Full,
            action: PressureAction::Kill,
            ..Pressure::default()
        };
        for life in [Life::Held, Life::SetUp, Life::Stopping, Life::Killing, Life::Backoff] {
            let response = respond("x", &pressure, life, &mut Said::default(), at(1));
            assert_eq!(response, Response { line: None, deed: Deed::Nothing });
        }
        let why = "pressure 'x': all its processes waited for disks over 150ms of 1s".to_owned();
        let expect = Response { line: None, deed: Deed::Replace { kill: true, why } };
        assert_eq!(respond("x", &pressure, Life::Running, &mut Said::default(), at(1)), expect);
    }
}
