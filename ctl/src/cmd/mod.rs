//! The commands, one file each: its arguments, and what it does with them.

#[cfg(feature = "builder")]
pub mod build;
pub mod check;
#[cfg(feature = "builder")]
pub mod completions;
pub mod exec;
pub mod logs;
pub mod poweroff;
pub mod reboot;
pub mod relay;
pub mod restart;
#[cfg(feature = "builder")]
pub mod run;
pub mod start;
pub mod status;
pub mod stop;
pub mod version;
