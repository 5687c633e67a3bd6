//! Where units say how they are: a socket for each of them, of the protocol of sd_notify(3).
//!
//! The socket lies where only root of the node comes, and is mounted into its container alone. PID 1 keeps it: what is
//! said while no supervisor is there waits in it. Even so only a process of the unit's own cgroup is heard, and a
//! unit that talks without end is heard only so often, so that nobody else waits for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_units::Name;
use berth_units::notify::{DATAGRAM_MAX, Said, hear, parse};
use berth_units::observed::Moment;
use berth_units::plan::watchdog_deadline;
use berth_units::spec::Unit;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix,
    SocketFlags, SocketType, recvmsg, sockopt,
};

use super::container::{Error, cgroup_dir};
use super::link::fd_name;
use super::poll::{Interest, Source};
use super::signal::is_member;
use super::{Supervisor, clock, disposal};
use crate::{error, warning};

/// Sockets by unit; their names are nobody's business.
const DIR: &str = "/run/berth/notify";
/// Datagrams that are read of one unit before others have their turn.
const AT_ONCE: usize = 16;
/// More of them than this within a [`WINDOW`] are not awaited before its end.
const WINDOW_MAX: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// How much each unit has said of late.
#[derive(Debug, Default)]
pub struct Ears(BTreeMap<Name, Ear>);

#[derive(Debug, Default)]
struct Ear {
    /// When its present window began.
    began: Moment,
    /// Datagrams in it.
    count: u32,
    /// It is not awaited before the end of its window.
    closed: bool,
    /// That somebody else has spoken was said.
    warned: bool,
}

impl Ears {
    /// When somebody is listened to again.
    pub fn next_wake(&self) -> Option<Moment> {
        self.0.values().filter(|ear| ear.closed).map(|ear| ear.began.after(WINDOW)).min()
    }
}

impl Ear {
    /// Counts datagrams; `true` when they are too many.
    fn count(&mut self, datagrams: usize, now: Moment) -> bool {
        if now.since(self.began) >= WINDOW {
            (self.began, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(u32::try_from(datagrams).unwrap_or(u32::MAX));
        self.count > WINDOW_MAX
    }
}

/// Where a unit's socket lies on the node.
pub fn socket_path(unit: &Name) -> PathBuf {
    Path::new(DIR).join(unit.as_str())
}

impl Supervisor {
    /// A new socket for the next run of a unit: whoever still has the old one talks to nobody.
    pub(super) fn open_notify(&mut self, unit: &Unit) -> Result<(), Error> {
        if !unit.notifies() {
            return Ok(());
        }
        let system = |error: io::Error| Error::System("make its notify socket", error);
        let socket = bind(&socket_path(&unit.name)).map_err(system)?;
        self.poll.add(&socket, Source::Notify(unit.name.clone()), Interest::Read).map_err(system)?;
        self.link.keep(&fd_name("notify", &unit.name), socket).map_err(system)
    }

    /// Listens to what the units that a supervisor before us has started say.
    pub(super) fn watch_notify(&mut self, name: &Name) {
        let kept = self.link.kept(&fd_name("notify", name));
        let added = kept.map(|fd| self.poll.add(fd, Source::Notify(name.clone()), Interest::Read));
        if let Some(Err(error)) = added {
            error!("cannot listen to '{name}': {error}; ignoring");
        }
    }

    pub(super) fn close_notify(&mut self, name: &Name) {
        if let Some(socket) = self.link.kept(&fd_name("notify", name)) {
            disposal::empty_datagrams(socket);
        }
        self.close_kept("notify", name, &Source::Notify(name.clone()));
        self.ears.0.remove(name);
    }

    /// Takes in what a unit says of itself.
    pub(super) fn notify_ready(&mut self, name: &Name) {
        // Its execve comes before its words, as with its ready line.
        self.status_changed(name);
        let Some(socket) = self.link.kept(&fd_name("notify", name)) else {
            return self.poll.forget(&Source::Notify(name.clone()));
        };
        let cgroup = cgroup_dir(name);
        let heard: Vec<_> = std::iter::from_fn(|| receive(socket, &cgroup)).take(AT_ONCE).collect();
        let now = clock::now();
        let ear = self.ears.0.entry(name.clone()).or_default();
        if ear.count(heard.len(), now) && !ear.closed {
            ear.closed = true;
            self.poll.remove(socket, &Source::Notify(name.clone()));
            warning!("{name} says too much of itself at once; listening again in a second");
        }
        if heard.iter().any(Option::is_none) && !ear.warned {
            ear.warned = true;
            warning!(
                "{name}: a word on its notify socket was ignored: its sender is gone, or is not of the unit"
            );
        }
        for said in heard.into_iter().flatten().flatten() {
            self.unit_said(name, said, now);
        }
    }

    fn unit_said(&mut self, name: &Name, said: Said, now: Moment) {
        let (Some(unit), Some(seen)) = (self.set.declared.units.get(name), self.observed.units.get_mut(name))
        else {
            return;
        };
        if hear(unit, &mut seen.record, said, now) {
            self.save(name);
            self.settle_readiness(name);
        }
    }

    /// Listens again to those that said too much a while ago.
    pub(super) fn open_ears(&mut self) {
        let now = clock::now();
        let over = |ear: &Ear| ear.closed && now.since(ear.began) >= WINDOW;
        let ears = self.ears.0.iter_mut().filter(|(_, ear)| over(ear));
        let names: Vec<_> = ears.map(|(name, ear)| (ear.closed = false, name.clone()).1).collect();
        for name in names {
            self.watch_notify(&name);
        }
    }

    /// Reads what was said while no supervisor was there, before anybody is called late for it.
    pub(super) fn hear_all(&mut self) {
        let names: Vec<_> = self.observed.units.keys().cloned().collect();
        for name in names {
            self.notify_ready(&name);
        }
    }

    /// Reads what is there of those that are about to be called late: the word may lie in the socket.
    pub(super) fn hear_the_late(&mut self) {
        let now = clock::now();
        let late = |name: &Name, seen| {
            let deadline = self.set.declared.units.get(name).and_then(|unit| watchdog_deadline(unit, seen));
            deadline.is_some_and(|deadline| deadline <= now)
        };
        let units = self.observed.units.iter().filter(|(name, seen)| late(name, seen));
        let names: Vec<_> = units.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.notify_ready(&name);
        }
    }
}

/// A socket at that path for anybody who comes by its name, in place of what is there.
fn bind(path: &Path) -> io::Result<OwnedFd> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(path))?;
    drop(fs::remove_file(path));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    // Before the first datagram: what comes without credentials is nobody's.
    sockopt::set_socket_passcred(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // The unit's user may be any.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(socket)
}

/// The words of the next datagram: `None` when there is none, `Some(None)` when it is not to be heard. Descriptors that
/// come beside are closed after all that was said before: that is what BARRIER=1 asks for.
fn receive(socket: impl AsFd, cgroup: &Path) -> Option<Option<Vec<Said>>> {
    let mut buffer = [0; DATAGRAM_MAX];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(disposal::RIGHTS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags)
    });
    let message = message.ok()?;
    // To the last part: after half of it rustix (1.1) reads the rest from where no header is.
    let mut beside = Vec::new();
    let sender = control.drain().fold(None, |known, part| match part {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_nonzero().get()),
        RecvAncillaryMessage::ScmRights(rights) => {
            beside.extend(rights);
            known
        }
        _ => known,
    });
    disposal::dispose(beside);
    let is_ours = sender.is_some_and(|pid| is_member(pid, cgroup).unwrap_or(false));
    if !is_ours || message.flags.contains(ReturnFlags::TRUNC) {
        return Some(None);
    }
    Some(Some(parse(buffer.get(..message.bytes).unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// The cgroup of this test, as a unit's would be.
    fn own_cgroup() -> PathBuf {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap();
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        Path::new("/sys/fs/cgroup").join(path)
    }

    #[test]
    fn only_members_are_heard_and_descriptors_are_closed() {
        let dir = std::env::temp_dir().join(format!("berth-notify-{}", std::process::id()));
        let path = dir.join("web");
        let socket = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let sender = UnixDatagram::unbound().unwrap();
        let cgroup = own_cgroup();
        assert_eq!(receive(&socket, &cgroup), None, "nothing was said");
        sender.send_to(b"READY=1", &path).unwrap();
        assert_eq!(receive(&socket, &cgroup), Some(Some(vec![Said::Ready])));
        sender.send_to(b"READY=1", &path).unwrap();
        assert_eq!(receive(&socket, Path::new("/sys/fs/cgroup/units/other")), Some(None));
        sender.send_to(&[b'x'; DATAGRAM_MAX + 1], &path).unwrap();
        assert_eq!(receive(&socket, &cgroup), Some(None), "too long");
        send_beside(&sender, &path, &socket, &cgroup);
        fs::remove_dir_all(dir).unwrap();
    }

    /// BARRIER=1: the sender sees the end of its pipe once its datagram was taken, however many it sends.
    fn send_beside(sender: &UnixDatagram, path: &Path, socket: &OwnedFd, cgroup: &Path) {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg_addr};
        for count in [1, 60] {
            let (mut reader, writer) = io::pipe().unwrap();
            let fds = vec![writer.as_fd(); count];
            {
                let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(60))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
                let address = SocketAddrUnix::new(path).unwrap();
                let text = [io::IoSlice::new(b"BARRIER=1")];
                sendmsg_addr(sender, &address, &text, &mut control, SendFlags::empty()).unwrap();
            }
            drop(fds);
            drop(writer);
            assert_eq!(receive(socket, cgroup), Some(Some(vec![])), "{count}");
            assert_eq!(io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn who_says_too_much_waits_for_the_next_window() {
        let mut ear = Ear::default();
        let now = Moment(5_000_000);
        assert!((0..6).all(|_| !ear.count(AT_ONCE, now)));
        assert!(ear.count(AT_ONCE, now.after(WINDOW / 2)));
        assert!(!ear.count(AT_ONCE, now.after(WINDOW)));
    }
}
