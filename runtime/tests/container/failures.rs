//! A failure names its step, what it was about, and why.

use std::os::fd::AsFd;

use berth_runtime::spawn;
use berth_runtime::spec::{Mount, MountSource};
use berth_units::spec::Manner;

use crate::sandbox::{Sandbox, failure, null, stdio, writable};

#[test]
fn failing_steps_say_what_and_why() {
    let sandbox = Sandbox::new();
    let check = |change: &dyn Fn(&mut berth_runtime::Spec), expect: &str| {
        let mut spec = sandbox.spec("true");
        change(&mut spec);
        assert_eq!(failure(&spec), expect);
    };
    check(
        &|s| s.process.argv[0] = "nothing".to_owned(),
        "cannot execute 'nothing': No such file or directory",
    );
    check(
        &|s| s.process.argv[0] = "/nothing".to_owned(),
        "cannot execute '/nothing': No such file or directory",
    );
    check(
        &|s| s.process.argv[0] = "/etc/passwd".to_owned(),
        "cannot execute '/etc/passwd': Permission denied",
    );
    check(&|s| s.process.argv[0] = "/bin".to_owned(), "cannot execute '/bin': Permission denied");
    check(
        &|s| s.process.cwd = "/etc/passwd".to_owned(),
        "cannot enter working directory '/etc/passwd': Not a directory",
    );
    check(
        &|s| s.process.cwd = "/etc/passwd/x".to_owned(),
        "cannot make working directory '/etc/passwd/x': Not a directory",
    );
    check(
        &|s| s.process.user.user = "nobody".to_owned(),
        "cannot look up user or group 'nobody': the image's /etc/passwd or /etc/group has none of that name",
    );
    check(
        &|s| s.root.layers = vec!["/nowhere".into()],
        "cannot assemble the root from layers '/nowhere': No such file or directory",
    );
    check(
        &|s| s.sysctl.push(("net.ipv4.nothing".to_owned(), "1".to_owned())),
        "cannot set sysctl 'net.ipv4.nothing': No such file or directory",
    );
    check(
        &|s| {
            let source = MountSource::Tmpfs { size: 4096, mode: 0o755 };
            s.mounts.push(writable(source, "/etc/group"));
        },
        "cannot mount '/etc/group': Not a directory",
    );
}

#[test]
fn what_the_caller_cannot_open_is_named() {
    let sandbox = Sandbox::new();
    let null = null();
    let stdio = stdio(null.as_fd(), null.as_fd(), null.as_fd());
    let mut spec = sandbox.spec("true");
    let source = MountSource::Bind { path: "/nowhere".into(), subpath: None };
    spec.mounts.push(Mount {
        source,
        target: "/x".to_owned(),
        read_only: true,
        exec: false,
        manner: Manner::default(),
    });
    assert_eq!(spawn(&spec, &stdio).unwrap_err().to_string(), "cannot open mount source '/nowhere'");
    let mut spec = sandbox.spec("true");
    spec.cgroup = "/nowhere".into();
    assert_eq!(spawn(&spec, &stdio).unwrap_err().to_string(), "cannot open cgroup '/nowhere'");
    assert!(!sandbox.cgroup.populated().unwrap());
}
