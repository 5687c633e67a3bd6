//! The client against servers that serve, refuse, pad, flood or speak something else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::poll;
use rustix::time::Timespec;

use super::*;

/// Asks a server that does `serve` with its one connection; `None` when two seconds were not enough.
fn ask(serve: impl FnOnce(TcpStream) + Send + 'static) -> Option<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    let mut question = Question::start(port).unwrap();
    let limit = Instant::now() + Duration::from_secs(2);
    let mut outcome = None;
    while outcome.is_none() && Instant::now() < limit {
        outcome = question.advance();
        let left = Timespec::try_from(limit.saturating_duration_since(Instant::now())).unwrap();
        if outcome.is_none() {
            poll(&mut [question.fd()], Some(&left)).unwrap();
        }
    }
    drop(question);
    server.join().unwrap();
    outcome
}

fn read_frame(stream: &mut TcpStream) -> Frame {
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).unwrap();
    Frame { kind: head[3], flags: head[4], stream: u32::from(head[8]), payload }
}

fn frames(list: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, flags, stream, payload) in list {
        push_frame(&mut bytes, (*kind, *flags, *stream), payload);
    }
    bytes
}

/// A server that reads the whole call, answers with these bytes and closes.
fn answer(bytes: Vec<u8>) -> Outcome {
    let said = ask(move |mut stream| {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        while read_frame(&mut stream).kind != DATA {}
        let _reset = stream.write_all(&bytes);
        let _end = stream.shutdown(std::net::Shutdown::Write);
        let _rest = stream.read_to_end(&mut Vec::new());
    });
    said.unwrap()
}

#[test]
fn the_call_is_what_the_protocol_asks_for() {
    let said = ask(|mut stream| {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let settings = read_frame(&mut stream);
        assert_eq!((settings.kind, settings.flags, settings.stream), (SETTINGS, 0, 0));
        let headers = read_frame(&mut stream);
        assert_eq!((headers.kind, headers.flags, headers.stream), (HEADERS, END_HEADERS, 1));
        let text = String::from_utf8_lossy(&headers.payload).into_owned();
        for part in ["/grpc.health.v1.Health/Check", "localhost:", "application/grpc", "te\u{8}trailers"] {
            assert!(text.contains(part), "{part}: {text:?}");
        }
        let data = read_frame(&mut stream);
        assert_eq!((data.kind, data.flags, data.stream, data.payload), (DATA, END_STREAM, 1, vec![0; 5]));
        // Settings and pings are answered, also when the answer comes in single bytes.
        let mut all =
            frames(&[(SETTINGS, 0, 0, &[]), (PING, 0, 0, b"12345678"), (HEADERS, END_HEADERS, 1, &[0x88])]);
        for byte in all.drain(..) {
            stream.write_all(&[byte]).unwrap();
        }
        let acknowledged = read_frame(&mut stream);
        assert_eq!((acknowledged.kind, acknowledged.flags), (SETTINGS, ACK));
        let pong = read_frame(&mut stream);
        assert_eq!((pong.kind, pong.flags, pong.payload), (PING, ACK, b"12345678".to_vec()));
        stream.write_all(&frames(&[(DATA, 0, 1, &[0, 0, 0]), (DATA, 0, 1, &[0, 2, 8, 1])])).unwrap();
        let _end = stream.read_to_end(&mut Vec::new());
    });
    assert_eq!(said, Some(Outcome::passed("serving")));
}

#[test]
fn the_message_decides() {
    let no_message = Outcome::failed("the answer is no message of grpc.health.v1");
    let unknown = Outcome::failed("the server does not know how it is");
    let rows: [(&[u8], Outcome); 11] = [
        (&[0, 0, 0, 0, 2, 8, 1], Outcome::passed("serving")),
        (&[0, 0, 0, 0, 2, 8, 2], Outcome::failed("not serving")),
        (&[0, 0, 0, 0, 2, 8, 3], unknown.clone()),
        (&[0, 0, 0, 0, 0], unknown),
        (&[0, 0, 0, 0, 2, 8, 9], Outcome::failed("unknown status 9")),
        // Other fields, of every wire type, before it.
        (&[0, 0, 0, 0, 8, 0x12, 1, b'x', 0x18, 0x96, 1, 8, 1], Outcome::passed("serving")),
        (&[1, 0, 0, 0, 2, 8, 1], no_message.clone()),
        (&[0, 0xff, 0, 0, 0], no_message.clone()),
        (&[0, 0, 0, 0, 1, 8], no_message.clone()),
        (&[0, 0, 0, 0, 3, 0x12, 0x7f, 0], no_message.clone()),
        (&[0, 0, 0, 0, 2, 0, 1], no_message),
    ];
    for (body, expect) in rows {
        assert_eq!(answer(frames(&[(SETTINGS, 0, 0, &[]), (DATA, 0, 1, body)])), expect, "{body:?}");
    }
    let padded = frames(&[(SETTINGS, 0, 0, &[]), (DATA, PADDED, 1, &[2, 0, 0, 0, 0, 2, 8, 1, 0, 0])]);
    assert_eq!(answer(padded), Outcome::passed("serving"));
}

#[test]
fn a_server_may_be_anything() {
    let failed = Outcome::failed;
    let settings: (u8, u8, u32, &[u8]) = (SETTINGS, 0, 0, &[]);
    let flood: Vec<_> = std::iter::repeat_n(settings, 300).collect();
    let big = vec![0; 16_000];
    let long = [settings, (HEADERS, 0, 3, &big), (HEADERS, 0, 3, &big), (HEADERS, 0, 3, &big)];
    for (bytes, expect) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), failed("the answer is not HTTP/2")),
        (b"+OK this is something else".to_vec(), failed("the answer is not HTTP/2")),
        (frames(&[settings, (DATA, PADDED, 1, &[9, 0])]), failed("the answer is not HTTP/2")),
        (frames(&[settings, (DATA, PADDED, 1, &[])]), failed("the answer is not HTTP/2")),
        (frames(&flood), failed("the answer is too long")),
        (frames(&long), failed("the answer is too long")),
        (Vec::new(), failed("no answer: closed the connection")),
        (frames(&[settings]), failed("no answer: closed the connection")),
        (
            frames(&[settings, (HEADERS, END_HEADERS | END_STREAM, 1, &[0x88])]),
            failed("answered without a status: it does not serve grpc.health.v1"),
        ),
        (
            frames(&[settings, (RST_STREAM, 0, 1, &[0, 0, 0, 7])]),
            failed("the server refused the call with HTTP/2 error 7"),
        ),
        (
            frames(&[settings, (GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11])]),
            failed("the server hung up with HTTP/2 error 11"),
        ),
        (frames(&[settings, (GOAWAY, 0, 0, &[])]), failed("the server hung up")),
    ] {
        assert_eq!(answer(bytes.clone()), expect, "{:?}", bytes.get(..40));
    }
    // One that says nothing is given up by whoever set the deadline.
    let silent = ask(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    assert_eq!(silent, None);
}
