//! What a boot does before any unit starts: the table of the protocol, row by row.
//!
//! Where the node has OS slots, the boot loader counts the tries of a new one down in its file name (Boot Loader
//! Specification, automatic boot assessment). A node without slots is always the OS of both revisions.

use std::collections::BTreeMap;

use super::{Head, Reason};

/// Boots that a trial may go through.
pub const BOOTS_MAX: u64 = 10;

/// How the boot before this one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastEnd {
    /// There was none that is known of.
    First,
    /// Somebody asked for it, and that was written down before.
    Asked,
    /// Without a trace: the power was cut.
    Power,
    /// The kernel gave up.
    Panic,
    /// The watchdog has reset the node.
    Watchdog,
    /// The supervisor was lost for good.
    SupervisorLost,
}

/// What the name of an OS image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// It carries no counter: it has proved itself.
    Blessed,
    /// Tries are left.
    Counting,
    /// None are left.
    Exhausted,
}

/// OS images on the boot partition by their sequence numbers; the one that runs, if the node has such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// All of them.
    pub images: BTreeMap<u64, Counter>,
    /// Which of them runs; none: there are none, and the OS is that of every revision.
    pub running: Option<u64>,
}

/// What is done to an OS image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotDeed {
    /// Take its counter away.
    Bless(u64),
    /// Give it all its tries back.
    Rearm(u64),
    /// Give the image that was written its name; once more does no harm. The node reboots into it.
    Arm(u64),
    /// Reboot: the boot loader takes it by itself.
    Enter(u64),
    /// Leave it no tries, and reboot.
    GiveWay(u64),
}

impl SlotDeed {
    /// Whether the node reboots after it.
    pub fn reboots(self) -> bool {
        matches!(self, Self::Arm(_) | Self::Enter(_) | Self::GiveWay(_))
    }
}

/// What is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// This revision.
    Revision(u64),
    /// The newest that can be read: no head speaks for this OS.
    Newest,
}

/// What a boot does, in this order: write the head, then the slot, then run.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be written where it differs from what was read.
    pub head: Head,
    /// Of the OS.
    pub slot: Option<SlotDeed>,
    /// Which revision.
    pub run: Run,
    /// Why a trial has failed, when it has.
    pub failed: Option<Reason>,
}

impl Decision {
    fn run(head: Head, slot: Option<SlotDeed>) -> Self {
        let run = Run::Revision(head.current());
        Self { head, slot, run, failed: None }
    }

    fn failed(mut head: Head, reason: Reason, at: &str, slot: Option<SlotDeed>) -> Self {
        head.fail(&reason, at);
        Self { failed: Some(reason), ..Self::run(head, slot) }
    }
}

/// Decides. `at` is the clock on the wall, to be remembered.
pub fn boot_decision(head: &Head, slots: &Slots, last: LastEnd, at: &str) -> Decision {
    let head = head.clone();
    let (Some(names), Some(running)) = (head.slot.clone(), slots.running) else {
        return with_one_os(head, None, last, at);
    };
    let state = |seq: u64| slots.images.get(&seq).copied();
    let bless = (state(running) == Some(Counter::Counting)).then_some(SlotDeed::Bless(running));
    match names.trying_seq.filter(|seq| head.trying.is_some() && *seq != names.good_seq) {
        None if running == names.good_seq => with_one_os(head, bless, last, at),
        Some(trying) if running == trying => as_new_os(head, running, last, at),
        Some(trying) if running == names.good_seq => as_old_os(head, trying, state(trying), (bless, at)),
        _ => as_left_over(head, running, state(names.good_seq)),
    }
}

/// The OS that runs is that of both revisions, or there is only one.
fn with_one_os(mut head: Head, bless: Option<SlotDeed>, last: LastEnd, at: &str) -> Decision {
    if let Some(reason) = count(&mut head).or_else(|| verdict(&head, last)) {
        return Decision::failed(head, reason, at, bless);
    }
    Decision::run(head, bless)
}

/// An end that speaks against what was on trial.
fn verdict(head: &Head, last: LastEnd) -> Option<Reason> {
    head.trying?;
    match last {
        LastEnd::Panic => Some(Reason::Panic),
        LastEnd::Watchdog => Some(Reason::Watchdog),
        LastEnd::SupervisorLost => Some(Reason::SupervisorLost),
        LastEnd::First | LastEnd::Asked | LastEnd::Power => None,
    }
}

/// Counts a boot of the trial; over the bound it has failed.
fn count(head: &mut Head) -> Option<Reason> {
    head.trying?;
    let boots = &mut head.trial.get_or_insert_default().boots;
    *boots = boots.saturating_add(1);
    (*boots > BOOTS_MAX).then_some(Reason::DidNotComeUp(*boots))
}

/// The new OS has come up. What it is told by its tries it keeps, unless nobody is to blame for the last end.
fn as_new_os(mut head: Head, running: u64, last: LastEnd, at: &str) -> Decision {
    if let Some(reason) = count(&mut head) {
        return Decision::failed(head, reason, at, Some(SlotDeed::GiveWay(running)));
    }
    let blameless = matches!(last, LastEnd::First | LastEnd::Asked | LastEnd::Power);
    Decision::run(head, blameless.then_some(SlotDeed::Rearm(running)))
}

/// A new OS is on trial, and it is the old one that has come up.
fn as_old_os(
    mut head: Head,
    trying: u64,
    state: Option<Counter>,
    (bless, at): (Option<SlotDeed>, &str),
) -> Decision {
    if state == Some(Counter::Exhausted) {
        let boots = head.trial.as_ref().map_or(0, |trial| trial.boots).max(3);
        return Decision::failed(head, Reason::DidNotComeUp(boots), at, bless);
    }
    if let Some(reason) = count(&mut head) {
        return Decision::failed(head, reason, at, bless);
    }
    let late = head.trial.as_ref().is_some_and(|trial| trial.spent >= trial.deadline);
    match (state, late) {
        (None, true) => {
            // It was never tried: nothing is known against it.
            head.end();
            Decision::run(head, bless)
        }
        (None, false) => {
            Decision { run: Run::Revision(head.good), ..Decision::run(head, Some(SlotDeed::Arm(trying))) }
        }
        _ => Decision { run: Run::Revision(head.good), ..Decision::run(head, Some(SlotDeed::Enter(trying))) },
    }
}

/// Nobody speaks for this OS.
fn as_left_over(head: Head, running: u64, good: Option<Counter>) -> Decision {
    if good.is_some_and(|good| good != Counter::Exhausted) {
        return Decision::run(head, Some(SlotDeed::GiveWay(running)));
    }
    Decision { run: Run::Newest, ..Decision::run(head, None) }
}
