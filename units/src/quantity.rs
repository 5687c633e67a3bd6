//! Quantities with their units in the type: bytes, processors, times.

use serde::{Deserialize, Serialize};

/// An amount of memory or disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    /// No limit: the kernel's own word `max`.
    Max,
    /// Bytes.
    Bytes(u64),
    /// Hundredths of the node's memory, 1 to 100.
    Percent(u8),
}

/// Processor time per time, in thousandths of one processor: `1.5` is 1500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MilliCpus(pub u32);
