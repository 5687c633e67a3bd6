//! Figures of the node, printed beside those of its peers.

use berth_qemu_tests::Outcome;

/// Measures and prints.
pub fn run() -> Outcome {
    Err("not yet".into())
}
