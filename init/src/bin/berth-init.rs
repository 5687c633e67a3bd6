//! PID 1 of a node, of a container with `process.init` under the name of its reaper, and of a PID namespace in tests:
//! `berth-init --in-namespace SUPERVISOR`.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

use berth_init::pid1::{self, Program};
use berth_init::{error, kmsg, reaper};

/// Where a node has its supervisor.
const SUPERVISOR: &str = "/bin/berth-supervise";

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| name == reaper::NAME) {
        return reaper::run(words.next());
    }
    let mut words = words.map(|word| word.into_vec());
    let program = match (words.next().as_deref(), words.next()) {
        (Some(b"--in-namespace"), Some(path)) => Program { path: path_of(path), on_node: false },
        // The kernel passes on words of its command line that it does not know: they are not ours.
        _ => Program { path: SUPERVISOR.into(), on_node: true },
    };
    if std::process::id() != 1 {
        kmsg::speak_as("berth-init");
        error!("this is the first program of a node: it runs as process 1 or not at all");
        return ExitCode::FAILURE;
    }
    std::panic::set_hook(Box::new(|panic| error!("PID 1 panicked: {panic}")));
    let on_node = program.on_node;
    if !on_node {
        kmsg::speak_as("berth-init");
    }
    if let Err(source) = pid1::run(program) {
        error!("cannot receive signals: {source}");
    }
    if !on_node {
        return ExitCode::SUCCESS;
    }
    loop {
        // The end of PID 1 would be a kernel panic with everything else in order.
        std::thread::park();
    }
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    std::ffi::OsString::from_vec(bytes).into()
}
