//! TCP and names.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::{Outcome, load};

/// Echoes every connection until it is told to stop; a line is printed when one comes.
pub fn serve(port: u16) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    println!("serving {port}");
    load::sleep_beside(move || {
        for stream in listener.incoming().flatten() {
            if let Ok(peer) = stream.peer_addr() {
                println!("connection from {peer}");
            }
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    })
}

/// Echoes on the sockets of sd_listen_fds(3), of which each takes connections of TCP.
pub fn serve_passed() -> Outcome {
    let count: i32 = std::env::var("LISTEN_FDS")?.parse()?;
    let names = std::env::var("LISTEN_FDNAMES")?;
    if std::env::var("LISTEN_PID")? != std::process::id().to_string() {
        return Err("LISTEN_PID is not this process".into());
    }
    println!("{count} sockets: {names}");
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty())?;
    for number in 3..3 + count {
        let socket = pidfd_getfd(&ourselves, number, PidfdGetfdFlags::empty())?;
        thread::spawn(move || {
            for stream in TcpListener::from(socket).incoming().flatten() {
                thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
    }
    load::sleep()
}

/// Answers HTTP requests by which files are in /tmp, so that somebody else decides how healthy it is.
pub fn http(port: u16) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    load::sleep_beside(move || {
        for stream in listener.incoming().flatten() {
            // One whose peer has gone is no reason to end.
            drop(answer(&stream));
        }
    })
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let there = |name: &str| Path::new("/tmp").join(name).exists();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let status = match path.rsplit_once('/') {
        Some(("/is", name)) if there(name) => "200 OK",
        Some(("/not", name)) if !there(name) => "200 OK",
        Some(("/is" | "/not", _)) => "500 Internal Server Error",
        _ => "404 Not Found",
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Says by grpc.health.v1 that it serves, or that it does not while there is a /tmp/ill.
pub fn grpc(port: u16) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    load::sleep_beside(move || {
        for stream in listener.incoming().flatten() {
            drop(answer_grpc(&stream));
        }
    })
}

/// HTTP/2 as far as one call needs it: the frames of the call, then settings and the message.
fn answer_grpc(mut stream: &TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; 24])?;
    let mut head = [0; 9];
    while head[3] != 0 || head[8] != 1 {
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.take(u64::from(length)).read_to_end(&mut Vec::new())?;
    }
    let status = if Path::new("/tmp/ill").exists() { 2 } else { 1 };
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])?;
    stream.write_all(&[0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 8, status])?;
    // Until the other side has read it.
    stream.read_to_end(&mut Vec::new()).map(drop)
}

/// Sends a line and prints what comes back until as many bytes have come or the peer ends.
pub fn connect(host: &str, port: u16, text: &str) -> Outcome {
    let address = (host, port).to_socket_addrs()?.next().ok_or("no address")?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let line = format!("{text}\n");
    stream.write_all(line.as_bytes())?;
    // As much as was sent, in however many pieces it comes; less when the other side closes.
    let mut answer = Vec::new();
    stream.take(line.len() as u64).read_to_end(&mut answer)?;
    Ok(io::stdout().write_all(&answer)?)
}

/// Prints every address of a name, one a line.
pub fn resolve(name: &str) -> Outcome {
    for address in (name, 0).to_socket_addrs()? {
        println!("{}", address.ip());
    }
    Ok(())
}
