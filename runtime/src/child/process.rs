//! The steps that every process has: descriptors, session, limits, identity, execve(2).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, fchown, fstat, openat};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets, move_into_thread_name_spaces};

use super::api::{NOTHING, new_mount};
use super::root::write_all;
use super::{Child, Fault, Outcome, Step, about, need};
use crate::capability::Capabilities;
use crate::plan::Procfs;
use crate::resolve::open_file;
use crate::sys::child::{self, Range, close_all_but, place};
use crate::sys::clone::{Birth, Namespaces, clone3};
use crate::user::{self, Files};

impl<'p> Child<'p> {
    pub(super) fn close_inherited(&self) -> Outcome<'p> {
        Ok(close_all_but(&self.plan.keep, 0, Range::Close)?)
    }

    pub(super) fn close_rest(&self) -> Outcome<'p> {
        Ok(close_all_but(&self.plan.numbers, 3, Range::CloseOnExec)?)
    }

    pub(super) fn become_undumpable(&self) -> Outcome<'p> {
        Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
    }

    pub(super) fn reset_signals(&self) -> Outcome<'p> {
        child::default_signals();
        let unblocked = nix::sys::signal::SigSet::empty().thread_set_mask();
        unblocked.map_err(|errno| Errno::from_raw_os_error(errno as i32).into())
    }

    pub(super) fn start_session(&self) -> Outcome<'p> {
        rustix::process::setsid().map(drop).map_err(Fault::from)
    }

    pub(super) fn join_keyring(&self) -> Outcome<'p> {
        Ok(child::join_new_keyring()?)
    }

    pub(super) fn join_namespaces(&self) -> Outcome<'p> {
        match &self.plan.join {
            Some((process, which)) => Ok(move_into_thread_name_spaces(process.as_fd(), *which)?),
            None => Ok(()),
        }
    }

    pub(super) fn place_descriptors(&self) -> Outcome<'p> {
        for (index, (fd, number)) in self.plan.placed.iter().enumerate() {
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            place(fd.as_fd(), *number).map_err(|errno| Fault { errno, index, subject: b"" })?;
        }
        if let (true, Some((terminal, _))) = (self.plan.terminal, self.plan.placed.first()) {
            rustix::process::ioctl_tiocsctty(terminal).map_err(about(0, c"controlling terminal"))?;
        }
        Ok(())
    }

    /// Always written: a child inherits the value of whoever made it.
    pub(super) fn set_oom_score(&self) -> Outcome<'p> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let private;
        let file = match self.plan.procfs {
            Procfs::Node => openat(CWD, c"/proc/self/oom_score_adj", flags, Mode::empty())?,
            Procfs::Container => {
                openat(need(self.proc.as_ref())?, c"self/oom_score_adj", flags, Mode::empty())?
            }
            Procfs::Private => {
                // What is mounted on /proc of a running container is whatever it wants it to be (CVE-2025-52881).
                private = new_mount(c"proc", &[], NOTHING)?;
                openat(&private, c"self/oom_score_adj", flags, Mode::empty())?
            }
        };
        write_all(file.as_fd(), self.plan.oom_score_adj.to_bytes())
            .map_err(about(0, &self.plan.oom_score_adj))
    }

    pub(super) fn set_rlimits(&self) -> Outcome<'p> {
        for (index, limit) in self.plan.process.rlimits.iter().enumerate() {
            rustix::process::setrlimit(limit.resource, limit.value).map_err(about(index, &limit.name))?;
        }
        Ok(())
    }

    /// Always set, as the score is.
    pub(super) fn set_scheduler(&self) -> Outcome<'p> {
        Ok(child::set_scheduler(&self.plan.process.scheduling)?)
    }

    pub(super) fn set_io_priority(&self) -> Outcome<'p> {
        let Some(priority) = self.plan.process.io_priority else { return Ok(()) };
        Ok(child::set_io_priority(priority)?)
    }

    pub(super) fn set_umask(&self) -> Outcome<'p> {
        rustix::process::umask(self.plan.process.umask);
        Ok(())
    }

    pub(super) fn look_up_user(&mut self) -> Outcome<'p> {
        let process = &self.plan.process;
        let root = openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let work = &mut *self.work;
        let passwd = read_bounded(&root, c"/etc/passwd", &mut work.passwd)?;
        let group = read_bounded(&root, c"/etc/group", &mut work.group)?;
        let files = Files { passwd, group };
        let home = user::look_up_user(process.user.to_bytes(), files, &mut work.identity)
            .map_err(about(0, &process.user))?;
        for (index, group) in process.groups.iter().enumerate() {
            user::add_named_group(group.to_bytes(), files, &mut work.identity)
                .map_err(about(index, group))?;
        }
        if !work.env.has_prefix(b"HOME=") {
            // A home that is too long to be one is left out.
            let _there = work.env.set_spare(&[b"HOME=", home]);
        }
        self.own_supplies()?;
        self.own_mounts()
    }

    pub(super) fn enter_cwd(&self) -> Outcome<'p> {
        let cwd = self.plan.process.cwd.as_c_str();
        rustix::process::chdir(cwd).map_err(about(0, cwd))?;
        // A directory outside the root, reached through something left open, has no path inside (CVE-2024-21626).
        match child::cwd_is_reachable() {
            Ok(true) => Ok(()),
            Ok(false) => Err(about(0, cwd)(Errno::LOOP)),
            Err(errno) => Err(about(0, cwd)(errno)),
        }
    }

    pub(super) fn wait(&self) -> Outcome<'p> {
        let Some(go) = &self.plan.go else { return Ok(()) };
        let mut byte = [0; 1];
        match rustix::io::retry_on_intr(|| rustix::io::read(go, &mut byte))? {
            0 => Err(Errno::CANCELED.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn set_credentials(&self) -> Outcome<'p> {
        let (process, identity) = (&self.plan.process, &self.work.identity);
        let keep = if process.capabilities == Capabilities::ALL.bits() {
            // All means all that there are: a kernel may know fewer than we, or more.
            rustix::thread::capabilities(None)?.permitted
        } else {
            CapabilitySet::from_bits_retain(process.capabilities)
        };
        drop_bounding(keep)?;
        self.own_descriptors()?;
        rustix::thread::set_thread_groups(identity.groups())?;
        rustix::thread::set_keep_capabilities(true)?;
        let (uid, gid) = (identity.uid, identity.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        rustix::thread::set_keep_capabilities(false)?;
        let ambient = process.ambient && !uid.is_root();
        // Inheritable stays empty otherwise, or file capabilities of the image would add to it (CVE-2022-24769).
        let inheritable = if ambient { keep } else { CapabilitySet::empty() };
        rustix::thread::set_capabilities(
            None,
            CapabilitySets { effective: keep, permitted: keep, inheritable },
        )?;
        rustix::thread::clear_ambient_capability_set()?;
        if ambient {
            for capability in single_capabilities().filter(|capability| keep.contains(*capability)) {
                rustix::thread::configure_capability_in_ambient_set(capability, true)?;
            }
        }
        Ok(())
    }

    /// A user other than root can open /dev/stdout only when the pipe is its own.
    fn own_descriptors(&self) -> Result<(), Errno> {
        let identity = &self.work.identity;
        if identity.uid.is_root() {
            return Ok(());
        }
        for (fd, _) in self.plan.placed.iter().filter(|(_, number)| *number <= 2) {
            let kind = FileType::from_raw_mode(fstat(fd)?.st_mode);
            if kind == FileType::Fifo || self.plan.terminal {
                fchown(fd, Some(identity.uid), None)?;
            }
        }
        Ok(())
    }

    pub(super) fn set_no_new_privileges(&self) -> Outcome<'p> {
        if !self.plan.process.no_new_privileges {
            return Ok(());
        }
        Ok(rustix::thread::set_no_new_privs(true)?)
    }

    /// Becomes the program, or the reaper of one.
    pub(super) fn execute(&self) -> Outcome<'p> {
        let Some(reaper) = &self.plan.reaper else { return self.become_program() };
        let birth = Birth { namespaces: Namespaces::Shared, clone_parent: false, cgroup: None };
        let (pid, _pidfd) = clone3(&birth, || {
            if let Err(fault) = self.become_program() {
                self.report(Step::Exec, &fault);
            }
        })?;
        if pid != FIRST_CHILD {
            return Err(Errno::SRCH.into());
        }
        // What comes before it can read them has to wait: the first process would be deaf to it.
        let blocked = nix::sys::signal::SigSet::all().thread_set_mask();
        blocked.map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        // It is to see the end of nothing and to keep nothing open.
        close_all_but(&[], 0, Range::CloseOnExec)?;
        Err(about(0, c"the reaper")(child::execve_open(reaper.program.as_fd(), &reaper.argv, &reaper.env)))
    }

    /// Tries each place of PATH, as execvp(3): what may not be executed is remembered, what is not there is not.
    fn become_program(&self) -> Outcome<'p> {
        let process = &self.plan.process;
        let mut reason = Errno::NOENT;
        for path in &process.candidates {
            match child::execve(path, &process.argv, &self.work.env) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => reason = Errno::ACCESS,
                errno => return Err(about(0, &process.name)(errno)),
            }
        }
        Err(about(0, &process.name)(reason))
    }
}

/// Number of the first process that the first one of a PID namespace makes.
const FIRST_CHILD: i32 = 2;

fn single_capabilities() -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit))
}

/// Drops what is not to be kept from the bounding set; the kernel says EINVAL behind the last one that it knows.
fn drop_bounding(keep: CapabilitySet) -> Result<(), Errno> {
    for capability in single_capabilities().filter(|capability| !keep.contains(*capability)) {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

/// The whole of a file of the root; absent is empty.
fn read_bounded<'b>(
    root: &OwnedFd,
    path: &'static std::ffi::CStr,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Fault<'static>> {
    let file = match open_file(root.as_fd(), path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(&[]),
        result => result.map_err(about(0, path))?,
    };
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).filter(|room| !room.is_empty());
        let room = room.ok_or_else(|| about(0, path)(Errno::FBIG))?;
        match rustix::io::read(&file, room).map_err(about(0, path))? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}
