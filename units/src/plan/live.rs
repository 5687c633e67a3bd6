//! What changes of a unit without a new process, and what a change means for one that rests.

use super::{Action, Name, View, is_wanted};
use crate::change::Identity;
use crate::life::Life;
use crate::observed::{Record, Seen};
use crate::spec::{Type, Unit};

impl View<'_> {
    /// Brings a unit up to date in place, or gives one that rests another try.
    pub(super) fn plan_live(&self, name: &Name, seen: &Seen) -> Option<Action> {
        let unit = self.declared.units.get(name)?;
        let identity = self.declared.identity(name)?;
        let record = &seen.record;
        if let Some(run) = &record.run {
            // What is on its way out keeps what it has.
            if matches!(record.life, Life::Stopping | Life::Killing) {
                return None;
            }
            if seen.drifted || run.limits.is_some_and(|limits| limits != identity.limits) {
                return Some(Action::Update(name.clone()));
            }
            let other_checks = run.checks.is_some_and(|checks| checks != identity.checks);
            return other_checks.then(|| Action::Recheck(name.clone()));
        }
        let again = !self.observed.draining && is_wanted(unit, seen) && is_another(unit, record, identity);
        again.then(|| Action::Reconsider(name.clone()))
    }
}

/// Whether a unit that rests has become another one since. What it has done well it does again only when another
/// process would do it.
fn is_another(unit: &Unit, record: &Record, identity: Identity) -> bool {
    let differs = |then: Option<u64>, now: u64| then.is_some_and(|then| then != now);
    match record.life {
        // The next run of a job is as its file has it then.
        _ if unit.kind == Type::Job => false,
        Life::Failed | Life::Backoff | Life::Skipped => differs(record.rests_as, identity.whole),
        Life::Completed => differs(record.ran_as, identity.process),
        _ => false,
    }
}
