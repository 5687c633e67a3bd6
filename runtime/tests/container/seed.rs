//! Volumes at their first use.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use berth_runtime::spec::{MountSource, Seed, SeedFrom, UNSEEDED};
use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::sandbox::{Sandbox, run, writable};

/// A volume that nobody has used, and what the image has for it.
fn scene(sandbox: &Sandbox) -> PathBuf {
    let (volume, image) = (sandbox.dir().join("volume"), sandbox.layer().join("srv/data"));
    fs::create_dir(&volume).unwrap();
    setxattr(&volume, UNSEEDED, b"", XattrFlags::empty()).unwrap();
    fs::create_dir_all(image.join("sub")).unwrap();
    fs::write(image.join("sub/file"), vec![b'x'; 50_000]).unwrap();
    chown(image.join("sub/file"), Some(33), Some(44)).unwrap();
    fs::set_permissions(image.join("sub/file"), fs::Permissions::from_mode(0o2644)).unwrap();
    symlink("/etc/passwd", image.join("link")).unwrap();
    fs::set_permissions(&image, fs::Permissions::from_mode(0o1770)).unwrap();
    volume
}

fn seeded(sandbox: &Sandbox, volume: &Path, from: Option<&str>, script: &str) -> crate::sandbox::Outcome {
    let mut spec = sandbox.spec(script);
    let source = MountSource::Bind { path: volume.to_owned(), subpath: None };
    spec.mounts = vec![writable(source, "/srv/data")];
    let from = from.map_or(SeedFrom::Nothing, |from| SeedFrom::Root(from.to_owned()));
    spec.seeds = vec![Seed { volume: volume.to_owned(), from, own: true }];
    run(&spec)
}

fn is_unseeded(volume: &Path) -> bool {
    getxattr(volume, UNSEEDED, &mut [0; 1]).is_ok()
}

#[test]
fn a_new_volume_gets_what_the_image_has_once() {
    let sandbox = Sandbox::new();
    let volume = scene(&sandbox);
    // As a start that was cut off would have left it.
    fs::create_dir_all(volume.join("sub/half")).unwrap();
    let outcome =
        seeded(&sandbox, &volume, Some("/srv/data"), "wc -c < /srv/data/sub/file; echo > /srv/data/own");
    assert_eq!((outcome.stdout.trim(), outcome.code), ("50000", 0), "{outcome:?}");
    assert!(!is_unseeded(&volume) && !volume.join("sub/half").exists());
    let file = fs::metadata(volume.join("sub/file")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (33, 44, 0o2644));
    assert_eq!(fs::read_link(volume.join("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o1770);
    fs::remove_file(volume.join("link")).unwrap();
    let outcome = seeded(&sandbox, &volume, Some("/srv/data"), "ls /srv/data");
    assert_eq!(outcome.stdout, "own\nsub\n", "what a unit made of its volume stays");
}

#[test]
fn a_volume_stays_empty_when_that_is_asked_or_nothing_is_there() {
    let sandbox = Sandbox::new();
    let volume = scene(&sandbox);
    for from in [None, Some("/srv/absent"), Some("/etc/passwd")] {
        setxattr(&volume, UNSEEDED, b"", XattrFlags::empty()).unwrap();
        let outcome = seeded(&sandbox, &volume, from, "ls /srv/data");
        assert_eq!((outcome.stdout.as_str(), outcome.code), ("", 0), "{from:?}: {outcome:?}");
        assert!(!is_unseeded(&volume));
    }
}

#[test]
fn a_link_of_the_image_does_not_lead_out_of_it() {
    let sandbox = Sandbox::new();
    let volume = scene(&sandbox);
    fs::create_dir(sandbox.dir().join("secret")).unwrap();
    fs::write(sandbox.dir().join("secret/key"), "key").unwrap();
    symlink(sandbox.dir().join("secret"), sandbox.layer().join("srv/out")).unwrap();
    let outcome = seeded(&sandbox, &volume, Some("/srv/out"), "ls /srv/data");
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("", 0), "{outcome:?}");
}
