//! Images and volumes that were made to reach the node.

use std::fs;
use std::os::unix::fs::symlink;

use berth_runtime::spec::{File, MountSource, Supply, Writable};

use crate::sandbox::{Sandbox, failure, run, succeed, writable};

/// A directory of the node that a link leads to, and proof that nothing was put there.
fn bait(sandbox: &Sandbox) -> std::path::PathBuf {
    let bait = sandbox.dir().join("bait");
    fs::create_dir(&bait).unwrap();
    bait
}

#[test]
fn proc_dev_and_sys_are_never_mounted_through_a_link() {
    for name in ["proc", "dev", "sys"] {
        let sandbox = Sandbox::new();
        let bait = bait(&sandbox);
        for target in [bait.to_str().unwrap(), "etc", "/"] {
            let link = sandbox.layer().join(name);
            symlink(target, &link).unwrap();
            assert_eq!(
                failure(&sandbox.spec("true")),
                format!("cannot mount '/{name}': Too many levels of symbolic links")
            );
            fs::remove_file(link).unwrap();
        }
        assert_eq!(fs::read_dir(bait).unwrap().count(), 0);
    }
}

#[test]
fn links_of_the_image_stay_inside_the_root() {
    let sandbox = Sandbox::new();
    let bait = bait(&sandbox);
    symlink(&bait, sandbox.layer().join("out")).unwrap();
    symlink("../../../../../..", sandbox.layer().join("up")).unwrap();
    fs::create_dir_all(sandbox.layer().join(bait.strip_prefix("/").unwrap())).unwrap();
    let mut spec = sandbox.spec("ls /out /up/made; pwd; cat /out/file");
    let tmpfs = |target: &str| writable(MountSource::Tmpfs { size: 4096, mode: 0o755 }, target);
    spec.mounts = vec![tmpfs("/out/mount"), tmpfs("/up/made/mount")];
    spec.files = vec![File { target: "/out/file".to_owned(), contents: b"file\n".to_vec() }];
    spec.process.cwd = "/out/cwd".to_owned();
    let inside = bait.join("cwd");
    let expect = format!("/out:\ncwd\nfile\nmount\n\n/up/made:\nmount\n{}\nfile\n", inside.display());
    assert_eq!(succeed(&spec), expect);
    assert_eq!(fs::read_dir(bait).unwrap().count(), 0, "something was made outside");
}

#[test]
fn a_mount_is_not_led_over_the_kernels_files() {
    let sandbox = Sandbox::new();
    symlink("/proc/self/attr", sandbox.layer().join("data")).unwrap();
    let mut spec = sandbox.spec("true");
    let source = MountSource::Tmpfs { size: 4096, mode: 0o755 };
    spec.mounts = vec![writable(source, "/data")];
    assert_eq!(failure(&spec), "cannot mount '/data': Too many levels of symbolic links");
    spec.mounts.clear();
    let contents = b"x".to_vec();
    let target = "/data/current".to_owned();
    spec.supplies = vec![Supply { target, contents, mode: 0o400, uid: None, gid: None }];
    assert_eq!(failure(&spec), "cannot lay file over '/data/current': Too many levels of symbolic links");
}

#[test]
fn a_subpath_does_not_leave_its_volume() {
    let sandbox = Sandbox::new();
    let (volume, bait) = (sandbox.dir().join("volume"), bait(&sandbox));
    fs::create_dir(&volume).unwrap();
    fs::write(bait.join("secret"), "secret").unwrap();
    symlink(&bait, volume.join("absolute")).unwrap();
    symlink("../bait", volume.join("relative")).unwrap();
    for subpath in ["absolute", "relative", "absolute/deeper"] {
        let mut spec = sandbox.spec("ls /data");
        let source = MountSource::Bind { path: volume.clone(), subpath: Some(subpath.to_owned()) };
        spec.mounts = vec![writable(source, "/data")];
        let null = crate::sandbox::null();
        let fd = std::os::fd::AsFd::as_fd(&null);
        match berth_runtime::spawn(&spec, &crate::sandbox::stdio(fd, fd, fd)) {
            Err(_) => {}
            Ok(held) => {
                drop(held);
                assert_eq!(run(&spec).stdout, "", "{subpath}");
            }
        }
    }
    assert_eq!(fs::read_dir(bait).unwrap().count(), 1);
}

#[test]
fn devices_of_the_image_do_not_open() {
    let sandbox = Sandbox::new();
    let device = rustix::fs::makedev(1, 3);
    let (mode, kind) = (rustix::fs::Mode::from_raw_mode(0o666), rustix::fs::FileType::CharacterDevice);
    rustix::fs::mknodat(rustix::fs::CWD, sandbox.layer().join("device"), kind, mode, device).unwrap();
    let mut spec = sandbox.spec("cat /device");
    spec.root.writable = Writable::Tmpfs { size: 1 << 20 };
    let outcome = run(&spec);
    assert!(outcome.stderr.contains("Permission denied"), "{outcome:?}");
}

#[test]
fn passwd_may_be_anything() {
    for make in [
        |path: &std::path::Path| symlink("/dev/zero", path).unwrap(),
        |path: &std::path::Path| fs::create_dir(path).unwrap(),
        |path: &std::path::Path| fs::write(path, "x".repeat(2 << 20)).unwrap(),
        |path: &std::path::Path| {
            let (mode, kind) = (rustix::fs::Mode::RWXU, rustix::fs::FileType::Fifo);
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        },
    ] {
        let sandbox = Sandbox::new();
        let path = sandbox.layer().join("etc/passwd");
        fs::remove_file(&path).unwrap();
        make(&path);
        let message = failure(&sandbox.spec("true"));
        assert!(message.starts_with("cannot look up user or group '/etc/passwd': "), "{message}");
    }
}
