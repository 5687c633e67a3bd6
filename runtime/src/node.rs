//! System calls of PID 1 that have no place in a container.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;

/// Loads a kernel module from an open file; finit_module(2). One that is loaded already is success.
///
/// # Errors
/// As finit_module, or a NUL in `params`.
pub fn load_module(module: impl AsFd, params: &str) -> io::Result<()> {
    let params = CString::new(params)?;
    match rustix::system::finit_module(module, &params, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
