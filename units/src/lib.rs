//! What units mean, and what to do about them.
//!
//! Four nouns run through this crate: *declared* (what the files say), *observed* (what the kernel says),
//! *planned* (what to do about it) and *applied* (what was done). Everything here is pure: no I/O, no clock,
//! no environment, no unsafe. Whoever needs time passes it in.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod capability;
pub mod change;
pub mod check;
pub mod codes;
pub mod diagnostic;
pub mod envfile;
mod fault;
mod finish;
pub mod gpt;
pub mod health;
pub mod human;
mod ipv4;
pub mod job;
pub mod keys;
pub mod launch;
pub mod life;
pub mod manual;
pub mod name;
pub mod nearest;
pub mod news;
pub mod notify;
pub mod observed;
pub mod parse;
mod path;
pub mod pattern;
pub mod plan;
pub mod pressure;
pub mod private;
pub mod quantity;
pub mod reference;
mod resolve;
pub mod restart;
pub mod revision;
pub mod schedule;
pub mod schema;
pub mod signal;
pub mod spec;
pub mod stock;
pub mod supplies;
pub mod task;
pub mod template;
pub mod time;
pub mod volumes;
mod walk;
pub mod wire;

pub use name::Name;
pub use parse::{Checked, SourceFile, parse_set};
pub use private::Private;
pub use reference::Reference;
