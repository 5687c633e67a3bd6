//! Documents that come from tables in the code: they are written by this test and must not differ from it.
//!
//! `BERTH_BLESS=1 cargo test -p berth-qemu-tests --test docs` writes them anew.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use berth_units::codes::EXPLANATIONS;
use berth_units::keys::{Row, rows};

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
        writeln!(out, "| `{}` | {default} | {} | {} |", row.path, cell(&shape.to_string()), cell(row.doc))
            .unwrap();
    }
}

#[test]
fn keys_are_all_described() {
    let all = rows();
    let mut text = String::from(
        "# Every key\n\nMade from the table in `units/src/keys`, which the parser reads too. `*` is a name that you \
         choose.\n",
    );
    for (kind, title) in [
        ("container", "Containers: `kind = \"container\"`, the default"),
        ("network", "Networks: `kind = \"network\"`"),
        ("volume", "Volumes: `kind = \"volume\"`"),
        ("node", "The node: `node.toml`"),
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
