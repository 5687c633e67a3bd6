//! The client against servers that are slow, huge, rude or gone.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::poll;
use rustix::time::Timespec;

use super::*;

fn http(port: u16) -> Http {
    Http {
        address: Ipv4Addr::LOCALHOST,
        port,
        path: "/healthz".to_owned(),
        method: "GET".to_owned(),
        headers: vec!["Accept: text/plain".to_owned()],
        expect: (200, 399),
    }
}

/// Asks a server that does `serve` with its one connection; `None` when a second was not enough.
fn ask(serve: impl FnOnce(TcpStream) + Send + 'static) -> Option<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    let outcome = drive(Exchange::start(&http(port)).unwrap());
    server.join().unwrap();
    outcome
}

/// The exchange is dropped at its end, which a server that waits for it sees.
fn drive(mut exchange: Exchange) -> Option<Outcome> {
    let limit = Instant::now() + Duration::from_secs(1);
    while Instant::now() < limit {
        if let Some(outcome) = exchange.advance() {
            return Some(outcome);
        }
        let left = limit.saturating_duration_since(Instant::now());
        poll(&mut [exchange.fd()], Some(&Timespec::try_from(left).unwrap())).unwrap();
    }
    None
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Answers with these bytes, then closes.
fn answer(bytes: &'static [u8]) -> Option<Outcome> {
    ask(move |mut stream| {
        read_request(&mut stream);
        let _reset = stream.write_all(bytes);
    })
}

#[test]
fn the_status_decides() {
    for (bytes, expect) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], Outcome::passed("HTTP 200 OK")),
        (b"HTTP/1.0 204\r\n\r\n", Outcome::passed("HTTP 204")),
        (b"HTTP/1.1 200 \r\n\r\n", Outcome::passed("HTTP 200")),
        (b"HTTP/1.1 399 x\nrest", Outcome::passed("HTTP 399 x")),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", Outcome::failed("HTTP 500 Internal Server Error")),
        (b"HTTP/1.1 404 \x1b[31m\r\n", Outcome::failed("HTTP 404 .[31m")),
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            Outcome::passed("HTTP 200 OK"),
        ),
    ] {
        assert_eq!(answer(bytes), Some(expect));
    }
}

#[test]
fn what_is_not_http_fails_and_is_shown() {
    for (bytes, expect) in [
        (&b"SSH-2.0-x\r\n"[..], "the answer is not HTTP: 'SSH-2.0-x.'"),
        (b"HTTP/1.1 2000\r\n", "the answer is not HTTP: 'HTTP/1.1 2000.'"),
        (b"HTTP/1.1 099 x\r\n", "the answer is not HTTP: 'HTTP/1.1 099 x.'"),
        (b"HTTP/2 200\r\n", "the answer is not HTTP: 'HTTP/2 200.'"),
        (b"\n", "the answer is not HTTP: ''"),
        (b"HTTP/1.1 2", "the answer is not HTTP: 'HTTP/1.1 2'"),
        (b"", "no answer: closed the connection"),
    ] {
        assert_eq!(answer(bytes), Some(Outcome::failed(expect)));
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    for begin in [&b""[..], b"HTTP/1.1 103 x\r\n"] {
        let outcome = ask(move |mut stream| {
            read_request(&mut stream);
            let _gone = stream.write_all(begin);
            // Until the client has had enough and closes.
            while stream.write_all(&[b'x'; 1024]).is_ok() {}
        });
        let outcome = outcome.unwrap();
        assert!(!outcome.passed && outcome.text.len() < 100, "{outcome:?}");
    }
}

#[test]
fn one_byte_at_a_time_is_an_answer() {
    let outcome = ask(|mut stream| {
        stream.set_nodelay(true).unwrap();
        read_request(&mut stream);
        for byte in b"HTTP/1.1 200 OK\r\n" {
            stream.write_all(&[*byte]).unwrap();
        }
    });
    assert_eq!(outcome, Some(Outcome::passed("HTTP 200 OK")));
}

#[test]
fn a_server_that_says_nothing_is_the_callers_deadline() {
    let outcome = ask(|mut stream| {
        read_request(&mut stream);
        // Ends when the client gives up.
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    });
    assert_eq!(outcome, None);
}

#[test]
fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let outcome = Exchange::start(&http(port)).map_or_else(|error| Some(refused(&error)), drive).unwrap();
    assert!(!outcome.passed && outcome.text.starts_with("cannot connect: Connection refused"), "{outcome:?}");
}

#[test]
fn the_request_is_one_that_servers_take() {
    let text = String::from_utf8(request(&http(8080))).unwrap();
    let expect = "GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\nUser-Agent: berth\r\n\
                  Accept: text/plain\r\n\r\n";
    assert_eq!(text, expect);
}
