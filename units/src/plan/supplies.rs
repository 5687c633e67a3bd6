//! What units are given: a start waits for it, and a change of it reaches those that run.

use super::{Action, View};
use crate::observed::Seen;
use crate::spec::{OnChange, Type, Unit};
use crate::supplies::{changed, missing};

impl View<'_> {
    /// The secret, configuration or file that a start waits for, in words.
    pub(super) fn waits_for_supply(&self, unit: &Unit) -> Option<String> {
        missing(self.declared, unit, &self.observed.facts)
    }

    /// What a change of what it was given asks for. A job has the new one with its next run.
    pub(super) fn plan_supplies(&self, unit: &Unit, seen: &Seen) -> Option<Action> {
        let run = seen.record.run.as_ref()?;
        if unit.supplies.on_change != OnChange::Restart || unit.kind == Type::Job {
            return None;
        }
        let what = changed(self.declared, unit, &self.observed.facts, &run.supplies)?;
        Some(Action::Renew(unit.name.clone(), what))
    }
}
