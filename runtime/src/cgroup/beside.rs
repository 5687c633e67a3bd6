//! Limits of memory that are lowered below what is used: the kernel takes the memory back before write(2) returns, and
//! kills for it if it has to (memory_max_write, mm/memcontrol.c). That takes as long as it takes, so a process of its
//! own does it, whose end tells that it is done.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::process::{Signal, pidfd_send_signal};

use super::{Cgroup, CgroupError, Setting};
use crate::sys::child::{Range, close_all_but, exit};
use crate::sys::clone::{Birth, Namespaces, clone3};

/// Limits that are enforced at once.
const RECLAIMING: [&str; 2] = ["memory.max", "memory.high"];

/// A process that writes interface files. Dropping this leaves it to its work.
#[derive(Debug)]
pub struct Writer {
    /// Its id in the caller's PID namespace. Its exit code is 0, or the errno of the first write that failed.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

impl Writer {
    /// Ends it: a write under way stops taking memory back. What it has written stands.
    pub fn end(&self) {
        // It may have ended already.
        let _gone = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

impl Cgroup {
    /// Whether writing that takes longer than a write does: a limit is lowered while something runs.
    pub fn takes_time(&self, (knob, value): &Setting) -> bool {
        let number = |text: &str| if text == "max" { Some(u64::MAX) } else { text.parse::<u64>().ok() };
        RECLAIMING.contains(&knob.as_str())
            && number(value) < self.read(knob).ok().and_then(|text| number(text.trim()))
            && self.populated().unwrap_or(true)
    }

    /// Writes interface files in a process of its own, the caller's child or, with `clone_parent`, its sibling.
    ///
    /// # Errors
    /// A file is absent, or there can be no process.
    pub fn write_beside(&self, settings: &[Setting], clone_parent: bool) -> Result<Writer, CgroupError> {
        let open = |setting: &Setting| {
            let file = OpenOptions::new().write(true).open(self.path.join(&setting.0));
            file.map_err(|source| self.not_written(setting, source))
        };
        let files = settings.iter().map(open).collect::<Result<Vec<File>, _>>()?;
        let mut keep: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        keep.sort_unstable();
        let birth = Birth { namespaces: Namespaces::Shared, clone_parent, cgroup: None };
        let write = || {
            // Whoever waits for the caller's descriptors to close must not wait for us.
            let closed = close_all_but(&keep, 0, Range::Close);
            let mut writes = files.iter().zip(settings);
            let written = closed.and_then(|()| {
                writes.try_for_each(|(file, (_, value))| rustix::io::write(file, value.as_bytes()).map(drop))
            });
            exit(written.map_or_else(|errno| u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX), |()| 0));
        };
        let (pid, pidfd) = clone3(&birth, write).map_err(|errno| {
            self.not_written(&settings.first().cloned().unwrap_or_default(), errno.into())
        })?;
        Ok(Writer { pid, pidfd })
    }

    fn not_written(&self, (knob, value): &Setting, source: std::io::Error) -> CgroupError {
        CgroupError::Write { path: self.path.clone(), knob: knob.clone(), value: value.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::process::{Pid, WaitOptions, waitpid};

    use super::*;

    fn code(writer: &Writer) -> Option<i32> {
        let (_, status) = waitpid(Pid::from_raw(writer.pid), WaitOptions::empty()).unwrap().unwrap();
        status.exit_status()
    }

    #[test]
    fn another_process_writes_and_its_code_tells_how() {
        let path = std::env::temp_dir().join(format!("berth-beside-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let group = Cgroup::at(&path);
        for (knob, value) in [
            ("memory.max", "4096"),
            ("memory.high", "max"),
            ("cgroup.events", "populated 1\n"),
            ("pids.max", "9"),
        ] {
            fs::write(path.join(knob), value).unwrap();
        }
        let pair = |knob: &str, value: &str| (knob.to_owned(), value.to_owned());
        let wanted = [pair("memory.max", "1024"), pair("memory.high", "512")];
        assert!(wanted.iter().all(|one| group.takes_time(one)));
        for quick in [pair("memory.max", "max"), pair("memory.max", "8192"), pair("pids.max", "1")] {
            assert!(!group.takes_time(&quick), "{quick:?}");
        }
        let writer = group.write_beside(&wanted, false).unwrap();
        assert_eq!(code(&writer), Some(0));
        assert_eq!(fs::read_to_string(path.join("memory.max")).unwrap(), "1024");
        assert_eq!(fs::read_to_string(path.join("memory.high")).unwrap(), "512");
        fs::write(path.join("cgroup.events"), "populated 0\n").unwrap();
        assert!(!group.takes_time(&pair("memory.max", "1")), "nothing is to be taken back");
        // As a knob that refuses the value.
        fs::remove_file(path.join("memory.max")).unwrap();
        std::os::unix::fs::symlink("/dev/full", path.join("memory.max")).unwrap();
        let writer = group.write_beside(&wanted, false).unwrap();
        assert_eq!(code(&writer), Some(rustix::io::Errno::NOSPC.raw_os_error()));
        assert!(group.write_beside(&[pair("none", "1")], false).is_err());
        fs::remove_dir_all(path).unwrap();
    }
}
