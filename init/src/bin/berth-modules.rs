//! Loads kernel modules beside the boot: `berth-modules LIST PROGRAM…` loads a list and becomes the program,
//! `berth-modules --coldplug` loads what the devices of this machine ask for, `berth-modules --grow DIR` gives what
//! is mounted there the room that its disk has, and `berth-modules --hold` waits: the process of a pod. Programs of their
//! own for the last two would add a megabyte each.
//!
//! Modules take a good part of a boot. Those of the network are loaded by the process that becomes netd, while the
//! supervisor mounts disks and reads units on another processor.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use berth_init::kmsg::{self, Chain};
use berth_init::modules::load_list;
use berth_init::{coldplug, error, grow};

/// A file in RAM for each list that was loaded since boot: a restart of the program does not load it again.
const DONE_DIR: &str = "/run/berth/modules";

fn main() -> ExitCode {
    kmsg::speak_as("berth");
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    match words.as_slice() {
        [word] if word == "--coldplug" => {
            coldplug::coldplug();
            ExitCode::SUCCESS
        }
        [word] if word == "--hold" => loop {
            // Its end is a signal.
            std::thread::park();
        },
        [word, mount_point] if word == "--grow" => match grow::grow(Path::new(mount_point)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                error!("{}: the disk has more room than is used, going on", Chain(&error));
                ExitCode::FAILURE
            }
        },
        [list, program, rest @ ..] => {
            ensure_loaded(&list.to_string_lossy());
            let source = Command::new(program).args(rest).exec();
            error!("cannot run '{}': {source}", program.to_string_lossy());
            ExitCode::FAILURE
        }
        _ => {
            error!("usage: berth-modules LIST PROGRAM… or berth-modules --coldplug");
            ExitCode::FAILURE
        }
    }
}

fn ensure_loaded(list: &str) {
    let done = Path::new(DONE_DIR).join(list);
    if done.exists() {
        return;
    }
    match load_list(list) {
        Ok(()) => {
            // Without the note it is loaded once more, which does no harm.
            let _noted = std::fs::create_dir_all(DONE_DIR).and_then(|()| std::fs::write(done, b""));
        }
        Err(source) => error!("cannot read module list '{list}': {source}, going on"),
    }
}
