//! What another set would change, unit by unit and why: for people, before it is done.
//!
//! It is told by the same view that the planner acts on, so that nothing happens that was not said.

use std::collections::BTreeSet;

use super::supplies::follows;
use super::{View, is_wanted};
use crate::Name;
use crate::change::{KeyChange, Means, differences};
use crate::observed::Observed;
use crate::spec::{Declared, OnChange, Unit};
use crate::supplies::redeclared;
use crate::wire::control::{Change, Deed};

/// What becomes of each unit, network and volume when `new` takes the place of `old`, by kind and name. Both sets
/// have their identities.
pub fn changes(old: &Declared, new: &Declared, observed: &Observed) -> Vec<Change> {
    let mut then = observed.clone();
    for name in new.units.keys() {
        then.units.entry(name.clone()).or_default();
    }
    let view = View::new(new, &then);
    let names: BTreeSet<&Name> = old.units.keys().chain(new.units.keys()).collect();
    let containers = names.into_iter().map(|name| {
        let (deed, keys, why) = match (old.units.get(name), new.units.get(name)) {
            (None, Some(unit)) => (Deed::Create, Vec::new(), rests(unit)),
            (Some(_), None) => (Deed::Stop, Vec::new(), Some("no longer declared".to_owned())),
            (Some(was), Some(is)) => {
                let (deed, keys, why) = view.changed(was, is);
                match redeclared(old, new, (was, is)).filter(|_| follows(is) && view.has_process(name)) {
                    Some(what) if matches!(deed, Deed::None | Deed::Update) => {
                        let reloads = is.supplies.on_change == OnChange::Reload;
                        let deed = if reloads { Deed::Update } else { Deed::Recreate };
                        (deed, keys, Some(format!("{what} changes")))
                    }
                    _ => (deed, keys, why),
                }
            }
            (None, None) => (Deed::None, Vec::new(), None),
        };
        let seen = observed.units.get(name);
        let pid = seen.and_then(|seen| seen.record.run.as_ref()).map(|run| run.pid);
        let unit = new.units.get(name).or_else(|| old.units.get(name));
        let kind = unit.map_or("container", Unit::kind_word);
        Change { unit: name.to_string(), kind: kind.to_owned(), deed, keys, pid, why }
    });
    let networks = others("network", &old.networks, &new.networks);
    let volumes = others("volume", &old.volumes, &new.volumes);
    let configs = others("config", &old.configs, &new.configs);
    let secrets = others("secret", &old.secrets, &new.secrets);
    containers.chain(networks).chain(volumes).chain(configs).chain(secrets).collect()
}

impl View<'_> {
    fn changed(&self, old: &Unit, new: &Unit) -> (Deed, Vec<KeyChange>, Option<String>) {
        let keys = differences(old, new);
        let needs_process = keys.iter().any(|key| key.means == Means::Process);
        let nothing = keys.iter().all(|key| key.means == Means::Note);
        match self.way_out(&new.name) {
            Some(true) if needs_process => (Deed::Recreate, keys, None),
            Some(true) => {
                let why = self
                    .led_by(new)
                    .map_or("its addresses change".to_owned(), |on| format!("follows '{on}'"));
                (Deed::Recreate, keys, Some(why))
            }
            Some(false) => {
                let own = (!new.enabled).then(|| "not enabled any more".to_owned());
                let why = own.or_else(|| Some(format!("needs '{}', which goes", self.led_by(new)?)));
                (Deed::Stop, keys, why.or_else(|| rests(new)))
            }
            None if keys.is_empty() => (Deed::None, keys, None),
            None if nothing || self.has_process(&new.name) => (Deed::Update, keys, None),
            None if self.tries_again(&new.name) => {
                (Deed::Recreate, keys, Some("it is tried again".to_owned()))
            }
            None => (Deed::Update, keys, Some("it does not run".to_owned())),
        }
    }

    fn has_process(&self, name: &Name) -> bool {
        self.observed.units.get(name).is_some_and(|seen| seen.record.life.has_process())
    }

    fn tries_again(&self, name: &Name) -> bool {
        let seen = self.observed.units.get(name);
        seen.is_some_and(|seen| matches!(self.plan_live(name, seen), Some(super::Action::Reconsider(_))))
    }
}

/// Why a unit does not start with the set.
fn rests(unit: &Unit) -> Option<String> {
    let seen = crate::observed::Seen::default();
    (!is_wanted(unit, &seen)).then(|| "not started by itself".to_owned())
}

fn others<'d, T: PartialEq>(
    kind: &'static str,
    old: &'d std::collections::BTreeMap<Name, T>,
    new: &'d std::collections::BTreeMap<Name, T>,
) -> impl Iterator<Item = Change> + use<'d, T> {
    let names: BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
    names.into_iter().map(move |name| {
        let deed = match (old.get(name), new.get(name)) {
            (None, _) => Deed::Create,
            (_, None) => Deed::Stop,
            (old, new) if old == new => Deed::None,
            _ => Deed::Update,
        };
        // What is in a volume is nobody's to take, nor what was set by hand.
        let stays = match kind {
            "volume" => Some("no longer declared; its files stay"),
            "secret" => Some("no longer declared; a value that was set stays"),
            _ => None,
        };
        let stays = stays.filter(|_| deed == Deed::Stop).map(str::to_owned);
        Change {
            unit: name.to_string(),
            kind: kind.to_owned(),
            deed,
            keys: Vec::new(),
            pid: None,
            why: stays,
        }
    })
}
