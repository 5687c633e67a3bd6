//! Pulls over HTTP, from a registry that is played by the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod bench;
#[path = "../pack/mod.rs"]
mod pack;
mod pulls;
mod redirects;
mod server;
mod signed;
