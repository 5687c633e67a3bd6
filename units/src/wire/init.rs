//! Between PID 1 and the supervisor: fixed records of [`LEN`] bytes, so that PID 1 neither parses nor allocates.
//!
//! | byte | meaning |
//! |---|---|
//! | 0 | type |
//! | 1 | flag or small argument |
//! | 2..8 | zero |
//! | 8..16 | number: sequence, pid and status (little endian) |
//! | 16..64 | text, padded with NUL: name of a descriptor |
//!
//! An exit is handed over, kept until it is acknowledged, and handed over again to the next supervisor: a crash
//! between the kernel's record and ours loses nothing.

/// Bytes of every record.
pub const LEN: usize = 64;
/// The longest name of a kept descriptor, bytes.
pub const FD_NAME_MAX: usize = 48;

/// A name for a descriptor that PID 1 keeps: at most [`FD_NAME_MAX`] bytes, no NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdName([u8; FD_NAME_MAX]);

impl FdName {
    /// `None` when it is empty, too long or holds a NUL.
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; FD_NAME_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        (!name.is_empty() && !name.contains('\0')).then_some(Self(bytes))
    }

    /// The name; empty if a peer sent no UTF-8.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(FD_NAME_MAX);
        self.0.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

/// How a child of PID 1 ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Grows by one with every exit that PID 1 hands over.
    pub seq: u16,
    /// Process id.
    pub pid: i32,
    /// What happened.
    pub status: ExitStatus,
}

/// The wait status, told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// _exit with this code.
    Code(u8),
    /// Killed by this signal.
    Signal(u8),
}

/// From PID 1 to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToSupervisor {
    /// A kept descriptor comes beside this record: sent for each, after every start of the supervisor.
    Kept(FdName),
    /// Everything kept has been sent.
    Go {
        /// Starts of the supervisor before this one, since boot.
        restarts: u32,
    },
    /// A child ended; to be acknowledged by its `seq`.
    Exit(Exit),
    /// Stop every unit in reverse order, then say [`ToInit::Stopped`].
    StopAll,
}

/// From the supervisor to PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToInit {
    /// Exits up to and including this `seq` are written down.
    Ack {
        /// Of the exit.
        seq: u16,
    },
    /// Keep the descriptor that comes beside, under this name; replaces one of the same name.
    Keep(FdName),
    /// Close the kept descriptor of this name.
    Drop(FdName),
    /// Shut down: PID 1 answers [`ToSupervisor::StopAll`] and starts the deadline of the node.
    Shutdown {
        /// Reboot rather than power off.
        reboot: bool,
    },
    /// Every unit is stopped.
    Stopped,
    /// The deadline of a shutdown from now on, milliseconds.
    StopTimeout {
        /// Milliseconds.
        millis: u32,
    },
}

type Raw = [u8; LEN];

fn raw(kind: u8, flag: u8, number: u64, name: Option<&FdName>) -> Raw {
    let mut out = [0; LEN];
    out[0] = kind;
    out[1] = flag;
    out[8..16].copy_from_slice(&number.to_le_bytes());
    if let Some(name) = name {
        out[16..].copy_from_slice(&name.0);
    }
    out
}

struct Parts {
    kind: u8,
    flag: u8,
    number: u64,
    name: FdName,
}

fn parts(record: &[u8]) -> Option<Parts> {
    let record: &Raw = record.try_into().ok()?;
    let number = u64::from_le_bytes(record.get(8..16)?.try_into().ok()?);
    let name = FdName(record.get(16..)?.try_into().ok()?);
    Some(Parts { kind: record[0], flag: record[1], number, name })
}

impl ToSupervisor {
    /// The record.
    pub fn encode(&self) -> Raw {
        match self {
            Self::Kept(name) => raw(1, 0, 0, Some(name)),
            Self::Go { restarts } => raw(2, 0, u64::from(*restarts), None),
            Self::Exit(exit) => {
                let (killed, value) = match exit.status {
                    ExitStatus::Code(code) => (0, code),
                    ExitStatus::Signal(signal) => (1, signal),
                };
                let pid = u64::from(exit.pid.cast_unsigned());
                raw(3, killed, pid << 32 | u64::from(exit.seq) << 16 | u64::from(value), None)
            }
            Self::StopAll => raw(4, 0, 0, None),
        }
    }

    /// `None` for a record that cannot be.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let Parts { kind, flag, number, name } = parts(record)?;
        let [value, _, s0, s1, p0, p1, p2, p3] = number.to_le_bytes();
        Some(match kind {
            1 => Self::Kept(name),
            2 => Self::Go { restarts: u32::try_from(number).ok()? },
            3 => Self::Exit(Exit {
                seq: u16::from_le_bytes([s0, s1]),
                pid: i32::from_le_bytes([p0, p1, p2, p3]),
                status: if flag == 0 { ExitStatus::Code(value) } else { ExitStatus::Signal(value) },
            }),
            4 => Self::StopAll,
            _ => return None,
        })
    }
}

impl ToInit {
    /// The record.
    pub fn encode(&self) -> Raw {
        match self {
            Self::Ack { seq } => raw(1, 0, u64::from(*seq), None),
            Self::Keep(name) => raw(2, 0, 0, Some(name)),
            Self::Drop(name) => raw(3, 0, 0, Some(name)),
            Self::Shutdown { reboot } => raw(4, u8::from(*reboot), 0, None),
            Self::Stopped => raw(5, 0, 0, None),
            Self::StopTimeout { millis } => raw(6, 0, u64::from(*millis), None),
        }
    }

    /// `None` for a record that cannot be.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let Parts { kind, flag, number, name } = parts(record)?;
        Some(match kind {
            1 => Self::Ack { seq: u16::try_from(number).ok()? },
            2 => Self::Keep(name),
            3 => Self::Drop(name),
            4 => Self::Shutdown { reboot: flag != 0 },
            5 => Self::Stopped,
            6 => Self::StopTimeout { millis: u32::try_from(number).ok()? },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let name = FdName::new("log/web/1").unwrap();
        for sent in [
            ToSupervisor::Kept(name),
            ToSupervisor::Go { restarts: 3 },
            ToSupervisor::Exit(Exit { seq: 65535, pid: 4_194_303, status: ExitStatus::Signal(9) }),
            ToSupervisor::Exit(Exit { seq: 0, pid: 2, status: ExitStatus::Code(255) }),
            ToSupervisor::StopAll,
        ] {
            assert_eq!(ToSupervisor::decode(&sent.encode()), Some(sent));
        }
        for sent in [
            ToInit::Ack { seq: 7 },
            ToInit::Keep(name),
            ToInit::Drop(name),
            ToInit::Shutdown { reboot: true },
            ToInit::Stopped,
            ToInit::StopTimeout { millis: 30_000 },
        ] {
            assert_eq!(ToInit::decode(&sent.encode()), Some(sent));
        }
        assert_eq!(name.as_str(), "log/web/1");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(ToInit::decode(&[0; LEN]), None);
        assert_eq!(ToInit::decode(&[1; LEN - 1]), None);
        assert_eq!(FdName::new(""), None);
        assert_eq!(FdName::new(&"x".repeat(49)), None);
    }
}
