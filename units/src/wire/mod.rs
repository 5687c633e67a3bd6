//! What the processes of a node say to each other: one request and one reply type for every pair.
//!
//! | pair | socket | encoding |
//! |---|---|---|
//! | PID 1 and supervisor | SOCK_SEQPACKET pair | fixed records ([`init`]): PID 1 does not parse |
//! | supervisor and netd, log | SOCK_SEQPACKET pair, descriptors beside (SCM_RIGHTS) | one JSON value a packet |
//! | supervisor and `berth` | SOCK_STREAM, /run/berth/control.sock | varlink: JSON ended by NUL ([`control`]) |
//! | session and `berth` | the same connection after an upgrade | frames ([`session`]) |
//! | host and node | virtio-serial port | frames of many connections ([`mux`]) |

pub mod control;
pub mod event;
pub mod image;
pub mod init;
pub mod log;
pub mod mux;
pub mod net;
pub mod plain;
pub mod session;

/// The longest packet between the supervisor and netd or the log process, bytes.
pub const PACKET_MAX: usize = 1 << 20;
