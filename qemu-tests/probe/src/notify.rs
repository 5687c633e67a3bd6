//! sd_notify(3): what a program says of itself.

use std::io::{self, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};

use crate::{Outcome, load};

/// Where the node puts it when it is not in the environment: a program of `berth exec` has none there.
pub const SOCKET: &str = "/run/notify";

/// Says these words, and ends when they have been heard or thrown away.
pub fn say(path: &str, words: &[&str]) -> Outcome {
    let socket = UnixDatagram::unbound()?;
    socket.send_to(words.join("\n").as_bytes(), path)?;
    let (mut end, barrier) = io::pipe()?;
    let fds = [barrier.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err("no room for a descriptor".into());
    }
    let address = SocketAddrUnix::new(path)?;
    sendmsg_addr(&socket, &address, &[IoSlice::new(b"BARRIER=1")], &mut control, SendFlags::empty())?;
    drop(barrier);
    end.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Says that it is ready, then that it lives, until somebody makes /tmp/hush.
pub fn feed(millis: u64) -> Outcome {
    let path = std::env::var("NOTIFY_SOCKET")?;
    let micros: u64 = std::env::var("WATCHDOG_USEC")?.parse()?;
    println!("watchdog of {micros} us");
    let socket = UnixDatagram::unbound()?;
    socket.send_to(b"READY=1\nSTATUS=feeding", &path)?;
    load::sleep_beside(move || {
        while !Path::new("/tmp/hush").exists() {
            // A supervisor that is being replaced leaves the socket as it is.
            if let Err(error) = socket.send_to(b"WATCHDOG=1", &path) {
                println!("cannot feed: {error}");
            }
            thread::sleep(Duration::from_millis(millis));
        }
    })
}

/// Says that it is ready, and reloads without end.
pub fn reloader() -> Outcome {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    let path = std::env::var("NOTIFY_SOCKET")?;
    let socket = UnixDatagram::unbound()?;
    socket.send_to(b"READY=1", &path)?;
    while signals.wait()? == Signal::SIGHUP {
        socket.send_to(b"RELOADING=1", &path)?;
        println!("reloaded");
        socket.send_to(b"READY=1", &path)?;
    }
    Ok(())
}
