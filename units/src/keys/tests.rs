//! Every key of the table: one value that is taken and has an effect, one that is not.

use std::sync::LazyLock;

use super::*;
use crate::{Checked, SourceFile, parse_set};
use cases::{CONFIG_CASES, NODE_CASES, POD_CASES, SECRET_CASES, SERVICE_CASES};

mod cases;
pub(super) mod planned;
mod resources;

/// One key in a file of its kind that is whole but for it.
pub(crate) struct Fragment {
    pub kind: &'static str,
    pub path: &'static str,
    pub text: String,
    /// The code of its fault, if it has one of its own.
    pub fault: Option<u16>,
}

/// Every key with values that are taken and values that are not.
pub(crate) fn fragments() -> Vec<Fragment> {
    let mut all = Vec::new();
    for (kind, cases) in CASES {
        for (path, with, good, bad, code) in *cases {
            let text = |value: &str| file_text(kind, &format!("{path} = {value}\n{with}"));
            all.push(Fragment { kind, path, text: text(good), fault: None });
            // Word and range may be good and only planned.
            let fault = Some(*code).filter(|code| *code != 102);
            all.push(Fragment { kind, path, text: text(bad), fault });
        }
    }
    all.extend(planned::fragments().into_iter().map(|(kind, path, lines, fault)| Fragment {
        kind,
        path,
        text: file_text(kind, &lines),
        fault,
    }));
    all
}

/// The table, made once.
pub(super) fn table() -> &'static [Row] {
    static TABLE: LazyLock<Vec<Row>> = LazyLock::new(rows);
    &TABLE
}

/// Key, lines that go with it, value that is taken, value that is not, code of the fault.
type Case = (&'static str, &'static str, &'static str, &'static str, u16);

const CONTAINER_CASES: &[Case] = &[
    ("description", "", r#""Shop""#, r#""two\nlines""#, 105),
    ("documentation", "", r#"["https://example.com/x"]"#, r#"["no scheme"]"#, 105),
    ("enabled", "", "false", r#""no""#, 104),
    ("instances", "", r#"["a", "b"]"#, r#"["a@b"]"#, 105),
    ("instances", "", r#"["a"]"#, r#"["a", "a"]"#, 10),
    ("start", "", r#""manual""#, r#""never""#, 107),
    ("labels.team", "", r#""shop""#, "[]", 104),
    ("rootfs.read_only", "", "false", "0", 104),
    ("rootfs.tmpfs", "", r#"["/tmp//x/"]"#, r#"["/tmp/../x"]"#, 105),
    ("rootfs.upper", "rootfs.read_only = false", r#""disk""#, r#""none""#, 452),
    ("rootfs.upper", "rootfs.read_only = false", r#""disk""#, r#""ram""#, 107),
    ("rootfs.persist", "rootfs.read_only = false\nrootfs.upper = \"disk\"", "true", "1", 104),
    ("rootfs.propagation", "", r#""shared""#, r#""slave""#, 102),
    ("image.volumes", "", r#""volume""#, r#""disk""#, 107),
    ("rootfs.size", "rootfs.read_only = false", r#""1G""#, "1", 106),
    ("process.entrypoint", "", r#"["/bin/x", ""]"#, r#""/bin/x""#, 104),
    ("process.args", "", "[]", "[1]", 104),
    ("process.workdir", "", r#""/srv/""#, r#""/proc/self/fd/7""#, 105),
    ("process.user", "", r#""www-data:33""#, r#""a:b:c""#, 105),
    ("process.groups", "", r#"[44, "audio"]"#, r#"[4294967295]"#, 105),
    ("process.umask", "", r#""0027""#, "27", 105),
    ("process.rlimits.nofile", "", r#""1024:65536""#, r#""2:1""#, 105),
    ("process.oom_score_adj", "", "-500", "1001", 106),
    ("env.LOG_LEVEL", "", r#""info""#, "1", 104),
    ("env_files", "", r#"[{ path = "/data/x.env" }]"#, r#"[{ path = "/data/volumes/v/x.env" }]"#, 465),
    ("env_unset", "", r#"["JAVA_HOME"]"#, r#"["9X"]"#, 105),
    ("env_info", "", r#"["ip", "node"]"#, r#"["mac"]"#, 105),
    ("on_change", "", r#""none""#, r#""reload""#, 110),
    ("on_change", "reload.signal = \"SIGHUP\"", r#""reload""#, r#""signal""#, 107),
    ("on_change", "", r#""none""#, "\"reload\"\nreload.signal = \"SIGHUP\"\nsecrets.key.env = \"KEY\"", 110),
    ("splay", "", r#""1m""#, r#""2h""#, 106),
    ("secrets.key.source", "secrets.s.source = \"key\"", r#""key""#, r#""kex""#, 220),
    ("secrets.key.target", "", r#""/etc/key""#, r#""/proc/key""#, 404),
    ("secrets.key.mode", "", r#""0440""#, "400", 105),
    ("secrets.key.uid", "", "0", "-1", 106),
    ("secrets.key.gid", "", "0", r#""www""#, 104),
    ("secrets.key.env", "", r#""KEY""#, r#""A KEY""#, 105),
    ("configs.c.source", "configs.c.target = \"/c\"", r#""motd""#, r#""other""#, 202),
    ("configs.c.content", "configs.c.target = \"/c\"", r#""x""#, "1", 104),
    ("configs.c.file", "configs.c.target = \"/c\"", r#""/data/x""#, r#""/proc/uptime""#, 465),
    ("configs.c.target", "configs.c.content = \"x\"", r#""/c""#, r#""/dev/c""#, 404),
    ("configs.c.mode", "configs.c.target = \"/c\"\nconfigs.c.content = \"x\"", r#""0400""#, r#""rw""#, 105),
    ("configs.c.uid", "configs.c.target = \"/c\"\nconfigs.c.content = \"x\"", "1000", "4294967295", 106),
    ("configs.c.gid", "configs.c.target = \"/c\"\nconfigs.c.content = \"x\"", "1000", "1.0", 104),
    ("configs.c.template", "configs.c.target = \"/c\"\nconfigs.c.content = \"x\"", "true", "1", 104),
    ("memory.max", "", r#""25%""#, r#""256MB""#, 105),
    ("memory.high", "", "4096", r#""0%""#, 105),
    ("memory.low", "", r#""1G""#, "-1", 105),
    ("memory.min", "", r#""max""#, "1.5", 104),
    ("memory.swap_max", "", r#""64MiB""#, r#""much""#, 105),
    ("memory.oom_group", "", "false", "[]", 104),
    ("memory.shm_size", "", r#""1M""#, r#""1""#, 106),
    ("cpu.max", "", "1.5", r#""1500m""#, 105),
    ("cpu.period", "", r#""50ms""#, r#""2s""#, 106),
    ("cpu.burst", "", r#""20ms""#, "20", 105),
    ("cpu.weight", "", "10000", "0", 106),
    ("cpu.idle", "", "true", "1", 104),
    ("pids.max", "", "16", r#""max""#, 104),
    ("io.weight", "", "1", "99999999999999999999", 106),
    (r#"io.limits."/dev/vda".read_bps"#, "", r#""10M""#, "0", 106),
    (r#"io.limits."/dev/vda".write_bps"#, "", "1", r#""10Mbit""#, 105),
    (r#"io.limits."/dev/vda".read_iops"#, "", "100", r#""1K""#, 104),
    (r#"io.limits."/dev/vda".write_iops"#, "", "0x10", "0", 106),
    ("mounts.m.volume", r#"mounts.m.target = "/d""#, r#""data""#, r#""Data""#, 105),
    ("mounts.m.subpath", "mounts.m.target = \"/d\"\nmounts.m.volume = \"v\"", r#""a/b""#, r#""../b""#, 105),
    ("mounts.m.seed", "mounts.m.target = \"/d\"\nmounts.m.volume = \"v\"", r#""none""#, r#""move""#, 107),
    ("mounts.m.bind", r#"mounts.m.target = "/d""#, r#""/srv""#, r#""srv""#, 105),
    ("mounts.m.create", "mounts.m.target = \"/d\"\nmounts.m.bind = \"/s\"", "true", r#""yes""#, 104),
    ("mounts.m.tmpfs", r#"mounts.m.target = "/d""#, "true", "false", 109),
    ("mounts.m.size", "mounts.m.target = \"/d\"\nmounts.m.tmpfs = true", r#""1M""#, r#""1E""#, 105),
    ("mounts.m.mode", "mounts.m.target = \"/d\"\nmounts.m.tmpfs = true", r#""0700""#, r#""0999""#, 105),
    ("mounts.m.target", "mounts.m.volume = \"v\"", r#""/var/lib/x""#, r#""/proc/sys""#, 404),
    ("mounts.m.read_only", "mounts.m.target = \"/d\"\nmounts.m.volume = \"v\"", "true", r#""ro""#, 104),
    ("mounts.m.exec", "mounts.m.target = \"/d\"\nmounts.m.volume = \"v\"", "true", "1.0", 104),
    ("mounts.m.image", r#"mounts.m.target = "/d""#, r#""shop/data:1""#, r#""Shop""#, 105),
    (
        "mounts.m.options",
        "mounts.m.target = \"/d\"\nmounts.m.volume = \"v\"",
        r#"["rro"]"#,
        r#"["suid"]"#,
        105,
    ),
    (
        "mounts.m.options",
        "mounts.m.target = \"/d\"\nmounts.m.volume = \"v\"",
        r#"["noatime", "nosymfollow"]"#,
        r#"["ro", "rrw"]"#,
        450,
    ),
    ("mounts.m.recursive", "mounts.m.target = \"/d\"\nmounts.m.bind = \"/s\"", "false", "0", 104),
    (
        "mounts.m.propagation",
        "mounts.m.target = \"/d\"\nmounts.m.bind = \"/s\"",
        r#""slave""#,
        r#""rslave""#,
        107,
    ),
    ("state_dir", "", r#""/var/lib/x""#, r#""/proc/x""#, 404),
    ("cache_dir", "", r#""/var/cache/x""#, r#""x""#, 105),
    ("runtime_dir", "", r#""/run/x""#, "[]", 104),
    ("quota", "state_dir = \"/s\"", r#""1M""#, r#""63K""#, 106),
    ("network.mode", "", r#""none""#, r#""hots""#, 107),
    ("network.mode", "", r#""unit:other""#, r#""unit:it""#, 203),
    ("network.mode", "", r#""unit:group""#, r#""unit:ohter""#, 201),
    ("pod", "", r#""group""#, r#""other""#, 202),
    ("network.hostname", "", r#""shop.example""#, r#""-shop""#, 105),
    ("networks.default.ipv4", "", r#""10.88.0.9""#, r#""10.88.0""#, 105),
    ("networks.default.aliases", "", r#"["shop"]"#, r#"["_shop"]"#, 105),
    ("ports.p.host", "ports.p.container = 80", "8080", "65536", 106),
    ("ports.p.container", "ports.p.host = 80", "1", "0", 106),
    ("ports.p.protocol", "ports.p.host = 1\nports.p.container = 1", r#""udp""#, r#""sctp""#, 102),
    ("ports.p.host_ip", "ports.p.host = 1\nports.p.container = 1", r#""127.0.0.1""#, r#""localhost""#, 105),
    ("type", "", r#""oneshot""#, r#""daemon""#, 107),
    ("remain_after_exit", "", "true", "1", 104),
    ("schedule.cron", r#"type = "job""#, r#""*/5 0-7 * * 1,3""#, r#""0 0 31 2 *""#, 471),
    ("schedule.every", r#"type = "job""#, r#""1s""#, r#""999ms""#, 106),
    ("schedule.on_boot", r#"type = "job""#, r#""0s""#, r#""soon""#, 105),
    (
        "schedule.timezone",
        "type = \"job\"\nschedule.cron = \"* * * * *\"",
        r#""Europe/Paris""#,
        r#""Europe/Atlantis""#,
        105,
    ),
    ("schedule.jitter", "type = \"job\"\nschedule.every = \"1h\"", r#""59m""#, r#""1h""#, 472),
    ("schedule.catch_up", "type = \"job\"\nschedule.every = \"1h\"", r#""skip""#, r#""all""#, 107),
    ("schedule.deadline", "type = \"job\"\nschedule.every = \"1h\"", r#""5m""#, "300", 105),
    ("schedule.overlap", "type = \"job\"\nschedule.every = \"1h\"", r#""replace""#, r#""allow""#, 102),
    ("schedule.without_clock", "type = \"job\"\nschedule.every = \"1h\"", "true", "1", 104),
    ("job.retries", r#"type = "job""#, "3", "-1", 106),
    ("job.keep", r#"type = "job""#, "0", "101", 106),
    ("runtime_max", "", r#""1h""#, r#""0s""#, 106),
    ("on_failure", "", r#"["other"]"#, r#"["Other"]"#, 105),
    ("on_success", "", r#"["other"]"#, r#""other""#, 104),
    ("depends.other.until", "", r#""healthy""#, r#""alive""#, 107),
    ("depends.other.strength", "", r#""milestone""#, r#""want""#, 107),
    ("depends.other.on_stop", "", r#""ignore""#, r#""restart""#, 107),
    ("depends.other.on_restart", "", r#""ignore""#, r#""stop""#, 107),
    ("after", "", r#"["other"]"#, r#"["*"]"#, 105),
    ("before", "", r#"["other"]"#, "[1]", 104),
    ("conflicts", "start = \"manual\"", r#"["other"]"#, r#"[""]"#, 105),
    ("wait_for.tcp", "", r#"["other:80", "10.0.0.1:5432"]"#, r#"["db.example:80"]"#, 105),
    ("wait_for.tcp", "", r#"["other:80"]"#, r#"["nobody:80"]"#, 201),
    ("wait_for.network", "", r#""online""#, r#""up""#, 107),
    ("wait_for.time", "", "true", r#""set""#, 104),
    ("wait_for.paths", "", r#"["/data/x"]"#, r#"["x"]"#, 105),
    ("wait_for.devices", "", r#"["/dev/ttyS1"]"#, r#"["/etc/passwd"]"#, 105),
    ("wait_for.timeout", "", r#""0s""#, "5", 105),
    ("conditions.path_exists", "", r#"["/dev/kvm"]"#, r#"["../x"]"#, 105),
    ("conditions.arch", "", r#""aarch64""#, r#""arm64""#, 107),
    ("conditions.memory_min", "", r#""128M""#, "1", 106),
    ("conditions.kernel_cmdline", "", r#"["lab=1"]"#, r#"["two words"]"#, 105),
    ("conditions.device", "", r#""/dev/sda""#, r#""sda""#, 105),
    ("conditions.first_boot", "", "false", r#""yes""#, 104),
    ("conditions.on_unmet", "", r#""fail""#, r#""ignore""#, 107),
    ("restart.jitter", "", "0.5", "1.5", 105),
    ("restart.burst", "", "3", "0", 106),
    ("restart.window", "", r#""1m""#, r#""0s""#, 106),
    ("restart.on_limit", "", r#""reboot""#, r#""stop""#, 107),
    ("restart.success_codes", "", "[143]", "[0]", 106),
    ("restart.no_restart_codes", "", "[78]", "[256]", 106),
    ("restart.force_codes", "", "[75]", r#"["75"]"#, 104),
    ("restart.propagate", "", "true", "1", 104),
    ("ready.when", "", r#""fd:3""#, r#""fd:1""#, 106),
    ("ready.when", "", r#""log:^ready""#, r#""log:(""#, 105),
    (
        "ready.when",
        "",
        r#""log:up""#,
        r#""log:up"
log.to = "none""#,
        424,
    ),
    ("ready.when", "", r#""notify""#, r#""notified""#, 105),
    ("reload.signal", "", r#""SIGHUP""#, r#""SIGNONE""#, 105),
    ("reload.exec", "", r#"["/bin/reload"]"#, "[]", 422),
    ("reload.timeout", "reload.signal = 1", r#""5s""#, r#""0s""#, 106),
    ("hooks.post_start.exec", "", r#"["/bin/x", "y"]"#, r#"[""]"#, 422),
    ("hooks.pre_start.exec", "", r#"["/bin/x", "y"]"#, r#"[""]"#, 422),
    ("hooks.pre_stop.where", "hooks.pre_stop.exec = [\"/x\"]", r#""image""#, r#""node""#, 107),
    ("hooks.post_stop.where", "hooks.post_stop.exec = [\"/x\"]", r#""image""#, r#""container""#, 423),
    ("hooks.pre_stop.user", "hooks.pre_stop.exec = [\"/x\"]", r#""1000""#, r#""a:b:c""#, 105),
    ("hooks.pre_stop.timeout", "hooks.pre_stop.exec = [\"/x\"]", r#""5s""#, r#""2h""#, 106),
    ("hooks.pre_stop.on_error", "hooks.pre_stop.exec = [\"/x\"]", r#""ignore""#, r#""retry""#, 107),
    ("memory.on_oom", "", r#""continue""#, r#""ignore""#, 107),
    ("stop.delay", "", r#""5s""#, r#""2h""#, 106),
    ("stop.mode", "", r#""all""#, r#""group""#, 107),
    ("update.healthy_for", "", r#""0s""#, "5", 105),
    ("update.deadline", "", r#""1m""#, "5", 105),
    ("update.on_failure", "", r#""hold""#, r#""stop""#, 107),
    ("update.on_failure", "", r#""hold""#, "false", 104),
    ("update.healthy_for", "", r#""1h""#, "true", 104),
    ("update.deadline", "", r#""1d""#, "[]", 104),
    ("sockets.s.listen", "", r#""tcp:0.0.0.0:8080""#, r#""tcp:8080""#, 105),
    ("sockets.s.listen", "", r#""unix:/run/app/s.sock""#, r#""unix:/run/berth/s""#, 320),
    ("sockets.s.mode", "sockets.s.listen = \"unix:/run/s\"", r#""0666""#, "438", 105),
    ("sockets.s.owner", "sockets.s.listen = \"unix:/run/s\"", r#""1000:1000""#, r#""www-data""#, 105),
    ("watchdog", "", r#""30s""#, r#""500ms""#, 106),
    ("health.h.exec", "", r#"["/bin/check", "-q"]"#, "[]", 420),
    ("health.h.http", "", r#""http://:8080/healthz""#, r#""https://:8443/""#, 105),
    ("health.h.tcp", "", "5432", "0", 106),
    ("health.h.grpc", "", "50051", r#""50051""#, 104),
    ("health.h.method", r#"health.h.http = "http://:80""#, r#""HEAD""#, r#""head""#, 107),
    (
        "health.h.headers",
        r#"health.h.http = "http://:80""#,
        r#"["Accept: text/plain"]"#,
        r#"["Host: elsewhere"]"#,
        105,
    ),
    ("health.h.expect_status", r#"health.h.http = "http://:80""#, "204", r#""2xx""#, 105),
    ("health.h.role", "health.h.tcp = 80", r#""ready""#, r#""alive""#, 107),
    ("health.h.interval", "health.h.tcp = 80", r#""1m""#, r#""10ms""#, 106),
    ("health.h.timeout", "health.h.tcp = 80", r#""1s""#, "3", 105),
    ("health.h.failures", "health.h.tcp = 80", "1", "0", 106),
    ("health.h.successes", "health.h.tcp = 80", "2", r#""2""#, 104),
    ("health.h.start_period", "health.h.tcp = 80", r#""30s""#, r#""2d""#, 106),
    ("health.h.start_interval", "health.h.tcp = 80", r#""200ms""#, r#""0s""#, 106),
    ("health.h.on_failure", "health.h.tcp = 80", r#""kill""#, r#""rollback""#, 102),
    ("conditions.cpu_feature", "", r#"["avx2"]"#, r#"["two\nlines"]"#, 105),
    ("start_timeout", "", r#""1m30s""#, "90", 105),
    ("restart.policy", "", r#""on-failure""#, r#""on_failure""#, 107),
    ("restart.delay", "", r#""1s""#, r#""1.5s""#, 105),
    ("restart.factor", "", "1.5", "0.5", 105),
    ("restart.max_delay", "", r#""5m""#, r#""2d""#, 106),
    ("restart.reset_after", "", r#""10s""#, r#""""#, 105),
    ("stop.signal", "", r#""SIGRTMIN+3""#, r#""SIGNONE""#, 105),
    ("stop.timeout", "", r#""5s""#, r#""2h""#, 106),
    ("log.to", "", r#""ram""#, r#""journal""#, 107),
    ("log.to", "", r#""console""#, "1", 104),
    ("log.max_age", "", r#""30d""#, r#""30s""#, 106),
    ("log.max_size", "", r#""1M""#, "1", 106),
    ("log.keep", "", "0", "-1", 106),
    ("security.profile", "", r#""baseline""#, r#""Privileged""#, 107),
    ("security.cap_add", "", r#"["NET_RAW"]"#, r#"["CAP_NET_RAW"]"#, 105),
    ("security.cap_drop", "", r#"["ALL"]"#, r#"["NET_ROW"]"#, 105),
    ("security.no_new_privileges", "", "false", "0", 104),
    (r#"security.sysctl."net.core.somaxconn""#, "", "1024", "true", 104),
    ("image.ref", "", r#""shop/web:1""#, r#""Shop/web""#, 105),
    ("schema", "", "1", "2", 111),
    ("kind", "", r#""container""#, r#""contaner""#, 112),
];

const NETWORK_CASES: &[Case] = &[
    ("schema", "", "1", r#""1""#, 111),
    ("kind", "", r#""network""#, r#""netwrok""#, 112),
    ("description", "", r#""Apps""#, "1", 104),
    ("ipv4.subnet", "", r#""10.7.0.0/16""#, r#""10.7.0.1/16""#, 105),
    ("ipv4.gateway", "", r#""10.89.0.254""#, r#""10.1.0.1""#, 309),
    ("nat", "", "false", r#""off""#, 104),
    ("internal", "", "true", "1", 104),
    ("mtu", "", "9000", "100", 106),
];

const VOLUME_CASES: &[Case] = &[
    ("schema", "", "1", "1.0", 111),
    ("kind", "", r#""volume""#, "[]", 112),
    ("description", "", r#""Data""#, "[]", 104),
    ("uid", "", "100", "-1", 106),
    ("gid", "", "100", "4294967295", 106),
    ("mode", "", r#""0700""#, r#""rwx""#, 105),
    ("size", "", r#""64K""#, r#""63K""#, 106),
    ("retain", "", r#""delete""#, r#""discard""#, 107),
    ("labels.team", "", r#""shop""#, "[]", 104),
    ("source", "", r#""tmpfs""#, r#""nfs""#, 102),
    ("seed_image", "", r#""shop/data:1""#, r#""Shop""#, 105),
];

const DROP_IN_CASES: &[Case] = &[
    ("schema", "", "1", "2", 111),
    ("unset", "", r#"["description", "env.A"]"#, r#"["env."]"#, 105),
    ("unset", "", r#"["labels"]"#, r#"["memory.max"]"#, 9),
];

const CASES: &[(&str, &[Case])] = &[
    ("drop-in", DROP_IN_CASES),
    ("container", CONTAINER_CASES),
    ("pod", POD_CASES),
    ("service", SERVICE_CASES),
    ("container", resources::CASES),
    ("network", NETWORK_CASES),
    ("volume", VOLUME_CASES),
    ("config", CONFIG_CASES),
    ("secret", SECRET_CASES),
    ("node", NODE_CASES),
];

/// A file of that kind that holds these lines, and what it cannot do without.
fn file_text(kind: &str, lines: &str) -> String {
    let mut text = lines.to_owned();
    let has = |key: &str| lines.lines().any(|line| line.starts_with(key));
    let mut add = |key: &str, value: &str| {
        if !has(key) {
            text = format!("{text}\n{key} = {value}");
        }
    };
    add("schema", "1");
    if kind == "drop-in" {
        return text;
    }
    if kind == "container" {
        add("image.ref", "\"web\"");
    } else {
        add("kind", &format!("\"{kind}\""));
    }
    match kind {
        "config" if !has("file") => add("content", "\"\""),
        "secret" => add("source", "\"node\""),
        "service" => add("process.entrypoint", "[\"/bin/agent\"]"),
        _ => {}
    }
    text
}

/// What drop-ins are laid over.
const BELOW: &str =
    "schema = 1\nimage.ref = \"web\"\ndescription = \"Shop\"\nlabels.a = \"b\"\nenv.A = \"b\"\n";

/// A set in which one file of that kind holds these lines.
fn set_with(kind: &str, lines: &str) -> Checked {
    let text = file_text(kind, lines);
    let node = if kind == "node" { text.clone() } else { "schema = 1".to_owned() };
    let unit = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    let mut files =
        vec![unit("node.toml", &node), unit("units/other.toml", "schema = 1\nimage.ref = \"other\"")];
    files.push(unit("units/key.toml", "schema = 1\nkind = \"secret\"\nsource = \"node\""));
    files.push(unit("units/group.toml", "schema = 1\nkind = \"pod\""));
    files.push(unit("units/motd.toml", "schema = 1\nkind = \"config\"\ncontent = \"x\""));
    // What makes a template says so by its name.
    let own = if lines.starts_with("instances") { "units/it@.toml" } else { "units/it.toml" };
    match kind {
        "node" => (),
        "drop-in" => files.extend([unit(own, BELOW), unit("units/it.d/1.toml", &text)]),
        _ => files.push(unit(own, &text)),
    }
    parse_set(&files)
}

/// `io.limits."/dev/vda".read_bps` as in the table: `io.limits.*.read_bps`.
fn pattern(kind: &str, path: &str) -> String {
    let quoted =
        path.split('"').nth(1).map_or(path.to_owned(), |name| path.replace(&format!("\"{name}\""), "*"));
    let parts: Vec<_> = quoted.split('.').collect();
    let wild = table().iter().find(|row| row.kind == kind && fits(row.path, &parts)).map(|row| row.path);
    wild.unwrap_or("").to_owned()
}

fn fits(pattern: &str, parts: &[&str]) -> bool {
    let pattern: Vec<_> = pattern.split('.').collect();
    pattern.len() == parts.len() && pattern.iter().zip(parts).all(|(a, b)| *a == "*" || a == b)
}

fn is_planned(kind: &str, path: &str) -> bool {
    let path = pattern(kind, path);
    table().iter().any(|row| row.kind == kind && row.path == path && row.effect == Effect::Planned)
}

#[test]
fn every_key_has_a_case() {
    let cases: Vec<_> = CASES
        .iter()
        .flat_map(|(kind, cases)| cases.iter().map(|case| (*kind, pattern(kind, case.0))))
        .collect();
    for row in table().iter().filter(|row| row.shape.is_some() && row.effect == Effect::Now) {
        let is_same = |kind: &str| kind == row.kind || (row.kind, kind) == ("service", "container");
        let found = cases.iter().filter(|(kind, path)| is_same(kind) && path == row.path).count();
        assert!(found >= 1, "{} {}", row.kind, row.path);
    }
}

#[test]
fn good_values_are_taken_and_have_an_effect() {
    // The last three have one word that can be.
    let without_effect = ["schema", "kind", "hooks.post_stop.where", "exit_policy", "process.coredump"];
    for (kind, path, with, good) in CASES
        .iter()
        .flat_map(|(kind, cases)| cases.iter().map(|(path, with, good, ..)| (*kind, *path, *with, *good)))
        .filter(|(kind, path, ..)| !is_planned(kind, path))
    {
        let checked = set_with(kind, &format!("{path} = {good}\n{with}"));
        let shown: Vec<_> = checked.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [""; 0], "{path} = {good}");
        let base = set_with(kind, with);
        let silent = without_effect.contains(&path) || (kind != "container" && path == "description");
        assert!(silent || base.declared != checked.declared, "{kind}: {path} = {good} changes nothing");
    }
}

#[test]
fn good_values_of_planned_keys_are_refused_as_planned_only() {
    for (kind, cases) in CASES {
        for (path, with, good, ..) in cases.iter().filter(|case| is_planned(kind, case.0)) {
            let checked = set_with(kind, &format!("{path} = {good}\n{with}"));
            let found: Vec<_> = checked.diagnostics.iter().map(|found| found.code.0).collect();
            assert!(found.contains(&102), "{kind}: {path} = {good} would silently do nothing");
            let others: Vec<_> = checked.diagnostics.iter().filter(|found| found.code.0 != 102).collect();
            assert!(others.is_empty(), "{kind}: {path} = {good}: {others:#?}");
            assert_eq!(checked.declared, None);
        }
    }
}

#[test]
fn faulty_values_are_refused_where_they_stand() {
    for (kind, cases) in CASES {
        for (path, with, _, bad, code) in *cases {
            let checked = set_with(kind, &format!("{path} = {bad}\n{with}"));
            let planned = is_planned(kind, path);
            let shown = checked.diagnostics.iter().filter(|found| !planned || found.code.0 != 102);
            let found: Vec<_> = shown.map(|found| (found.code.0, found.line)).collect();
            assert_eq!(found, [(*code, 1)], "{kind}: {path} = {bad}: {:#?}", checked.diagnostics);
            assert_eq!(checked.declared, None);
        }
    }
}

#[test]
fn defaults_in_the_table_are_true() {
    let now = |row: &&Row| row.shape.is_some() && row.effect == Effect::Now && !row.path.contains('*');
    for row in table().iter().filter(now) {
        // A template is no unit.
        if row.path == "instances" {
            continue;
        }
        // Some defaults are said in words, because the key has none of its own.
        if format!("x = {}", row.default).parse::<toml::Table>().is_err() {
            continue;
        }
        let with = defaults_company(row.path);
        let checked = set_with(row.kind, &format!("{} = {}\n{with}", row.path, row.default));
        assert!(checked.declared.is_some(), "{} = {}: {:?}", row.path, row.default, checked.diagnostics);
        assert_eq!(checked.declared, set_with(row.kind, with).declared, "{} = {}", row.path, row.default);
    }
}

/// What a key needs beside it to have an effect at all.
fn defaults_company(path: &str) -> &'static str {
    match path.split_once('.') {
        Some(("schedule", _)) => "type = \"job\"\nschedule.cron = \"* * * * *\"\nschedule.every = \"1h\"",
        Some(("cgroup", "max_descendants")) => "cgroup.delegate = true",
        Some(("job", _)) => "type = \"job\"",
        _ => "",
    }
}

#[test]
fn the_table_is_sound() {
    for row in table() {
        assert!(row.doc.ends_with('.'), "{}", row.path);
        assert!(row.path.matches('*').count() <= 1, "{}", row.path);
        let twice = table().iter().filter(|other| (other.kind, other.path) == (row.kind, row.path)).count();
        assert_eq!(twice, 1, "{} {}", row.kind, row.path);
        // A key's table is in the table, too.
        if let Some((parent, last)) = row.path.rsplit_once('.') {
            let parent = parent.strip_suffix(".*").unwrap_or(parent);
            let table = table().iter().find(|other| other.kind == row.kind && other.path == parent);
            assert!(
                table.is_some_and(|table| table.shape.is_none() && (last != "*" || table.entries.is_some())),
                "{}",
                row.path
            );
        }
    }
}

#[test]
fn below_a_planned_table_everything_is_planned() {
    for row in table() {
        let above = table().iter().find(|other| {
            let below = row.path.strip_prefix(other.path).is_some_and(|rest| rest.starts_with('.'));
            other.kind == row.kind && other.shape.is_none() && below && other.effect == Effect::Planned
        });
        assert!(above.is_none() || row.effect == Effect::Planned, "{} {}", row.kind, row.path);
    }
}

#[test]
fn a_service_has_every_key_of_a_container_but_those_of_its_image() {
    let of_image = |path: &str| ["image", "rootfs", "update"].contains(&path.split('.').next().unwrap());
    for row in table().iter().filter(|row| row.kind == "container" && !of_image(row.path)) {
        assert!(
            table().iter().any(|other| other.kind == "service" && other.path == row.path),
            "{}",
            row.path
        );
    }
}
