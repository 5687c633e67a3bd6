//! Descriptors that a process finds at a number agreed on, without unsafe.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// A duplicate of an inherited descriptor, close-on-exec; pidfd_getfd(2) on ourselves. The number itself stays
/// open until the process ends, which is when its channels should close.
///
/// # Errors
/// EBADF when nothing is open at that number.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_open_number_is_found_and_a_closed_one_is_not() {
        let mut copy = std::fs::File::from(inherited(2).unwrap());
        assert!(copy.write_all(b"").is_ok());
        assert!(inherited(1000).is_err());
    }
}
