//! Small forms of strings, as data: each has a name for people, a pattern for JSON Schema and a test of its own.
//!
//! The pattern may take a little more than the test (a number beyond its range), never less.

use std::net::IpAddr;

use crate::Name;
use crate::path::parse_absolute;
use crate::quantity::parse_duration;
use crate::schedule::{Cron, Zone};
use crate::signal::parse_signal;
use crate::spec::Server;

/// A form of string.
#[derive(Debug)]
pub struct Form {
    /// Completes "this is not ...".
    pub noun: &'static str,
    /// What makes it one.
    pub rule: Rule,
}

/// What makes a string one of a form.
#[derive(Debug)]
pub enum Rule {
    /// It is one of these, called so.
    Words(&'static str, &'static [&'static str]),
    /// It is written so.
    Written {
        /// How to write it, for people.
        help: &'static str,
        /// How to write it, for JSON Schema.
        pattern: &'static str,
        /// Whether it is.
        holds: fn(&str) -> bool,
    },
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        self.noun == other.noun
    }
}

impl Eq for Form {}

const fn written(
    noun: &'static str,
    pattern: &'static str,
    holds: fn(&str) -> bool,
    help: &'static str,
) -> Form {
    Form { noun, rule: Rule::Written { help, pattern, holds } }
}

const fn words(noun: &'static str, one: &'static str, words: &'static [&'static str]) -> Form {
    Form { noun, rule: Rule::Words(one, words) }
}

pub(super) static HOOK: Form = words(
    "the name of a hook such as \"pre_start\"",
    "hook",
    &["post_start", "post_stop", "pre_start", "pre_stop"],
);

pub(super) static ENV_INFO: Form = words(
    "one of \"ip\", \"node\" and \"image_digest\"",
    "piece of information",
    &["image_digest", "ip", "node"],
);

pub(super) static DENY: Form = words(
    "a group of system calls such as \"namespaces\"",
    "group of system calls",
    &[
        "af_inet",
        "af_netlink",
        "af_packet",
        "af_unix",
        "af_vsock",
        "bpf",
        "io_uring",
        "keyring",
        "namespaces",
        "perf",
        "personality",
        "realtime",
        "userfaultfd",
        "wx",
    ],
);

pub(super) static MOUNT_OPTION: Form = words(
    "a mount option such as \"noatime\"",
    "mount option",
    &[
        "noatime",
        "nodev",
        "noexec",
        "nosuid",
        "nosymfollow",
        "relatime",
        "rnoatime",
        "rnodev",
        "rnoexec",
        "rnosuid",
        "rnosymfollow",
        "ro",
        "rrelatime",
        "rro",
        "rrw",
        "rw",
    ],
);

pub(super) static HUGE_PAGE: Form = words(
    "a size of huge pages such as \"2M\"",
    "size of huge pages",
    &["64K", "512K", "1M", "2M", "8M", "16M", "32M", "256M", "512M", "1G", "2G", "16G"],
);

pub(super) static SUBSYSTEM: Form = words(
    "a subsystem of devices such as \"tty\"",
    "subsystem",
    &["block", "drm", "hidraw", "input", "media", "sound", "tty", "usb", "video4linux"],
);

pub(super) static PLATFORM: Form = written(
    "a platform such as \"linux/arm64\"",
    "^linux/[a-z0-9]+(/[a-z0-9]+)?$",
    |text| {
        let parts: Vec<_> = text.split('/').collect();
        let plain = |part: &&str| !part.is_empty() && made_of(part, lower);
        matches!(parts.as_slice(), ["linux", rest @ ..] if (1..=2).contains(&rest.len()) && rest.iter().all(plain))
    },
    "write \"linux/amd64\", \"linux/arm64\" or \"linux/arm/v7\"",
);

pub(super) static NUMBER_LIST: Form = written(
    "a list of numbers such as \"0-3,5\"",
    "^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$",
    |text| {
        text.split(',').all(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            matches!((number(from, 8191), number(to, 8191)), (Some(from), Some(to)) if from <= to)
        })
    },
    "write numbers and ranges from low to high, such as \"0-3,5\"",
);

pub(super) static PERCENT: Form = written(
    "a percentage such as \"40%\"",
    "^[0-9]{1,3}%$",
    |text| text.strip_suffix('%').is_some_and(|digits| number(digits, 100).is_some()),
    "write a whole number from \"0%\" to \"100%\"",
);

pub(super) static BANDWIDTH: Form = written(
    "a bandwidth such as \"100mbit\"",
    "^[0-9]{1,9}[kmg]?bit$",
    |text| {
        let digits = text.strip_suffix("bit").map(|rest| rest.trim_end_matches(['k', 'm', 'g']));
        let one_letter = |digits: &str| text.len() - digits.len() <= 4;
        digits.is_some_and(|digits| one_letter(digits) && number(digits, 999_999_999) >= Some(1))
    },
    "write a whole number and kbit, mbit or gbit, a second",
);

pub(super) static PER_SECOND: Form = written(
    "a rate such as \"1000/s\"",
    "^[0-9]{1,9}/(s|m|h)$",
    |text| {
        text.split_once('/').is_some_and(|(count, unit)| {
            matches!(unit, "s" | "m" | "h") && number(count, 999_999_999) >= Some(1)
        })
    },
    "write a whole number and /s, /m or /h",
);

pub(super) static MAC: Form = written(
    "a MAC address such as \"02:00:00:00:00:07\"",
    "^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$",
    |text| {
        let hex = |part: &str| part.len() == 2 && made_of(part, |c| matches!(c, '0'..='9' | 'a'..='f'));
        let first = text.split(':').next().and_then(|part| u8::from_str_radix(part, 16).ok());
        text.split(':').count() == 6 && text.split(':').all(hex) && first.is_some_and(|byte| byte & 1 == 0)
    },
    "write six bytes in lower-case hexadecimal; the first one is even",
);

pub(super) static IPV6: Form = written(
    "an IPv6 address such as \"fd00:1::7\"",
    "^[0-9a-fA-F:.]{2,45}$",
    |text| matches!(text.parse(), Ok(IpAddr::V6(_))),
    "write it as \"fd00:1::7\"",
);

pub(super) static IPV6_NET: Form = written(
    "an IPv6 subnet such as \"fd00:1::/64\"",
    "^[0-9a-fA-F:.]{2,45}/[0-9]{1,3}$",
    |text| is_net(text) && text.contains(':'),
    "write it as \"fd00:1::/64\"",
);

pub(super) static IP: Form = written(
    "an IP address",
    "^[0-9a-fA-F:.]{2,45}$",
    |text| text.parse::<IpAddr>().is_ok(),
    "write it as \"10.89.0.7\" or \"fd00:1::7\"",
);

pub(super) static ROUTE: Form = written(
    "a route such as \"10.9.0.0/16 via 10.0.0.1\"",
    "^[0-9a-fA-F:.]{2,45}/[0-9]{1,3} via [0-9a-fA-F:.]{2,45}$",
    |text| text.split_once(" via ").is_some_and(|(net, via)| is_net(net) && via.parse::<IpAddr>().is_ok()),
    "write \"SUBNET via ADDRESS\"",
);

pub(super) static ADDRESS_RANGE: Form = written(
    "a range of addresses such as \"10.89.0.100-10.89.0.199\"",
    "^[0-9.]{7,15}(-[0-9.]{7,15})?$",
    |text| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        match (from.parse::<std::net::Ipv4Addr>(), to.parse::<std::net::Ipv4Addr>()) {
            (Ok(from), Ok(to)) => from <= to,
            _ => false,
        }
    },
    "write one IPv4 address, or the first and the last with '-' between them",
);

pub(super) static HOST_ADDRESS: Form = written(
    "an IP address or \"gateway\"",
    "^(gateway|[0-9a-fA-F:.]{2,45})$",
    |text| text == "gateway" || text.parse::<IpAddr>().is_ok(),
    "write an address, or \"gateway\" for the node",
);

pub(super) static DNS_OPTION: Form = written(
    "an option of resolv.conf(5) such as \"ndots:2\"",
    "^[a-z0-9-]+(:[0-9]+)?$",
    |text| {
        let (name, value) = text.split_once(':').unwrap_or((text, "0"));
        made_of(name, |c| lower(c) || c == '-') && number(value, 1000).is_some() && text.len() <= 32
    },
    "write it as resolv.conf(5) does",
);

pub(super) static NET_RULE: Form = written(
    "a peer such as \"10.0.0.0/8:443/tcp\" or \"unit:web\"",
    "^(unit:[a-z0-9][a-z0-9-]{0,62}|[^ ]+/[0-9]{1,3}(:[0-9]{1,5}(-[0-9]{1,5})?/(tcp|udp|sctp))?)$",
    is_net_rule,
    "write \"unit:NAME\", \"SUBNET\" or \"SUBNET:PORT/tcp\"",
);

pub(super) static LISTEN: Form = written(
    "a socket such as \"tcp:0.0.0.0:80\"",
    "^((tcp|udp):.+:[0-9]{1,5}|unix:/.+)$",
    |text| match text.split_once(':') {
        Some(("tcp" | "udp", address)) => {
            address.parse::<std::net::SocketAddr>().is_ok_and(|address| address.port() > 0)
        }
        // sun_path of unix(7) has 108 bytes with its NUL.
        Some(("unix", path)) => path.len() < 108 && parse_absolute(path).is_ok(),
        _ => false,
    },
    "write \"tcp:ADDRESS:PORT\", \"udp:ADDRESS:PORT\" or \"unix:/path\"",
);

pub(super) static SERVER: Form = written(
    "a server such as \"db:5432\"",
    "^[a-z0-9][a-z0-9.@-]*:[0-9]{1,5}$",
    |text| Server::parse(text).is_some(),
    "write \"UNIT:PORT\" or \"ADDRESS:PORT\" with an IPv4 address",
);

pub(super) static DEVICE_RULE: Form = written(
    "a rule for devices such as \"c 188:* rw\"",
    "^[bc] (\\*|[0-9]{1,4}):(\\*|[0-9]{1,7}) r?w?m?$",
    |text| {
        let parts: Vec<_> = text.split(' ').collect();
        let one = |part: &str, max| part == "*" || number(part, max).is_some();
        let [kind, numbers, access] = parts.as_slice() else { return false };
        matches!(*kind, "b" | "c")
            && numbers.split_once(':').is_some_and(|(major, minor)| one(major, 4095) && one(minor, 1 << 20))
            && is_access(access)
    },
    "write \"c\" or \"b\", MAJOR:MINOR with '*' for all, and any of r, w and m",
);

pub(super) static DEVICE_ACCESS: Form = written(
    "a way of access such as \"rw\"",
    "^r?w?m?$",
    is_access,
    "write any of r, w and m, in that order",
);

pub(super) static CDI: Form = written(
    "a CDI device such as \"nvidia.com/gpu=0\"",
    "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+=[A-Za-z0-9._:-]+$",
    |text| {
        let word = |part: &str| made_of(part, |c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let device = |part: &str| made_of(part, |c| c.is_ascii_alphanumeric() || "._-:".contains(c));
        let halves = text.split_once('/').and_then(|(vendor, rest)| Some((vendor, rest.split_once('=')?)));
        halves.is_some_and(|(vendor, (class, name))| word(vendor) && word(class) && device(name))
    },
    "write VENDOR/CLASS=DEVICE",
);

pub(super) static HEX_ID: Form = written(
    "an id of four hexadecimal digits such as \"0403\"",
    "^[0-9a-f]{4}$",
    |text| text.len() == 4 && made_of(text, |c| matches!(c, '0'..='9' | 'a'..='f')),
    "write four lower-case hexadecimal digits",
);

pub(super) static IO_PRIORITY: Form = written(
    "a priority such as \"be:4\"",
    "^(idle|(be|rt):[0-7])$",
    |text| match text.split_once(':') {
        Some(("be" | "rt", level)) => number(level, 7).is_some() && level.len() == 1,
        _ => text == "idle",
    },
    "write \"be:LEVEL\" or \"rt:LEVEL\" with a level from 0 to 7, or \"idle\"",
);

pub(super) static TIMEZONE: Form = written(
    "a time zone such as \"Europe/Paris\"",
    "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$",
    |text| Zone::parse(text).is_some(),
    "write \"local\", \"UTC\" or a name of the zone database",
);

pub(super) static CRON: Form = written(
    "a schedule such as \"*/5 * * * *\"",
    "^[0-9*/,-]+( [0-9*/,-]+){4}$",
    |text| Cron::parse(text).is_some(),
    "write minute, hour, day, month and day of the week: numbers, '*', ranges, lists and '/STEP'",
);

pub(super) static WINDOW: Form = written(
    "a time of day such as \"02:00-04:00\"",
    "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$",
    |text| text.split_once('-').is_some_and(|(from, to)| is_clock(from) && is_clock(to) && from != to),
    "write two times with '-' between them",
);

pub(super) static FOLLOW: Form = written(
    "a way to follow an image",
    "^(off|digest|semver:[~^=]?[0-9]+(\\.[0-9]+){0,2})$",
    |text| match text.strip_prefix("semver:") {
        None => matches!(text, "off" | "digest"),
        Some(range) => {
            let range = range.strip_prefix(['^', '~', '=']).unwrap_or(range);
            range.split('.').count() <= 3 && range.split('.').all(|part| number(part, 1 << 31).is_some())
        }
    },
    "write \"off\", \"digest\" or \"semver:^1\"",
);

pub(super) static PRESSURE_ACTION: Form = written(
    "an action",
    "^(log|restart|kill|signal:.+)$",
    |text| match text.strip_prefix("signal:") {
        None => matches!(text, "log" | "restart" | "kill"),
        Some(signal) => parse_signal(signal).is_some(),
    },
    "write \"log\", \"restart\", \"kill\" or \"signal:SIGUSR1\"",
);

pub(super) static KERNEL_FILE: Form = written(
    "the name of a cgroup file such as \"rdma.max\"",
    "^[a-z0-9]+(\\.[a-zA-Z0-9_]+)+$",
    |text| {
        let part = |part: &str| made_of(part, |c| c.is_ascii_alphanumeric() || c == '_');
        text.len() <= 64 && text.contains('.') && text.split('.').all(part) && !text.starts_with("cgroup.")
    },
    "write CONTROLLER.FILE; cgroup.* belongs to berth",
);

pub(super) static NODE_SYSCTL: Form = written(
    "a sysctl such as \"vm.overcommit_memory\"",
    "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)+$",
    |text| {
        let part = |part: &str| made_of(part, |c| c.is_ascii_alphanumeric() || "_-".contains(c));
        text.len() <= 128 && text.contains('.') && text.split('.').all(part)
    },
    "write its dotted name below /proc/sys",
);

pub(super) static KERNEL_PATH: Form = written(
    "a path below /sys",
    "^/sys/.+$",
    |text| text.starts_with("/sys/") && parse_absolute(text).is_ok_and(|path| path == text),
    "write its whole path",
);

pub(super) static ID_MAP: Form = written(
    "a range of ids such as \"0:100000:65536\"",
    "^[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$",
    |text| {
        let numbers: Vec<_> = text.split(':').map(|part| number(part, u64::from(u32::MAX))).collect();
        let [Some(inside), Some(outside), Some(count)] = numbers.as_slice() else { return false };
        *count >= 1 && [inside, outside].into_iter().all(|first| first + count <= u64::from(u32::MAX))
    },
    "write INSIDE:OUTSIDE:COUNT",
);

pub(super) static TIME_OFFSET: Form = written(
    "an offset such as \"+1d\" or \"-30s\"",
    "^[+-]?([0-9]+(d|h|m|s|ms|us))+$",
    |text| parse_duration(text.strip_prefix(['+', '-']).unwrap_or(text)).is_ok(),
    "write a length of time with '+' or '-' before it",
);

pub(super) static KEY_SOURCE: Form = written(
    "where a key comes from",
    "^(tpm|key:[a-z0-9][a-z0-9-]{0,62})$",
    |text| match text.strip_prefix("key:") {
        None => text == "tpm",
        Some(name) => Name::parse_plain(name).is_ok(),
    },
    "write \"tpm\" or \"key:SECRET\"",
);

pub(super) static REGISTRY_HOST: Form = written(
    "a registry's host such as \"registry.example:5000\"",
    "^[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
    |text| {
        let (host, port) = text.split_once(':').unwrap_or((text, "443"));
        host.len() <= 253
            && host.split('.').all(|part| made_of(part, |c| c.is_ascii_alphanumeric() || c == '-'))
            && number(port, 65_535) >= Some(1)
    },
    "write a host name, and ':' and a port if it matters",
);

/// Digits only, and not above the highest.
fn number(text: &str, max: u64) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number <= max)
}

/// At least one character, and all of that kind.
fn made_of(text: &str, kind: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(kind)
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_access(text: &str) -> bool {
    !text.is_empty() && matches!(text, "r" | "w" | "m" | "rw" | "rm" | "wm" | "rwm")
}

fn is_net(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, prefix)| match address.parse() {
        Ok(IpAddr::V4(_)) => number(prefix, 32).is_some(),
        Ok(IpAddr::V6(_)) => number(prefix, 128).is_some(),
        Err(_) => false,
    })
}

fn is_net_rule(text: &str) -> bool {
    if let Some(name) = text.strip_prefix("unit:") {
        return Name::parse(name).is_ok();
    }
    if is_net(text) {
        return true;
    }
    let port = |text: &str| number(text, 65_535).filter(|port| *port > 0);
    let Some((net, ports)) = text.rsplit_once(':') else { return false };
    let Some((ports, protocol)) = ports.split_once('/') else { return false };
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    matches!(protocol, "tcp" | "udp" | "sctp")
        && matches!((port(from), port(to)), (Some(from), Some(to)) if from <= to)
        && is_net(net)
}

fn is_clock(text: &str) -> bool {
    let parts = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2);
    parts.is_some_and(|(hour, minute)| number(hour, 23).is_some() && number(minute, 59).is_some())
}
