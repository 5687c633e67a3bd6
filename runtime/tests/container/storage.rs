//! What a container's files are: other images, directories of its own, options, layers that stay.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use berth_runtime::spec::{LAYER_OF, Mount, MountSource, Seed, SeedFrom, Spec, UNSEEDED, Writable};
use berth_units::spec::{Manner, Propagation};
use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::sandbox::{Sandbox, failure, run, succeed, writable};

fn mount(spec: &mut Spec, source: MountSource, manner: Manner) {
    spec.mounts.push(Mount { manner, ..writable(source, "/data") });
}

/// Another image of two layers, with links that lead out of it.
fn image(sandbox: &Sandbox) -> Vec<PathBuf> {
    let layers = ["one", "two"].map(|name| sandbox.dir().join(name));
    fs::create_dir_all(layers[0].join("files/sub")).unwrap();
    fs::create_dir_all(layers[1].join("files")).unwrap();
    fs::write(layers[0].join("files/low"), "low").unwrap();
    fs::write(layers[0].join("passwd"), "its own").unwrap();
    fs::write(layers[1].join("files/high"), "high").unwrap();
    symlink("/", layers[0].join("top")).unwrap();
    symlink("../../../../..", layers[0].join("up")).unwrap();
    symlink("/etc/passwd", layers[0].join("absent")).unwrap();
    layers.to_vec()
}

#[test]
fn another_image_is_mounted_and_not_left() {
    let sandbox = Sandbox::new();
    let layers = image(&sandbox);
    let with = |layers: &[PathBuf], subpath: Option<&str>, script: &str| {
        let mut spec = sandbox.spec(script);
        let source = MountSource::Image { layers: layers.to_vec(), subpath: subpath.map(str::to_owned) };
        mount(&mut spec, source, Manner::default());
        spec
    };
    assert_eq!(
        succeed(&with(&layers, None, "ls /data /data/files")),
        "/data:\nabsent\nfiles\npasswd\ntop\nup\n\n/data/files:\nhigh\nlow\nsub\n"
    );
    assert_eq!(succeed(&with(&layers, Some("files"), "ls /data")), "high\nlow\nsub\n");
    assert_eq!(succeed(&with(&layers[..1], Some("files/low"), "cat /data")), "low");
    let refused = run(&with(&layers[..1], Some("files"), "touch /data/x"));
    assert!(refused.stderr.contains("Read-only file system"), "{refused:?}");
    // Links of the image end in the image, however far up they lead.
    for subpath in ["top", "up"] {
        assert_eq!(succeed(&with(&layers, Some(subpath), "cat /data/passwd")), "its own", "{subpath}");
    }
    assert_eq!(
        failure(&with(&layers, Some("absent"), "true")),
        "cannot mount '/data': No such file or directory"
    );
}

#[test]
fn a_volume_is_filled_from_another_image() {
    let sandbox = Sandbox::new();
    let (layers, volume) = (image(&sandbox), sandbox.dir().join("volume"));
    fs::create_dir(&volume).unwrap();
    setxattr(&volume, UNSEEDED, b"", XattrFlags::empty()).unwrap();
    let mut spec = sandbox.spec("cat /data/files/low /data/files/high");
    mount(&mut spec, MountSource::Bind { path: volume.clone(), subpath: None }, Manner::default());
    spec.seeds.push(Seed { volume, from: SeedFrom::Image(layers), own: false });
    assert_eq!(succeed(&spec), "lowhigh");
}

#[test]
fn a_tmpfs_gets_what_the_image_has_there() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.layer().join("data/sub")).unwrap();
    fs::write(sandbox.layer().join("data/sub/file"), "from the image").unwrap();
    fs::set_permissions(sandbox.layer().join("data"), fs::Permissions::from_mode(0o1711)).unwrap();
    let mut spec = sandbox.spec("cat /data/sub/file; echo x > /data/own; stat -c ' %a' /data");
    let manner = Manner { filled: true, ..Manner::default() };
    mount(&mut spec, MountSource::Tmpfs { size: 1 << 20, mode: 0o755 }, manner);
    assert_eq!(succeed(&spec), "from the image 1711\n");
    assert!(!sandbox.layer().join("data/own").exists());
}

#[test]
fn a_directory_of_its_own_belongs_to_the_user() {
    let sandbox = Sandbox::new();
    let state = sandbox.dir().join("state");
    fs::create_dir(&state).unwrap();
    let mut spec = sandbox.spec("echo kept > /data/file");
    spec.process.user.user = "web".to_owned();
    let manner = Manner { own: true, ..Manner::default() };
    mount(&mut spec, MountSource::Bind { path: state.clone(), subpath: None }, manner);
    succeed(&spec);
    assert_eq!(fs::read_to_string(state.join("file")).unwrap(), "kept\n");
    assert_ne!(fs::metadata(&state).unwrap().uid(), 0);
    // Without it the file could not have been made.
    spec.mounts[0].manner.own = false;
    fs::remove_file(state.join("file")).unwrap();
    std::os::unix::fs::chown(&state, Some(0), Some(0)).unwrap();
    assert_ne!(run(&spec).code, 0);
}

#[test]
fn options_are_in_effect() {
    let sandbox = Sandbox::new();
    let volume = sandbox.dir().join("volume");
    fs::create_dir(&volume).unwrap();
    symlink("/etc/passwd", volume.join("link")).unwrap();
    let options = |manner: Manner| {
        let script = "awk '$5 == \"/data\" { print $6 }' /proc/self/mountinfo; cat /data/link > /dev/null";
        let mut spec = sandbox.spec(script);
        mount(&mut spec, MountSource::Bind { path: volume.clone(), subpath: None }, manner);
        run(&spec)
    };
    let plain = options(Manner::default());
    assert_eq!((plain.stdout.trim(), plain.code), ("rw,nosuid,nodev,noexec,relatime", 0), "{plain:?}");
    let strict = options(Manner { no_atime: true, no_symfollow: true, ..Manner::default() });
    assert_eq!(strict.stdout.trim(), "rw,nosuid,nodev,noexec,noatime,nosymfollow");
    assert!(strict.stderr.contains("Too many levels"), "{strict:?}");
}

#[test]
fn mounts_below_a_bind_come_along_unless_they_are_left_out() {
    let sandbox = Sandbox::new();
    let outer = sandbox.dir().join("outer");
    fs::create_dir_all(outer.join("inner")).unwrap();
    rustix::mount::mount(c"tmpfs", outer.join("inner"), c"tmpfs", rustix::mount::MountFlags::empty(), None)
        .unwrap();
    fs::write(outer.join("inner/there"), "").unwrap();
    let seen = |alone: bool| {
        let mut spec = sandbox.spec("ls /data/inner");
        let manner = Manner { alone, ..Manner::default() };
        mount(&mut spec, MountSource::Bind { path: outer.clone(), subpath: None }, manner);
        succeed(&spec)
    };
    assert_eq!((seen(false), seen(true)), ("there\n".to_owned(), String::new()));
    rustix::mount::unmount(outer.join("inner"), rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn mounts_and_roots_spread_as_they_are_told() {
    let sandbox = Sandbox::new();
    let media = sandbox.dir().join("media");
    fs::create_dir(&media).unwrap();
    let fields = |propagation, shared| {
        let script = "awk '$5 == \"/data\" || $5 == \"/\" { sub(/:.*/, \"\", $7); print $5, $7 }' /proc/self/mountinfo | sort";
        let mut spec = sandbox.spec(script);
        spec.root.shared = shared;
        let manner = Manner { propagation, ..Manner::default() };
        mount(&mut spec, MountSource::Bind { path: media.clone(), subpath: None }, manner);
        succeed(&spec)
    };
    assert_eq!(fields(Propagation::Private, false), "/ -\n/data -\n");
    assert_eq!(fields(Propagation::Slave, false), "/ -\n/data master\n");
    assert_eq!(fields(Propagation::Shared, false), "/ -\n/data shared\n");
    assert_eq!(fields(Propagation::Private, true), "/ shared\n/data shared\n");
    rustix::mount::unmount(&media, rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn a_layer_stays_as_long_as_its_image_does() {
    let sandbox = Sandbox::new();
    let disk = sandbox.dir().join("disk");
    let counted = |keep: Option<&str>| {
        let mut spec = sandbox.spec("echo x >> /count; wc -l < /count; rm -f /etc/group; ls /etc");
        spec.root.writable = Writable::Disk { dir: disk.clone(), keep: keep.map(str::to_owned) };
        succeed(&spec)
    };
    assert_eq!(counted(Some("sha256:1")), "1\npasswd\n");
    assert_eq!(counted(Some("sha256:1")), "2\npasswd\n");
    // As a start that was cut off while it made room would have left it.
    rustix::fs::removexattr(&disk, LAYER_OF).unwrap();
    assert_eq!(counted(Some("sha256:1")), "1\npasswd\n");
    assert_eq!(counted(Some("sha256:2")), "1\npasswd\n");
    assert_eq!(counted(Some("sha256:2")), "2\npasswd\n");
    assert_eq!(counted(None), "1\npasswd\n");
    assert!(getxattr(&disk, LAYER_OF, &mut [0; 64]).is_err());
    assert_eq!(counted(Some("sha256:2")), "1\npasswd\n");
}
