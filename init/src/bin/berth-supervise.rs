//! The supervisor of a node. PID 1 starts it, with the channel between them at descriptor 3.

use std::process::ExitCode;

use berth_init::channel::Channel;
use berth_init::inherit::inherited;
use berth_init::kmsg::{self, Chain};
use berth_init::{error, supervise};

fn main() -> ExitCode {
    kmsg::speak_as("berth");
    let channel = match inherited(3).and_then(Channel::from_fd) {
        Ok(channel) => channel,
        Err(source) => {
            error!("the supervisor is started by PID 1, with a channel at descriptor 3: {source}");
            return ExitCode::FAILURE;
        }
    };
    match supervise::run(channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(source) => {
            error!("the supervisor ends: {}", Chain(&source));
            ExitCode::FAILURE
        }
    }
}
