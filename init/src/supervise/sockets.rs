//! Sockets that are held open for units: a client waits in the queue while nobody serves, and is never turned away.
//!
//! PID 1 keeps them over restarts of the unit and of the supervisor. Their name there is made of all that they are, so
//! that a socket that is declared in another way is another one. The unit finds them as sd_listen_fds(3) has it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use berth_units::life::Life;
use berth_units::observed::Seen;
use berth_units::plan::hash;
use berth_units::spec::{LISTEN_FD, Listen, Socket, Unit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chownat, fstat, openat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::{Gid, Uid};

use super::container::Error;
use super::{Supervisor, disposal};
use crate::error;

/// What begins the names of all of them.
const PREFIX: &str = "socket/";
/// Connections that wait; the kernel cuts it to net.core.somaxconn.
const QUEUE: i32 = 4096;

impl Supervisor {
    /// A unit's sockets with the numbers that they get; those that are not open yet are opened.
    pub(super) fn open_sockets(&mut self, unit: &Unit) -> Result<Vec<(OwnedFd, u8)>, Error> {
        let mut opened = Vec::new();
        for ((name, socket), number) in unit.sockets.iter().zip(LISTEN_FD..) {
            let kept = kept_name(unit, name, socket);
            let dead = self.link.kept(&kept).filter(|fd| is_shut_down(socket, fd));
            if let Some(listener) = dead {
                disposal::empty_queue(listener);
            }
            if dead.is_some() || self.link.kept(&kept).is_none() {
                let what = socket.listen.to_string();
                let fault = |source| Error::Path { doing: "listen at", path: what, source };
                let fd = open(socket).map_err(fault)?;
                self.link.keep(&kept, fd).map_err(|error| Error::System("keep a socket", error))?;
            } else if let (Some(fd), Listen::Tcp(_)) = (self.link.kept(&kept), &socket.listen) {
                // A program may have shut it down on its way out, for all who share it.
                rustix::net::listen(fd, QUEUE)
                    .map_err(|error| Error::System("listen again", error.into()))?;
            }
            let fd = self.link.kept(&kept).map(|fd| fd.try_clone_to_owned());
            let fd = fd.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
            opened.push((fd.map_err(|error| Error::System("pass a socket on", error))?, number));
        }
        Ok(opened)
    }

    /// Closes sockets whose unit is not going to serve them: who knocks there has to hear that.
    pub(super) fn settle_sockets(&mut self) {
        let open: Vec<_> = self.link.kept_names().filter(|name| name.starts_with(PREFIX)).cloned().collect();
        if open.is_empty() {
            return;
        }
        let units = self.set.declared.units.values();
        let served = units.filter(|unit| self.observed.units.get(&unit.name).is_some_and(is_served));
        let names = |unit: &Unit| {
            unit.sockets.iter().map(|(name, socket)| kept_name(unit, name, socket)).collect::<Vec<_>>()
        };
        let wanted: BTreeSet<_> = served.flat_map(names).collect();
        for name in open.iter().filter(|name| !wanted.contains(*name)) {
            self.close_socket(name);
        }
    }

    fn close_socket(&mut self, name: &str) {
        let address = self.link.kept(name).and_then(|fd| rustix::net::getsockname(fd).ok());
        let unix = address.and_then(|address| SocketAddrUnix::try_from(address).ok());
        if let Some(path) = unix.as_ref().and_then(|address| address.path()) {
            drop(fs::remove_file(Path::new(path.to_string_lossy().as_ref())));
        }
        if let Some(listener) = self.link.kept(name).filter(|_| unix.is_some()) {
            disposal::empty_queue(listener);
        }
        if let Err(error) = self.link.forget(name) {
            error!("cannot close a socket: {error}; ignoring");
        }
    }
}

/// Whether a program has shut a socket of a path down, for all who share it. Nothing opens it again; who knocks is
/// refused (net/unix/af_unix.c, unix_stream_connect).
fn is_shut_down(socket: &Socket, fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::RDHUP)];
    let asked = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let [found] = fds.map(|fd| fd.revents());
    matches!(socket.listen, Listen::Unix(_))
        && asked.is_ok()
        && found.intersects(PollFlags::RDHUP | PollFlags::HUP)
}

/// The variables of sd_listen_fds(3). The program of a container is number 1 there, or the child of that.
pub fn environment(unit: &Unit) -> Vec<(&'static str, String)> {
    if unit.sockets.is_empty() {
        return Vec::new();
    }
    let names: Vec<_> = unit.sockets.keys().map(String::as_str).collect();
    vec![
        ("LISTEN_FDS", names.len().to_string()),
        ("LISTEN_FDNAMES", names.join(":")),
        ("LISTEN_PID", if unit.process.init { "2" } else { "1" }.to_owned()),
    ]
}

fn is_served(seen: &Seen) -> bool {
    !matches!(seen.record.life, Life::Stopped | Life::Failed | Life::Completed | Life::Skipped)
}

fn kept_name(unit: &Unit, name: &str, socket: &Socket) -> String {
    format!("{PREFIX}{:016x}", hash(&format!("{} {name} {socket:?}", unit.name)))
}

fn open(socket: &Socket) -> io::Result<OwnedFd> {
    match &socket.listen {
        Listen::Tcp(address) => open_ip(address, SocketType::STREAM),
        Listen::Udp(address) => open_ip(address, SocketType::DGRAM),
        Listen::Unix(path) => open_unix(Path::new(path), socket),
    }
}

/// On an address that may not be there yet (IP_FREEBIND, ip(7)): the uplink's comes by DHCP, and may go again.
fn open_ip(address: &SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_freebind(&fd, true)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_freebind(&fd, true)?,
    }
    if kind == SocketType::STREAM {
        // Connections of the socket before it may still be dying.
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    rustix::net::bind(&fd, address)?;
    if kind == SocketType::STREAM {
        rustix::net::listen(&fd, QUEUE)?;
    }
    Ok(fd)
}

/// Nobody but root can come in before owner and mode are as declared.
fn open_unix(path: &Path, socket: &Socket) -> io::Result<OwnedFd> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // bind(2) makes the file with what fchmod set on the socket.
    rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&fd, QUEUE)?;
    give_away(path, socket)?;
    Ok(fd)
}

/// Sets owner and mode of the socket file, whatever somebody who shares its folder puts in its place meanwhile.
fn give_away(path: &Path, socket: &Socket) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::Socket {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let (uid, gid) = (Uid::from_raw(socket.owner.0), Gid::from_raw(socket.owner.1));
    chownat(&file, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(own, fs::Permissions::from_mode(socket.mode))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn socket(listen: Listen) -> Socket {
        Socket { listen, mode: 0o640, owner: (12, 34) }
    }

    #[test]
    fn a_client_waits_where_nobody_serves_yet() {
        // The port of a socket that is gone is free.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fd = open(&socket(Listen::Tcp(free))).unwrap();
        let mut client = TcpStream::connect(free).unwrap();
        client.write_all(b"early").unwrap();
        let (mut server, _) = std::net::TcpListener::from(fd).accept().unwrap();
        let mut got = [0; 5];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"early");
        drop((client, server));
        assert!(open(&socket(Listen::Tcp(free))).is_ok(), "what is dying does not stand in the way");
    }

    #[test]
    fn an_address_may_come_later() {
        for text in ["192.0.2.7:4711", "[2001:db8::7]:4711"] {
            let address = text.parse().unwrap();
            assert!(open(&socket(Listen::Tcp(address))).is_ok(), "{text}");
            assert!(open(&socket(Listen::Udp(address))).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_path_has_its_owner_and_replaces_only_a_socket() {
        let dir = std::env::temp_dir().join(format!("berth-sockets-{}", std::process::id()));
        let path = dir.join("below/app.sock");
        let declared = socket(Listen::Unix(path.display().to_string()));
        drop(open(&declared).unwrap());
        let fd = open(&declared).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o640, 12, 34));
        assert!(UnixStream::connect(&path).is_ok());
        assert!(!is_shut_down(&declared, &fd), "one that somebody waits at is none");
        rustix::net::shutdown(&fd, rustix::net::Shutdown::Read).unwrap();
        assert!(UnixStream::connect(&path).is_err());
        rustix::net::listen(&fd, QUEUE).unwrap();
        assert!(is_shut_down(&declared, &fd) && UnixStream::connect(&path).is_err(), "for good");
        let fd = open(&declared).unwrap();
        assert!(!is_shut_down(&declared, &fd) && UnixStream::connect(&path).is_ok());
        drop(fd);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert_eq!(open(&declared).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        fs::remove_dir_all(dir).unwrap();
    }
}
