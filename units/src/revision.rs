//! Revisions: which of the sets on the disk is in force, what is on trial, and what a boot makes of that.
//!
//! A revision is a folder that never changes once it has its name; [`Head`] is the only mutable truth about them. All
//! that is decided about both is decided here, on values:
//!
//! ```text
//!   apply ---> trying ---- every gate healthy long enough ----> good ---> one of the K before it ---> removed
//!                 |  \---- another apply, rollback ------------> removed
//!                 +------- deadline, failed check, panic ------> bad: its digest is refused from now on
//! ```

mod boot;
mod files;
mod head;
mod keep;
mod trial;

pub use boot::{BOOTS_MAX, Counter, Decision, LastEnd, Run, SlotDeed, Slots, boot_decision};
pub use files::{Lock, Meta};
pub use head::{BAD_MAX, Bad, FORMAT, Head, Slot, TrialNote, is_set_aside, set_aside};
pub use keep::{KEEP, removable};
pub use trial::{Gate, Progress, Standing, Step, is_excused, standing, trial_step};

use std::fmt;

use crate::Name;
use crate::wire::control::set_hash;

/// Why a trial has failed. Display is the text that is remembered and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A unit is not well: its check and what that found, or how it ended.
    Health(Name, String),
    /// A unit was not healthy in time, and what it waited for.
    Deadline(Name, String),
    /// The kernel gave up.
    Panic,
    /// The watchdog reset the node.
    Watchdog,
    /// The supervisor died again and again.
    SupervisorLost,
    /// That many boots have not brought it about.
    DidNotComeUp(u64),
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health(unit, text) => write!(f, "health {unit}: {text}"),
            Self::Deadline(unit, text) => write!(f, "deadline {unit}: {text}"),
            Self::Panic => f.write_str("panic"),
            Self::Watchdog => f.write_str("watchdog"),
            Self::SupervisorLost => f.write_str("supervisor-lost"),
            Self::DidNotComeUp(boots) => write!(f, "did-not-come-up in {boots} boots"),
            Self::Unreadable(why) => write!(f, "unreadable: {why}"),
        }
    }
}

/// What a revision is remembered by: its files, the images that their references stand for, the OS.
pub fn digest<'f>(
    files: impl IntoIterator<Item = (&'f str, &'f str)>,
    images: impl IntoIterator<Item = (&'f str, &'f str)>,
    os: &'f str,
) -> String {
    let parts = [("files", set_hash(files)), ("images", set_hash(images)), ("os", os.to_owned())];
    set_hash(parts.iter().map(|(what, text)| (*what, text.as_str())))
}

#[cfg(test)]
mod tests;
