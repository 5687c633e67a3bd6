//! QEMU as a program: finding it, and the child that runs it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::machine::Arch;
use crate::failure::{Cannot, Failure};

/// Older ones let the kernel crash under emulation.
const OLDEST: (u32, u32) = (8, 0);

/// What is wrong with QEMU.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// No such program.
    #[error("cannot start '{}'", program.display())]
    Missing {
        /// As looked for.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is there and says something else than its version.
    #[error("'{}' does not tell its version", .0.display())]
    Strange(PathBuf),
    /// It is older than [`OLDEST`].
    #[error("'{}' is QEMU {}.{}; it has to be {}.{} at least", program.display(), found.0, found.1, OLDEST.0, OLDEST.1)]
    TooOld {
        /// As found.
        program: PathBuf,
        /// Its version.
        found: (u32, u32),
    },
    /// This processor is not known.
    #[error("berth cannot run machines on {} yet", std::env::consts::ARCH)]
    Arch,
}

const HINT: &str = "'make setup' installs a QEMU that is known to work; BERTH_QEMU names another program";

/// A QEMU that will do.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// What it emulates.
    pub arch: Arch,
    /// Program.
    pub program: PathBuf,
    /// Major and minor.
    pub version: (u32, u32),
}

/// The QEMU of this machine, or the one that BERTH_QEMU names.
pub fn find() -> Result<Qemu, Failure> {
    let arch = Arch::here().ok_or_else(|| Failure::action(QemuError::Arch))?;
    let named = std::env::var_os("BERTH_QEMU").filter(|program| !program.is_empty());
    let program = PathBuf::from(named.unwrap_or_else(|| arch.qemu.into()));
    let fail = |error: QemuError| Failure::action(error).hint(HINT);
    let output = Command::new(&program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| fail(QemuError::Missing { program: program.clone(), source }))?;
    match parse_version(&String::from_utf8_lossy(&output.stdout)) {
        None => Err(fail(QemuError::Strange(program))),
        Some(found) if found < OLDEST => Err(fail(QemuError::TooOld { program, found })),
        Some(version) => Ok(Qemu { arch, program, version }),
    }
}

/// Of `QEMU emulator version 10.0.2 (Debian …)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_once("version ")?.1;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Qemu {
    /// A command that runs it: killed with us, however we end, and out of reach of the terminal's Ctrl-C.
    pub fn command(&self, args: Vec<OsString>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).args(args);
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Starts such a command.
    pub fn spawn(&self, mut command: Command) -> Result<std::process::Child, Failure> {
        command.spawn().map_err(|error| {
            Failure::action(Cannot::at("start", &PathBuf::from("setpriv"))(error))
                .hint("setpriv is part of Debian's util-linux")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, version) in [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright", Some((10, 0))),
            ("QEMU emulator version 7.2.17", Some((7, 2))),
            ("hello", None),
            ("version x", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }
}
