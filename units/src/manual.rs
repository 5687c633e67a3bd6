//! berth.unit(5), made from the key table: roff for man(7).

use crate::codes::EXPLANATIONS;
use crate::keys::{Effect, Row, Shape, rows};

/// Kinds in the order of the page, with a line about each.
const KINDS: [(&str, &str); 16] = [
    ("container", "A container. It is the default: a file without kind declares one."),
    ("network", "A network of containers."),
    ("volume", "A directory that outlives containers and boots."),
    ("node", "The node itself: node.toml, beside the folder of units."),
    (
        "service",
        "A program of the OS image, with the keys of a container but those of its image. It sees the node's root read-only.",
    ),
    ("pod", "Containers that share a network."),
    ("timer", "Starts another unit at certain times."),
    ("secret", "A secret that units may be given."),
    ("config", "A configuration file that units may be given."),
    ("image", "An image that the node keeps."),
    ("slice", "Limits that several units share."),
    ("link", "A network link of the node."),
    ("firewall", "What the node lets in."),
    (
        "drop-in",
        "NAME.d/*.toml is laid over the unit NAME, _all.d/*.toml over every container: keys of that unit, and these.",
    ),
    ("registry", "A registry and its mirrors."),
    ("log-target", "Where output is forwarded to."),
];

const HEAD: &str = r#".\" Made from the key table. Write it anew with: berth man > docs/man/berth.unit.5
.TH BERTH.UNIT 5 "" "berth" "File formats"
.SH NAME
berth.unit \- units of a berth node
.SH SYNOPSIS
.I NAME\fB.toml\fR,
.B node.toml
.SH DESCRIPTION
A unit is one TOML file; its stem is its name: 1 to 63 of a\-z, 0\-9 and \(aq\-\(aq, a letter or a digit first.
.B schema = 1
stands on top,
.B kind
says what the file declares. A set of units is taken whole or not at all: over one fault nothing is started or changed.
An unknown key is a fault.
.PP
.I NAME\fB@.toml\fR
is a template: it makes a container
.I NAME\fB@\fIINSTANCE
for each of its
.BR instances .
In its strings {instance} and {name} stand for the instance and for the whole name; {{instance}} and {{name}} stay
as they are, less a pair of braces. Other files are laid over a unit in this order: _all.d/*.toml, NAME@.d/*.toml,
NAME@INSTANCE.toml, NAME.d/*.toml, each folder by name. Tables merge, everything else is replaced.
.PP
In the names of keys below,
.B *
stands for a name that the user chooses. A key that is
.I not supported yet
is checked, and a file that sets it is refused.
.SS Values
Sizes are whole numbers with K, M, G or T, powers of 1024, such as \(dq512M\(dq. Times have d, h, m, s, ms or us, largest
first, such as \(dq1m30s\(dq. Modes are octal and in quotes. Lists replace, tables are merged by the name of the entry.
"#;

const TAIL: &str = r#".SH SEE ALSO
.BR berth (1)
(\fBberth check\fR, \fBberth schema\fR, \fBberth explain\fR)
"#;

/// The whole page.
pub fn unit_page() -> String {
    let all = rows();
    let mut page = HEAD.to_owned();
    for (kind, about) in KINDS {
        let rows: Vec<&Row> = all.iter().filter(|row| row.kind == kind).collect();
        heading(&mut page, ".SH", &format!("KIND {}", kind.to_uppercase()));
        page.push_str(&text(about));
        page.push('\n');
        // Said once for a kind, not once for each of its keys.
        let whole = rows.iter().all(|row| row.effect == Effect::Planned);
        if whole {
            page.push_str(".B Not supported yet.\n");
        }
        match kind {
            "service" => service(&mut page, &rows, &all, whole),
            _ => tables(&mut page, &rows, whole),
        }
    }
    faults(&mut page);
    page.push_str(TAIL);
    page
}

/// What a service has beside the keys of a container.
fn service(page: &mut String, rows: &[&Row], all: &[Row], whole: bool) {
    let same = |row: &Row| {
        all.iter().any(|other| {
            other.kind == "container" && Row { kind: "service", effect: row.effect, ..other.clone() } == *row
        })
    };
    rows.iter().filter(|row| !same(row)).for_each(|row| key(page, row, whole));
}

/// Keys of the file itself, then one table after the other.
fn tables(page: &mut String, rows: &[&Row], whole: bool) {
    let table_of = |row: &Row| row.path.rsplit_once('.').map_or("", |(table, _)| table).to_owned();
    rows.iter()
        .filter(|row| row.shape.is_some() && !row.path.contains('.'))
        .for_each(|row| key(page, row, whole));
    for table in rows.iter().filter(|row| row.shape.is_none()) {
        let entry = format!("{}.*", table.path);
        let name = match (&table.entries, rows.iter().any(|row| row.path.starts_with(&format!("{entry}.")))) {
            (Some(_), true) => format!("[{entry}]"),
            _ => format!("[{}]", table.path),
        };
        heading(page, ".SS", &name);
        page.push_str(&text(table.doc));
        page.push('\n');
        if table.effect == Effect::Planned && !whole {
            page.push_str(".I Not supported yet.\n");
        }
        let whole = whole || table.effect == Effect::Planned;
        let within = |row: &&&Row| {
            let parent = table_of(row);
            row.shape.is_some() && (parent == table.path || (parent == entry && table.entries.is_some()))
        };
        rows.iter().filter(within).for_each(|row| key(page, row, whole));
    }
}

fn key(page: &mut String, row: &Row, whole: bool) {
    let Some(shape) = &row.shape else { return };
    let path = escape(row.path);
    page.push_str(&match (row.required, row.default) {
        (true, _) => format!(".TP\n.BR {path} \" (must be set)\"\n"),
        (false, "") => format!(".TP\n.B {path}\n"),
        (false, default) => format!(".TP\n.BR {path} \" (\" {} )\n", quote(default)),
    });
    page.push_str(&text(row.doc));
    if row.effect == Effect::Planned && !whole {
        page.push_str("\n.I Not supported yet.");
    }
    let Shape::Words(words) = shape else {
        *page += &format!("\nTakes {}.\n", escape(&shape.to_string()));
        return;
    };
    page.push_str("\n.RS\n");
    for choice in words {
        let later = row.effect == Effect::Now && choice.effect == Effect::Planned;
        let later = if later { " (not supported yet)" } else { "" };
        *page += &format!(".TP\n.B \\(dq{}\\(dq\n{}{later}\n", escape(choice.word), text(choice.doc));
    }
    page.push_str(".RE\n");
}

fn faults(page: &mut String) {
    page.push_str(".SH DIAGNOSTICS\n");
    for row in EXPLANATIONS {
        *page += &format!(".TP\n.BR {} \" {}\"\n{}\n", row.code, escape(row.title), text(row.text));
    }
}

fn heading(page: &mut String, macro_name: &str, title: &str) {
    *page += &format!("{macro_name} {}\n", quote(title));
}

/// As one argument of a macro.
fn quote(argument: &str) -> String {
    format!("\"{}\"", escape(argument))
}

/// As lines of text: none of them begins like a request.
fn text(words: &str) -> String {
    let escaped = escape(words);
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

/// Characters that roff(7) takes for something else.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '"' => escaped.push_str("\\(dq"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            '`' => escaped.push_str("\\(ga"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_every_word_is_on_the_page() {
        let page = unit_page();
        for row in rows().iter().filter(|row| row.shape.is_some() && row.kind != "service") {
            assert!(page.contains(&format!(" {}", escape(row.path))), "{} {}", row.kind, row.path);
        }
        for kind in rows().iter().map(|row| row.kind) {
            assert!(KINDS.iter().any(|(known, _)| *known == kind), "{kind}");
        }
    }

    #[test]
    fn no_line_of_text_is_taken_for_a_request() {
        let requests = [".SH", ".SS", ".TH", ".TP", ".B", ".BR", ".I", ".PP", ".RS", ".RE", ".\\\""];
        for line in unit_page().lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(requests.contains(&line.split(' ').next().unwrap()), "{line}");
        }
    }
}
