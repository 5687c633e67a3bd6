//! Keys that are planned and have no row yet: named, so that nobody takes them for misspelt.

pub(super) const CONTAINER: &[&str] = &["stop.delay", "stop.mode"];
