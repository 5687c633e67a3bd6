//! Keys without effect yet: of each of them values that are taken and refused as planned only, and values that are
//! refused for themselves. Both are made from the shape, of which the table below has samples.

use super::*;
use crate::human;

/// A form by its name, strings that are of it, strings that are not.
type Sample = (&'static str, &'static [&'static str], &'static [&'static str]);

pub(in crate::keys) const FORMS: &[Sample] = &[
    ("the name of a hook", &["pre_start"], &["start", "pre-start"]),
    ("one of \"ip\"", &["ip", "image_digest"], &["IP", "address"]),
    ("a group of system calls", &["namespaces", "wx"], &["all", ""]),
    ("a mount option", &["noatime", "ro"], &["suid,", "defaults"]),
    ("a size of huge pages", &["2M", "1G"], &["3M", "2m"]),
    ("a subsystem", &["tty"], &["TTY", "net"]),
    ("a platform", &["linux/arm64", "linux/arm/v7"], &["arm64", "linux/", "linux/a/b/c"]),
    ("a list of numbers", &["0-3,5", "7"], &["3-0", "0,", "-1", "0-9999"]),
    ("a percentage", &["40%", "0%", "100%"], &["101%", "40", "%", "4.5%"]),
    ("a bandwidth", &["100mbit", "8bit", "1gbit"], &["100", "0mbit", "100mbits", "1kmbit"]),
    ("a rate", &["1000/s", "1/h"], &["1000", "0/s", "5/d"]),
    ("a MAC address", &["02:00:00:00:00:07"], &["03:00:00:00:00:07", "02:00:00:00:07", "02-00-00-00-00-07"]),
    ("an IPv6 address", &["fd00:1::7", "::1"], &["10.0.0.1", "fd00::1::2"]),
    ("an IPv6 subnet", &["fd00:1::/64"], &["fd00:1::", "10.0.0.0/8", "fd00::/129"]),
    ("an IP address or", &["gateway", "10.0.0.1", "fd00::1"], &["Gateway", "10.0.0"]),
    ("an IP address", &["10.0.0.1", "fd00::1"], &["localhost", "10.0.0.256"]),
    ("a route", &["10.9.0.0/16 via 10.0.0.1", "::/0 via fd00::1"], &["10.9.0.0/16", "default via 10.0.0.1"]),
    ("a range of addresses", &["10.89.0.100-10.89.0.199", "10.89.0.9"], &["10.89.0.9-10.89.0.1", "10.89.0"]),
    ("an option of resolv", &["ndots:2", "rotate"], &["ndots:", "NDOTS:2", "a b"]),
    (
        "a peer",
        &["10.0.0.0/8:443/tcp", "10.0.0.0/8", "unit:web", "10.0.0.0/8:80-90/udp", "fd00::/8:53/udp"],
        &["10.0.0.1", "unit:Web", "10.0.0.0/8:0/tcp", "10.0.0.0/8:443", "10.0.0.0/8:9-8/tcp"],
    ),
    ("a socket", &["tcp:0.0.0.0:80", "tcp:[::]:80", "unix:/run/x.sock"], &["0.0.0.0:80", "tcp:80", "unix:x"]),
    ("a server", &["db:5432", "10.0.0.1:1"], &["db", "db:0", "db:65536", ":80", "[::1]:80", "db:+80"]),
    ("a rule for devices", &["c 188:* rw", "b *:* rwm"], &["c 188 rw", "d 1:1 r", "c 1:1 wr", "c 1:1 "]),
    ("a way of access", &["rw", "r", "rwm"], &["wr", "", "x"]),
    ("a CDI device", &["nvidia.com/gpu=0", "example.com/card=all"], &["gpu=0", "nvidia.com/gpu", "a/b=c d"]),
    ("an id of four", &["0403", "1a86"], &["403", "0X03", "1A86"]),
    ("a priority", &["be:4", "rt:0", "idle"], &["be:8", "idle:1", "be", "be:04"]),
    ("a time zone", &["local", "UTC", "Europe/Paris"], &["Europe/", "../etc", "a b"]),
    (
        "a schedule",
        &["*/5 * * * *", "0 2 1,15 1-6 0", "0-30/10 8-18 * * 7"],
        &["* * * *", "60 * * * *", "*/0 * * * *", "@daily", "5-1 * * * *", "0 0 0 * *"],
    ),
    ("a time of day", &["02:00-04:00", "23:30-01:00"], &["2-4", "24:00-01:00", "02:00-02:00", "02:60-03:00"]),
    (
        "a way to follow",
        &["off", "digest", "semver:^1", "semver:1.2.3"],
        &["on", "semver:", "semver:1.2.3.4"],
    ),
    ("an action", &["log", "kill", "signal:SIGUSR1"], &["stop", "signal:", "signal:SIGNONE"]),
    ("the name of a cgroup file", &["rdma.max", "misc.max"], &["cgroup.kill", "rdma", "../x.max"]),
    ("a path below /sys", &["/sys/class/x"], &["/proc/x", "/sys/../x", "/sys/"]),
    ("a sysctl", &["vm.overcommit_memory"], &["vm", "vm/x", "vm..x"]),
    ("a range of ids", &["0:100000:65536"], &["0:1", "0:0:0", "0:4294967295:2", "-1:0:1"]),
    ("an offset", &["+1d", "-30s", "0s"], &["1", "+", "--1s"]),
    ("where a key", &["tpm", "key:disk"], &["TPM", "key:", "key:Disk"]),
    ("a registry's host", &["registry.example:5000", "localhost"], &["https://x", "a:0", "a:65536", "a_b"]),
];

fn quote(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| format!("{text:?}")).collect()
}

/// Values, as TOML, that a text of this kind is and is not, and the code of the fault.
fn text_samples(text: Text) -> (Vec<String>, Vec<String>, u16) {
    let (good, bad, code): (&[&str], &[&str], _) = match text {
        Text::Form(form) => {
            let (_, good, bad) = FORMS.iter().find(|(noun, ..)| form.noun.starts_with(noun)).unwrap();
            (good, bad, 105)
        }
        Text::Any | Text::Value => return (quote(&["any"]), vec!["{}".to_owned()], 104),
        Text::Line => (&["one line"], &["two\nlines"], 105),
        Text::Url => (&["https://example.com/x"], &["no scheme"], 105),
        Text::Path | Text::Workdir => (&["/var/lib/x"], &["var", "/a/../b"], 105),
        Text::Subpath => (&["a/b"], &["/a", "../a"], 105),
        Text::Device => (&["/dev/vda"], &["/etc/x", "/dev"], 105),
        Text::Entry => (&["default"], &["Default", ""], 105),
        Text::Unit => (&["other", "other@a"], &["Other", "a@", "@a"], 105),
        Text::EnvName => (&["HTTP_PROXY"], &["9X", "A B"], 105),
        Text::User => (&["1000:1000", "www-data"], &["a:b:c"], 105),
        Text::Label => (&["team"], &["a b"], 105),
        Text::Hostname => (&["host.example"], &["-x", "a b"], 105),
        Text::Interface => (&["eth1"], &["a/b", "lo"], 105),
        Text::KernelWord => (&["dummy.numdummies=2"], &["two words"], 105),
        other => panic!("no sample of {other:?}"),
    };
    (quote(good), quote(bad), code)
}

/// Values, as TOML, that a shape takes and does not take, and the code of the fault.
fn samples(shape: &Shape) -> (Vec<String>, Vec<String>, u16) {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (good, bad, code): (&[&str], &[&str], _) = match shape {
        Shape::Text(text) => return text_samples(*text),
        Shape::List(text) => {
            let (good, bad, code) = text_samples(*text);
            let listed = |texts: Vec<String>| texts.iter().map(|text| format!("[{text}]")).collect();
            return (vec![format!("[{}]", good.join(", ")), "[]".to_owned()], listed(bad), code);
        }
        Shape::Int { min, max } => {
            let bad = [max.checked_add(1), min.checked_sub(1)].into_iter().flatten();
            let good = vec![min.to_string(), max.to_string()];
            return (good, bad.map(|number| number.to_string()).collect(), 106);
        }
        Shape::Ints { min, max } => {
            return (vec![format!("[{min}, {max}]")], vec![format!("[{}]", max + 1)], 106);
        }
        Shape::Words(words) => {
            let good = words.iter().map(|choice| format!("{:?}", choice.word.replace("NAME", "other")));
            return (good.collect(), owned(&["\"no such word\""]), 107);
        }
        Shape::Duration { min, max } => {
            let good = [*min, *max].map(|span| format!("{:?}", human::duration(span)));
            return (good.to_vec(), owned(&["\"1.5s\"", "\"\"", "\"10\"", "\"30s1m\""]), 105);
        }
        Shape::Bool => (&["true", "false"], &["0", "\"true\""], 104),
        Shape::Ratio => (&["0.1", "1", "0"], &["1.1", "2"], 105),
        Shape::Size { .. } => (&["\"1M\"", "65536"], &["\"1 M\"", "\"1.5G\"", "\"256MB\""], 105),
        Shape::Amount => (&["\"25%\"", "\"max\"", "4096", "\"1G\""], &["\"101%\"", "-1", "\"much\""], 105),
        Shape::Cpus => (&["1.5", "\"2\"", "1"], &["\"1500m\"", "0.0001"], 105),
        Shape::Mode => (&["\"0640\""], &["\"0999\"", "\"rwx\""], 105),
        Shape::Signal => (&["\"SIGHUP\"", "\"SIGRTMIN+3\"", "1"], &["\"SIGNONE\"", "0"], 105),
        Shape::Reference => (&["\"shop/web:1\""], &["\"Shop/web\""], 105),
        Shape::Name => (&["\"other\""], &["\"Other\"", "\"\""], 105),
        Shape::Ipv4 => (&["\"10.0.0.1\""], &["\"10.0.0\"", "\"::1\""], 105),
        Shape::Ipv4Net => (&["\"10.0.0.1/24\""], &["\"10.0.0.1\"", "\"10.0.0.1/33\""], 105),
        Shape::Port => (&["80", "\"9000-9010\""], &["\"9010-9000\"", "\"80\""], 105),
        Shape::Files => (
            &["[{ path = \"/etc/x.env\", required = false }]", "[]"],
            &["[{ path = \"x\" }]", "[{ required = true }]", "[{ path = \"/x\", mode = 1 }]"],
            105,
        ),
        Shape::Userns => (
            &["\"auto\"", "\"host\"", "{ uid = [\"0:100000:65536\"], gid = [\"0:100000:65536\"] }"],
            &["\"none\"", "{ uid = [] }", "{ uid = [\"0\"], gid = [] }"],
            105,
        ),
        other => panic!("no sample of {other:?}"),
    };
    (owned(good), owned(bad), code)
}

/// The path with a name in place of `*`.
fn concrete(row: &Row) -> String {
    let Some((parent, _)) = row.path.split_once(".*") else { return row.path.to_owned() };
    let section = table().iter().find(|other| (other.kind, other.path) == (row.kind, parent)).unwrap();
    let (names, ..) = text_samples(section.entries.unwrap());
    row.path.replace('*', &names[0])
}

/// What else the tables around a key cannot do without.
fn company(row: &Row) -> String {
    let mut lines = String::new();
    for other in
        rows().iter().filter(|other| other.kind == row.kind && other.required && other.path != row.path)
    {
        let table = other.path.rsplit_once('.').map_or("", |(table, _)| table);
        let shape = other.shape.as_ref().unwrap();
        let near = table.is_empty() || row.path.starts_with(&format!("{table}."));
        if near && !matches!(shape, Shape::Header(_)) && other.path != "image.ref" {
            lines += &format!("{} = {}\n", concrete(other), samples(shape).0[0]);
        }
    }
    if row.path.starts_with("mounts.") {
        lines += "mounts.default.volume = \"v\"\n";
    }
    if row.path.starts_with("devices.") {
        lines += "devices.default.source = \"/dev/vda\"\n";
    }
    if row.path.starts_with("health.") {
        lines += "health.default.http = \"http://:80/\"\n";
    }
    lines
}

/// Every planned key with one value: kind, path, its lines, the code of the fault, and whether the value is good.
pub(in crate::keys) fn fragments() -> Vec<(&'static str, &'static str, String, Option<u16>)> {
    let mut all = Vec::new();
    // The rows of a service are those of a container.
    let planned = |row: &Row| row.shape.is_some() && row.effect == Effect::Planned && row.kind != "service";
    for row in table().iter().filter(|row| planned(row)) {
        let shape = row.shape.clone().unwrap();
        if matches!(shape, Shape::Header(_)) || CASES.iter().any(|(kind, cases)| has_case(kind, cases, row)) {
            continue;
        }
        let (good, bad, code) = samples(&shape);
        let lines = |value: &String| format!("{} = {value}\n{}", concrete(row), company(row));
        all.extend(good.iter().map(|value| (row.kind, row.path, lines(value), None)));
        all.extend(bad.iter().map(|value| (row.kind, row.path, lines(value), Some(code))));
    }
    all
}

fn has_case(kind: &str, cases: &[Case], row: &Row) -> bool {
    kind == row.kind && cases.iter().any(|case| pattern(kind, case.0) == row.path)
}

#[test]
fn every_planned_key_is_checked_and_refused() {
    let mut seen = 0;
    for (kind, path, lines, code) in fragments() {
        let checked = set_with(kind, &lines);
        let codes: Vec<_> = checked.diagnostics.iter().map(|found| found.code.0).collect();
        assert!(
            codes.iter().any(|code| [102, 112].contains(code)),
            "{kind} {path} would silently do nothing: {lines}"
        );
        let others: Vec<_> = codes.into_iter().filter(|code| ![102, 112].contains(code)).collect();
        assert_eq!(others, Vec::from_iter(code), "{kind} {path}: {lines}{:#?}", checked.diagnostics);
        assert_eq!(checked.declared, None);
        seen += 1;
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn every_form_has_its_own_samples() {
    for (noun, good, bad) in FORMS {
        assert!(!good.is_empty() && !bad.is_empty(), "{noun}");
    }
}
