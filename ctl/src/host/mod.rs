//! The host's side: an appliance directory is built, booted under QEMU, watched, and turned off.
//!
//! | file | for |
//! |---|---|
//! | `os` | kernel, initrd and factory store of an appliance, built when something changed |
//! | `disk` | the data disk |
//! | `install` | the disk that firmware boots |
//! | `forward` | ports of this machine that lead to ports of the node |
//! | `qemu` | finding QEMU, and the child that runs it |
//! | `accel` | whether KVM works here |
//! | `machine` | the machine as QEMU's arguments |
//! | `monitor` | QEMU's own control connection (QMP) |
//! | `question` | a call to the node over a connection of our own |
//! | `console` | the node's console on our standard output |
//! | `progress` | from Status to what a person wants to read |
//! | `vm` | the poll loop that joins them |

pub mod accel;
pub mod console;
pub mod disk;
pub mod forward;
pub mod install;
pub mod machine;
pub mod monitor;
pub mod os;
pub mod progress;
pub mod qemu;
pub mod question;
pub mod socket;
pub mod vm;
