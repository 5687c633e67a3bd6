//! The first process of a container with `process.init`: it reaps what is left over, passes signals on to the program,
//! and ends as the program does. It was put there by the runtime, with every signal blocked and nothing open.

use std::ffi::OsString;
use std::process::ExitCode;

use berth_runtime::send_signal;
pub use berth_runtime::spec::REAPER as NAME;
use berth_units::wire::init::ExitStatus;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::pid1::{Reaped, reap};

/// A signal of the kernel itself (sigaction(2), SI_KERNEL).
const SI_KERNEL: i32 = 0x80;

/// Runs until the child of that number has ended.
pub fn run(child: Option<OsString>) -> ExitCode {
    let number = child.and_then(|word| word.to_str()?.parse().ok());
    number.and_then(Pid::from_raw).and_then(look_after).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The code to end with; none where something is wrong from the start.
fn look_after(child: Pid) -> Option<u8> {
    let all = SigSet::all();
    all.thread_block().ok()?;
    let signals = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC).ok()?;
    let pidfd = pidfd_open(child, PidfdFlags::empty()).ok()?;
    loop {
        // It may have ended before the signals were blocked.
        loop {
            match reap(None) {
                Reaped::Dead(pid, status) if pid == child => return Some(code(status)),
                Reaped::Dead(..) => {}
                Reaped::NoneDead => break,
                Reaped::NoChild => return None,
            }
        }
        let Ok(Some(info)) = signals.read_signal() else { continue };
        let number = i32::try_from(info.ssi_signo).unwrap_or(0);
        // What a terminal sends goes to the program as well: it is in the same group.
        if number != Signal::SIGCHLD as i32 && info.ssi_code != SI_KERNEL {
            // It may have ended meanwhile, or be somebody else's by its own will.
            let _gone = send_signal(&pidfd, number);
        }
    }
}

/// As a shell says it.
fn code(status: ExitStatus) -> u8 {
    match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => signal.saturating_add(128),
    }
}
