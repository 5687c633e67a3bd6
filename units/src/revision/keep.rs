//! Which revisions stay on the disk.

use std::collections::BTreeSet;

use super::Head;

/// Good revisions that stay, besides the one in force.
pub const KEEP: usize = 5;

/// Those of the revisions on the disk that nobody can want any more. One that has not been taken up yet stays.
pub fn removable(head: &Head, present: &BTreeSet<u64>) -> Vec<u64> {
    let before = head.before.iter().rev().take(KEEP);
    let mut kept: BTreeSet<u64> = before.chain(&head.pinned).copied().collect();
    kept.extend(head.trying);
    kept.insert(head.good);
    present.iter().copied().filter(|one| *one <= head.last && !kept.contains(one)).collect()
}
