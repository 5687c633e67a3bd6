//! Volumes that are no longer declared.

use super::*;
use crate::spec::{Manner, Mount, MountSource, Retain, Volume};
use crate::volumes::Kept;

#[test]
fn a_volume_is_deleted_when_it_is_meant_to_be_and_nobody_uses_it() {
    let (mut declared, mut observed) = world(&[], 1);
    let (scratch, books) = (name("scratch"), name("books"));
    let source = MountSource::Volume { volume: scratch.clone(), subpath: None, seed: true };
    let mount =
        Mount { source, target: "/x".to_owned(), read_only: false, exec: false, manner: Manner::default() };
    declared.units.get_mut("u0").unwrap().mounts.insert("x".to_owned(), mount);
    declared.volumes.insert(scratch.clone(), Volume::default());
    let kept = |retain| Kept { project: 1, retain };
    observed.volumes = [(scratch.clone(), kept(Retain::Delete)), (books, kept(Retain::Keep))].into();
    settle(&declared, &mut observed, Moment(0));
    assert_eq!(observed.volumes.len(), 2);
    // Nobody declares them any more, and the process that has one is still there.
    let all = std::mem::take(&mut declared);
    declared.networks = all.networks;
    assert!(!plan(&declared, &observed, Moment(1)).contains(&Action::Discard(scratch.clone())));
    settle(&declared, &mut observed, Moment(1));
    assert_eq!(observed.volumes.into_keys().collect::<Vec<_>>(), [name("books")]);
}
