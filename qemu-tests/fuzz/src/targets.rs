//! What bytes are thrown at.

use berth_units::diagnostic::Severity;
use berth_units::observed::{Moment, Observed, Seen};
use berth_units::plan::{next_wake, plan};
use berth_units::wire::control::parse_call;
use berth_units::wire::init::{ToInit, ToSupervisor};
use berth_units::wire::{mux, session};
use berth_units::{SourceFile, parse_set};

use crate::images;
use crate::signed;

/// A reader of bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What reads.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "units", run: units, seeds: UNITS },
    Target { name: "call", run: call, seeds: CALLS },
    Target { name: "frames", run: frames, seeds: &["\u{1}\0\0\0\u{3}abc", "\0\0\0\u{1}\u{1}\0\u{2}ab"] },
    Target { name: "images", run: images::images, seeds: images::IMAGES },
    Target { name: "challenges", run: images::challenge, seeds: images::CHALLENGES },
    Target { name: "layers", run: images::layer, seeds: images::LAYERS },
    Target { name: "stores", run: images::index, seeds: images::STORES },
    Target { name: "records", run: records, seeds: &["\u{3}"] },
    Target { name: "minisign", run: signed::minisign, seeds: signed::MINISIGN },
    Target { name: "cosign", run: signed::cosign, seeds: signed::COSIGN },
    Target { name: "bundle", run: signed::bundle, seeds: signed::BUNDLE },
];

/// Before each file of a set stands a line with its name behind this.
const FILE: &str = "#file ";

const UNITS: &[&str] = &[
    include_str!("../../../examples/edge-gateway/units/cache.toml"),
    include_str!("../../../examples/edge-gateway/units/web.toml"),
    concat!(
        "#file node.toml\nschema = 1\nhostname = \"edge\"\n",
        "#file apps.toml\nschema = 1\nkind = \"network\"\nipv4.subnet = \"10.9.0.0/24\"\n",
        "#file data.toml\nschema = 1\nkind = \"volume\"\nsize = \"1G\"\n",
        "#file db.toml\nschema = 1\n[image]\nref = \"db:1@sha256:0000\"\n[networks.apps]\nipv4 = \"10.9.0.7\"\n",
        "[mounts.data]\nvolume = \"data\"\ntarget = \"/data\"\n",
        "#file web.toml\nschema = 1\nimage.ref = \"web\"\n[depends.db]\nuntil = \"healthy\"\n",
        "[health.a]\nhttp = \"http://:80/\"\ninterval = \"1m30s\"\n[ports.http]\nhost = 80\ncontainer = 8080\n",
    ),
    concat!(
        "#file w@.toml\nschema = 1\ninstances = [\"a\"]\nimage.ref = \"x\"\nenv.A = \"{instance} {{name}}\"\n",
        "#file _all.d/1.toml\nmemory.max = \"1G\"\n#file w@.d/1.toml\nenv = { B = \"{name}\" }\n",
        "#file w@b.toml\nunset = [\"env.B\"]\n#file w@b.d/x.toml\nschema = 1\nports.p = { host = 1, container = 1 }\n",
        "#file node.toml\nschema = 1\n#file node.d/1.toml\nhostname = \"n\"\n",
    ),
    "#file a.toml\nschema = 1\nimage.ref = \"x\"\nafter = [\"b\"]\n#file b.toml\nschema = 1\nimage.ref = \"x\"\ndepends.a = {}\n",
];

const CALLS: &[&str] = &[
    r#"{"method":"io.berth.Control.Status"}"#,
    r#"{"method":"io.berth.Control.Stop","parameters":{"unit":"web"}}"#,
    r#"{"method":"io.berth.Control.Exec","parameters":{"unit":"web","argv":["sh"],"env":{"A":"b"},"tty":[24,80]},"upgrade":true}"#,
    r#"{"method":"org.varlink.service.GetInfo","parameters":{},"oneway":true}"#,
];

/// A whole set: every fault has a place, what is valid can be planned, and a plan of nothing starts.
fn units(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut files: Vec<SourceFile> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix(FILE), files.last_mut()) {
            (Some(name), _) => {
                files.push(SourceFile { path: name.trim_end().to_owned(), text: String::new() })
            }
            (None, Some(file)) => file.text.push_str(line),
            (None, None) => files.push(SourceFile { path: "unit.toml".to_owned(), text: line.to_owned() }),
        }
    }
    let checked = parse_set(&files);
    for found in &checked.diagnostics {
        assert!(found.line >= 1 && found.column >= 1, "{found}");
        assert!(!found.message.is_empty() && !found.message.contains('\n'), "{found}");
    }
    let errors = checked.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(checked.declared.is_none(), errors, "a set is valid or has an error");
    let Some(declared) = checked.declared else { return };
    let units = declared.units.keys().map(|name| (name.clone(), Seen::default())).collect();
    let observed = Observed { units, ..Observed::default() };
    let actions = plan(&declared, &observed, Moment(1));
    assert_eq!(actions, plan(&declared, &observed, Moment(1)), "a plan is a function");
    assert!(next_wake(&declared, &observed).is_none_or(|wake| wake >= Moment(0)));
}

/// A call of the control socket; what is understood is the same after a journey.
fn call(bytes: &[u8]) {
    match parse_call(bytes) {
        Ok((call, upgrade)) => {
            let mut value = serde_json::to_value(&call).unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                object.insert("upgrade".to_owned(), upgrade.into());
            }
            assert_eq!(parse_call(value.to_string().as_bytes()), Ok((call, upgrade)));
        }
        Err(fault) => assert!(serde_json::to_string(&fault).is_ok_and(|text| text.contains("error"))),
    }
}

/// Frames of a session and records of the virtio-serial port: each takes some bytes, and not more than there are.
fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((_, payload, used))) = session::decode(rest) {
        assert!(used > payload.len() && used <= rest.len());
        rest = rest.get(used..).unwrap_or_default();
    }
    let mut rest = bytes;
    while let Ok(Some((_, _, payload, used))) = mux::decode(rest) {
        assert!(used > payload.len() && used <= rest.len());
        rest = rest.get(used..).unwrap_or_default();
    }
}

/// Records between PID 1 and the supervisor: what is understood is written the same again.
fn records(bytes: &[u8]) {
    if let Some(word) = ToInit::decode(bytes) {
        assert_eq!(ToInit::decode(&word.encode()), Some(word));
    }
    if let Some(word) = ToSupervisor::decode(bytes) {
        assert_eq!(ToSupervisor::decode(&word.encode()), Some(word));
    }
}
