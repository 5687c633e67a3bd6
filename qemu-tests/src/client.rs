//! Talking to published ports: just enough of HTTP, RESP and MQTT to see that the real software answers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Outcome, ensure};

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again until there is an answer: a program that has just been executed does not listen yet.
pub fn patiently<T>(ask: impl Fn() -> Outcome<T>) -> Outcome<T> {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if start.elapsed() > PATIENCE => return Err(format!("no answer: {error}").into()),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// A port of this machine that nobody listens on.
pub fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A connection to a port of this machine.
pub fn connect(port: u16) -> Outcome<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends bytes and expects exactly these back.
pub fn expect(stream: &mut TcpStream, send: &[u8], answer: &[u8]) -> Outcome {
    stream.write_all(send)?;
    let mut got = vec![0; answer.len()];
    stream.read_exact(&mut got)?;
    ensure!(
        got == answer,
        "answer {:?}, not {:?}",
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(answer)
    );
    Ok(())
}

/// A line there and back, on a connection to the probe's `serve`.
pub fn echo(stream: &mut TcpStream, text: &str) -> Outcome {
    let line = format!("{text}\n");
    expect(stream, line.as_bytes(), line.as_bytes())
}

/// The whole answer to GET.
pub fn http_get(port: u16, path: &str) -> Outcome<String> {
    let mut stream = connect(port)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: node\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// One inline redis command and its first line of answer.
pub fn redis(port: u16, command: &str) -> Outcome<String> {
    let mut stream = connect(port)?;
    write!(stream, "{command}\r\n")?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
}

/// MQTT 3.1.1 CONNECT of client `berth` with a clean session; the broker accepts with CONNACK, code 0.
pub fn mqtt_connect(port: u16) -> Outcome {
    const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05berth";
    const CONNACK: &[u8] = b"\x20\x02\x00\x00";
    expect(&mut connect(port)?, CONNECT, CONNACK)
}
