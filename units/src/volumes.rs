//! Volumes that exist: what is written down of each, and which limit it gets.
//!
//! A volume is a project of the data partition (ext4's project quota): the kernel counts and limits what is in it.
//! Every volume has one from the start, whether it has a size or not, so that a size given later only sets a limit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::observed::Observed;
use crate::spec::{Declared, MountSource, Retain, Unit};
use crate::{Name, human};

mod own;

pub use own::{ImageVolumeError, Own, image_volumes, own_environment, own_mounts, own_volumes, part_name};
pub(crate) use own::{contradicts_itself, is_reserved};

/// Where the node keeps volumes.
pub const VOLUMES_DIR: &str = "/data/volumes";

/// Where those in RAM are mounted.
pub const RAM_VOLUMES_DIR: &str = "/run/berth/volumes";

/// Projects below this are for people who use a data partition for more than berth.
const PROJECT_FIRST: u32 = 10_000;

/// What is written down of a volume, beside its directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its project; 0 where the file system has none.
    pub project: u32,
    /// What its last declaration said of the time after it.
    #[serde(default)]
    pub retain: Retain,
}

/// How the names of directories end that are left of volumes and wait to be removed. Names of volumes have no dot.
pub const GONE: &str = ".gone";

/// Under this name a volume is made.
pub fn making_name(volume: &Name) -> String {
    format!(".{volume}.new")
}

/// Under this name an import is filled.
pub fn staging_name(volume: &Name) -> String {
    format!(".{volume}.import")
}

/// Under this name a volume waits to be removed, the number telling it from others.
pub fn gone_name(volume: &Name, number: u32) -> String {
    format!(".{volume}.{number}{GONE}")
}

/// The volumes that a unit uses.
pub fn mounted_by(unit: &Unit) -> BTreeSet<Name> {
    let named = |source: &MountSource| match source {
        MountSource::Volume { volume, .. } => Some(volume.clone()),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } | MountSource::Image { .. } => None,
    };
    let mounted = unit.mounts.values().filter_map(|mount| named(&mount.source));
    mounted.chain(own_volumes(unit).into_keys()).collect()
}

/// Units that have a volume mounted, as far as is known: what is left of a run may have mounted anything that its
/// unit names, and anything at all when nobody declares the unit any more.
pub fn users<'o>(
    declared: &'o Declared,
    observed: &'o Observed,
    volume: &'o Name,
) -> impl Iterator<Item = &'o Name> {
    let uses = move |(name, seen): &(&Name, &crate::observed::Seen)| match &seen.record.run {
        Some(run) => run.volumes.contains(volume),
        None => {
            let unit = declared.units.get(*name);
            seen.populated && unit.is_none_or(|unit| mounted_by(unit).contains(volume))
        }
    };
    observed.units.iter().filter(uses).map(|(name, _)| name)
}

/// Volumes that nobody declares and uses, and whose last declaration said that they are deleted then.
pub(crate) fn leftover<'o>(declared: &'o Declared, observed: &'o Observed) -> impl Iterator<Item = &'o Name> {
    let undeclared = |(name, _): &(&Name, &Kept)| !declared.volumes.contains_key(*name);
    let deleted = |(_, kept): &(&Name, &Kept)| kept.retain == Retain::Delete;
    let all = observed.volumes.iter().filter(deleted).filter(undeclared).map(|(name, _)| name);
    all.filter(|name| users(declared, observed, name).next().is_none())
}

/// The lowest project that nothing on the partition has.
pub fn free_project(taken: &BTreeSet<u32>) -> Option<u32> {
    (PROJECT_FIRST..u32::MAX).find(|project| !taken.contains(project))
}

/// What to do about a volume's limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is in force.
    Keep,
    /// Set it.
    Set(Option<u64>),
    /// The old one stays, and why.
    Refuse(String),
}

/// The limit that a volume gets, given that which it has and what it holds, all in bytes.
pub fn fit(wanted: Option<u64>, limit: Option<u64>, used: u64) -> Fit {
    // The kernel counts limits in KiB.
    let wanted = wanted.map(|bytes| bytes.div_ceil(1024).saturating_mul(1024));
    match wanted {
        _ if wanted == limit => Fit::Keep,
        Some(size) if size < used => {
            let (size, used) = (human::size(size), human::size(used));
            Fit::Refuse(format!("it holds {used}, more than its new size {size}"))
        }
        _ => Fit::Set(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_not_given_twice() {
        let mut taken = BTreeSet::from([0, 3, PROJECT_FIRST + 1]);
        let mut given = Vec::new();
        for _ in 0..3 {
            let project = free_project(&taken).unwrap();
            assert!(taken.insert(project));
            given.push(project - PROJECT_FIRST);
        }
        assert_eq!(given, [0, 2, 3]);
    }

    #[test]
    fn a_limit_grows_and_shrinks_but_not_below_what_is_there() {
        const MIB: u64 = 1 << 20;
        for (wanted, limit, used, expected) in [
            (None, None, 0, Fit::Keep),
            (Some(MIB), None, 0, Fit::Set(Some(MIB))),
            (Some(MIB), Some(MIB), 0, Fit::Keep),
            (Some(MIB - 1), Some(MIB), 0, Fit::Keep),
            (Some(2 * MIB), Some(MIB), MIB, Fit::Set(Some(2 * MIB))),
            (Some(MIB), Some(2 * MIB), MIB, Fit::Set(Some(MIB))),
            (None, Some(MIB), MIB, Fit::Set(None)),
        ] {
            assert_eq!(fit(wanted, limit, used), expected, "{wanted:?} {limit:?} {used}");
        }
        let Fit::Refuse(why) = fit(Some(MIB), Some(4 * MIB), 3 * MIB) else { panic!() };
        assert_eq!(why, "it holds 3M, more than its new size 1M");
        assert!(matches!(fit(Some(MIB), None, 3 * MIB), Fit::Refuse(_)));
    }
}
