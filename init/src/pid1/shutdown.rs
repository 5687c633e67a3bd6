//! The way down as a value: what was asked, how long units may take, when the end is due. Nothing is done here.
//!
//! ```text
//! up --request--> stopping --every unit stopped, deadline, or asked again--> due
//! ```

use std::time::{Duration, Instant};

use berth_units::wire::control::Then;

/// Until the supervisor says what the node's file says.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// The longest that a supervisor may ask for.
const DEADLINE_MAX: Duration = Duration::from_secs(3600);
/// A second request this soon is a bouncing key, not impatience.
const BOUNCE: Duration = Duration::from_secs(1);

/// State of the shutdown.
#[derive(Debug)]
pub struct Shutdown {
    deadline: Duration,
    stopping: Option<Stopping>,
}

#[derive(Debug)]
struct Stopping {
    then: Then,
    since: Instant,
    due: Option<Cause>,
}

/// Why the time of the units is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// They are all stopped.
    Stopped,
    /// They took too long.
    Deadline,
    /// It was asked for a second time.
    Impatience,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { deadline: DEADLINE_DEFAULT, stopping: None }
    }
}

impl Shutdown {
    /// Sets how long units may take, from the request on; holds for a shutdown under way too.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline.min(DEADLINE_MAX);
    }

    /// Somebody asks for the end. `true` when it begins; asked again after a second the units' time is over, and
    /// the first asked decides what follows.
    pub fn request(&mut self, then: Then, now: Instant) -> bool {
        match &mut self.stopping {
            None => {
                self.stopping = Some(Stopping { then, since: now, due: None });
                true
            }
            Some(stopping) => {
                if now.duration_since(stopping.since) >= BOUNCE {
                    stopping.due.get_or_insert(Cause::Impatience);
                }
                false
            }
        }
    }

    /// The supervisor says that every unit is stopped; means nothing before a request.
    pub fn stopped(&mut self) {
        if let Some(stopping) = &mut self.stopping {
            stopping.due.get_or_insert(Cause::Stopped);
        }
    }

    /// It was asked for: the supervisor is to stop everything.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// When the deadline passes.
    pub fn deadline(&self) -> Option<Instant> {
        self.stopping.as_ref().map(|stopping| stopping.since + self.deadline)
    }

    /// What follows, and why now, once the time of the units is over.
    pub fn due(&self, now: Instant) -> Option<(Then, Cause)> {
        let stopping = self.stopping.as_ref()?;
        let late = || (now >= stopping.since + self.deadline).then_some(Cause::Deadline);
        Some((stopping.then, stopping.due.or_else(late)?))
    }

    /// Since when it is under way.
    pub fn since(&self) -> Option<Instant> {
        self.stopping.as_ref().map(|stopping| stopping.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn units_have_until_the_deadline() {
        let (mut shutdown, now) = (Shutdown::default(), Instant::now());
        shutdown.stopped();
        assert_eq!((shutdown.due(now), shutdown.deadline()), (None, None));
        assert!(shutdown.request(Then::Reboot, now));
        assert_eq!(shutdown.deadline(), Some(now + 30 * SECOND));
        assert_eq!(shutdown.due(now + 29 * SECOND), None);
        assert_eq!(shutdown.due(now + 30 * SECOND), Some((Then::Reboot, Cause::Deadline)));
        shutdown.set_deadline(5 * SECOND);
        assert_eq!(shutdown.due(now + 5 * SECOND), Some((Then::Reboot, Cause::Deadline)));
        shutdown.stopped();
        assert_eq!(shutdown.due(now), Some((Then::Reboot, Cause::Stopped)));
    }

    #[test]
    fn asking_again_hastens_but_bouncing_does_not() {
        let (mut shutdown, now) = (Shutdown::default(), Instant::now());
        assert!(shutdown.request(Then::Poweroff, now));
        assert!(!shutdown.request(Then::Reboot, now + SECOND / 2));
        assert_eq!(shutdown.due(now + SECOND / 2), None);
        assert!(!shutdown.request(Then::Reboot, now + 2 * SECOND));
        assert_eq!(shutdown.due(now + 2 * SECOND), Some((Then::Poweroff, Cause::Impatience)));
    }

    #[test]
    fn a_supervisor_cannot_ask_for_ever() {
        let (mut shutdown, now) = (Shutdown::default(), Instant::now());
        shutdown.set_deadline(Duration::from_secs(1 << 40));
        shutdown.request(Then::Poweroff, now);
        assert_eq!(shutdown.deadline(), Some(now + DEADLINE_MAX));
    }
}
