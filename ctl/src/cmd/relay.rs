//! `berth relay`: on a node, carries connections from the virtio-serial port to the control socket.
//!
//! Started by the supervisor; not for people. It ends at once, with success, on a machine without the port.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use berth_units::wire::control::CONTROL_SOCKET;
use berth_units::wire::mux::{ASK_AGAIN, PORT_NAME};
use rustix::event::{PollFlags, epoll};
use rustix::fs::{Mode, OFlags};

use crate::failure::{Cannot, Failure};
use crate::mux::{Mux, Port, Source};
use crate::output::note;
use crate::polls::Polls;

const PORTS_DIR: &str = "/sys/class/virtio-ports";

/// The driver names a port a moment after it has made its device.
const PORT_DEADLINE: Duration = Duration::from_secs(5);
const PORT_AGAIN: Duration = Duration::from_millis(50);

/// Relays until the port is gone.
pub fn run() -> Result<ExitCode, Failure> {
    let Some(path) = wait_for_port() else {
        note(&format!("no virtio port named {PORT_NAME}: nothing to relay\n"));
        return Ok(ExitCode::SUCCESS);
    };
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let port = rustix::fs::open(&path, flags, Mode::empty()).map_err(Cannot::at("open", &path));
    let mux = Mux::node(port.map_err(Failure::action)?, Box::new(|| UnixStream::connect(CONTROL_SOCKET)));
    relay(mux).map_err(|error| Failure::action(Cannot::at("relay", &path)(error)))?;
    Ok(ExitCode::SUCCESS)
}

fn wait_for_port() -> Option<PathBuf> {
    let deadline = Instant::now() + PORT_DEADLINE;
    loop {
        if let Some(path) = find_port(Path::new(PORTS_DIR)) {
            return Some(path);
        }
        if Instant::now() >= deadline || !Path::new(PORTS_DIR).exists() {
            return None;
        }
        std::thread::sleep(PORT_AGAIN);
    }
}

/// The device of the port of our name.
fn find_port(ports: &Path) -> Option<PathBuf> {
    fs::read_dir(ports).ok()?.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("name")).ok()?;
        (name.trim_end() == PORT_NAME).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

fn relay(mut mux: Mux) -> io::Result<()> {
    let changes = Changes::of(mux.port())?;
    let mut away = false;
    loop {
        let mut polls = Polls::new();
        if away {
            polls.add(None, changes.0.as_fd(), PollFlags::IN);
        }
        mux.watch(&mut polls, !away, Some);
        let patience = (!away && !mux.is_answered()).then_some(ASK_AGAIN);
        let ready = polls.wait(patience)?;
        if ready.is_empty() {
            mux.ask_again();
        }
        for (source, flags) in ready {
            match source {
                // Something happened to the port: reading it tells what.
                None => {
                    changes.forget()?;
                    away = false;
                }
                Some(source) => {
                    let port = mux.on_ready(source, flags)?;
                    if source == Source::Link && port == Port::HungUp && !away {
                        away = true;
                        mux.restart();
                    }
                }
            }
        }
    }
}

/// Says when the state of the port changes. While the host's end is closed poll(2) reports a hang-up again and
/// again; an edge-triggered epoll reports it once (epoll(7)).
struct Changes(OwnedFd);

impl Changes {
    fn of(port: &OwnedFd) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ET;
        epoll::add(&epoll, port, epoll::EventData::new_u64(0), flags)?;
        Ok(Self(epoll))
    }

    fn forget(&self) -> io::Result<()> {
        let mut events = [MaybeUninit::uninit(); 1];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.0, &mut events, Some(&now))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_by_its_name() {
        let dir = std::env::temp_dir().join(format!("berth-ports-{}", std::process::id()));
        for (port, name) in [("vport0p1", "org.other\n"), ("vport1p2", "io.berth.control\n")] {
            fs::create_dir_all(dir.join(port)).unwrap();
            fs::write(dir.join(port).join("name"), name).unwrap();
        }
        fs::create_dir_all(dir.join("vport0p0")).unwrap();
        assert_eq!(find_port(&dir), Some(PathBuf::from("/dev/vport1p2")));
        assert_eq!(find_port(&dir.join("none")), None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
