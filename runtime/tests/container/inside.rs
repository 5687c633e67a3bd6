//! What a container sees of itself.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;

use berth_runtime::spec::{self, Device, Mount, MountSource, Network, Supply, Writable};
use berth_runtime::{Capabilities, resupply, spawn};
use berth_units::spec::Manner;
use berth_units::spec::{IoPriority, SchedulerPolicy, Scheduling};

use crate::sandbox::{Sandbox, null, pipe, run, stdio, succeed, wait, writable};

#[test]
fn its_process_is_number_one_and_alone() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.says("echo $$; hostname; ls -d /proc/[0-9]* | wc -l; cat /proc/self/cgroup | grep ^0:"),
        {
            // The shell, ls and wc.
            "1\nbox\n3\n0::/\n"
        }
    );
    assert!(sandbox.says("readlink /proc/1/cwd; cat /proc/1/comm; true").starts_with("/\nsh"));
}

#[test]
fn it_has_the_mounts_that_it_should_and_no_others() {
    let sandbox = Sandbox::new();
    let mounts = sandbox.says("cut -d' ' -f2 /proc/mounts | sort");
    let expect = "/ /dev /dev/mqueue /dev/pts /dev/shm /proc /proc/acpi /proc/bus /proc/fs /proc/interrupts \
                  /proc/irq /proc/kcore /proc/keys /proc/sys /proc/sysrq-trigger /proc/timer_list /sys \
                  /sys/firmware /sys/fs/cgroup";
    let expect: Vec<_> = expect.split_whitespace().collect();
    let got: Vec<_> = mounts.lines().collect();
    assert_eq!(got.iter().filter(|path| **path == "/").count(), 1, "the node's root is still there: {got:?}");
    // Which of the hidden paths there are depends on the kernel.
    assert!(got.iter().all(|path| expect.contains(path) || path.starts_with("/proc/")), "{got:?}");
    for needed in
        ["/", "/dev", "/dev/pts", "/dev/shm", "/proc", "/proc/sys", "/proc/keys", "/sys", "/sys/fs/cgroup"]
    {
        assert!(got.contains(&needed), "{needed} is missing in {got:?}");
    }
}

// Scripts that look at process 1 end in `true`, because a shell becomes its last command.
#[test]
fn it_has_three_descriptors() {
    let sandbox = Sandbox::new();
    // The fourth is that of ls reading the directory.
    assert_eq!(sandbox.says("ls /proc/self/fd | wc -l; ls /proc/1/fd; true"), "4\n0\n1\n2\n");
    assert_eq!(sandbox.says("readlink /proc/1/fd/0"), "/dev/null\n");
}

#[test]
fn it_has_no_capabilities_and_gets_none() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("");
    spec.process.argv =
        ["grep", "-E", "^(Cap|NoNewPrivs|SigIgn|SigBlk)", "/proc/self/status"].map(String::from).to_vec();
    let said = succeed(&spec);
    for line in said.lines() {
        let (key, value) = line.split_once(":\t").unwrap();
        let expect = if key == "NoNewPrivs" { "1" } else { "0000000000000000" };
        assert_eq!(value, expect, "{key}");
    }
    assert_eq!(said.lines().count(), 8);
}

#[test]
fn capabilities_are_exactly_those_asked_for() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("grep -E '^Cap' /proc/1/status | cut -f2; id -u");
    spec.process.capabilities = Capabilities::parse(["CHOWN", "KILL"]).unwrap();
    let set = "0000000000000021\n";
    assert_eq!(succeed(&spec), format!("0000000000000000\n{set}{set}{set}0000000000000000\n0\n"));
    spec.process.user.user = "web".to_owned();
    let none = "0000000000000000\n";
    assert_eq!(succeed(&spec), format!("{none}{none}{none}{set}{none}101\n"));
    spec.process.ambient = true;
    assert_eq!(succeed(&spec), format!("{set}{set}{set}{set}{set}101\n"));
}

#[test]
fn users_and_groups_come_from_the_image() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("id -u; id -g; id -G; echo $HOME; echo x > /dev/stderr");
    for (user, groups, expect) in [
        ("web", vec![], "101\n102\n102 6\n/srv/web\n"),
        ("web:staff", vec![], "101\n50\n50\n/srv/web\n"),
        ("7:8", vec!["staff"], "7\n8\n8 50\n/\n"),
        ("", vec![], "0\n0\n0\n/root\n"),
    ] {
        spec.process.user.user = user.to_owned();
        spec.process.user.groups = groups.into_iter().map(str::to_owned).collect();
        let outcome = run(&spec);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), (expect, "x\n"), "{user}");
    }
}

#[test]
fn secrets_of_the_kernel_are_hidden_and_its_switches_read_only() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.says("cat /proc/keys /proc/timer_list /proc/interrupts"), "");
    // Files of root by their mode alone: the kernel asks for no capability.
    let by_mode = "cat /proc/kpagecount /proc/kpageflags /proc/vmallocinfo /proc/dynamic_debug/control";
    assert_eq!(sandbox.says(&format!("({by_mode}) 2>/dev/null; true")), "");
    assert_eq!(sandbox.says("ls /sys/firmware"), "");
    let refused = |script: &str| {
        let outcome = sandbox.run(script);
        assert_ne!(outcome.code, 0, "{script}: {outcome:?}");
        assert!(outcome.stderr.contains("Read-only file system"), "{script}: {outcome:?}");
    };
    refused("echo x > /proc/sys/kernel/core_pattern");
    refused("echo 1 > /sys/fs/cgroup/cgroup.freeze");
    refused("mkdir /sys/fs/cgroup/x");
}

#[test]
fn nothing_hidden_is_uncovered_by_root_in_the_container() {
    let sandbox = Sandbox::new();
    for script in ["mount -t tmpfs x /bin", "mknod /dev/sda b 8 0", "hostname other", "ifconfig lo down"] {
        let outcome = sandbox.run(script);
        assert_ne!(outcome.code, 0, "{script}");
        assert!(
            outcome.stderr.contains("ermi") || outcome.stderr.contains("ot permitted"),
            "{script}: {outcome:?}"
        );
    }
}

#[test]
fn the_root_is_read_only_unless_asked_for() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.run("touch /x");
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome:?}");
    let mut spec = sandbox.spec("echo 1 > /x; rm /etc/group; cat /x; ls /etc");
    spec.root.writable = Writable::Tmpfs { size: 8 << 20 };
    assert_eq!(succeed(&spec), "1\npasswd\n");
    assert!(sandbox.layer().join("etc/group").exists() && !sandbox.layer().join("x").exists());
}

#[test]
fn a_disk_upper_is_emptied_at_every_start() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("ls /x 2>&1; mkdir -p /x/y/z; touch /x/1; ls /x");
    spec.root.writable = Writable::Disk { dir: sandbox.dir().join("disk"), keep: None };
    let first = run(&spec);
    assert_eq!(first.stdout, "ls: /x: No such file or directory\n1\ny\n");
    assert!(sandbox.dir().join("disk/upper/x/y/z").exists());
    assert_eq!(run(&spec), first);
}

#[test]
fn layers_lie_one_over_the_other() {
    let sandbox = Sandbox::new();
    let upper = sandbox.dir().join("second");
    std::fs::create_dir_all(upper.join("etc")).unwrap();
    std::fs::write(upper.join("etc/group"), "second\n").unwrap();
    let mut spec = sandbox.spec("cat /etc/group; cut -d: -f1 /etc/passwd");
    spec.root.layers.push(upper);
    assert_eq!(succeed(&spec), "second\nroot\nweb\n");
}

#[test]
fn devices_are_the_usual_ones_and_work() {
    let sandbox = Sandbox::new();
    let listed = sandbox.says("ls /dev");
    let expect = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>().join(" "), expect);
    let script = "stat -c '%n %a %t:%T %F' /dev/null /dev/tty; cat /dev/null; echo 1 > /dev/null; \
                  echo 2 > /dev/shm/x; cat /dev/shm/x; echo 3 > /dev/stdout; readlink /dev/ptmx";
    assert_eq!(
        sandbox.says(script),
        "/dev/null 666 1:3 character special file\n/dev/tty 666 5:0 character special file\n2\n3\npts/ptmx\n"
    );
}

#[test]
fn shm_has_the_size_asked_for() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec("grep ' /dev/shm ' /proc/mounts");
    spec.shm_size = 3 << 20;
    assert!(succeed(&spec).contains("size=3072k"));
}

#[test]
fn mount_points_are_made_in_a_read_only_root() {
    let sandbox = Sandbox::new();
    let volume = sandbox.dir().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "volume\n").unwrap();
    let bind = |target: &str, read_only| Mount {
        source: MountSource::Bind { path: volume.clone(), subpath: None },
        target: target.to_owned(),
        read_only,
        exec: false,
        manner: Manner::default(),
    };
    let source = MountSource::Tmpfs { size: 1 << 20, mode: 0o1777 };
    let tmpfs = writable(source, "/var/lib/x/tmp");
    let script = "cat /var/lib/x/file; echo 1 > /var/lib/x/new; echo 2 > /var/lib/x/tmp/y; cat /var/lib/x/tmp/y; \
                  stat -c %a /var/lib/x/tmp; touch /ro/x 2>&1; cp /bin/busybox /var/lib/x/true; /var/lib/x/true 2>&1";
    let mut spec = sandbox.spec(script);
    spec.mounts = vec![tmpfs, bind("/var/lib/x", false), bind("/ro", true)];
    let outcome = run(&spec);
    assert_eq!(
        outcome.stdout,
        "volume\n2\n1777\ntouch: /ro/x: Read-only file system\nsh: /var/lib/x/true: Permission denied\n"
    );
    assert_eq!(std::fs::read_to_string(volume.join("new")).unwrap(), "1\n");
    assert!(!volume.join("tmp/y").exists(), "the inner mount is the container's alone");
}

#[test]
fn files_lie_over_the_image_read_only() {
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("../run/resolve/stub", sandbox.layer().join("etc/resolv.conf")).unwrap();
    let mut spec =
        sandbox.spec("cat /etc/hostname /etc/resolv.conf /etc/group /made/here; echo > /etc/hostname");
    spec.root.writable = Writable::Tmpfs { size: 1 << 20 };
    spec.files = ["/etc/hostname", "/etc/resolv.conf", "/etc/group", "/made/here"]
        .map(|target| spec::File { target: target.to_owned(), contents: format!("{target}\n").into_bytes() })
        .to_vec();
    let outcome = run(&spec);
    assert_eq!(outcome.stdout, "/etc/hostname\n/etc/resolv.conf\n/etc/group\n/made/here\n");
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome:?}");
}

#[test]
fn supplies_lie_over_the_mounts_with_mode_and_owner() {
    let sandbox = Sandbox::new();
    let script = "stat -c '%a %u %g' /run/secrets/key /etc/open; cat /run/secrets/key /etc/open /run/secrets/other; \
                  echo > /run/secrets/key; chmod 666 /run/secrets/key";
    let mut spec = sandbox.spec(script);
    spec.process.user.user = "1000:2000".to_owned();
    spec.mounts = vec![writable(MountSource::Tmpfs { size: 4096, mode: 0o755 }, "/run")];
    let supply = |target: &str, mode, owner: Option<u32>| Supply {
        target: target.to_owned(),
        contents: format!("{target}\n").into_bytes(),
        mode,
        uid: owner,
        gid: owner,
    };
    spec.supplies = vec![
        supply("/run/secrets/key", 0o400, None),
        supply("/etc/open", 0o444, Some(0)),
        supply("/run/secrets/other", 0o400, Some(7)),
    ];
    let outcome = run(&spec);
    assert_eq!(outcome.stdout, "400 1000 2000\n444 0 0\n/run/secrets/key\n/etc/open\n", "{outcome:?}");
    for fault in ["/run/secrets/other': Permission denied", "Read-only file system"] {
        assert!(outcome.stderr.contains(fault), "{outcome:?}");
    }
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome:?}");
}

#[test]
fn supplies_of_who_runs_are_written_anew() {
    let sandbox = Sandbox::new();
    let script = "cat /etc/a /etc/b; echo read; while grep -q old /etc/b; do :; done; cat /etc/a /etc/b; stat -c '%a %u' /etc/a; \
                  echo x > /etc/a";
    let supply = |target: &str, contents: &str| Supply {
        target: target.to_owned(),
        contents: contents.as_bytes().to_vec(),
        mode: 0o400,
        uid: Some(5),
        gid: None,
    };
    let mut spec = sandbox.spec(script);
    spec.supplies = vec![supply("/etc/a", "old and long\n"), supply("/etc/b", "old\n")];
    spec.process.capabilities = Capabilities::parse(["DAC_OVERRIDE"]).unwrap();
    let ((out, out_write), null) = (pipe(), null());
    let mut held = spawn(&spec, &stdio(null.as_fd(), out_write.as_fd(), null.as_fd())).unwrap();
    drop(out_write);
    let scratch = held.scratch.take().unwrap();
    let running = held.release().unwrap();
    let mut lines = BufReader::new(File::from(out));
    let mut said = String::new();
    for _ in 0..3 {
        lines.read_line(&mut said).unwrap();
    }
    resupply(&scratch, &[supply("/etc/a", "new\n"), supply("/etc/b", "new and longer\n")]).unwrap();
    lines.read_to_string(&mut said).unwrap();
    assert_eq!(said, "old and long\nold\nread\nnew\nnew and longer\n400 5\n");
    assert_eq!(wait(&running.pidfd), 1, "it cannot write to them itself");
    let three = [supply("/a", ""), supply("/b", ""), supply("/c", "")];
    assert_eq!(resupply(&scratch, &three).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    spec.supplies.clear();
    let null = crate::sandbox::null();
    let held = spawn(&spec, &stdio(null.as_fd(), null.as_fd(), null.as_fd())).unwrap();
    assert!(held.scratch.is_none());
}

#[test]
fn the_network_is_its_own_with_loopback_up() {
    let sandbox = Sandbox::new();
    let script = "ls /sys/class/net; ifconfig lo | grep -o 'UP LOOPBACK RUNNING'; readlink /proc/self/ns/net";
    let said = sandbox.says(script);
    let (head, namespace) = said.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(head, "lo\nUP LOOPBACK RUNNING");
    let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_ne!(namespace, own.to_str().unwrap());
    let mut spec = sandbox.spec("readlink /proc/self/ns/net");
    spec.network = Network::Host;
    assert_eq!(succeed(&spec).trim_end(), own.to_str().unwrap());
}

#[test]
fn sysctls_limits_umask_and_scores_are_set() {
    let sandbox = Sandbox::new();
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax; umask; ulimit -n; \
                  ulimit -Hn; cat /proc/self/oom_score_adj; pwd";
    let mut spec = sandbox.spec(script);
    let sysctl = [("net.ipv4.ip_unprivileged_port_start", "80"), ("kernel.msgmax", "4096")];
    spec.sysctl = sysctl.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    spec.process.umask = 0o027;
    spec.process.rlimits.insert("nofile".to_owned(), (100, 200));
    spec.process.oom_score_adj = 500;
    spec.process.cwd = "/made/for/it".to_owned();
    assert_eq!(succeed(&spec), "80\n4096\n0027\n100\n200\n500\n/made/for/it\n");
}

#[test]
fn devices_of_the_node_are_given_by_name() {
    let sandbox = Sandbox::new();
    let script = "stat -c '%n %F %t:%T %a %u:%g' /dev/full /dev/in/zero /dev/odd; head -c 3 /dev/in/zero | wc -c; \
                  test -e /dev/kmsg || echo no kmsg";
    let mut spec = sandbox.spec(script);
    let device = |source: &str, target: &str| Device {
        source: source.into(),
        target: target.to_owned(),
        mode: Some(0o640),
        uid: 101,
        gid: 102,
    };
    spec.process.user.user = "web".to_owned();
    spec.devices = vec![device("/dev/zero", "/dev/in/zero"), device("/dev/null", "/dev/odd")];
    let expect = "/dev/full character special file 1:7 666 0:0\n\
                  /dev/in/zero character special file 1:5 640 101:102\n\
                  /dev/odd character special file 1:3 640 101:102\n3\nno kmsg\n";
    assert_eq!(succeed(&spec), expect);
    // Its mode is all that holds a container back: root has no right to pass over it.
    spec.process.user.user.clear();
    let denied = run(&spec);
    assert!(denied.stderr.contains("/dev/in/zero: Permission denied"), "{denied:?}");
}

#[test]
fn it_is_scheduled_as_asked() {
    let sandbox = Sandbox::new();
    // Nice value, real-time priority and policy: proc(5).
    let mut spec = sandbox.spec("cut -d' ' -f19,40,41 /proc/self/stat; ionice");
    assert_eq!(succeed(&spec), "0 0 0\nnone: prio 0\n");
    spec.process.scheduling = Scheduling { nice: 5, policy: SchedulerPolicy::Batch, ..Scheduling::default() };
    spec.process.io_priority = Some(IoPriority::BestEffort(6));
    assert_eq!(succeed(&spec), "5 0 3\nbest-effort: prio 6\n");
}

#[test]
fn a_privileged_one_has_everything() {
    let sandbox = Sandbox::new();
    let script = "grep CapEff /proc/1/status | cut -f2; cat /proc/interrupts | wc -l; ls /dev/kmsg; \
                  mkdir /sys/fs/cgroup/below; ls -d /sys/fs/cgroup/below";
    let mut spec = sandbox.spec(script);
    spec.privileged = true;
    spec.process.capabilities = Capabilities::ALL;
    let said = succeed(&spec);
    let lines: Vec<_> = said.lines().collect();
    assert_ne!(lines[0], "0000000000000000");
    assert_ne!(lines[1], "0");
    assert_eq!(lines[2..], ["/dev/kmsg", "/sys/fs/cgroup/below"]);
}
