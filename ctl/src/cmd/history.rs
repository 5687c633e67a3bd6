//! `berth history`: the revisions of a node.

use std::process::ExitCode;
use std::time::Duration;

use berth_units::human::age;
use berth_units::wire::control::{Call, History, RevisionState, RevisionStatus};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Colour, Look, print, print_json, printable};
use crate::table::{Cell, Column, draw};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  berth history\n  berth history --json | jq '.revisions[] | select(.state == \"bad\")'"
)]
pub struct Args {
    /// Print JSON; its members are described in docs/contract.md
    #[arg(long)]
    json: bool,
}

/// Prints it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let history: History = client::call(node, &Call::History {})?;
    match args.json {
        true => print_json(&history)?,
        false => print(&table(&history, Look::of_stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(history: &History, look: Look) -> String {
    let column = |heading, gives_way| Column { heading, gives_way };
    let columns = [column("REV", 0), column("STATE", 0), column("WHEN", 1), column("WHY", 0)];
    draw(&columns, &history.revisions.iter().map(row).collect::<Vec<_>>(), look)
}

fn row(one: &RevisionStatus) -> Vec<Cell> {
    let colour = match one.state {
        RevisionState::Good => Colour::Green,
        RevisionState::Trying => Colour::Yellow,
        RevisionState::Bad => Colour::Red,
        RevisionState::Dropped => Colour::Dim,
    };
    let mark = if one.in_force { "*" } else { "" };
    let when = one.age_seconds.map_or_else(|| "-".to_owned(), |seconds| age(Duration::from_secs(seconds)));
    vec![
        Cell::from(format!("{}{mark}", one.revision)),
        Cell { text: one.state.to_string(), colour: Some(colour) },
        Cell::from(when),
        Cell::from(printable(&why(one)).to_string()),
    ]
}

fn why(one: &RevisionStatus) -> String {
    let mut words = Vec::new();
    if let Some(from) = &one.from {
        words.push(match (from.as_str(), one.why.is_empty()) {
            ("hand", _) => "put there by hand".to_owned(),
            (from, true) => from.to_owned(),
            (from, false) => format!("{from}: {}", one.why),
        });
    } else {
        words.push(one.why.clone());
    }
    words.extend(one.returned_to.map(|to| format!("returned to {to}")));
    if one.pinned {
        words.push("pinned".to_owned());
    }
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_revision_has_a_line() {
        let of = |revision, state| RevisionStatus { revision, state, ..RevisionStatus::default() };
        let history = History {
            revisions: vec![
                RevisionStatus {
                    in_force: true,
                    pinned: true,
                    age_seconds: Some(90),
                    from: Some("apply".into()),
                    why: "web env.X".into(),
                    ..of(8, RevisionState::Good)
                },
                RevisionStatus {
                    why: "health web: \u{1b}exit".into(),
                    returned_to: Some(5),
                    ..of(6, RevisionState::Bad)
                },
                RevisionStatus { from: Some("hand".into()), ..of(5, RevisionState::Dropped) },
            ],
        };
        let text = table(&history, Look { colour: false, width: None });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "REV  STATE    WHEN  WHY");
        assert_eq!(lines[1], "8*   good     1m    apply: web env.X; pinned");
        assert!(
            lines[2].starts_with("6    bad      -     health web: ") && lines[2].ends_with("; returned to 5")
        );
        assert!(!text.contains('\u{1b}'));
        assert_eq!(lines[3], "5    dropped  -     put there by hand");
    }
}
