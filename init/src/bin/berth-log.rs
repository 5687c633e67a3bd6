//! The log process of a node: `berth-log [ROOT]`, its channel at descriptor 3.

use std::path::PathBuf;
use std::process::ExitCode;

use berth_init::channel::Channel;
use berth_init::inherit::inherited;
use berth_init::{error, kmsg, log};

fn main() -> ExitCode {
    kmsg::speak_as("berth-log");
    let root = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let served = inherited(3).and_then(Channel::from_fd).and_then(|channel| log::run(&channel, &root));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}
