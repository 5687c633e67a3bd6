//! Limits in the cgroup, where the kernel has the controllers on v2: `--ignored limits` in the VM.

use berth_runtime::Cgroup;
use berth_runtime::cgroup::Limits;

use crate::sandbox::{Sandbox, run};

#[test]
#[ignore = "needs the controllers of cgroup v2"]
fn limits_hold_and_are_counted() {
    let sandbox = Sandbox::new();
    let top = Cgroup::at(sandbox.dir().join("cgroup"));
    top.enable(&["cpu", "io", "memory", "pids", "nothing"]).unwrap();
    let limits = Limits {
        memory_max: Some(16 << 20),
        memory_high: Some(u64::MAX),
        memory_swap_max: Some(0),
        memory_oom_group: Some(true),
        cpu_max: Some((50_000, 100_000)),
        cpu_max_burst: Some(10_000),
        cpu_weight: Some(50),
        pids_max: Some(5),
        ..Limits::default()
    };
    sandbox.cgroup.set(&limits).unwrap();
    let read = |knob: &str| sandbox.cgroup.read(knob).unwrap();
    assert_eq!(read("memory.max"), "16777216\n");
    assert_eq!(read("memory.high"), "max\n");
    assert_eq!(read("cpu.max"), "50000 100000\n");
    assert_eq!(read("cpu.weight"), "50\n");
    assert_eq!(sandbox.cgroup.stats().memory_max, Some(16 << 20));
    let forks = run(&sandbox.spec("for n in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait"));
    assert_ne!(forks.code, 0);
    assert!(forks.stderr.contains("fork"), "{forks:?}");
    let hog = run(&sandbox.spec("x=0123456789abcdef; while :; do x=$x$x; done"));
    assert_eq!(hog.code, 128 + 9);
    let events = sandbox.cgroup.memory_events().unwrap();
    assert!(events.oom_kill >= 1 && events.oom_group_kill >= 1, "{events:?}");
    assert!(sandbox.cgroup.stats().cpu_usage_usec.unwrap() > 0);
}

#[test]
fn a_group_is_its_users_who_may_make_others_below_it() {
    let script =
        "mkdir /sys/fs/cgroup/own && echo 0 > /sys/fs/cgroup/own/cgroup.procs && grep ^0: /proc/self/cgroup";
    for (delegate, code, stdout) in [(true, 0, "0::/own\n"), (false, 1, "")] {
        let sandbox = Sandbox::new();
        let mut spec = sandbox.spec(script);
        spec.process.user.user = "1000:1000".to_owned();
        spec.delegate = delegate;
        let outcome = run(&spec);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (code, stdout), "{}", outcome.stderr);
    }
}
