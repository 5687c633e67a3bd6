//! The commands, one file each: its arguments, and what it does with them.

#[cfg(feature = "builder")]
pub mod build;
pub mod check;
#[cfg(feature = "builder")]
pub mod completions;
pub mod events;
pub mod exec;
#[cfg(feature = "builder")]
pub mod explain;
pub mod logs;
#[cfg(feature = "builder")]
pub mod man;
pub mod pause;
pub mod poweroff;
pub mod reboot;
pub mod relay;
pub mod restart;
pub mod resume;
#[cfg(feature = "builder")]
pub mod run;
#[cfg(feature = "builder")]
pub mod schema;
pub mod start;
pub mod status;
pub mod stop;
pub mod version;
