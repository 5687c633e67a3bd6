//! What a set changes, as a table: what is done with each unit, and why.

use berth_units::wire::control::{Applied, Change, Deed};

use crate::output::{Colour, Look, printable};
use crate::table::{Cell, Column, draw as draw_table};

const COLUMNS: [Column; 3] = [
    Column { heading: "UNIT", gives_way: 0 },
    Column { heading: "CHANGE", gives_way: 0 },
    Column { heading: "WHY", gives_way: 0 },
];

/// Whether units of a kind run.
fn is_process(kind: &str) -> bool {
    matches!(kind, "container" | "pod" | "service")
}

/// The table, what of node.toml is not applied, and the sum. Networks and volumes are shown when they change.
pub fn draw(applied: &Applied, look: Look) -> String {
    let is_shown = |change: &&Change| is_process(&change.kind) || change.deed != Deed::None;
    let rows: Vec<_> = applied.changes.iter().filter(is_shown).map(row).collect();
    let mut text = if rows.is_empty() { String::new() } else { draw_table(&COLUMNS, &rows, look) };
    if !applied.node.is_empty() {
        text.push_str(&format!(
            "node.toml differs ({}): that needs a new OS image and is not applied\n",
            printable(&applied.node.join(", "))
        ));
    }
    let count = applied.changes.iter().filter(|change| change.deed != Deed::None).count();
    text.push_str(&match (count, applied.applied) {
        (0, _) => "nothing changes\n".to_owned(),
        (count, true) => format!("{count} changed\n"),
        (count, false) => format!("{count} would change; nothing was changed\n"),
    });
    text
}

fn row(change: &Change) -> Vec<Cell> {
    let (word, colour) = match change.deed {
        Deed::Create => ("create", Some(Colour::Green)),
        Deed::Recreate => ("recreate", Some(Colour::Yellow)),
        Deed::Update => ("in place", Some(Colour::Green)),
        Deed::Stop => ("stop", Some(Colour::Red)),
        Deed::None => ("-", None),
    };
    let name = match is_process(&change.kind) {
        true => change.unit.clone(),
        false => format!("{} {}", change.kind, change.unit),
    };
    let keys = change.keys.iter().map(ToString::to_string);
    let why: Vec<_> = keys.chain(change.why.clone()).collect();
    let cell = |text: &str| Cell::from(printable(text));
    vec![cell(&name), Cell { text: word.to_owned(), colour }, cell(&why.join(", "))]
}

#[cfg(test)]
mod tests {
    use berth_units::change::{KeyChange, Means};

    use super::*;

    fn change(unit: &str, deed: Deed, keys: Vec<KeyChange>, why: Option<&str>) -> Change {
        Change {
            unit: unit.into(),
            kind: "container".into(),
            deed,
            keys,
            pid: None,
            why: why.map(str::to_owned),
        }
    }

    #[test]
    fn each_unit_has_its_reason() {
        let key = |key: &str, means, values: Option<(&str, &str)>| KeyChange {
            key: key.into(),
            means,
            values: values.map(|(old, new)| (old.into(), new.into())),
        };
        let applied = Applied {
            set: "1".into(),
            applied: false,
            revision: 3,
            changes: vec![
                change("web", Deed::Recreate, vec![key("env.TOKEN", Means::Process, None)], None),
                change(
                    "cache",
                    Deed::Update,
                    vec![key("memory.max", Means::Limits, Some(("64M", "96M")))],
                    None,
                ),
                change("front", Deed::Recreate, Vec::new(), Some("follows 'web'")),
                change("broker", Deed::None, Vec::new(), None),
                Change { kind: "network".into(), ..change("apps", Deed::None, Vec::new(), None) },
                change("shop", Deed::Recreate, Vec::new(), Some("config 'motd' changes")),
                Change { kind: "config".into(), ..change("motd", Deed::Update, Vec::new(), None) },
                Change { kind: "secret".into(), ..change("key", Deed::Create, Vec::new(), None) },
            ],
            node: vec!["hostname".into()],
        };
        assert_eq!(
            draw(&applied, Look::PLAIN),
            "UNIT         CHANGE    WHY\n\
             web          recreate  env.TOKEN\n\
             cache        in place  memory.max 64M -> 96M\n\
             front        recreate  follows 'web'\n\
             broker       -\n\
             shop         recreate  config 'motd' changes\n\
             config motd  in place\n\
             secret key   create\n\
             node.toml differs (hostname): that needs a new OS image and is not applied\n\
             6 would change; nothing was changed\n"
        );
        let nothing = Applied { changes: Vec::new(), node: Vec::new(), applied: true, ..applied };
        assert_eq!(draw(&nothing, Look::PLAIN), "nothing changes\n");
    }
}
