//! Units of several files: drop-ins, templates and their instances.

use super::*;
use crate::spec::Unit;

const WEB: &str = "schema = 1\nimage.ref = \"web\"\nenv.A = \"own\"\n[memory]\nmax = \"64M\"\n[ports.http]\nhost = 80\ncontainer = 80\n";
const WORKER: &str =
    "schema = 1\ninstances = [\"a\", \"b\"]\nimage.ref = \"web\"\nenv.WHO = \"{name}/{instance}\"\n";

fn set(files: &[(&str, &str)]) -> Checked {
    let mut all = vec![file("node.toml", "schema = 1\n")];
    all.extend(files.iter().map(|(path, text)| file(&format!("units/{path}"), text)));
    parse_set(&all)
}

#[track_caller]
fn units(files: &[(&str, &str)]) -> Vec<Unit> {
    let checked = set(files);
    assert_eq!(shown(&checked), [""; 0]);
    checked.declared.unwrap().units.into_values().collect()
}

/// The first line of each diagnostic, without the folder.
#[track_caller]
fn refused(files: &[(&str, &str)], expected: &[&str]) {
    let checked = set(files);
    let found: Vec<_> =
        checked.diagnostics.iter().map(|found| found.to_string().replacen("units/", "", 1)).collect();
    assert_eq!(found, expected);
}

#[test]
fn tables_merge_and_all_else_is_replaced() {
    let unit = units(&[
        ("web.toml", WEB),
        ("web.d/20-b.toml", "env.B = \"20\"\nprocess.args = [\"c\"]"),
        ("web.d/10-a.toml", "schema = 1\nenv = { A = \"10\", B = \"10\" }\nprocess.args = [\"a\", \"b\"]"),
        ("_all.d/90.toml", "env.A = \"all\"\nenv.C = \"all\"\n[ports.http]\nhost = 8080\n"),
    ])
    .remove(0);
    let env: Vec<_> = unit.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=10", "B=20", "C=all"]);
    assert_eq!(unit.process.args, Some(vec!["c".to_owned()]));
    let port = unit.ports.get("http").unwrap();
    assert_eq!((port.host, port.container), (8080, 80));
}

#[test]
fn keys_are_taken_out_before_others_are_laid_over() {
    let unit = units(&[
        ("web.toml", WEB),
        ("web.d/1.toml", "unset = [\"ports.http\", \"memory\"]\nports.tls = { host = 443, container = 443 }"),
        ("_all.d/1.toml", "unset = [\"mounts.nobody-has\"]"),
    ])
    .remove(0);
    assert_eq!(unit.ports.keys().collect::<Vec<_>>(), ["tls"]);
    assert_eq!(unit.memory.max, None);
    refused(
        &[("web.toml", WEB), ("web.d/1.toml", "unset = [\n  \"memory.min\",\n  \"kind\",\n  \"a = 1 #\"]")],
        &[
            "web.d/1.toml:2:3: error[BU0009]: there is no 'memory.min' to take out",
            "web.d/1.toml:3:3: error[BU0009]: there is no 'kind' to take out",
            "web.d/1.toml:4:3: error[BU0105]: 'a = 1 #' is no key",
        ],
    );
    // What another key needs is missing then, at the unit's own place.
    refused(
        &[("web.toml", WEB), ("web.d/1.toml", "unset = [\"image\"]")],
        &["web.toml:1:1: error[BU0103]: key 'image.ref' is missing"],
    );
}

#[test]
fn a_fault_is_where_it_was_written() {
    let checked = set(&[
        ("api.toml", "schema = 1\nimage.ref = \"api\"\n"),
        ("api.d/p.toml", "\n[ports.x]\nhost = 80\ncontainer = 1\n[memory]\nmin = \"1G\"\nhihg = 1\n"),
        ("web.toml", WEB),
    ]);
    let expected = "\
units/api.d/p.toml:7:1: error[BU0101]: unknown key 'hihg'
  ^ did you mean 'high'?
units/web.toml:7:8: error[BU0303]: host port 80 is also published by unit 'api'
  units/api.d/p.toml:3:8: has it too
  = give one of them another host port, or each its own host_ip";
    assert_eq!(shown(&checked).join("\n"), expected);
    let checked = set(&[("web.toml", WEB), ("web.d/p.toml", "memory.min = \"1G\"\n")]);
    assert_eq!(checked.diagnostics[0].span, 13..17);
    let expected = "\
units/web.d/p.toml:1:14: warning[BU0406]: memory.min is above memory.max
  units/web.toml:5:7: memory.max";
    assert_eq!(shown(&checked).join("\n"), expected);
}

#[test]
fn a_drop_in_for_all_is_faulty_once() {
    let bare = "schema = 1\nimage.ref = \"x\"\n";
    let net = "schema = 1\nkind = \"network\"\n";
    refused(
        &[("a.toml", bare), ("b.toml", bare), ("n.toml", net), ("_all.d/x.toml", "nat = true\npids.max = 0")],
        &[
            "_all.d/x.toml:1:1: error[BU0101]: unknown key 'nat'",
            "_all.d/x.toml:2:12: error[BU0106]: 0 is below the lowest, 1",
        ],
    );
    let unused = [("n.toml", net), ("_all.d/x.toml", "pids.max = 5\n")];
    assert_eq!(shown(&set(&unused)), [""; 0]);
}

#[test]
fn drop_ins_of_nothing_and_what_they_cannot_say() {
    refused(
        &[("web.toml", WEB), ("wob.d/1.toml", ""), ("web@a.d/1.toml", ""), ("w@a.toml", "")],
        &[
            "w@a.toml:1:1: error[BU0008]: there is no template 'w@' for this instance",
            "web@a.d/1.toml:1:1: error[BU0008]: there is no unit 'web@a' for this drop-in",
            "wob.d/1.toml:1:1: error[BU0008]: there is no unit 'wob' for this drop-in",
        ],
    );
    refused(
        &[("web.toml", WEB), ("web.d/1.toml", "schema = 2"), ("web.d/2.toml", "kind = \"volume\"")],
        &[
            "web.d/1.toml:1:10: error[BU0111]: unknown schema; this version of berth knows 1",
            "web.d/2.toml:1:1: error[BU0112]: a drop-in cannot say what kind a unit is",
        ],
    );
    refused(
        &[("web.toml", WEB), ("web.d/1.toml", "x = ="), ("web.d/README", "")],
        &[
            "web.d/1.toml:1:5: error[BU0001]: extra `=`, expected nothing",
            "web.d/README:1:1: error[BU0004]: 'README' is not a unit file",
        ],
    );
    let big = format!("description = \"{}\"\n", "x".repeat(200 << 10));
    let checked = set(&[("web.toml", WEB), ("web.d/1.toml", &big), ("web.d/2.toml", &big)]);
    assert_eq!(checked.diagnostics[0].code.0, 2);
}

#[test]
fn the_node_has_drop_ins() {
    let checked = set(&[("node.d/1.toml", "hostname = \"gate-7\"\n")]);
    assert_eq!(checked.declared.unwrap().node.hostname.as_str(), "gate-7");
    refused(
        &[("node.d/1.toml", "hostname = 7\n")],
        &[
            "node.d/1.toml:1:12: error[BU0104]: 'hostname' takes a name of a-z, 0-9 and '-', not a whole number",
        ],
    );
}

#[test]
fn a_template_makes_its_instances() {
    let all = units(&[
        ("worker@.toml", WORKER),
        ("worker@.d/1.toml", "process.args = [\"--for={instance}\", \"{{name}}\"]\nenv.X = \"base\""),
        ("worker@b.d/1.toml", "env.X = \"of b\"\nmemory.max = \"1G\""),
        ("worker@c.toml", "mounts.d = { volume = \"data-{instance}\", target = \"/d\" }"),
        ("web.toml", "schema = 1\nimage.ref = \"x\"\ndepends.\"worker@a\" = {}\nenv.B = \"{instance}\""),
    ]);
    let told: Vec<_> = all
        .iter()
        .map(|unit| {
            let env: Vec<_> = unit.env.values().map(String::as_str).collect();
            let args = unit.process.args.clone().unwrap_or_default().join(" ");
            format!("{} {} [{}] {args}", unit.name, unit.hostname, env.join(" "))
        })
        .collect();
    assert_eq!(
        told,
        [
            "web web [{instance}] ",
            "worker@a worker-a [worker@a/a base] --for=a {name}",
            "worker@b worker-b [worker@b/b of b] --for=b {name}",
            "worker@c worker-c [worker@c/c base] --for=c {name}",
        ]
    );
    assert!(all[2].memory.max.is_some() && all[1].memory.max.is_none());
    assert_eq!(all[3].mounts.len(), 1);
}

#[test]
fn faults_of_templates() {
    refused(
        &[("worker@.toml", &WORKER.replace("env.WHO", "pids.max = 0\nenv.WHO"))],
        &["worker@.toml:4:12: error[BU0106]: 0 is below the lowest, 1"],
    );
    // Without an instance, too.
    refused(
        &[("worker@.toml", "schema = 1\nimage.ref = \"x\"\nfoo = 1\n")],
        &["worker@.toml:3:1: error[BU0101]: unknown key 'foo'"],
    );
    refused(
        &[("n@.toml", "schema = 1\nkind = \"network\"\ninternal = true")],
        &["n@.toml:2:8: error[BU0010]: a network cannot be a template"],
    );
    let long = "x".repeat(60);
    let text = format!("schema = 1\nimage.ref = \"x\"\ninstances = [\"{long}\", \"a\", \"a\", 1]");
    refused(
        &[("work@.toml", &text)],
        &[
            &format!(
                "work@.toml:3:14: error[BU0010]: 'work@{long}' cannot be a unit: a name has at most 63 characters"
            ),
            "work@.toml:3:83: error[BU0010]: instance 'a' stands twice",
            "work@.toml:3:88: error[BU0104]: 'instances' takes a list, each entry a name of a-z, 0-9 and '-', not a \
             whole number",
        ],
    );
    // Who depends on an instance that nobody knows of a broken template is not told.
    refused(
        &[
            ("w@.toml", "schema = 1\nx ="),
            ("w@a.d/1.toml", ""),
            ("web.toml", "schema = 1\nimage.ref = \"x\"\ndepends.\"w@a\" = {}"),
        ],
        &["w@.toml:2:4: error[BU0001]: string values must be quoted, expected literal string"],
    );
    refused(
        &[("web.toml", "schema = 1\nimage.ref = \"x\"\ndepends.\"w@c\" = {}"), ("w@.toml", WORKER)],
        &["web.toml:3:9: error[BU0201]: unit 'w@c' does not exist"],
    );
    let many: Vec<_> = (0..FILES_MAX + 9).map(|n| format!("\"i{n}\"")).collect();
    let many =
        format!("schema = 1\nimage.ref = \"x\"\nnetwork.mode = \"none\"\ninstances = [{}]", many.join(","));
    refused(&[("m@.toml", &many)], &["m@.toml:1:1: error[BU0003]: a set has at most 1024 units"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_mixture_of_files_is_sound(texts in prop::collection::btree_map(
        "(a|a@|a@b|node|_all|a\\.d/[xy]|a@\\.d/x|a@b\\.d/x|_all\\.d/x|node\\.d/x)",
        prop::collection::vec(prop::sample::select(vec![
            "schema = 1", "image.ref = \"x-{instance}\"", "instances = [\"b\", \"c\"]", "instances = [\"\"]",
            "unset = [\"env\", \"memory.max\"]", "unset = 1", "env.A = \"{name}\"", "env = 1", "kind = \"network\"",
            "memory.max = \"1G\"", "ports.p = { host = 1, container = 2 }", "ports = {}", "x =", "[env]", "B = \"{\"",
        ]), 0..6),
        0..7,
    )) {
        let files: Vec<_> =
            texts.iter().map(|(name, lines)| file(&format!("u/{name}.toml"), &lines.join("\n"))).collect();
        check_sound(&files);
    }
}
