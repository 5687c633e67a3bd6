mod files;

use proptest::prelude::*;

use super::*;
use crate::codes::{DUPLICATE_FILE, SYNTAX};
use crate::diagnostic::Severity;
use crate::keys::rows;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.into(), text: text.into() }
}

/// Diagnostics with all they say, one line each.
fn shown(checked: &Checked) -> Vec<String> {
    let mut lines = Vec::new();
    for found in &checked.diagnostics {
        lines.push(found.to_string());
        lines.extend(found.label.iter().map(|label| format!("  ^ {label}")));
        for related in &found.related {
            lines.push(format!("  {}:{}:{}: {}", related.path, related.line, related.column, related.text));
        }
        lines.extend(found.help.iter().map(|help| format!("  = {help}")));
    }
    lines
}

#[test]
fn a_directory_with_five_faults() {
    let web = r#"schema = 1
description = "Shop front"

[image]
ref = "shop/web:1.4"

[env]
LOG_LEVEL = "info"

[memroy]
max = "256M"

[ports.http]
host = 8080
container = 8080

[depends.cache]
until = "ready"

[restart]
delay = 5
"#;
    let admin = "schema = 1\nimage.ref = \"admin\"\n\n[ports.ui]\nhost = 8080\ncontainer = 80\n";
    let cache = "schema = 1\nimage.ref = \"redis:7\"\ndepends.db.until = \"started\"\n";
    let db = "schema = 1\nimage.ref = \"postgres\"\n\n[depends.web]\n\n[networks.apps]\n";
    let checked = parse_set(&[
        file("node.toml", "schema = 1\n"),
        file("units/web.toml", web),
        file("units/db.toml", db),
        file("units/cache.toml", cache),
        file("units/admin.toml", admin),
        file("units/app.toml", "schema = 1\nkind = \"network\"\n"),
        file("units/lost.toml", "schema = 1\nzähler = 1\n"),
    ]);
    let expected = r#"
units/cache.toml:3:9: error[BU0204]: dependency cycle: cache -> db -> web -> cache
  units/db.toml:4:10: db -> web
  units/web.toml:17:10: web -> cache
  = take one of these dependencies out
units/db.toml:6:11: error[BU0205]: network 'apps' does not exist
  ^ did you mean 'app'?
units/lost.toml:2:2: error[BU0001]: invalid unquoted key, expected letters, numbers, `-`, `_`
units/web.toml:10:2: error[BU0101]: unknown key 'memroy'
  ^ did you mean 'memory'?
units/web.toml:14:8: error[BU0303]: host port 8080 is also published by unit 'admin'
  units/admin.toml:5:8: has it too
  = give one of them another host port, or each its own host_ip
units/web.toml:21:9: error[BU0105]: 5 has no unit of time
  = write it with its unit in quotes: "5s" or "5ms"
"#;
    assert_eq!(shown(&checked), expected.trim().lines().collect::<Vec<_>>());
    assert_eq!(checked.declared, None);
}

#[test]
fn every_fault_of_a_file_at_once() {
    let text = "kind = \"container\"\nmemory = 5\nentrypoint = []\nmemory_max = 1\nslice = \"p\"\nfrobnicate = 1\n\
                [mounts.a]\n[mounts.b]\nvolume = \"v\"\nsize = 4096\ntarget = \"/a\"\n[ports.X]\n[process]\nenv = 1\n\
                \"memory.max\" = 1\n";
    let checked = parse_set(&[file("node.toml", "schema = 1"), file("units/a.toml", text)]);
    let expected = "
units/a.toml:1:1: error[BU0103]: key 'schema' is missing
  = begin the file with `schema = 1`
units/a.toml:1:1: error[BU0103]: key 'image.ref' is missing
  = say which image runs: [image] and ref = \"NAME\"
units/a.toml:2:10: error[BU0104]: 'memory' is a table, not a whole number
  = write [memory]
units/a.toml:3:1: error[BU0101]: unknown key 'entrypoint'
  = 'entrypoint' belongs in [process]
units/a.toml:4:1: error[BU0101]: unknown key 'memory_max'
  = did you mean 'memory.max'?
units/a.toml:5:1: error[BU0102]: key 'slice' is not supported yet
  = take it out; this version of berth would not carry it out
units/a.toml:6:1: error[BU0101]: unknown key 'frobnicate'
units/a.toml:7:9: error[BU0103]: key 'target' is missing in [mounts.a]
  = it takes an absolute path
units/a.toml:7:9: error[BU0109]: mount 'a' has no source
  = set one of `volume = \"NAME\"`, `bind = \"/path\"`, `tmpfs = true` and `image = \"REF\"`
units/a.toml:10:1: error[BU0110]: 'size' has no effect on mount 'b'
  = it belongs to mounts with `tmpfs`
units/a.toml:12:8: error[BU0108]: 'X' is not a name of a-z, 0-9 and '-'
  = 1 to 63 of a-z, 0-9 and '-', a letter or a digit first
units/a.toml:14:1: error[BU0101]: unknown key 'env'
  = 'env' belongs at the top of the file, above the first [table]
units/a.toml:15:1: error[BU0101]: unknown key 'memory.max'
  = known here: args, console, coredump, entrypoint, groups, init, io_priority, nice, oom_score_adj, rlimits, scheduler, stdin, timezone, umask, user, workdir
";
    assert_eq!(shown(&checked), expected.trim().lines().collect::<Vec<_>>());
}

#[test]
fn what_is_not_text_is_told_with_its_place() {
    let text = String::from_utf8_lossy(b"schema = 1\ndescription = \"caf\xe9\"\n[image\n").into_owned();
    let checked = parse_set(&[file("node.toml", "schema = 1"), file("units/a.toml", &text)]);
    let expected = [
        "units/a.toml:2:19: error[BU0011]: byte 30 of the file begins no character of UTF-8",
        "  = save the file as UTF-8",
    ];
    assert_eq!(shown(&checked), expected);
    assert_eq!(checked.declared, None);
}

#[test]
fn syntax_errors_have_the_right_place() {
    for (text, line, column) in [
        ("schema = 1\n[image\nref = \"x\"\n", 2, 7),
        ("schema = 1\nbä = 1\n", 2, 2),
        ("a = \"", 1, 6),
        ("schema = 1\nschema = 1\n", 2, 1),
        ("schema = 1\na = 1 2\n", 2, 5),
    ] {
        let checked = parse_set(&[file("node.toml", "schema = 1"), file("a.toml", text)]);
        let first = checked.diagnostics.first().unwrap();
        assert_eq!((first.code, first.line, first.column), (SYNTAX, line, column), "{text}: {first}");
    }
    let two = parse_set(&[file("node.toml", "schema = 1"), file("a.toml", "[a\nb = 1\nc = = 2\n")]);
    assert_eq!(two.diagnostics.iter().map(|found| found.line).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn files_are_bounded_and_named() {
    let codes = |files: &[SourceFile]| -> Vec<u16> {
        parse_set(files).diagnostics.iter().map(|found| found.code.0).collect()
    };
    let node = || file("node.toml", "schema = 1");
    let unit = "schema = 1\nimage.ref = \"a\"";
    assert_eq!(codes(&[node(), file("a.toml", &"#".repeat(FILE_MAX + 1))]), [2]);
    assert_eq!(
        codes(&[node(), file("a.toml", &format!("{unit}\n{}", "#".repeat(FILE_MAX - 100)))]),
        [0_u16; 0]
    );
    let many: Vec<_> = (0..FILES_MAX + 1).map(|n| file(&format!("u{n}.toml"), unit)).collect();
    assert!(codes(&many).contains(&3));
    assert_eq!(codes(&[node(), file("A.toml", unit), file("a.txt", unit), file("-.toml", unit)]), [4, 4, 4]);
    assert_eq!(codes(&[node(), file("x/a.toml", unit), file("y/a.toml", unit)]), [5]);
    let keys: String = (0..5000).map(|n| format!("zz{n} = 1\n")).collect();
    let flood = parse_set(&[node(), file("a.toml", &format!("{unit}\n{keys}"))]);
    assert_eq!((flood.diagnostics.len(), flood.diagnostics.last().unwrap().code.0), (101, 6));
    // Many syntax errors take no longer than one.
    let slips = parse_set(&[node(), file("a.toml", &"\"\n".repeat(FILE_MAX / 2))]);
    assert_eq!(slips.diagnostics.len(), 101);
    // Without node.toml there is a warning, and the set is good.
    let bare = parse_set(&[file("a.toml", unit)]);
    assert_eq!((bare.diagnostics[0].severity, bare.declared.is_some()), (Severity::Warning, true));
    assert!(parse_set(&[]).declared.is_some());
}

#[test]
fn deep_nesting_is_refused_without_a_crash() {
    let dotted = |depth: usize| "a.".repeat(depth) + "a";
    let inline =
        |depth: usize| format!("{}1{}", format!("{{ {} = ", dotted(70)).repeat(depth), "}".repeat(depth));
    for text in [
        format!("{} = 1", dotted(100_000)),
        format!("[{}]", dotted(100_000)),
        format!("x = {}", "[".repeat(200_000)),
        format!("x = {}", inline(70)),
        format!("[{0}]\n{0} = {1}", dotted(70), inline(70)),
        "[[a]]\n".repeat(30_000),
    ] {
        let checked = parse_set(&[file("node.toml", "schema = 1"), file("a.toml", &text)]);
        assert!(checked.declared.is_none() && !checked.diagnostics.is_empty());
    }
}

/// A set that uses much of the table and has no fault.
fn valid() -> Vec<SourceFile> {
    let unit = |name: &str, rest: &str| {
        file(&format!("units/{name}.toml"), &format!("schema = 1\n[image]\nref = \"{name}:1\"\n{rest}"))
    };
    vec![
        file(
            "node.toml",
            "schema = 1\nkind = \"node\"\nhostname = \"edge\"\n[uplink]\nmode = \"static\"\naddress = \"192.168.1.2/24\"\n",
        ),
        unit(
            "web",
            "[process]\nargs = [\"a\", 'b']\n[process.rlimits]\nnofile = \"1:2\"\n[ports.http]\nhost = 80\ncontainer = 8080\n[depends.cache]\nuntil = \"started\"\n[networks.apps]\nipv4 = \"10.89.7.9\"\naliases = [\"shop\"]\n",
        ),
        unit(
            "cache",
            "[mounts.data]\nvolume = \"data\"\ntarget = \"/data\"\n[mounts.tmp]\ntmpfs = true\nsize = \"8M\"\ntarget = \"/t\"\n[networks.apps]\n[networks.other]\n",
        ),
        unit("log", "[memory]\nmax = \"25%\"\n[cpu]\nmax = 1.5\n[stop]\nsignal = \"SIGRTMIN+3\"\n"),
        file("units/apps.toml", "schema = 1\nkind = \"network\"\n[ipv4]\nsubnet = \"10.89.7.0/24\"\n"),
        file("units/other.toml", "schema = 1\nkind = \"network\"\ninternal = true\n"),
        file("units/data.toml", "schema = 1\nkind = \"volume\"\nuid = 7\n"),
    ]
}

#[test]
fn what_follows_from_the_set_is_filled_in() {
    let checked = parse_set(&valid());
    assert_eq!(shown(&checked), [""; 0]);
    let declared = checked.declared.unwrap();
    let subnets: Vec<_> = declared
        .networks
        .iter()
        .map(|(name, net)| format!("{name} {} {}", net.subnet, net.gateway))
        .collect();
    assert_eq!(
        subnets,
        ["apps 10.89.7.0/24 10.89.7.1", "default 10.88.0.0/24 10.88.0.1", "other 10.89.0.0/24 10.89.0.1"]
    );
    let members: Vec<_> =
        declared.units.iter().map(|(name, unit)| (name.as_str(), unit.networks.len())).collect();
    assert_eq!(members, [("cache", 2), ("log", 1), ("web", 1)]);
    assert_eq!(
        declared.volumes.iter().map(|(name, v)| (name.as_str(), v.uid)).collect::<Vec<_>>(),
        [("data", 7)]
    );
}

/// What holds whatever the text is.
fn check_sound(files: &[SourceFile]) {
    let checked = parse_set(files);
    let errors = checked.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(checked.declared.is_some(), !errors);
    assert!(checked.diagnostics.is_sorted_by_key(|found| (&found.path, found.line)));
    for found in &checked.diagnostics {
        let text = files.iter().find(|file| file.path == found.path).map_or("", |file| &file.text);
        assert!(text.get(found.span.clone()).is_some(), "{found}: span {:?}", found.span);
        assert!(
            found.line >= 1
                && found.column >= 1
                && !found.message.contains('\n')
                && found.message.len() < 2000,
            "{found}"
        );
        assert!(crate::codes::explain(found.code).is_some(), "{found}");
    }
    let mut turned = files.to_vec();
    turned.reverse();
    if !checked.diagnostics.iter().any(|found| found.code == DUPLICATE_FILE) {
        let turned = parse_set(&turned);
        assert_eq!(turned.declared, checked.declared);
        assert_eq!(turned.diagnostics.len(), checked.diagnostics.len());
    }
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        "[a-z0-9/%.:+-]{0,12}".prop_map(|text| format!("{text:?}")),
        "\\PC{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', ""))),
        Just("true".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[\"a\", 1]".to_owned()),
        Just("1979-05-27T07:32:00Z".to_owned()),
        Just("\"10.89.7.7\"".to_owned()),
        Just("\"web\"".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_text_never_panics(texts in prop::collection::vec(("[a-c]{1,2}|node", ".{0,200}"), 0..4)) {
        let files: Vec<_> = texts.iter().map(|(name, text)| file(&format!("{name}.toml"), text)).collect();
        check_sound(&files);
    }

    #[test]
    fn mutated_sets_never_panic(which in 0_usize..7, at in 0_usize..400, cut in 0_usize..30, put in "[\\[\\]{}=.,\"'\n a-z0-9#\u{0}ä-]{0,6}") {
        let mut files = valid();
        let chars: Vec<char> = files[which].text.chars().collect();
        let at = at.min(chars.len());
        let rest = chars.iter().skip(at + cut);
        files[which].text = chars[..at].iter().copied().chain(put.chars()).chain(rest.copied()).collect();
        check_sound(&files);
    }

    #[test]
    fn any_value_of_any_key_is_taken_or_refused(picks in prop::collection::vec((any::<prop::sample::Index>(), "[a-z]{1,3}|/dev/sda|A_B|net\\.a", any_value()), 1..8)) {
        let rows: Vec<_> = rows().into_iter().filter(|row| row.kind == "container").collect();
        let mut lines = std::collections::BTreeSet::new();
        for (index, entry, value) in &picks {
            let path = index.get(&rows).path.replace('*', &format!("{entry:?}"));
            lines.insert(format!("{path} = {value}"));
        }
        let mut files = valid();
        files[1].text = lines.into_iter().collect::<Vec<_>>().join("\n");
        check_sound(&files);
    }
}

#[test]
fn a_service_is_a_program_of_the_os_image() {
    let parse = |text: &str| {
        let text = format!("schema = 1\nkind = \"service\"\n{text}");
        parse_set(&[file("node.toml", "schema = 1"), file("units/it.toml", &text)])
    };
    for (text, codes) in [
        ("process.args = [\"x\"]", &[103][..]),
        ("process.entrypoint = []", &[413]),
        ("process.entrypoint = [\"agent\"]", &[413]),
        ("process.entrypoint = [\"/bin/../agent\"]", &[413]),
        ("process.entrypoint = [\"/bin/x\"]\nimage.ref = \"x\"", &[101]),
        ("process.entrypoint = [\"/bin/x\"]\nrootfs.read_only = false", &[101]),
        ("process.entrypoint = [\"/bin/x\"]\ndepends.nobody = {}", &[201]),
    ] {
        let checked = parse(text);
        let found: Vec<_> = checked.diagnostics.iter().map(|found| found.code.0).collect();
        assert_eq!(found, codes, "{text}: {:#?}", checked.diagnostics);
        assert_eq!(checked.declared, None);
    }
    let text = "process.entrypoint = [\"/bin/x\", \"a\"]\nprocess.args = [\"b\"]\nmemory.max = \"64M\"\n";
    let declared = parse(text).declared.unwrap();
    let unit = &declared.units[&crate::Name::parse("it").unwrap()];
    assert_eq!(unit.image, None);
    assert!(unit.rootfs.read_only && unit.memory.max.is_some());
    let launched = crate::launch::launch(unit, &Default::default()).unwrap();
    assert_eq!(launched.argv, ["/bin/x", "a", "b"]);
    assert_eq!((launched.user.as_str(), launched.stop_signal), ("0", crate::signal::TERM));
}

#[test]
fn files_of_planned_kinds_are_checked_and_refused() {
    for (kind, text, codes) in [
        ("slice", "[memory]\nmax = true", &[112, 104][..]),
        ("timer", "unit = \"a\"\nfrobnicate = 1", &[112, 101]),
    ] {
        let text = format!("schema = 1\nkind = \"{kind}\"\n{text}");
        let checked = parse_set(&[file("node.toml", "schema = 1"), file("units/it.toml", &text)]);
        let found: Vec<_> = checked.diagnostics.iter().map(|found| found.code.0).collect();
        assert_eq!(found, codes, "{text}: {:#?}", checked.diagnostics);
        assert_eq!(checked.declared, None);
    }
    let checked = parse_set(&[file("node.toml", "schema = 1\nkind = \"slice\"")]);
    assert_eq!(checked.diagnostics.iter().map(|found| found.code.0).collect::<Vec<_>>(), [112]);
}
