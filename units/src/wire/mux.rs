//! Many connections over one byte stream: the virtio-serial port between `berth run` and a relay on the node.
//!
//! A record is four bytes of connection number, one byte of type, two bytes of length (all big endian), and that
//! many bytes. The host opens connections and chooses their numbers. Each side may have [`WINDOW`] bytes of data
//! under way on a connection; [`Kind::Credit`] gives bytes back, so one stalled reader does not stop the others.
//!
//! A side that starts, or that has lost step, sends [`Kind::Reset`] with [`RESET_ASK`] and a number of its own, and
//! skips what it reads until a Reset with [`RESET_ANSWER`] and that number: bytes that were under way to its
//! predecessor cannot confuse it. A side that is asked answers at once, and every connection is gone. It asks again
//! each [`ASK_AGAIN`] without an answer.

/// The longest payload, bytes.
pub const RECORD_MAX: usize = 16 << 10;
/// Bytes before the payload.
pub const HEADER_LEN: usize = 7;
/// Data bytes that may be under way on one connection, each way.
pub const WINDOW: u32 = 256 << 10;
/// Name of the virtio-serial port, as in /sys/class/virtio-ports/*/name.
pub const PORT_NAME: &str = "io.berth.control";

/// Beginning of the payload of a Reset that wants an answer; eight bytes of number follow.
pub const RESET_ASK: [u8; 12] = *b"berth-mux 1?";
/// Beginning of the payload of the answer; the same eight bytes follow.
pub const RESET_ANSWER: [u8; 12] = *b"berth-mux 1!";
/// Between two questions, when none is answered.
pub const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// From the host: a new connection of this number.
    Open = 0,
    /// Bytes of the connection.
    Data = 1,
    /// No more bytes from this side (shutdown of the write half).
    End = 2,
    /// This side has forgotten the connection, both ways.
    Close = 3,
    /// u32: that many data bytes were taken by the reader.
    Credit = 4,
    /// Connection 0: all are gone; the payload is a question or its answer.
    Reset = 5,
}

impl Kind {
    /// The kind of a type byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Open, Self::Data, Self::End, Self::Close, Self::Credit, Self::Reset]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A record that cannot be: the stream is out of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of type {kind} and {len} bytes cannot be")]
pub struct RecordError {
    kind: u8,
    len: usize,
}

/// Appends one record; `payload` is at most [`RECORD_MAX`] bytes, what is over it is cut into further records.
pub fn encode(connection: u32, kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    let mut push = |chunk: &[u8]| {
        out.extend_from_slice(&connection.to_be_bytes());
        out.push(kind as u8);
        out.extend_from_slice(&u16::try_from(chunk.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(chunk);
    };
    if payload.is_empty() {
        push(&[]);
    }
    payload.chunks(RECORD_MAX).for_each(&mut push);
}

/// A decoded record: connection, kind, payload, and the bytes it took.
pub type Record<'a> = (u32, Kind, &'a [u8], usize);

/// The first whole record of `buffer`, or `None` while it is not whole.
pub fn decode(buffer: &[u8]) -> Result<Option<Record<'_>>, RecordError> {
    let Some((&[a, b, c, d, kind, e, f], rest)) = buffer.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([e, f]));
    let known = Kind::from_byte(kind).filter(|_| len <= RECORD_MAX).ok_or(RecordError { kind, len })?;
    let connection = u32::from_be_bytes([a, b, c, d]);
    Ok(rest.get(..len).map(|payload| (connection, known, payload, HEADER_LEN + len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let mut out = Vec::new();
        encode(7, Kind::Data, b"abc", &mut out);
        assert_eq!(decode(&out[..8]), Ok(None));
        assert_eq!(decode(&out), Ok(Some((7, Kind::Data, &b"abc"[..], 10))));
        assert!(decode(&[0, 0, 0, 0, 9, 0, 0]).is_err());
    }
}
