//! The `berth` command: on a node, from a laptop into a virtual machine, and as builder of appliances.
//!
//! What is deliberately not here: what units mean (`berth-units`), how images and the OS image are made
//! (`berth-image`), and anything a node does by itself. One thread, poll(2) where streams are passed, no unsafe.
#![forbid(unsafe_code)]

mod appliance;
mod carry;
mod changes_text;
mod cli;
mod client;
mod cmd;
mod failure;
#[cfg(feature = "builder")]
mod host;
mod json_lines;
mod mux;
mod node;
mod output;
mod pending;
mod polls;
mod rates;
mod report;
mod session;
mod signals;
mod status_text;
mod table;
mod terminal;
mod transition;
mod trial;
#[cfg(feature = "builder")]
mod trust;
mod varlink;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => {
            output::note(&failure.text());
            failure.kind.exit_code()
        }
    }
}
