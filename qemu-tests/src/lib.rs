//! Whole nodes in QEMU: an appliance is written, booted, asked and mistreated, all from the outside.
//!
//! The framework uses what a user has: `./bin/berth` and the files it makes. It knows nothing of the inside of the
//! other rooms; only the wire type of `berth status --json` is shared. All paths are relative to the root of the
//! workspace, which is the working directory: a socket's path has to be short (unix(7), 108 bytes).

pub mod appliance;
pub mod artefacts;
pub mod client;
pub mod control;
pub mod vm;

use std::error::Error;

/// Why a scenario fails: said once, with the place where it was noticed.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What a scenario leaves.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Fails the scenario with a message and its place unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!("{}:{}: {}", file!(), line!(), format_args!($($message)+)).into());
        }
    };
}

/// Fails the scenario unless both are equal; shows both.
#[macro_export]
macro_rules! ensure_eq {
    ($left:expr, $right:expr) => {
        match (&$left, &$right) {
            (left, right) => {
                $crate::ensure!(left == right, "{} is {left:?}, not {right:?}", stringify!($left))
            }
        }
    };
}
