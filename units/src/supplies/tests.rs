//! What units are given, against sets made of text.

use super::*;
use crate::wire::image::ImageConfig;
use crate::{SourceFile, parse_set};

const KEY: &str = "schema = 1\nkind = \"secret\"\nsource = \"node\"\n";
const FILED: &str = "schema = 1\nkind = \"secret\"\nsource = \"file\"\npath = \"/run/x\"\n";
const MOTD: &str =
    "schema = 1\nkind = \"config\"\ntemplate = true\ncontent = \"{{ unit }}:{{ secret.key }}\"\n";

/// The set of unit `web` with these lines, secrets `key` and `filed`, config `motd`.
fn set(lines: &str) -> Declared {
    let file = |path: &str, text: &str| SourceFile { path: path.into(), text: text.into() };
    let web = format!("schema = 1\nimage.ref = \"web\"\n{lines}");
    let files = [
        file("node.toml", "schema = 1\nhostname = \"edge\""),
        file("key.toml", KEY),
        file("filed.toml", FILED),
        file("motd.toml", MOTD),
        file("web.toml", &web),
    ];
    let checked = parse_set(&files);
    checked.declared.unwrap_or_else(|| panic!("{:#?}", checked.diagnostics))
}

fn node(name: &str) -> Source {
    Source::Node(Name::parse(name).unwrap())
}

fn given(values: &[(Source, &str)]) -> Given {
    let value = |(source, text): &(Source, &str)| (source.clone(), Private::from((*text).to_owned()));
    Given {
        values: values.iter().map(value).collect(),
        ip: Some(Ipv4Addr::new(10, 0, 0, 7)),
        node: "edge".into(),
        variables: [("SITE", "berlin"), ("HTTPS_PROXY", "http://p:3128"), ("HOME", "/")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        image_digest: Some("sha256:1".into()),
    }
}

fn facts(there: &[(Source, u64)]) -> Facts {
    Facts { supplies: there.iter().cloned().collect(), ..Facts::default() }
}

#[test]
fn a_start_waits_for_what_is_required() {
    let file = |path: &str| Source::File(path.to_owned());
    for (lines, source, expect) in [
        ("secrets.key = {}", node("key"), "waits for secret 'key': set it with 'berth secret set key'"),
        ("secrets.filed = {}", Source::SecretFile("/run/x".into()), "waits for secret 'filed': '/run/x'"),
        ("env_files = [{ path = \"/data/e\" }]", file("/data/e"), "waits for env file '/data/e'"),
        ("configs.c = { file = \"/data/c\", target = \"/c\" }", file("/data/c"), "waits for file '/data/c'"),
    ] {
        let declared = set(lines);
        let unit = &declared.units["web"];
        assert_eq!(missing(&declared, unit, &facts(&[])).as_deref(), Some(expect));
        assert_eq!(missing(&declared, unit, &facts(&[(source.clone(), 1)])), None);
        assert_eq!(sources(&declared), [source].into());
    }
    for lines in [
        "",
        "env_files = [{ path = \"/data/e\", required = false }]",
        "configs.c = { content = \"x\", target = \"/c\" }",
    ] {
        let declared = set(lines);
        assert_eq!(missing(&declared, &declared.units["web"], &facts(&[])), None, "{lines}");
    }
}

#[test]
fn who_clears_up_has_what_is_there() {
    let lines = "secrets.key = {}\nsecrets.filed = {}\nconfigs.c = { file = \"/data/c\", target = \"/c\" }\n\
                 configs.d = { content = \"x\", target = \"/d\" }";
    let declared = set(lines);
    let unit = with_what_is_there(&declared, &declared.units["web"], &given(&[(node("key"), "s")]));
    assert_eq!(unit.supplies.secrets.keys().collect::<Vec<_>>(), ["key"]);
    assert_eq!(unit.supplies.configs.keys().collect::<Vec<_>>(), ["d"]);
    assert_eq!(files(&declared, &unit, &[], &given(&[(node("key"), "s")])).unwrap().len(), 2);
}

#[test]
fn other_versions_are_changes_and_what_goes_is_none() {
    let lines = "secrets.key = {}\nconfigs.motd = { source = \"motd\", target = \"/m\" }\n\
                 env_files = [{ path = \"/e\", required = false }]";
    let mut declared = set(lines);
    let unit = declared.units["web"].clone();
    let before = facts(&[(node("key"), 1)]);
    let with = versions(&declared, &unit, &before);
    assert_eq!(with.keys().collect::<Vec<_>>(), ["config 'motd'", "secret 'key'"]);
    let changed = |declared: &Declared, there: &[(Source, u64)]| {
        changed(declared, &unit, &facts(there), &with).is_some()
    };
    assert!(!changed(&declared, &[(node("key"), 1)]));
    assert!(!changed(&declared, &[]));
    assert!(changed(&declared, &[(node("key"), 2)]));
    assert!(changed(&declared, &[(node("key"), 1), (Source::File("/e".into()), 9)]));
    declared.secrets.values_mut().for_each(|secret| secret.version = 2);
    assert!(changed(&declared, &[(node("key"), 1)]));
    let mut declared = set(lines);
    declared.configs.values_mut().for_each(|config| config.content = Content::Text("new".into()));
    assert!(changed(&declared, &[(node("key"), 1)]));
    // A value that is put back is none.
    assert!(!changed(&set(lines), &[(node("key"), 1)]));
}

#[test]
fn variables_come_from_files_secrets_and_the_node() {
    let declared = set("env_files = [{ path = \"/e\" }, { path = \"/gone\", required = false }]\n\
         env_info = [\"ip\", \"node\", \"image_digest\"]\nsecrets.key.env = \"KEY\"\nsecrets.filed = {}");
    let unit = &declared.units["web"];
    let file = Source::File("/e".into());
    let given = given(&[
        (node("key"), "s3cret\n"),
        (file, "A=1\nB='2'\n"),
        (Source::SecretFile("/run/x".into()), "f"),
    ]);
    let outside = outside(&declared, unit, &given).unwrap();
    let config = ImageConfig { cmd: vec!["x".into()], ..Default::default() };
    let launch = crate::launch::launch_with(unit, &config, &outside).unwrap();
    let shown: Vec<_> = launch.env.iter().skip(1).map(|(name, value)| format!("{name}={value}")).collect();
    let expect =
        "A=1 B=2 KEY=s3cret BERTH_IP=10.0.0.7 BERTH_NODE=edge BERTH_IMAGE_DIGEST=sha256:1 BERTH_UNIT=web";
    assert_eq!(shown.join(" "), expect);
    // What is a variable is no file.
    let files = files(&declared, unit, &launch.env, &given).unwrap();
    assert_eq!(
        files.iter().map(|file| file.place.target.as_str()).collect::<Vec<_>>(),
        ["/run/secrets/filed"]
    );
}

#[test]
fn variables_of_the_node_are_named_one_by_one() {
    for (lines, expect) in [
        ("", "BERTH_UNIT=web"),
        ("env_from_node = [\"SITE\", \"NONE\"]", "SITE=berlin BERTH_UNIT=web"),
        ("env_from_node = [\"SITE\"]\nenv.SITE = \"own\"", "SITE=own BERTH_UNIT=web"),
        ("env_proxy = true", "HTTPS_PROXY=http://p:3128 BERTH_UNIT=web"),
    ] {
        let declared = set(lines);
        let unit = &declared.units["web"];
        let outside = outside(&declared, unit, &given(&[])).unwrap();
        let config =
            ImageConfig { cmd: vec!["x".into()], env: vec!["SITE=image".into()], ..Default::default() };
        let launch = crate::launch::launch_with(unit, &config, &outside).unwrap();
        let shown = launch.env.iter().skip(1).map(|(name, value)| format!("{name}={value}"));
        let shown: Vec<_> = shown.filter(|line| line != "SITE=image").collect();
        assert_eq!(shown.join(" "), expect);
    }
}

#[test]
fn files_are_filled_in() {
    let declared = set("secrets.key = { target = \"/etc/key\", mode = \"0440\", gid = 5 }\n\
         configs.a = { content = \"{{ env.A }} {{ ip }} {{ node }}\", template = true, target = \"/a\" }\n\
         configs.b = { content = \"{{ env.A }}\", target = \"/b\" }\n\
         configs.c = { source = \"motd\", target = \"/c\", mode = \"0400\" }\n\
         configs.d = { file = \"/data/d\", target = \"/d\", template = true }");
    let given = given(&[(node("key"), "k\n"), (Source::File("/data/d".into()), "<{{ unit }}>")]);
    let env = [("A".to_owned(), "1".to_owned())];
    let files = files(&declared, &declared.units["web"], &env, &given).unwrap();
    let shown: Vec<_> = files
        .iter()
        .map(|Laid { place: Placed { target, mode, uid, gid }, contents }| {
            let text = String::from_utf8_lossy(contents.bytes());
            format!("{target} {mode:o} {uid:?} {gid:?} {text:?}")
        })
        .collect();
    let expect = [
        r#"/etc/key 440 None Some(5) "k\n""#,
        r#"/a 444 Some(0) Some(0) "1 10.0.0.7 edge""#,
        r#"/b 444 Some(0) Some(0) "{{ env.A }}""#,
        r#"/c 400 Some(0) Some(0) "web:k""#,
        r#"/d 444 Some(0) Some(0) "<web>""#,
    ];
    // The template of motd names an entry of the unit's own.
    assert_eq!(shown, expect);
}

#[test]
fn what_is_gone_since_the_plan_fails_the_start_and_nothing_else() {
    let lines = "env_files = [{ path = \"/e\" }, { path = \"/o\", required = false }]\nsecrets.key.env = \"KEY\"\n\
                 configs.c = { file = \"/c\", target = \"/c\" }";
    let declared = set(lines);
    let unit = &declared.units["web"];
    let file = |path: &str| Source::File(path.into());
    let all = [(node("key"), "k"), (file("/e"), "A=1"), (file("/c"), "c")];
    assert_eq!(check_given(&declared, unit, &given(&all)), Ok(()));
    for (left, expect) in all.iter().zip([
        "secret 'key' is no longer there",
        "env file '/e' is no longer there",
        "file '/c' is no longer there",
    ]) {
        let rest: Vec<_> = all.iter().filter(|one| *one != left).cloned().collect();
        let error = check_given(&declared, unit, &given(&rest)).unwrap_err();
        assert_eq!(error.to_string(), expect);
        // What is run beside it does without.
        assert!(outside(&declared, unit, &given(&rest)).is_ok());
    }
}

#[test]
fn only_secrets_have_to_have_something_in_them() {
    assert!(!node("key").may_be_empty() && !Source::SecretFile("/s".into()).may_be_empty());
    assert!(Source::File("/e".into()).may_be_empty());
}

#[test]
fn what_cannot_be_given_says_no_value() {
    let file = |text: &str| given(&[(Source::File("/e".into()), text)]);
    let key =
        |bytes: &[u8]| Given { values: [(node("key"), bytes.to_vec().into())].into(), ..Given::default() };
    let said = |lines: &str, given: &Given| {
        let declared = set(lines);
        let unit = &declared.units["web"];
        let outside = outside(&declared, unit, given).map(drop);
        outside.and_then(|()| files(&declared, unit, &[], given).map(drop)).unwrap_err().to_string()
    };
    let env_file = "env_files = [{ path = \"/e\" }]";
    for (found, expect) in [
        (
            said(env_file, &file("x\nhunter2")),
            "cannot take variables from '/e': line 1: it is not written NAME=VALUE",
        ),
        (
            said(env_file, &file(&"#".repeat(envfile::FILE_MAX + 1))),
            "cannot take variables from '/e': it has more than 65536 bytes",
        ),
        (
            said("secrets.key.env = \"K\"", &key(b"hun\0ter2")),
            "secret 'key' cannot be a variable: it is not text, or holds NUL",
        ),
        (said("secrets.key = {}", &Given::default()), "secret 'key' is no longer there"),
        (
            said(
                "secrets.key = {}\nconfigs.c = { content = \"\\n{{ secret.key }}\", target = \"/c\", template = true }",
                &key(b"hunter2\xff"),
            ),
            "cannot fill configs.c in: line 2: there is no 'secret.key'",
        ),
        (
            said(
                "configs.c = { content = \"{{ env.B }}\", target = \"/c\", template = true }",
                &Given::default(),
            ),
            "cannot fill configs.c in: line 1: there is no 'env.B'",
        ),
    ] {
        assert_eq!(found, expect);
    }
}
