//! A unit key by key. Each struct is taken apart whole, so that a field that nobody thought of does not compile.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::spec::{
    Attachment, Cpu, Directories, Image, Io, Log, LogSink, Memory, Mount, Pids, Process, Restart, Stop,
    Supplies, Unit, Update,
};

use super::show::{Bytes, Show};
use super::{Means, means};

/// One key of a unit.
pub(super) struct Field<'u> {
    /// As its row or the table above it is called: `memory.max`, `env`.
    pub key: &'static str,
    /// Of a table whose entries the user names: which.
    pub entry: Option<&'u str>,
    /// What carries its change out.
    pub means: Means,
    /// What it says.
    pub value: Value<'u>,
}

/// What a key says.
#[derive(Clone, Copy)]
pub(super) enum Value<'u> {
    /// It may be a secret, or is too long to be read.
    Hidden(&'u dyn Debug),
    /// It may be shown.
    Shown(&'u dyn Show),
}

impl Value<'_> {
    pub fn debug(&self) -> &dyn Debug {
        match self {
            Self::Hidden(value) => value,
            Self::Shown(value) => value,
        }
    }

    pub fn show(&self) -> Option<String> {
        match self {
            Self::Hidden(_) => None,
            Self::Shown(value) => Some(value.show()),
        }
    }
}

impl Field<'_> {
    /// As in the file: `env.LOG_LEVEL`, `networks.apps.aliases`.
    pub fn path(&self) -> String {
        match (self.entry, self.key.split_once(".*")) {
            (None, _) => self.key.to_owned(),
            (Some(entry), Some((table, rest))) => format!("{table}.{entry}{rest}"),
            (Some(entry), None) => format!("{}.{entry}", self.key),
        }
    }
}

/// A key with its means, looked up when this is compiled. Safe where the table has no word of it: a new process takes
/// everything in.
macro_rules! key {
    ($path:literal) => {
        const {
            match means($path) {
                Some(means) => ($path, means),
                None => ($path, Means::Process),
            }
        }
    };
}

/// Whoever is shown the fields.
type See<'s> = dyn FnMut(Field<'_>) + 's;

/// Shows every key of a unit.
pub(super) fn fields(unit: &Unit, see: &mut See<'_>) {
    #[rustfmt::skip]
    let Unit {
        // Whose it is.
        name: _,
        description, documentation, enabled, start, labels, annotations, profiles,
        image, is_pod, rootfs, process, env, supplies,
        memory, cpu, pids, io, cpuset, hugetlb, hugetlb_rsvd, cgroup_raw, delegate,
        pressure, devices, mounts, directories, network, hostname, networks, ports, sockets,
        kind, schedule, job, remain_after_exit, depends, after, before, conflicts, wait_for, conditions,
        ready, watchdog, health, image_healthcheck, start_timeout, runtime_max, restart, on_failure, on_success, stop,
        reload, hooks, log, update, security,
    } = unit;
    for_people(see, (description, documentation), (labels, annotations));
    shown(see, key!("enabled"), enabled);
    shown(see, key!("start"), start);
    hidden(see, key!("profiles"), profiles);
    root(see, image.as_ref(), is_pod);
    hidden(see, key!("rootfs"), rootfs);
    program(see, process);
    entries(see, key!("env"), env);
    given(see, supplies);
    resources(see, (memory, cpu, pids, io));
    hidden(see, key!("cpuset"), cpuset);
    entries(see, key!("hugetlb"), hugetlb);
    hidden(see, key!("hugetlb_rsvd"), hugetlb_rsvd);
    entries(see, key!("cgroup.raw"), cgroup_raw);
    hidden(see, key!("cgroup.delegate"), delegate);
    entries(see, key!("pressure"), pressure);
    entries(see, key!("devices"), devices);
    storage(see, mounts, directories);
    hidden(see, key!("network.mode"), network);
    hidden(see, key!("network.hostname"), hostname);
    for (name, Attachment { ipv4, aliases }) in networks {
        entry(see, key!("networks.*.ipv4"), name.as_str(), ipv4);
        entry(see, key!("networks.*.aliases"), name.as_str(), aliases);
    }
    entries(see, key!("ports"), ports);
    entries(see, key!("sockets"), sockets);
    hidden(see, key!("type"), kind);
    hidden(see, key!("schedule"), schedule);
    hidden(see, key!("job"), job);
    hidden(see, key!("remain_after_exit"), remain_after_exit);
    entries(see, key!("depends"), depends);
    hidden(see, key!("after"), after);
    hidden(see, key!("before"), before);
    hidden(see, key!("conflicts"), conflicts);
    hidden(see, key!("wait_for"), wait_for);
    hidden(see, key!("conditions"), conditions);
    hidden(see, key!("ready"), ready);
    shown(see, key!("watchdog"), watchdog);
    entries(see, key!("health"), health);
    shown(see, key!("image_healthcheck"), image_healthcheck);
    shown(see, key!("start_timeout"), start_timeout);
    shown(see, key!("runtime_max"), runtime_max);
    endings(see, restart, stop, update);
    hidden(see, key!("on_failure"), on_failure);
    hidden(see, key!("on_success"), on_success);
    hidden(see, key!("reload"), reload);
    hidden(see, key!("hooks"), hooks);
    output(see, log);
    hidden(see, key!("security"), security);
}

fn root(see: &mut See<'_>, image: Option<&Image>, is_pod: &bool) {
    let reference = image.map(|Image { reference, volumes: _ }| reference.clone());
    shown(see, key!("image.ref"), &reference);
    hidden(see, key!("image.volumes"), &image.map(|image| image.volumes));
    hidden(see, key!("image"), is_pod);
}

type Pairs = BTreeMap<String, String>;

fn for_people(
    see: &mut See<'_>,
    (description, documentation): (&String, &Vec<String>),
    (labels, annotations): (&Pairs, &Pairs),
) {
    hidden(see, key!("description"), description);
    hidden(see, key!("documentation"), documentation);
    entries(see, key!("labels"), labels);
    entries(see, key!("annotations"), annotations);
}

fn program(see: &mut See<'_>, process: &Process) {
    #[rustfmt::skip]
    let Process {
        entrypoint, args, workdir, user, groups, umask, rlimits, oom_score_adj, scheduling, io_priority,
        init, stdin, console, timezone,
    } = process;
    hidden(see, key!("process.entrypoint"), entrypoint);
    hidden(see, key!("process.args"), args);
    hidden(see, key!("process.workdir"), workdir);
    hidden(see, key!("process.user"), user);
    hidden(see, key!("process.groups"), groups);
    hidden(see, key!("process.umask"), umask);
    entries(see, key!("process.rlimits"), rlimits);
    hidden(see, key!("process.oom_score_adj"), oom_score_adj);
    hidden(see, key!("process.scheduler"), scheduling);
    hidden(see, key!("process.io_priority"), io_priority);
    hidden(see, key!("process.init"), init);
    hidden(see, key!("process.stdin"), stdin);
    hidden(see, key!("process.console"), console);
    hidden(see, key!("process.timezone"), timezone);
}

fn storage(see: &mut See<'_>, mounts: &BTreeMap<String, Mount>, directories: &Directories) {
    entries(see, key!("mounts"), mounts);
    let Directories { state, cache, runtime, quota } = directories;
    hidden(see, key!("state_dir"), state);
    hidden(see, key!("cache_dir"), cache);
    hidden(see, key!("runtime_dir"), runtime);
    hidden(see, key!("quota"), quota);
}

fn given(see: &mut See<'_>, supplies: &Supplies) {
    #[rustfmt::skip]
    let Supplies {
        env_files, env_unset, env_from_node, env_proxy, env_info, secrets, configs, on_change, splay,
    } = supplies;
    hidden(see, key!("env_files"), env_files);
    hidden(see, key!("env_unset"), env_unset);
    hidden(see, key!("env_from_node"), env_from_node);
    shown(see, key!("env_proxy"), env_proxy);
    hidden(see, key!("env_info"), env_info);
    entries(see, key!("secrets"), secrets);
    entries(see, key!("configs"), configs);
    hidden(see, key!("on_change"), on_change);
    shown(see, key!("splay"), splay);
}

fn resources(see: &mut See<'_>, (memory, cpu, pids, io): (&Memory, &Cpu, &Pids, &Io)) {
    #[rustfmt::skip]
    let Memory {
        max, high, low, min, swap_max, swap_high, zswap_max, zswap_writeback, oom_group, on_oom,
        shm_size,
    } = memory;
    shown(see, key!("memory.max"), max);
    shown(see, key!("memory.high"), high);
    shown(see, key!("memory.low"), low);
    shown(see, key!("memory.min"), min);
    shown(see, key!("memory.swap_max"), swap_max);
    shown(see, key!("memory.swap_high"), swap_high);
    shown(see, key!("memory.zswap_max"), zswap_max);
    shown(see, key!("memory.zswap_writeback"), zswap_writeback);
    shown(see, key!("memory.oom_group"), oom_group);
    hidden(see, key!("memory.on_oom"), on_oom);
    shown(see, key!("memory.shm_size"), &Bytes(*shm_size));
    let Cpu { max, period, burst, weight, idle, uclamp_min, uclamp_max } = cpu;
    shown(see, key!("cpu.max"), max);
    shown(see, key!("cpu.period"), period);
    shown(see, key!("cpu.burst"), burst);
    shown(see, key!("cpu.weight"), weight);
    shown(see, key!("cpu.idle"), idle);
    hidden(see, key!("cpu.uclamp_min"), uclamp_min);
    hidden(see, key!("cpu.uclamp_max"), uclamp_max);
    let Pids { max } = pids;
    shown(see, key!("pids.max"), max);
    let Io { weight, limits, prio_class } = io;
    shown(see, key!("io.weight"), weight);
    entries(see, key!("io.limits"), limits);
    hidden(see, key!("io.prio_class"), prio_class);
}

fn endings(see: &mut See<'_>, restart: &Restart, stop: &Stop, update: &Update) {
    hidden(see, key!("update"), update);
    shown(see, key!("restart.policy"), &restart.policy);
    hidden(see, key!("restart"), &Restart { policy: Restart::default().policy, ..restart.clone() });
    let Stop { signal, timeout, mode, delay } = stop;
    hidden(see, key!("stop.signal"), signal);
    shown(see, key!("stop.timeout"), timeout);
    hidden(see, key!("stop.mode"), mode);
    shown(see, key!("stop.delay"), delay);
}

fn output(see: &mut See<'_>, log: &Log) {
    let Log { to, max_size, keep, max_age, rate, max_line, overflow } = log;
    shown(see, key!("log.to"), to);
    // With no log the process writes to /dev/null itself: its descriptors cannot be changed behind its back.
    let is_none = *to == LogSink::None;
    see(Field { key: "log.to", entry: None, means: Means::Process, value: Value::Hidden(&is_none) });
    shown(see, key!("log.max_size"), &Bytes(*max_size));
    shown(see, key!("log.keep"), keep);
    shown(see, key!("log.max_age"), max_age);
    hidden(see, key!("log.rate"), rate);
    shown(see, key!("log.max_line"), &Bytes(*max_line));
    hidden(see, key!("log.overflow"), overflow);
}

type Key = (&'static str, Means);

fn shown(see: &mut See<'_>, (key, means): Key, value: &dyn Show) {
    see(Field { key, entry: None, means, value: Value::Shown(value) });
}

fn hidden(see: &mut See<'_>, (key, means): Key, value: &dyn Debug) {
    see(Field { key, entry: None, means, value: Value::Hidden(value) });
}

fn entry(see: &mut See<'_>, (key, means): Key, name: &str, value: &dyn Debug) {
    see(Field { key, entry: Some(name), means, value: Value::Hidden(value) });
}

fn entries<'m, N: Borrow<str> + 'm, V: Debug + 'm>(
    see: &mut See<'_>,
    key: Key,
    values: impl IntoIterator<Item = (&'m N, &'m V)>,
) {
    for (name, value) in values {
        entry(see, key, name.borrow(), value);
    }
}
