//! Bytes from outside thrown at what reads them.
//!
//! A [`Target`] takes any bytes and panics where something is wrong: with the reader, or with what it made of them. The
//! binary runs one of them under libFuzzer (`make fuzz`); the tests run all of them over their seeds and over many
//! mutations of these, so that every run of the tests finds what is found easily.

mod images;
mod mutate;
mod signed;
pub mod targets;

pub use mutate::Mutator;
pub use targets::{TARGETS, Target};
