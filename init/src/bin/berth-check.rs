//! The checker of one unit: its channel at descriptor 3, the unit's network namespace at 4, what to check at 5.

use std::process::ExitCode;

use berth_init::channel::Channel;
use berth_init::check::{self, CheckError};
use berth_init::inherit::inherited;
use berth_init::kmsg::{self, Chain};
use berth_init::warning;

fn main() -> ExitCode {
    kmsg::speak_as("berth-check");
    let open = || Ok::<_, std::io::Error>((Channel::from_fd(inherited(3)?)?, inherited(4)?, inherited(5)?));
    let served = open().map_err(CheckError::Inherited).and_then(|(channel, netns, orders)| {
        check::enter(&netns)?;
        check::run(&channel, check::read_orders(orders)?)
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warning!("{}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}
