use super::*;
use crate::spec::{File, Mount, MountSource, Root, Supply, Writable};
use berth_units::spec::Manner;

fn spec() -> Spec {
    let root = Root { layers: vec!["/layer".into()], writable: Writable::No, shared: false };
    Spec::new(root, vec!["sh".to_owned()], "/cgroup".into())
}

fn refusal(change: impl FnOnce(&mut Spec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    let null = std::fs::File::open("/dev/null").unwrap();
    let stdio = Stdio { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd(), extra: Vec::new() };
    match plan(Role::Container(&spec), &spec.process, &stdio) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn tmpfs(target: &str) -> Mount {
    let source = MountSource::Tmpfs { size: 1, mode: 0o1777 };
    Mount { source, target: target.to_owned(), read_only: false, exec: false, manner: Manner::default() }
}

#[test]
fn what_cannot_be_is_refused_before_there_is_a_process() {
    assert_eq!(refusal(|_| ()), "accepted");
    let starts = |text: String, with: &str| assert!(text.starts_with(with), "{text}");
    starts(refusal(|s| s.process.argv.clear()), "argv ''");
    starts(refusal(|s| s.process.argv.push("a\0b".to_owned())), "argv 'a\0b'");
    starts(refusal(|s| s.process.cwd = "x".to_owned()), "cwd 'x'");
    starts(refusal(|s| s.process.cwd = "/proc/self/fd/7".to_owned()), "cwd '/proc/self/fd/7'");
    starts(refusal(|s| s.process.umask = 0o1000), "umask '1000'");
    starts(refusal(|s| s.process.oom_score_adj = 1001), "oom_score_adj '1001'");
    starts(
        refusal(|s| {
            s.process.rlimits.insert("files".to_owned(), (1, 1));
        }),
        "rlimit 'files'",
    );
    starts(
        refusal(|s| {
            s.process.rlimits.insert("nofile".to_owned(), (2, 1));
        }),
        "rlimit 'nofile'",
    );
    starts(refusal(|s| s.root.layers.clear()), "layers '0'");
    starts(refusal(|s| s.root.layers = vec!["x".into()]), "layer 'x'");
    starts(refusal(|s| s.hostname = "x".repeat(65)), "hostname 'x");
    for target in ["/", "proc", "/proc", "/proc/self", "/sys/x", "/a/../b"] {
        starts(refusal(|s| s.mounts.push(tmpfs(target))), &format!("mount target '{target}'"));
    }
    let file = |target: &str| File { target: target.to_owned(), contents: vec![b'x'; 1 << 20] };
    let supply = |target: &str, mode: u32, uid: Option<u32>| Supply {
        target: target.to_owned(),
        contents: vec![b'x'; 1 << 20],
        mode,
        uid,
        gid: None,
    };
    starts(refusal(|s| s.supplies.push(supply("/sys/x", 0o400, None))), "mount target '/sys/x'");
    starts(refusal(|s| s.supplies.push(supply("/x", 0o17777, None))), "mode '17777'");
    starts(refusal(|s| s.supplies.push(supply("/x", 0o400, Some(u32::MAX)))), "owner '4294967295'");
    starts(refusal(|s| s.supplies.extend([supply("/a", 0, None), supply("/b", 0, None)])), "supplies '2'");
    starts(refusal(|s| s.files.push(file("/proc/x"))), "mount target '/proc/x'");
    starts(refusal(|s| s.files.extend([file("/a"), file("/b")])), "files '2'");
}

#[test]
fn only_namespaced_sysctls_are_let_through() {
    let say = |name: &str, change: fn(&mut Spec)| {
        refusal(|spec| {
            spec.sysctl.push((name.to_owned(), "1".to_owned()));
            change(spec);
        })
    };
    assert_eq!(say("net.ipv4.ip_forward", |_| ()), "accepted");
    assert_eq!(say("kernel.shmmax", |_| ()), "accepted");
    assert_eq!(say("kernel.core_pattern", |s| s.privileged = true), "accepted");
    for name in ["kernel.core_pattern", "vm.swappiness", "net", "fs.suid_dumpable"] {
        assert!(say(name, |_| ()).starts_with(&format!("sysctl '{name}'")));
    }
    assert!(say("net.ipv4.ip_forward", |s| s.network = Network::Host).starts_with("sysctl"));
    assert!(say("net./../../sysrq-trigger", |_| ()).starts_with("sysctl"), "dots and slashes swap");
}

#[test]
fn sysctl_names_become_paths() {
    let mut spec = spec();
    spec.sysctl.push(("net.ipv4.conf.eth0/7.forwarding".to_owned(), "1".to_owned()));
    let mut lifted = Lifted { base: 3, numbers: Vec::new() };
    let plan = container::plan(&spec, &mut lifted).unwrap();
    assert_eq!(plan.sysctl[0].path.as_c_str(), c"sys/net/ipv4/conf/eth0.7/forwarding");
}

#[test]
fn parents_are_mounted_before_children() {
    let mut spec = spec();
    spec.mounts = ["/a/b/c", "/z", "/a/b"].map(tmpfs).to_vec();
    let mut lifted = Lifted { base: 3, numbers: Vec::new() };
    let plan = container::plan(&spec, &mut lifted).unwrap();
    let order: Vec<_> = plan.mounts.iter().map(|mount| mount.target.path()).collect();
    assert_eq!(order, [c"/z", c"/a/b", c"/a/b/c"]);
}

#[test]
fn programs_are_looked_up_in_path() {
    let places = |program: &str, env: &[&str]| {
        let mut process = Process::new(vec![program.to_owned()]);
        process.env = env.iter().map(|pair| (*pair).to_owned()).collect();
        let found = process::plan(&process).unwrap().candidates;
        found.into_iter().map(|path| path.into_string().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(places("sh", &["A=1", "PATH=/x:/y/::"]), ["/x/sh", "/y/sh"]);
    assert_eq!(places("./sh", &["PATH=/x"]), ["./sh"]);
    assert_eq!(places("/sh", &[]), ["/sh"]);
    assert_eq!(places("sh", &[]).len(), 6);
}

#[test]
fn extra_descriptors_are_above_the_standard_ones_and_given_once() {
    let null = std::fs::File::open("/dev/null").unwrap();
    let fd = null.as_fd();
    for (numbers, good) in [(vec![3, 200], true), (vec![2], false), (vec![4, 4], false), (vec![], true)] {
        let extra = numbers.iter().map(|number| (fd, *number)).collect();
        let stdio = Stdio { stdin: fd, stdout: fd, stderr: fd, extra };
        let result = plan(Role::Daemon, &Process::new(vec!["/x".to_owned()]), &stdio);
        assert_eq!(result.is_ok(), good, "{numbers:?}");
        if let Ok((plan, _, _)) = result {
            let highest = plan.numbers.last().unwrap();
            assert!(plan.keep.iter().all(|fd| fd > highest), "{:?} above {highest}", plan.keep);
        }
    }
}
