//! `[health.NAME]`: from what a file says to a check, and what in it does not fit together.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::codes::{CHECK_PROBE, KEY_WITHOUT_EFFECT, READY_WITHOUT_LOG, UNKNOWN_CHECK};
use crate::fault::Fault;
use crate::keys::CheckDraft;
use crate::nearest::nearest;
use crate::resolve::Origin;
use crate::spec::{Check, Http, LogSink, Probe, Ready, Role, Unit};

/// Keys of which a check has exactly one.
const PROBES: [&str; 4] = ["exec", "http", "grpc", "tcp"];

pub(super) fn checks(
    drafts: &BTreeMap<String, CheckDraft>,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Check> {
    let finish = |(name, draft): (&String, &CheckDraft)| {
        check_effect(name, draft, origin, faults);
        let probe = probe(name, draft, origin, faults)?;
        Some((name.clone(), Check { probe, ..draft.timing.clone() }))
    };
    drafts.iter().filter_map(finish).collect()
}

fn probe(name: &str, draft: &CheckDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Option<Probe> {
    let path = |key: &str| format!("health.{name}.{key}");
    let set: Vec<_> = PROBES.into_iter().filter(|key| origin.spans.has(&path(key))).collect();
    let mut fault = |key: &str, message: String, help: &str| {
        faults.push(Fault::error(CHECK_PROBE, origin.key(&path(key)), message).help(help));
    };
    match (&draft.exec, &draft.http, draft.grpc, draft.tcp) {
        (Some(argv), None, None, None) if argv.first().is_none_or(String::is_empty) => {
            fault("exec", format!("check '{name}' names no program"), "write exec = [\"/bin/program\"]");
            None
        }
        (Some(argv), None, None, None) => Some(Probe::Exec(argv.clone())),
        (None, Some(url), None, None) => http(url, draft).map(Probe::Http),
        (None, None, Some(port), None) => Some(Probe::Grpc(port)),
        (None, None, None, Some(port)) => Some(Probe::Tcp(port)),
        // A probe with a flaw of its own has been reported.
        (None, None, None, None) if !set.is_empty() => None,
        (None, None, None, None) => {
            let help =
                "set one of `exec = [...]`, `http = \"http://:PORT/PATH\"`, `grpc = PORT` and `tcp = PORT`";
            fault("", format!("check '{name}' looks at nothing"), help);
            None
        }
        _ => {
            let message = format!("check '{name}' looks at more than one thing: {}", set.join(", "));
            fault(set.last().copied().unwrap_or_default(), message, "keep one of them, or make two checks");
            None
        }
    }
}

fn http(url: &str, draft: &CheckDraft) -> Option<Http> {
    let (address, port, path) = parse_http(url)?;
    Some(Http {
        address,
        port,
        path: path.to_owned(),
        method: draft.method.unwrap_or("GET").to_owned(),
        headers: draft.headers.clone().unwrap_or_default(),
        expect: draft.expect.as_deref().map_or(Some((200, 399)), parse_status)?,
    })
}

fn check_effect(name: &str, draft: &CheckDraft, origin: &Origin, faults: &mut Vec<Fault>) {
    let path = |key: &str| format!("health.{name}.{key}");
    let mut idle = |key: &str, help: &str| {
        let message = format!("'{key}' has no effect on check '{name}'");
        faults.push(Fault::error(KEY_WITHOUT_EFFECT, origin.key(&path(key)), message).help(help));
    };
    let is_set = |key: &str| origin.spans.has(&path(key));
    if !is_set("http") {
        let keys = ["method", "headers", "expect_status"].into_iter().filter(|key| is_set(key));
        keys.for_each(|key| idle(key, "it belongs to checks with `http`"));
    }
    if draft.timing.role == Role::Ready && is_set("on_failure") {
        idle("on_failure", "a unit whose ready check fails is not ready; a live check can restart it");
    }
}

/// The check of `ready.when` has to be there, and the log of its line.
pub(super) fn check_ready(
    unit: &Unit,
    drafts: &BTreeMap<String, CheckDraft>,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) {
    if matches!(unit.ready, Ready::Log(_)) && unit.log.to == LogSink::None {
        let message = "nobody sees the line that makes it ready: its output is discarded";
        let fault = Fault::error(READY_WITHOUT_LOG, origin.value("ready.when"), message);
        faults.push(fault.related(origin.value("log.to"), "here").help("write log.to = \"ram\""));
    }
    let Ready::Check(name) = &unit.ready else {
        return;
    };
    if drafts.contains_key(name) {
        return;
    }
    let place = origin.value("ready.when");
    let fault = Fault::error(UNKNOWN_CHECK, place, format!("there is no check '{name}'"));
    faults.push(match nearest(name, drafts.keys().map(String::as_str)) {
        Some(near) => fault.help(format!("did you mean \"check:{near}\"?")),
        None => fault.help(format!("add [health.{name}]")),
    });
}

/// Address, port and path of `http://:8080/healthz`; a name would have to be resolved, so none is taken.
pub(crate) fn parse_http(url: &str) -> Option<(Ipv4Addr, u16, &str)> {
    let rest = url.strip_prefix("http://").filter(|_| url.len() <= 2048)?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at)?,
        None => (rest, "/"),
    };
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let address = match host {
        "" if authority.is_empty() => return None,
        "" | "localhost" => Ipv4Addr::LOCALHOST,
        _ => host.parse().ok()?,
    };
    let plain = port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|port| plain && *port != 0)?;
    let is_path = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    is_path.then_some((address, port, path))
}

/// Lowest and highest of `200-399`; of `204` both the same.
pub(crate) fn parse_status(text: &str) -> Option<(u16, u16)> {
    let one = |text: &str| {
        let plain = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|status| plain && (100..=599).contains(status))
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (one(low)?, one(high)?);
    (low <= high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::OnFailure;
    use crate::{SourceFile, parse_set};

    #[test]
    fn urls_of_checks() {
        let local = Ipv4Addr::LOCALHOST;
        for (url, expect) in [
            ("http://:8080/healthz", Some((local, 8080, "/healthz"))),
            ("http://:80", Some((local, 80, "/"))),
            ("http://localhost/a?b=c", Some((local, 80, "/a?b=c"))),
            ("http://10.0.0.7:1/", Some((Ipv4Addr::new(10, 0, 0, 7), 1, "/"))),
            ("http://web:80/", None),
            ("http://:0/", None),
            ("http://:+1/", None),
            ("http://:65536/", None),
            ("http:///x", None),
            ("http://:80/a b", None),
            ("http://:80/a\r\nX: y", None),
            ("https://:80/", None),
            (":80/", None),
        ] {
            assert_eq!(parse_http(url), expect, "{url}");
        }
    }

    /// The codes of a unit with these lines, and its checks.
    fn parse(lines: &str) -> (Vec<u16>, BTreeMap<String, Check>) {
        let file = |path: &str, text: String| SourceFile { path: path.into(), text };
        let web = format!("schema = 1\nimage.ref = \"web\"\n{lines}");
        let checked = parse_set(&[
            file("node.toml", "schema = 1\nhostname = \"n\"\n".into()),
            file("units/web.toml", web),
        ]);
        let codes = checked.diagnostics.iter().map(|diagnostic| diagnostic.code.0).collect();
        let units = checked.declared.map(|declared| declared.units).unwrap_or_default();
        (codes, units.into_values().next().map(|unit| unit.health).unwrap_or_default())
    }

    #[test]
    fn what_does_not_fit_together() {
        for (lines, codes) in [
            ("[health.a]\ntcp = 80\n", &[][..]),
            ("[health.a]\n", &[420]),
            ("[health.a]\ntcp = 80\nexec = [\"/x\"]\n", &[420]),
            ("[health.a]\nexec = [\"\"]\n", &[420]),
            ("[health.a]\ntcp = 80\nmethod = \"HEAD\"\n", &[110]),
            ("[health.a]\ntcp = 80\nrole = \"ready\"\non_failure = \"kill\"\n", &[110]),
            ("[health.a]\ngrpc = 80\n", &[]),
            ("[health.a]\ngrpc = 80\ntcp = 80\n", &[420]),
            ("ready.when = \"check:a\"\n[health.a]\ntcp = 80\n", &[]),
            ("ready.when = \"check:b\"\n[health.a]\ntcp = 80\n", &[421]),
            ("ready.when = \"check:a\"\n[health.a]\nhttp = \"https://:1/\"\n", &[105]),
        ] {
            assert_eq!(parse(lines).0, codes, "{lines}");
        }
    }

    #[test]
    fn a_check_with_every_key() {
        let (codes, checks) = parse(
            "[health.up]\nhttp = \"http://:8080/up\"\nmethod = \"HEAD\"\nheaders = [\"Accept: */*\"]\n\
             expect_status = 204\nrole = \"startup\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nfailures = 9\n\
             successes = 2\nstart_period = \"1m\"\nstart_interval = \"200ms\"\non_failure = \"kill\"\n",
        );
        assert!(codes.is_empty(), "{codes:?}");
        let http = Http {
            address: Ipv4Addr::LOCALHOST,
            port: 8080,
            path: "/up".to_owned(),
            method: "HEAD".to_owned(),
            headers: vec!["Accept: */*".to_owned()],
            expect: (204, 204),
        };
        let expect = Check {
            probe: Probe::Http(http),
            role: Role::Startup,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            failures: 9,
            successes: 2,
            start_period: Duration::from_secs(60),
            start_interval: Duration::from_millis(200),
            on_failure: OnFailure::Kill,
        };
        assert_eq!(checks.get("up"), Some(&expect));
    }

    #[test]
    fn ranges_of_status() {
        for (text, expect) in [
            ("200", Some((200, 200))),
            ("200-399", Some((200, 399))),
            ("399-200", None),
            ("99", None),
            ("600", None),
            ("+20", None),
            ("", None),
            ("200-", None),
        ] {
            assert_eq!(parse_status(text), expect, "{text}");
        }
    }
}
