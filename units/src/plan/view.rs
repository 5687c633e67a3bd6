//! What follows for each unit from the others: who comes after whom, who is on the way out, who is not coming.
//!
//! All of it is found in one walk along the order of the graph, dependencies first, so that a plan of a thousand
//! units stays cheap. Whoever asks more than one question keeps the [`View`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::jobs::is_coming;
use super::{facts, is_healthy, is_wanted};
use crate::Name;
use crate::life::Life;
use crate::observed::{NetworkSeen, Observed, Reached, Seen};
use crate::spec::{Declared, Depends, NetworkMode, OnRestart, OnStop, Strength, Unit, Until};
use crate::task::owes_post_stop;

/// The declared and the observed state, with what follows from both for the units among each other.
#[derive(Debug)]
pub struct View<'w> {
    pub(super) declared: &'w Declared,
    pub(super) observed: &'w Observed,
    /// Of each declared unit: whom it comes after.
    edges: BTreeMap<&'w Name, Vec<Edge<'w>>>,
    /// Of each unit: who comes after it.
    behind: BTreeMap<&'w Name, Vec<&'w Name>>,
    /// Units whose process has to go.
    leaving: BTreeMap<&'w Name, Leave>,
    /// Units that are not there and not coming by themselves.
    absent: BTreeSet<&'w Name>,
}

/// One unit comes after another.
#[derive(Clone, Copy, Debug)]
struct Edge<'w> {
    on: &'w Name,
    depends: Depends,
}

/// How a process has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// For an open time.
    Stop,
    /// It is started anew right after.
    Restart,
}

/// `after` and `before`.
const ORDER: Depends = Depends {
    until: Until::Ready,
    strength: Strength::Wants,
    on_stop: OnStop::Ignore,
    on_restart: OnRestart::Ignore,
};

impl<'w> View<'w> {
    /// Looks once at everything.
    pub fn new(declared: &'w Declared, observed: &'w Observed) -> Self {
        let mut view = Self {
            declared,
            observed,
            edges: edges(declared),
            behind: BTreeMap::new(),
            leaving: BTreeMap::new(),
            absent: BTreeSet::new(),
        };
        view.behind = behind(&view.edges, observed);
        let undeclared = observed.units.keys().filter(|name| !declared.units.contains_key(*name));
        for name in undeclared.chain(sorted(&view.edges, &view.behind)) {
            view.settle(name);
        }
        view
    }

    fn seen(&self, name: &Name) -> Option<&'w Seen> {
        self.observed.units.get(name)
    }

    /// Who comes after a unit.
    pub(super) fn behind(&self, name: &Name) -> &[&'w Name] {
        self.behind.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn edges_of(&self, name: &Name) -> &[Edge<'w>] {
        self.edges.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Finds out about one unit after all that it comes after.
    fn settle(&mut self, name: &'w Name) {
        if self.is_absent(name) {
            self.absent.insert(name);
        }
        if let Some(leave) = self.leave(name) {
            self.leaving.insert(name, leave);
        }
    }

    fn leave(&self, name: &Name) -> Option<Leave> {
        let seen = self.seen(name).filter(|seen| seen.record.life.has_process())?;
        let Some(unit) = self.declared.units.get(name) else {
            return Some(Leave::Stop);
        };
        if self.observed.draining || !is_wanted(unit, seen) {
            return Some(Leave::Stop);
        }
        let run = seen.record.run.as_ref();
        if matches!(seen.record.life, Life::Stopping | Life::Killing) {
            // One that ends for a fault of its own is no different from one that has crashed.
            let own = run.is_some_and(|run| run.timed_out || run.expired || run.unhealthy.is_some());
            let leave = if seen.record.again { self.restart_or_stop(name) } else { Leave::Stop };
            return (!own).then_some(leave);
        }
        if seen.record.again || run.is_some_and(|run| self.is_other(name, run.fingerprint)) {
            return Some(self.restart_or_stop(name));
        }
        // That the owner is another one now holds however it came to be.
        if let Some(owner) =
            unit.network.owner().filter(|owner| run.is_some_and(|run| run.joined != self.run_of(owner)))
        {
            return Some(if self.is_gone(owner) { Leave::Stop } else { self.restart_or_stop(name) });
        }
        self.follow(name)
    }

    /// The number of the run of a unit that has a process.
    fn run_of(&self, name: &Name) -> Option<u64> {
        self.seen(name)?.record.run.as_ref().map(|run| run.number)
    }

    /// A restart that does not come to its second half is a stop for those who depend on it.
    fn restart_or_stop(&self, name: &Name) -> Leave {
        if self.is_hopeless(name) { Leave::Stop } else { Leave::Restart }
    }

    /// Whether a start would wait for something that is not coming by itself.
    fn is_hopeless(&self, name: &Name) -> bool {
        self.edges_of(name).iter().any(|edge| {
            edge.depends.strength != Strength::Wants && !self.holds(edge) && self.is_gone(edge.on)
        })
    }

    /// Whether a unit needs another process than one that was made with that fingerprint.
    fn is_other(&self, name: &Name, fingerprint: u64) -> bool {
        self.declared.identity(name).is_some_and(|identity| identity.process != fingerprint)
    }

    /// What a unit does because of those that it needs.
    fn follow(&self, name: &Name) -> Option<Leave> {
        let needs = self.edges_of(name).iter().filter(|edge| edge.binds());
        let mut found = None;
        for Edge { on, depends } in needs {
            if depends.on_stop == OnStop::Stop && self.is_gone(on) {
                return Some(Leave::Stop);
            }
            if depends.on_restart == OnRestart::Restart && self.is_restarting(on) {
                found = Some(self.restart_or_stop(name));
            }
        }
        found
    }

    /// Whether a unit has stopped, or is about to, for an open time.
    fn is_gone(&self, name: &Name) -> bool {
        self.absent.contains(name)
            || !self.declared.units.contains_key(name)
            || self.leaving.get(name) == Some(&Leave::Stop)
    }

    /// Whether a unit is started anew, and those that depend on it with it.
    fn is_restarting(&self, name: &Name) -> bool {
        let propagates = self.declared.units.get(name).is_some_and(|unit| unit.restart.propagate);
        // Without failures it was stopped, or has never run: nobody is restarted for its start.
        let crashed = |seen: &Seen| match seen.record.life {
            Life::Backoff => true,
            Life::Idle | Life::Held | Life::SetUp => seen.record.failures > 0,
            _ => false,
        };
        self.leaving.get(name) == Some(&Leave::Restart) || propagates && self.seen(name).is_some_and(crashed)
    }

    fn is_absent(&self, name: &Name) -> bool {
        let Some(unit) = self.declared.units.get(name) else {
            return self.seen(name).is_none_or(|seen| !seen.record.life.has_process());
        };
        let Some(seen) = self.seen(name) else {
            return true;
        };
        match seen.record.life {
            Life::Failed | Life::Stopped => true,
            Life::Idle if !is_coming(unit, seen) && !self.is_called(unit) => true,
            Life::Completed => !unit.remains(),
            Life::Idle | Life::Backoff => !is_wanted(unit, seen) || self.is_hopeless(name),
            _ => false,
        }
    }

    /// Whether what an edge asks for before a start is there.
    fn holds(&self, Edge { on, depends }: &Edge<'_>) -> bool {
        let (Some(unit), Some(seen)) = (self.declared.units.get(*on), self.seen(on)) else {
            return depends.strength == Strength::Wants;
        };
        let life = seen.record.life;
        let stays = !self.leaving.contains_key(on);
        let done = life == Life::Skipped || life == Life::Completed && unit.remains();
        let now = done
            || match depends.until {
                Until::Started => stays && life.is_up(),
                Until::Ready => stays && life == Life::Ready,
                Until::Healthy => stays && is_healthy(seen),
                Until::Completed => life == Life::Completed,
            };
        now || match depends.strength {
            Strength::Need => false,
            Strength::Milestone => has_reached(seen.record.reached, depends.until),
            Strength::Wants => self.absent.contains(on) || life == Life::Backoff,
        }
    }

    /// Of a unit whose process has to go: whether another one follows.
    pub(super) fn way_out(&self, name: &Name) -> Option<bool> {
        self.leaving.get(name).map(|leave| *leave == Leave::Restart)
    }

    /// The unit because of which another one has to go.
    pub(super) fn led_by(&self, unit: &Unit) -> Option<&'w Name> {
        let needs = self.edges_of(&unit.name).iter().filter(|edge| edge.binds());
        let leads = |on: &&Name| {
            self.is_gone(on)
                || self.is_restarting(on)
                || unit.network.owner() == Some(on) && self.run_of(on).is_none()
        };
        needs.map(|edge| edge.on).find(leads)
    }

    /// Whether its process has to go, and nobody has seen to that yet.
    pub(super) fn must_stop(&self, name: &Name, seen: &Seen) -> bool {
        !matches!(seen.record.life, Life::Stopping | Life::Killing) && self.leaving.contains_key(name)
    }

    /// Whether somebody who comes after it is still to go first.
    pub(super) fn is_held_back(&self, name: &Name) -> bool {
        let ends = |other: &&Name| {
            self.seen(other).is_some_and(|seen| {
                let life = seen.record.life;
                let sweeps = !life.has_process()
                    && (seen.record.around.is_some()
                        || owes_post_stop(self.declared.units.get(*other), &seen.record));
                let leaves =
                    self.leaving.contains_key(*other) || matches!(life, Life::Stopping | Life::Killing);
                sweeps || life.has_process() && leaves
            })
        };
        self.behind.get(name).is_some_and(|others| others.iter().any(ends))
    }

    /// The unit that it waits for, in words.
    pub(super) fn waits_for_unit(&self, unit: &Unit) -> Option<String> {
        let edge = self.edges_of(&unit.name).iter().find(|edge| !self.holds(edge))?;
        let what = match edge.depends.until {
            Until::Started => "started",
            Until::Ready => "ready",
            Until::Healthy => "healthy",
            Until::Completed => "completed",
        };
        let why = match self.seen(edge.on).map(|seen| seen.record.life) {
            Some(Life::Failed) => ", which has failed",
            Some(Life::Stopped) => ", which is stopped",
            Some(Life::Completed) => ", which has ended",
            Some(Life::Idle) if self.declared.units.get(edge.on).is_some_and(|on| on.schedule.is_some()) => {
                ", which has not run since the boot"
            }
            Some(Life::Idle) if self.absent.contains(edge.on) => ", which does not start",
            _ => "",
        };
        Some(format!("waits for '{}' to be {what}{why}", edge.on))
    }

    /// What a unit without a process waits for, in words, or `None` when nothing holds it back.
    pub fn waits_for(&self, unit: &Unit) -> Option<String> {
        if let Some(doing) = self.seen(&unit.name).and_then(|seen| seen.record.around.as_ref()) {
            return Some(format!("runs {}", doing.task.word()));
        }
        if let Some(seen) = self.seen(&unit.name).filter(|seen| !is_coming(unit, seen)) {
            return self.waits_for_run(unit, seen);
        }
        self.waits_for_unit(unit)
            .or_else(|| self.waits_for_supply(unit))
            .or_else(|| facts::missing(unit, &self.observed.facts))
            .or_else(|| self.waits_for_room(unit))
    }

    /// The last things that a start waits for: that those it never runs beside are gone, and its networks.
    pub(super) fn waits_for_room(&self, unit: &Unit) -> Option<String> {
        let opposes = |other: &&Name| {
            let Some((rival, seen)) = self.declared.units.get(*other).zip(self.seen(other)) else {
                return false;
            };
            let life = seen.record.life;
            let first = **other < unit.name && is_wanted(rival, seen) && is_coming(rival, seen);
            life.has_process()
                || seen.record.around.is_some()
                || owes_post_stop(Some(rival), &seen.record)
                || first && matches!(life, Life::Idle | Life::Backoff)
        };
        let rivals = self.declared.units.values().filter(|other| other.conflicts.contains(&unit.name));
        let mut all = unit.conflicts.iter().chain(rivals.map(|other| &other.name));
        if let Some(other) = all.find(opposes) {
            return Some(format!("waits for '{other}' to be gone: the two conflict"));
        }
        // One that is left out, for one, has done its part for others, and has no network for anybody.
        if let Some(owner) = unit.network.owner().filter(|owner| self.run_of(owner).is_none()) {
            return Some(format!("waits for the network of '{owner}'"));
        }
        // Who is still in the network of the last run would be taken for one of the next.
        let is_inside = |other: &&&Name| {
            let joined = self
                .declared
                .units
                .get(**other)
                .is_some_and(|other| other.network.owner() == Some(&unit.name));
            joined && self.seen(other).is_some_and(|seen| seen.record.life.has_process() || seen.populated)
        };
        if let Some(other) = self.behind(&unit.name).iter().find(is_inside) {
            return Some(format!("waits for '{other}' to leave its last network"));
        }
        if unit.network != NetworkMode::Bridge {
            return None;
        }
        unit.networks.keys().find_map(|network| match self.observed.networks.get(network) {
            Some(NetworkSeen::Up) => None,
            Some(NetworkSeen::Failed(why)) => Some(format!("waits for network '{network}': {why}")),
            None => Some(format!("waits for network '{network}'")),
        })
    }
}

impl Edge<'_> {
    /// Whether the lives of the two are bound. What is wanted to be over has no life to be bound to.
    fn binds(&self) -> bool {
        self.depends.strength == Strength::Need && self.depends.until != Until::Completed
    }
}

fn has_reached(reached: Reached, until: Until) -> bool {
    match until {
        Until::Started => reached.started || reached.completed,
        Until::Ready | Until::Healthy => reached.ready || reached.completed,
        Until::Completed => reached.completed,
    }
}

/// Whom each declared unit comes after, other units only.
fn edges(declared: &Declared) -> BTreeMap<&Name, Vec<Edge<'_>>> {
    let mut edges: BTreeMap<&Name, Vec<Edge<'_>>> = BTreeMap::new();
    for (name, unit) in &declared.units {
        let depends = unit.depends.iter().map(|(on, depends)| Edge { on, depends: *depends });
        let after = unit.after.iter().map(|on| Edge { on, depends: ORDER });
        let own = depends.chain(after).filter(|edge| edge.on != name);
        edges.entry(name).or_default().extend(own);
        for later in unit.before.iter().filter(|later| *later != name) {
            if let Some((later, _)) = declared.units.get_key_value(later) {
                edges.entry(later).or_default().push(Edge { on: name, depends: ORDER });
            }
        }
    }
    edges
}

/// Who comes after each unit. Of one that is no longer declared, what its run was started with still counts.
fn behind<'w>(
    edges: &BTreeMap<&'w Name, Vec<Edge<'w>>>,
    observed: &'w Observed,
) -> BTreeMap<&'w Name, Vec<&'w Name>> {
    let mut behind: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
    for (name, own) in edges {
        for edge in own.iter().filter(|edge| edges.contains_key(edge.on)) {
            behind.entry(edge.on).or_default().push(name);
        }
    }
    for (name, seen) in &observed.units {
        let after = seen.record.run.iter().flat_map(|run| &run.after);
        for on in after.filter(|on| !(edges.contains_key(name) && edges.contains_key(*on))) {
            behind.entry(on).or_default().push(name);
        }
    }
    behind
}

/// Declared units, each behind those that it comes after. A loop, which no set that was checked has, comes last.
fn sorted<'w>(
    edges: &BTreeMap<&'w Name, Vec<Edge<'w>>>,
    behind: &BTreeMap<&'w Name, Vec<&'w Name>>,
) -> Vec<&'w Name> {
    let open = |own: &Vec<Edge<'w>>| own.iter().filter(|edge| edges.contains_key(edge.on)).count();
    let mut open: BTreeMap<&Name, usize> = edges.iter().map(|(name, own)| (*name, open(own))).collect();
    let mut next: VecDeque<&Name> =
        open.iter().filter(|(_, open)| **open == 0).map(|(name, _)| *name).collect();
    let mut order = Vec::with_capacity(edges.len());
    while let Some(name) = next.pop_front() {
        open.remove(name);
        order.push(name);
        for later in behind.get(name).into_iter().flatten() {
            if let Some(left) = open.get_mut(later) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    next.push_back(later);
                }
            }
        }
    }
    order.extend(open.keys());
    order
}
