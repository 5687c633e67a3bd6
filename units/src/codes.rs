//! Every number a diagnostic can bear, with what it means. Append only: tools and people remember them.
//!
//! BU00xx files, BU01xx keys and values, BU02xx references, BU03xx networks and ports, BU04xx what no container
//! can be, BU05xx the node.

use crate::diagnostic::Code;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Explanation {
    /// The number.
    pub code: Code,
    /// A few words.
    pub title: &'static str,
    /// What it means and what to do about it.
    pub text: &'static str,
}

/// The row of a number.
pub fn explain(code: Code) -> Option<&'static Explanation> {
    EXPLANATIONS.iter().find(|row| row.code == code)
}

macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, $text:literal;)*) => {
        $(#[doc = $title] pub(crate) const $name: Code = Code($number);)*
        /// The table, in order of the number.
        pub const EXPLANATIONS: &[Explanation] =
            &[$(Explanation { code: $name, title: $title, text: $text }),*];
    };
}

codes! {
    SYNTAX = 1, "not TOML",
        "The file breaks a rule of TOML 1.1. Nothing else in it is looked at until it does not.";
    FILE_TOO_LARGE = 2, "file too large",
        "A unit file has at most 256 KiB. Large data belongs in an image or a volume.";
    TOO_MANY_FILES = 3, "too many files",
        "A set has at most 1024 files.";
    FILE_NAME = 4, "bad file name",
        "A unit file is called NAME.toml. NAME has 1 to 63 of a-z, 0-9 and '-' and begins with a letter or a digit, \
         because it is also a host name, a cgroup and a folder. NAME@.toml is a template, NAME@INSTANCE.toml an \
         instance of it, NAME.d/ANY.toml a drop-in.";
    DUPLICATE_FILE = 5, "two files for one name",
        "Two files of the set have the same name, so one of them would silently win.";
    MORE_FAULTS = 6, "more faults than are shown",
        "A hundred faults of one file are shown. Mend those first.";
    NESTING = 7, "nested too deeply",
        "No key needs more than a handful of tables around it.";
    ORPHAN = 8, "drop-in of nothing",
        "The files in NAME.d are laid over the unit NAME, and NAME@INSTANCE.toml over the template NAME@.toml. Without \
         that unit they would silently do nothing.";
    UNSET = 9, "nothing to take out",
        "`unset` of a drop-in names a key that the unit does not have, so it would do nothing. In _all.d, which is laid \
         over all containers, it may.";
    TEMPLATE = 10, "template that makes no unit",
        "NAME@.toml makes a container NAME@INSTANCE for each of its instances, each named once. The whole name has at \
         most 63 characters.";
    NOT_TEXT = 11, "not UTF-8",
        "A unit file is text in UTF-8. What is not becomes U+FFFD when it is read, and nobody could tell what was meant: a \
         file that holds it is refused. Save the file as UTF-8; `iconv -f latin1 -t utf-8` turns many into it.";
    UNKNOWN_KEY = 101, "unknown key",
        "No such key exists at this place. Keys that do nothing are refused, because a setting that is silently \
         ignored is found only when it is needed.";
    UNSUPPORTED_KEY = 102, "key not supported yet",
        "The key is part of the schema, but this version of berth does not carry it out.";
    MISSING_KEY = 103, "missing key",
        "The key has no default that could be right.";
    WRONG_TYPE = 104, "wrong type",
        "The value is of another TOML type than the key takes: often quotes that are missing or too many.";
    BAD_VALUE = 105, "bad value",
        "The value is of the right type but is not written the way the key takes it.";
    OUT_OF_RANGE = 106, "value out of range",
        "The value is below or above what the key takes.";
    UNKNOWN_WORD = 107, "unknown word",
        "The key takes one of a few words.";
    ENTRY_NAME = 108, "bad name of a table",
        "The name is chosen freely, but only of the characters that this kind of name may have.";
    MOUNT_SOURCE = 109, "mount without one source",
        "A mount has exactly one of `volume`, `bind`, `image` and `tmpfs = true`.";
    KEY_WITHOUT_EFFECT = 110, "key without effect",
        "The key belongs to another choice than the one made beside it, so it would do nothing.";
    SCHEMA = 111, "unknown schema",
        "`schema` says which version of the rules a file follows. This version of berth knows schema 1.";
    KIND = 112, "unknown kind",
        "`kind` is container (the default), config, network, secret or volume; node.toml is the node.";
    UNKNOWN_UNIT = 201, "no such unit",
        "A unit depends on one that no file of the set declares.";
    WRONG_KIND = 202, "reference to another kind",
        "The name exists, but it is not of the kind that is needed here.";
    SELF_DEPENDENCY = 203, "depends on itself",
        "A unit that waits for itself never starts.";
    CYCLE = 204, "dependency cycle",
        "Each unit of the loop waits for the next, so none would start. Take one of the dependencies away, or let \
         the application retry instead.";
    UNKNOWN_NETWORK = 205, "no such network",
        "A unit joins a network that no file of the set declares. Only `default` exists without a file.";
    WAITS_FOR_IDLE = 206, "depends on a unit that does not start by itself",
        "The unit it waits for is disabled or only started by hand, so it waits until somebody does that.";
    CONFLICT_AT_BOOT = 207, "two that conflict start at boot",
        "Units that conflict never run together, so only one of them can start with the node. The other is started \
         by hand.";
    CHAIN_LOOP = 208, "units that start each other without end",
        "on_failure and on_success lead back to where they began, so the units could start each other for ever.";
    CONFLICT_AND_ORDER = 209, "a unit that waits for one it conflicts with",
        "The one would have to run for the other to start, and to be gone for it to start.";
    UNKNOWN_SUPPLY = 220, "no such secret or config",
        "A unit is given a secret or a config that no file of the set declares.";
    OVERLAP = 301, "overlapping subnets",
        "Two networks of one node cannot share addresses: the kernel would not know where to send a packet.";
    FIXED_ADDRESS = 302, "fixed address that cannot be",
        "A fixed address lies in the network's subnet and is not its first (network), its last (broadcast) or \
         the gateway's.";
    HOST_PORT = 303, "host port published twice",
        "Two published ports, or a port and a socket, have the same protocol and number on the same address of the \
         node, or two sockets the same path.";
    ADDRESS_TWICE = 304, "fixed address used twice",
        "Two units want the same address on one network.";
    PORT_WITHOUT_BRIDGE = 305, "published port without a bridge",
        "With network.mode host the ports are the node's already; with none nothing could arrive.";
    NETWORK_WITHOUT_BRIDGE = 306, "network without a bridge",
        "Only a unit in network.mode bridge joins networks.";
    ALIAS = 307, "alias that is taken",
        "Another unit on the same network answers to this name, so the name has several addresses. An instance \
         NAME@INSTANCE answers to NAME-INSTANCE.";
    NO_SUBNET = 308, "no subnet left",
        "The networks that declare a subnet leave no free /24 in 10.89.0.0 to 10.95.255.255 for one that does not.";
    GATEWAY = 309, "gateway that cannot be",
        "A gateway lies in the subnet and is neither its first nor its last address.";
    NETWORK_FULL = 310, "network too small",
        "More units join the network than its subnet has addresses.";
    INTERNAL_PORT = 311, "published port of an internal network",
        "The unit's first network is internal: nothing from outside reaches the port.";
    HOSTNAME_TWICE = 312, "host name used twice",
        "Two containers say that they are the same host. Nothing breaks, but logs and prompts do not tell them apart. In a \
         template write {instance} into the name.";
    NETWORK_OWNER = 313, "network of somebody who has none to share",
        "A unit shares the network namespace of one that has its own, and ends and starts with it: on a network that has \
         gone with its owner nothing would be reached.";
    SOCKET_PATH = 320, "path that no socket can have",
        "A unix socket of a unit lies below /run, where nothing lasts, and not among berth's own files.";
    SOCKET_NUMBER = 321, "descriptor used twice",
        "The sockets of a unit are its descriptors from 3 on; the one of ready.when comes behind them.";
    CAPABILITY_BOTH = 401, "capability added and dropped",
        "A capability is in cap_add and in cap_drop. Say which one is meant.";
    UPPER_UNUSED = 402, "writable layer of a read-only root",
        "rootfs.upper, rootfs.size and rootfs.persist are about where writes to the root go; with rootfs.read_only there are none.";
    SYSCTL_SHARED = 403, "sysctl of the node",
        "net.* belongs to the container only when it has a network namespace of its own.";
    MOUNT_TARGET = 404, "mount target that cannot be",
        "/, /proc, /sys and what lies below them, and /dev itself, are made by the runtime: a mount there would \
         open the container or hide what programs need.";
    MOUNT_TWICE = 405, "two mounts on one target",
        "The later one would hide the other.";
    LIMITS_ORDER = 406, "limits in the wrong order",
        "memory.min <= memory.low <= memory.high <= memory.max, else the larger one never has an effect.";
    STOP_LONGER = 407, "stop longer than the node waits",
        "At a shutdown the node kills what is left after its stop_timeout, before the unit's own time is over.";
    BIND_IN_VOLUME = 408, "bind that leads through a volume",
        "What lies in a volume is its units' to change: a link that one of them puts there would lead the bind anywhere \
         on the node. A volume that is mounted by name is never left.";
    CPU_QUOTA = 409, "processor time that the kernel refuses",
        "The kernel takes a quota (cpu.max of every cpu.period) of 1 ms or more, and no cpu.burst above it.";
    OVERCOMMIT = 411, "more memory promised than there is",
        "memory.min is memory that is kept for a unit whatever the others need. Those that start with the node are \
         promised more than it has, so under pressure the promise is not kept.";
    BEYOND_NODE = 412, "limit beyond the node",
        "The limit is larger than what the node has, so it limits nothing.";
    PROGRAM = 413, "program of a service that is no path",
        "A service runs a program of the OS image, which is named by its absolute path, without `.` and `..`.";
    CHECK_PROBE = 420, "check without one way to look",
        "A check has exactly one of `exec`, `http`, `grpc` and `tcp`.";
    UNKNOWN_CHECK = 421, "no such check",
        "ready.when names a check that the unit does not have.";
    RELOAD_WAY = 422, "nothing to run",
        "A reload has exactly one of `signal` and `exec`, and a program to execute is named.";
    HOOK_PLACE = 423, "hook beside a process that is not there",
        "pre_start runs before there is a process of the unit and post_stop when there is none any more, so both run in a \
         container of their own.";
    READY_WITHOUT_LOG = 424, "readiness by a log that is not kept",
        "ready.when log:PATTERN looks for a line of the unit's log, and log.to none discards all lines.";
    WAIT_PATH = 430, "path that nobody tells about",
        "The kernel sends no event when a file appears below /proc or /sys, so nobody could wait for it. Use \
         conditions.path_exists, or wait for the device itself.";
    NO_SERVER = 431, "server that cannot be reached",
        "wait_for.tcp connects from the node to the unit's address, and a unit with network.mode none has no address.";
    RAW_HAS_KEY = 440, "file of the cgroup that has a key",
        "The file is written by a key of its own, so the two would contradict each other. Use the key.";
    PARTITION_CPUS = 441, "partition without processors of its own",
        "cpuset.partition takes the processors of cpuset.cpus away from all others, so it has to say which ones.";
    SCHEDULER = 442, "scheduler that cannot be",
        "fifo and rr need a priority from 1 to 99; deadline needs runtime <= deadline <= period. Policies without them \
         are other, batch and idle.";
    DEVICE_SOURCE = 443, "device without a source",
        "A device is named by its path on the node.";
    DEVICE_TARGET = 444, "device in the place of another",
        "Each device has a path of its own below /dev, where every container has some already.";
    PRESSURE_WINDOW = 445, "pressure beyond its window",
        "The threshold is a part of the window: pressure that never comes would never be acted upon.";
    MOUNT_OPTIONS = 450, "mount options that contradict",
        "Two options of a mount exclude each other, or an option its key: \"ro\" and \"rw\", \"noexec\" and exec = true.";
    OWN_VOLUME = 451, "volume of a unit's own that cannot be made",
        "state_dir, cache_dir, runtime_dir, a root on disk and image.volumes = \"volume\" each make a volume \
         UNIT@PURPOSE, which is named like the unit, - in place of @, and has at most 63 characters.";
    ROOT_NOWHERE = 452, "writable root without a layer",
        "rootfs.upper = \"none\" is a root that nothing can be written to.";
    CONFIG_SOURCE = 460, "configuration without one source",
        "A configuration has exactly one of `content` and `file`, and that of a unit may have `source` in their place.";
    FILE_TWICE = 461, "two files on one target",
        "The later one would hide the other.";
    CONFIG_TEMPLATE = 462, "fault in a template",
        "A template is text with holes: {{ unit }}, {{ node }}, {{ ip }}, {{ env.NAME }} and {{ secret.NAME }}, where \
         NAME is an entry of the unit's [secrets]. {{{{ stands for two braces.";
    SECRET_NOT_ALLOWED = 463, "secret that is not for this unit",
        "`allow` of a secret names the units that may have it, and this one is not among them.";
    SECRET_ON_DISK = 464, "secret that lies on the disk",
        "What lies below /data outlives the node's power: whoever has the disk has the secret. Secrets of source node \
         and files on a file system in RAM do not.";
    SUPPLY_PATH = 465, "file that cannot be given",
        "What lies in a volume is its units' to change: a link that one of them puts there would lead anywhere on the \
         node. Below /proc and /sys nobody tells when a file changes.";
    SECRET_PATH = 466, "secret without its file",
        "A secret of source file needs the path of its file, and no other source has one.";
    SCHEDULE_TIME = 470, "schedule without a time",
        "A schedule has at least one of `cron`, `every` and `on_boot`. A job that only runs when it is asked for has none.";
    CRON_NEVER = 471, "schedule that never comes",
        "The day does not exist in any year, such as 31 February, so the job would silently never run.";
    SCHEDULE_JITTER = 472, "jitter as long as the schedule",
        "With a jitter as long as schedule.every, a run could be due after the one that follows it.";
    NO_NODE = 501, "no node.toml",
        "Without node.toml the node is called `berth` and gets its address by DHCP.";
    UPLINK_KEYS = 502, "uplink keys that do not fit its mode",
        "address, gateway and dns belong to mode static, which needs an address.";
    UPLINK_OVERLAP = 503, "uplink inside a network",
        "The node's own address lies in the subnet of one of its networks, or the gateway outside the node's.";
    NO_IMAGE = 504, "image that the node does not have",
        "Images come with the OS image of a node. Add the image's archive to images/ of the appliance and build anew; \
         what runs goes on meanwhile.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ascending_and_explained() {
        assert!(EXPLANATIONS.is_sorted_by(|a, b| a.code < b.code));
        for row in EXPLANATIONS {
            assert!(!row.title.is_empty() && row.text.ends_with('.'), "{}", row.code);
            assert_eq!(explain(row.code).map(|found| found.title), Some(row.title));
        }
        assert_eq!(UNKNOWN_KEY.to_string(), "BU0101");
    }
}
