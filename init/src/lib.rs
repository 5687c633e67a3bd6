//! The processes of a node that keep it alive: PID 1, the supervisor, the log process and the session processes.
//!
//! Each is a program of its own (src/bin); they share this crate for the channel between them and little else.
//! No threads, no async runtime, no polling by time, no unsafe: what needs unsafe is in berth-runtime.
#![forbid(unsafe_code)]

pub mod channel;
pub mod check;
pub mod coldplug;
pub mod grow;
pub mod inherit;
pub mod kmsg;
pub mod log;
pub mod modules;
pub mod pid1;
pub mod reaper;
pub mod session;
pub mod supervise;
