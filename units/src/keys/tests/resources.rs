//! Cases of what a unit is given of the node.

use super::Case;

/// What a deadline needs beside its runtime, its deadline, or its period.
const DEADLINE: &str = "process.scheduler.policy = \"deadline\"\nprocess.scheduler.deadline = \"10ms\"";
const RUNTIME: &str = "process.scheduler.policy = \"deadline\"\nprocess.scheduler.runtime = \"2ms\"";
const DEADLINE_WHOLE: &str = "process.scheduler.policy = \"deadline\"\nprocess.scheduler.deadline = \"10ms\"\n\
                              process.scheduler.runtime = \"2ms\"";

const PRESSURE: &str = "pressure.p.resource = \"io\"";
const DEVICE: &str = "devices.d.source = \"/dev/ttyS1\"";

pub(super) const CASES: &[Case] = &[
    ("process.nice", "", "-5", "20", 106),
    ("env_from_node", "", r#"["SITE"]"#, r#"["9X"]"#, 105),
    ("env_proxy", "", "true", "1", 104),
    ("annotations.team", "", r#""shop""#, "[]", 104),
    ("profiles", "", r#"["lab"]"#, r#"["Lab"]"#, 105),
    ("image_healthcheck", "", r#""ignore""#, r#""none""#, 107),
    ("process.init", "", "true", "1", 104),
    ("process.init", "", "true", "\"yes\"", 104),
    ("process.stdin", "", r#""open""#, r#""tty""#, 107),
    ("process.stdin", "", r#""open""#, "\"null\"\nprocess.console = \"/dev/ttyS0\"", 110),
    ("process.console", "", r#""/dev/ttyS0""#, r#""ttyS0""#, 105),
    ("process.timezone", "", r#""Europe/Paris""#, r#""Europe/Pari""#, 105),
    ("process.timezone", "", r#""local""#, r#""here""#, 105),
    ("process.coredump", "", r#""off""#, r#""on""#, 107),
    ("process.scheduler.reset_on_fork", "", "true", "true\nprocess.init = true", 110),
    ("process.io_priority", "", r#""be:4""#, r#""be:8""#, 105),
    ("process.io_priority", "", r#""idle""#, r#""rt""#, 105),
    ("process.scheduler.policy", "", r#""batch""#, r#""normal""#, 107),
    ("process.scheduler.priority", r#"process.scheduler.policy = "fifo""#, "99", "100", 106),
    ("process.scheduler.runtime", DEADLINE, r#""1ms""#, r#""2s""#, 106),
    ("process.scheduler.deadline", RUNTIME, r#""10ms""#, r#""1us""#, 106),
    ("process.scheduler.period", DEADLINE_WHOLE, r#""100ms""#, r#""0s""#, 106),
    ("process.scheduler.reset_on_fork", "", "true", "1", 104),
    ("pressure.p.resource", "", r#""cpu""#, r#""disk""#, 107),
    ("pressure.p.kind", PRESSURE, r#""full""#, r#""all""#, 107),
    ("pressure.p.threshold", PRESSURE, r#""1s""#, r#""11s""#, 106),
    ("pressure.p.window", PRESSURE, r#""2s""#, r#""100ms""#, 106),
    ("pressure.p.action", PRESSURE, r#""signal:SIGUSR1""#, r#""stop""#, 105),
    ("devices.d.source", "", r#""/dev/ttyS1""#, r#""/etc/x""#, 105),
    ("devices.d.target", DEVICE, r#""/dev/modem""#, r#""/dev""#, 105),
    ("devices.d.mode", DEVICE, r#""0660""#, "660", 105),
    ("devices.d.uid", DEVICE, "1000", "-1", 106),
    ("devices.d.gid", DEVICE, "20", "4294967295", 106),
    ("devices.d.required", DEVICE, "false", "0", 104),
    ("memory.swap_high", "", r#""64M""#, r#""many""#, 105),
    ("memory.zswap_max", "", r#""max""#, "-1", 105),
    ("memory.zswap_writeback", "", "false", r#""no""#, 104),
    ("cpu.uclamp_min", "", r#""40%""#, r#""101%""#, 105),
    ("cpu.uclamp_max", "", r#""0%""#, "40", 104),
    ("cpuset.cpus", "", r#""0-3,5""#, r#""3-0""#, 105),
    ("cpuset.mems", "", r#""0""#, r#""0,""#, 105),
    ("cpuset.partition", r#"cpuset.cpus = "1""#, r#""isolated""#, r#""alone""#, 107),
    ("cpuset.partition", r#"cpuset.cpus = "1""#, r#""root""#, r#""exclusive""#, 107),
    (r#"hugetlb."2M""#, "", r#""64M""#, r#""64 M""#, 105),
    ("hugetlb_rsvd", r#"hugetlb."2M" = "64M""#, "true", "1", 104),
    ("cgroup.delegate", "", "true", "1", 104),
    ("cgroup.max_descendants", "cgroup.delegate = true", "7", "-1", 106),
    (r#"cgroup.raw."misc.max""#, "", r#""res_a 1""#, "{}", 104),
    ("io.prio_class", "", r#""restrict-to-be""#, r#""best""#, 107),
    (r#"io.limits."/dev/vda".weight"#, "", "200", "0", 106),
    (r#"io.limits."/dev/vda".latency"#, "", r#""10ms""#, r#""10us""#, 106),
    ("log.rate", "", r#""60/m""#, r#""60/d""#, 105),
    ("log.max_line", "", r#""64K""#, "255", 106),
    ("log.overflow", "", r#""block""#, r#""wait""#, 107),
];
