//! Documents that come from tables in the code: they are written by this test and must not differ from it.
//!
//! `BERTH_BLESS=1 cargo test -p berth-qemu-tests --test docs` writes them anew.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use berth_units::codes::EXPLANATIONS;
use berth_units::keys::{Effect, Row, rows};
use berth_units::manual::unit_page;
use berth_units::schema::{drop_in_schema, node_schema, unit_schema};
use berth_units::{SourceFile, parse_set};

#[track_caller]
fn check(name: &str, expect: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs").join(name);
    if std::env::var_os("BERTH_BLESS").is_some() {
        fs::write(&path, expect).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expect, "docs/{name} is out of date: write it with BERTH_BLESS=1");
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn table(out: &mut String, rows: &[&Row]) {
    writeln!(out, "| key | default | values | meaning |\n|---|---|---|---|").unwrap();
    for row in rows {
        let Some(shape) = &row.shape else { continue };
        let default = match (row.required, row.default) {
            (true, _) => "must be set".to_owned(),
            (false, "") => String::new(),
            (false, text) => format!("`{}`", cell(text)),
        };
        let later = if row.effect == Effect::Planned { " *Not supported yet.*" } else { "" };
        let values = cell(&shape.to_string());
        writeln!(out, "| `{}` | {default} | {values} | {}{later} |", row.path, cell(row.doc)).unwrap();
    }
}

#[test]
fn keys_are_all_described() {
    let all = rows();
    let mut text = String::from(
        "# Every key\n\nMade from the table in `units/src/keys`, which the parser reads too. `*` is a name that you \
         choose.\nA key that is not supported yet is checked, and a file that sets it is refused (BU0102). Kinds \
         that are not\nsupported yet are in berth.unit(5) only: `berth man | man -l -`.\n",
    );
    for (kind, title) in [
        ("container", "Containers: `kind = \"container\"`, the default"),
        ("network", "Networks: `kind = \"network\"`"),
        ("volume", "Volumes: `kind = \"volume\"`"),
        ("node", "The node: `node.toml`"),
        ("drop-in", "Drop-ins: `NAME.d/*.toml`, beside the keys of the unit"),
    ] {
        writeln!(text, "\n## {title}\n").unwrap();
        let of_kind: Vec<&Row> = all.iter().filter(|row| row.kind == kind).collect();
        assert!(!of_kind.is_empty(), "no key of kind {kind}");
        table(&mut text, &of_kind);
    }
    check("keys.md", &text);
}

#[test]
fn diagnostics_are_all_described() {
    let mut text = String::from(
        "# Every diagnostic\n\nMade from the table in `units/src/codes.rs`. A number never changes its meaning.\n\n\
         | number | fault | what it means |\n|---|---|---|\n",
    );
    for row in EXPLANATIONS {
        writeln!(text, "| {} | {} | {} |", row.code, cell(row.title), cell(row.text)).unwrap();
    }
    check("diagnostics.md", &text);
}

#[test]
fn the_manual_page_is_that_of_the_table() {
    check("man/berth.unit.5", &unit_page());
}

#[test]
fn the_schemas_are_those_of_the_table() {
    for (name, schema) in [
        ("berth.unit.schema.json", unit_schema()),
        ("berth.node.schema.json", node_schema()),
        ("berth.drop-in.schema.json", drop_in_schema()),
    ] {
        check(name, &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()));
    }
}

/// Every TOML block of a document is a file that is taken, with those of the same document as its set.
#[test]
fn the_examples_of_units_md_are_taken() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/units.md");
    let text = fs::read_to_string(path).unwrap();
    let mut files = Vec::new();
    for (number, block) in text.split("```toml\n").skip(1).enumerate() {
        let (toml, _) = block.split_once("```").unwrap();
        // The first line of an example names its file.
        let file = match toml.lines().next().unwrap().strip_prefix("# ") {
            Some(name) => SourceFile { path: name.to_owned(), text: toml.to_owned() },
            // Without a name it is a part of a container.
            None => SourceFile {
                path: format!("units/example-{number}.toml"),
                text: format!("schema = 1\nimage.ref = \"x\"\n{toml}"),
            },
        };
        files.push(file);
    }
    let checked = parse_set(&files);
    let shown: Vec<_> = checked.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [""; 0]);
    let declared = checked.declared.unwrap();
    let kinds = [declared.units.len(), declared.networks.len(), declared.volumes.len()];
    assert!(kinds.iter().all(|count| *count > 0), "an example of each kind: {kinds:?}");
    assert!(files.iter().any(|file| file.path == "node.toml"));
}
