//! Signals to the processes of a container, of every number.

use std::io;
use std::os::fd::AsFd;

/// Sends a signal to the process of a pidfd; signals 1 to 64, SIGRTMIN+n by number.
///
/// # Errors
/// ESRCH when it has ended, EINVAL for a number that is no signal.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    Ok(crate::sys::signal::pidfd_send_signal(pidfd.as_fd(), signal)?)
}

#[cfg(test)]
mod tests {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    #[test]
    fn real_time_signals_are_signals_and_others_are_not() {
        let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        // SIGURG is ignored by default; 0 asks whether a signal could be sent.
        assert!(send_signal(&ourselves, 23).is_ok());
        assert!(send_signal(&ourselves, 0).is_ok());
        assert_eq!(send_signal(&ourselves, 65).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
