//! `berth volume`: what volumes hold, and how they come to another node and go.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use berth_units::wire::control::{Call, VolumeStatus, Volumes};
use berth_units::{Name, human};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Colour, Look, print, print_json};
use crate::session::{self, AsIs, Streams};
use crate::table::{Cell, Column, draw};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth volume ls\n  berth volume export db-data > db-data.tar\n  \
    berth stop db && berth volume import db-data < db-data.tar && berth start db\n  berth volume rm old")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List volumes: what each holds, what it may hold, who has it mounted
    Ls {
        /// Print JSON; its members are described in docs/contract.md
        #[arg(long)]
        json: bool,
    },
    /// Write a volume to standard output as a tar file
    Export {
        /// Which
        #[arg(value_parser = Name::parse)]
        volume: Name,
    },
    /// Replace a volume that no unit has mounted by a tar file from standard input
    Import {
        /// Which; it is made when it is not there
        #[arg(value_parser = Name::parse)]
        volume: Name,
    },
    /// Delete a volume that no unit has mounted
    Rm {
        /// Even if it is declared: it comes back empty
        #[arg(short, long)]
        force: bool,
        /// Which
        #[arg(value_parser = Name::parse)]
        volume: Name,
    },
}

/// A terminal in the place of a tar file.
#[derive(Debug, thiserror::Error)]
#[error("a tar file does not belong on a terminal")]
struct OnTerminal;

/// Does it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Ls { json } => list(node, *json),
        What::Export { volume } => {
            if io::stdout().is_terminal() {
                return Err(
                    Failure::usage(OnTerminal).hint("write it to a file: berth volume export … > FILE")
                );
            }
            stream(node, &Call::ExportVolume { volume: volume.clone() }, false)
        }
        What::Import { volume } => {
            if io::stdin().is_terminal() {
                return Err(
                    Failure::usage(OnTerminal).hint("read it from a file: berth volume import … < FILE")
                );
            }
            stream(node, &Call::ImportVolume { volume: volume.clone() }, true)
        }
        What::Rm { force, volume } => {
            client::tell(node, &Call::RemoveVolume { volume: volume.clone(), force: *force })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn stream(node: &Node, call: &Call, stdin: bool) -> Result<ExitCode, Failure> {
    let upgraded = client::upgrade(node, call)?;
    let code = session::run(upgraded, &Streams { stdin, signals: None }, AsIs)?;
    Ok(ExitCode::from(code))
}

fn list(node: &Node, json: bool) -> Result<ExitCode, Failure> {
    let volumes: Volumes = client::call(node, &Call::Volumes {})?;
    if json {
        print_json(&volumes)?;
    } else {
        print(&table(&volumes, Look::of_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(volumes: &Volumes, look: Look) -> String {
    let column = |heading, gives_way| Column { heading, gives_way };
    let columns = [
        column("VOLUME", 0),
        column("USED", 0),
        column("SIZE", 0),
        column("FILES", 2),
        column("MOUNTED BY", 1),
        column("NOTE", 0),
    ];
    draw(&columns, &volumes.volumes.iter().map(row).collect::<Vec<_>>(), look)
}

fn row(volume: &VolumeStatus) -> Vec<Cell> {
    let or_dash = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".to_owned()));
    let users: Vec<_> = volume.used_by.iter().map(Name::as_str).collect();
    vec![
        Cell::from(volume.name.to_string()),
        or_dash(volume.used.map(human::size)),
        or_dash(volume.limit.or(volume.size).map(human::size)),
        or_dash(volume.files.map(|files| files.to_string())),
        or_dash(Some(users.join(" ")).filter(|users| !users.is_empty())),
        note(volume),
    ]
}

/// What somebody should know.
fn note(volume: &VolumeStatus) -> Cell {
    let warning = |text: String| Cell { text, colour: Some(Colour::Yellow) };
    match (volume.size, volume.limit) {
        _ if !volume.exists => Cell::from("not used yet".to_owned()),
        _ if !volume.declared => Cell::from("no longer declared".to_owned()),
        (Some(_), None) => warning("its size is not in force".to_owned()),
        (Some(size), Some(limit)) if size.div_ceil(1024) != limit.div_ceil(1024) => {
            warning(format!("holds more than its new size {}", human::size(size)))
        }
        _ => Cell::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use berth_units::spec::Retain;

    use super::*;

    fn volume(name: &str, size: Option<u64>, limit: Option<u64>) -> VolumeStatus {
        VolumeStatus {
            name: Name::parse(name).unwrap(),
            declared: true,
            exists: true,
            size,
            limit,
            used: Some(3 << 20),
            files: Some(7),
            used_by: vec![Name::parse("clerk").unwrap()],
            retain: Retain::Keep,
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn each_volume_has_its_line_and_what_is_odd_is_said() {
        const MIB: u64 = 1 << 20;
        let kept = VolumeStatus { declared: false, used_by: Vec::new(), ..volume("old", None, None) };
        let fresh = VolumeStatus {
            exists: false,
            used: None,
            files: None,
            used_by: Vec::new(),
            ..volume("new", None, None)
        };
        let volumes = vec![
            volume("books", Some(8 * MIB), Some(8 * MIB)),
            fresh,
            kept,
            volume("shelf", Some(MIB), Some(4 * MIB)),
            volume("stray", Some(MIB), None),
        ];
        let expected = "\
VOLUME  USED  SIZE  FILES  MOUNTED BY  NOTE
books   3M    8M    7      clerk
new     -     -     -      -           not used yet
old     3M    -     7      -           no longer declared
shelf   3M    4M    7      clerk       holds more than its new size 1M
stray   3M    1M    7      clerk       its size is not in force
";
        assert_eq!(table(&Volumes { volumes }, Look { colour: false, width: None }), expected);
    }
}
