//! A registry for the tests: HTTP/1.1 on loopback, one request a connection, every answer as the test wants it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked.
pub struct Asked {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Instead of the body's length; none for a body that ends with the connection.
    pub length: Option<usize>,
    /// Sent a byte at a time, with this in between.
    pub drip: Option<Duration>,
    /// Sent again and again until the client goes away.
    pub endless: bool,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), length: Some(body.len()), body, drip: None, endless: false }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Serves until the test ends; `http://` is spoken at the address that is returned. Everything asked is written down.
pub fn serve(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (answer, asked) = (Arc::new(answer), log.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, asked) = (answer.clone(), asked.clone());
            // A client that goes away in the middle is part of the tests.
            std::thread::spawn(move || handle(stream.unwrap(), &*answer, &asked).unwrap_or_default());
        }
    });
    (address, log)
}

fn handle(
    mut stream: TcpStream,
    answer: &dyn Fn(&Asked) -> Answer,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    for line in lines.by_ref() {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let asked = Asked { path, headers };
    let answer = answer(&asked);
    log.lock().unwrap().push(asked.path);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    if let Some(length) = answer.length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    match answer.drip {
        Some(pause) => answer.body.chunks(1).try_for_each(|byte| {
            std::thread::sleep(pause);
            stream.write_all(byte)
        })?,
        None => stream.write_all(&answer.body)?,
    }
    if answer.endless {
        loop {
            stream.write_all(&answer.body)?;
        }
    }
    Ok(())
}
