//! What a container sees, what it cannot reach, and how failures are told. Needs root and busybox-static.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod failures;
mod hostile;
mod inside;
mod join;
mod life;
mod limits;
mod sandbox;
mod seed;
mod storage;
