//! What units are given: a start waits for it, and a change of it reaches those that run.

use std::time::Duration;

use super::{Action, View};
use crate::observed::{Moment, Seen};
use crate::spec::{OnChange, Type, Unit};
use crate::supplies::{changed, missing};
use crate::wire::net::fnv;

impl View<'_> {
    /// The secret, configuration or file that a start waits for, in words.
    pub(super) fn waits_for_supply(&self, unit: &Unit) -> Option<String> {
        missing(self.declared, unit, &self.observed.facts)
    }

    /// What a change of what it was given asks for.
    pub(super) fn plan_supplies(&self, unit: &Unit, seen: &Seen, now: Moment) -> Option<Action> {
        let run = seen.record.run.as_ref()?;
        let changed = || changed(self.declared, unit, &self.observed.facts, &run.supplies);
        // What could not start again for want of something goes on with what it has.
        let follows = follows(unit) && self.waits_for_supply(unit).is_none();
        let what = follows.then(changed).flatten();
        let name = unit.name.clone();
        match (what, run.renew_at) {
            (None, None) => None,
            (None, Some(_)) => Some(Action::RenewAt(name, None)),
            (Some(_), None) => Some(Action::RenewAt(name, Some(now.after(share(unit, now))))),
            (Some(what), Some(_)) => {
                renewal(unit, seen).filter(|at| *at <= now)?;
                Some(match unit.supplies.on_change {
                    OnChange::Reload => Action::Resupply(name, what),
                    OnChange::Restart | OnChange::None => Action::Renew(name, what),
                })
            }
        }
    }
}

/// Whether something happens to a unit when what it was given changes. A job has the new one with its next run.
pub(super) fn follows(unit: &Unit) -> bool {
    unit.supplies.on_change != OnChange::None && unit.kind != Type::Job
}

/// When it happens: nothing is reloaded while another thing is done beside the process.
pub(super) fn renewal(unit: &Unit, seen: &Seen) -> Option<Moment> {
    let run = seen.record.run.as_ref()?;
    run.renew_at.filter(|_| unit.supplies.on_change != OnChange::Reload || run.doing.is_none())
}

/// A unit's share of its splay, another one each time.
fn share(unit: &Unit, now: Moment) -> Duration {
    let chance = fnv(&[unit.name.as_str(), &now.0.to_string()]) >> 44;
    // 20 bits of chance: the longest splay has an hour of milliseconds, which is 22 bits.
    let millis = unit.supplies.splay.as_millis().saturating_mul(u128::from(chance)) >> 20;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
