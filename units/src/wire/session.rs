//! An upgraded control connection: a session process of the node and the `berth` command exchange frames.
//!
//! A frame is one byte of type, four bytes of length (big endian), and that many bytes. The length is at most
//! [`FRAME_MAX`]; a longer one ends the session.

/// The longest payload, bytes.
pub const FRAME_MAX: usize = 64 << 10;

/// Bytes before the payload.
pub const HEADER_LEN: usize = 5;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To the node: bytes for standard input; empty is its end.
    Stdin = 0,
    /// To the client: bytes of standard output (of the terminal, where there is one).
    Stdout = 1,
    /// To the client: bytes of standard error.
    Stderr = 2,
    /// To the node: rows and columns, two u16, big endian.
    Resize = 3,
    /// To the node: one byte, a signal number for the process.
    Signal = 4,
    /// To the client, last: one byte exit code (128 + signal when killed).
    Exit = 5,
    /// To the client, last: it could not be done; UTF-8 text.
    Error = 6,
}

impl Kind {
    /// The kind of a type byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Stdin, Self::Stdout, Self::Stderr, Self::Resize, Self::Signal, Self::Exit, Self::Error]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A frame that cannot be: the session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of type {kind} and {len} bytes cannot be")]
pub struct FrameError {
    kind: u8,
    len: usize,
}

/// Appends a frame to `out`. A payload over [`FRAME_MAX`] is sent as several frames.
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    let mut push = |chunk: &[u8]| {
        out.push(kind as u8);
        out.extend_from_slice(&u32::try_from(chunk.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(chunk);
    };
    if payload.is_empty() {
        push(&[]);
    }
    payload.chunks(FRAME_MAX).for_each(&mut push);
}

/// A decoded frame: kind, payload, and the bytes it took.
pub type Frame<'a> = (Kind, &'a [u8], usize);

/// The first whole frame of `buffer`, or `None` while it is not whole.
pub fn decode(buffer: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((&[kind, a, b, c, d], rest)) = buffer.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let known = Kind::from_byte(kind).filter(|_| len <= FRAME_MAX).ok_or(FrameError { kind, len })?;
    Ok(rest.get(..len).map(|payload| (known, payload, HEADER_LEN + len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_wait_for_the_rest() {
        let mut out = Vec::new();
        encode(Kind::Stdout, b"hello", &mut out);
        assert_eq!(decode(&out[..4]), Ok(None));
        assert_eq!(decode(&out[..9]), Ok(None));
        assert_eq!(decode(&out), Ok(Some((Kind::Stdout, &b"hello"[..], 10))));
    }

    #[test]
    fn long_payloads_are_split_and_lies_refused() {
        let mut out = Vec::new();
        encode(Kind::Stdin, &vec![7; FRAME_MAX + 1], &mut out);
        let (_, first, used) = decode(&out).unwrap().unwrap();
        assert_eq!(first.len(), FRAME_MAX);
        assert_eq!(decode(&out[used..]).unwrap().unwrap().1, [7]);
        assert!(decode(&[1, 0xff, 0, 0, 0]).is_err());
        assert!(decode(&[9, 0, 0, 0, 0]).is_err());
    }
}
