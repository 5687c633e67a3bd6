//! `berth cp`: a file or directory out of a container, or into it.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use berth_archive::{ArchiveError, Base, Keep, pack, receive};
use berth_units::Name;
use berth_units::wire::control::Call;

use crate::carry::Carry;
use crate::client;
use crate::failure::{Failure, Kind};
use crate::node::Node;
use crate::output::printable;
use crate::session::{self, AsIs, SessionError, Streams};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  berth cp web:/etc/nginx/nginx.conf .        a file, into this directory\n  \
    berth cp site web:/srv                      a directory, to /srv/site if /srv is there\n  \
    berth cp site/. web:/srv                    what is in it\n  \
    berth cp web:/var/lib/app - > app.tar       as a tar file; '- web:/DIR' takes one\n\n\
    What is copied into a container belongs to its root, what is copied out to you."
)]
pub struct Args {
    /// UNIT:/PATH, a path here, or - for a tar file on standard input
    #[arg(value_parser = Side::parse)]
    src: Side,
    /// UNIT:/PATH, a path here, or - for a tar file on standard output
    #[arg(value_parser = Side::parse)]
    dst: Side,
}

/// One of the two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Side {
    Container { unit: Name, path: String },
    Here(String),
    Stream,
}

impl Side {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Stream);
        }
        match text.split_once(':').map(|(unit, path)| (Name::parse(unit), path)) {
            Some((Ok(unit), path)) if path.starts_with('/') => {
                Ok(Self::Container { unit, path: path.to_owned() })
            }
            Some((Ok(unit), path)) => Err(format!(
                "a path in a container begins with '/': '{unit}:/{path}'; a file here is written './{text}'"
            )),
            _ if text.is_empty() => Err("a path has at least one character".to_owned()),
            _ => Ok(Self::Here(text.to_owned())),
        }
    }
}

/// How it is called in a directory that takes it; none where what is in it is meant.
fn name_of(path: &str) -> Option<&str> {
    let name = path.trim_end_matches('/').rsplit('/').next();
    name.filter(|name| !matches!(*name, "" | "." | ".."))
}

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("one side is a container, written UNIT:/PATH, and the other is not")]
    Sides,
    #[error("a tar file does not belong on a terminal")]
    OnTerminal,
    #[error("cannot copy: here: {0}")]
    Here(String, #[source] ArchiveError),
    #[error("cannot copy: in '{unit}': {source}")]
    There { unit: Name, source: SessionError },
}

/// Copies.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    match (&args.src, &args.dst) {
        (Side::Container { unit, path }, Side::Stream) => {
            refuse_terminal(io::stdout().is_terminal())?;
            stream(node, &Call::CopyOut { unit: unit.clone(), path: path.clone() }, false)
        }
        (Side::Stream, Side::Container { unit, path }) => {
            refuse_terminal(io::stdin().is_terminal())?;
            let (unit, path) = (unit.clone(), path.clone());
            stream(node, &Call::CopyIn { unit, path, name: None }, true)
        }
        (Side::Container { unit, path }, Side::Here(here)) => copy_out(node, (unit, path), here),
        (Side::Here(here), Side::Container { unit, path }) => copy_in(node, here, (unit, path)),
        _ => Err(Failure::usage(CopyError::Sides)),
    }
}

fn refuse_terminal(is_terminal: bool) -> Result<(), Failure> {
    if is_terminal { Err(Failure::usage(CopyError::OnTerminal)) } else { Ok(()) }
}

fn stream(node: &Node, call: &Call, stdin: bool) -> Result<ExitCode, Failure> {
    let upgraded = client::upgrade(node, call)?;
    Ok(ExitCode::from(session::run(upgraded, &Streams { stdin, signals: None }, AsIs)?))
}

/// A container may send what it likes: nothing of it gets out of the place that was named.
fn copy_out(node: &Node, (unit, path): (&Name, &str), here: &str) -> Result<ExitCode, Failure> {
    let base = Base::here().map_err(failed_here)?;
    let upgraded = client::upgrade(node, &Call::CopyOut { unit: unit.clone(), path: path.to_owned() })?;
    let mut carry = Carry::new(upgraded)?;
    let copied = receive(&base, here, name_of(path), &mut carry, Keep::Plain(None));
    end(unit, carry, copied.map(drop))
}

fn copy_in(node: &Node, here: &str, (unit, path): (&Name, &str)) -> Result<ExitCode, Failure> {
    let base = Base::here().map_err(failed_here)?;
    let name = name_of(here).map(str::to_owned);
    let call = Call::CopyIn { unit: unit.clone(), path: path.to_owned(), name };
    let mut carry = Carry::new(client::upgrade(node, &call)?)?;
    let copied = pack(&base, here, &mut carry).and_then(|skipped| {
        for path in &skipped.paths {
            eprintln!("left out '{}': it is neither file nor directory", printable(path));
        }
        if skipped.more > 0 {
            eprintln!("left out {} more", skipped.more);
        }
        carry.close().map_err(|error| ArchiveError::Whole("send the tar stream", error))
    });
    end(unit, carry, copied)
}

/// The node knows better why than what followed from it here.
fn end(unit: &Name, mut carry: Carry, copied: Result<(), ArchiveError>) -> Result<ExitCode, Failure> {
    let there = |source: SessionError| {
        let kind = match &source {
            SessionError::Lost(_) => Kind::Unreachable,
            _ => Kind::Action,
        };
        Failure::new(kind, CopyError::There { unit: unit.clone(), source })
    };
    if let Err(error) = copied {
        return Err(carry.fault().map_or_else(|| failed_here(error), there));
    }
    carry.finish().map_err(there)?;
    Ok(ExitCode::SUCCESS)
}

fn failed_here(error: ArchiveError) -> Failure {
    Failure::action(CopyError::Here(error.to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_container_only_with_a_path_from_its_root() {
        let here = |text: &str| Ok(Side::Here(text.to_owned()));
        assert_eq!(
            Side::parse("web:/etc/x"),
            Ok(Side::Container { unit: Name::parse("web").unwrap(), path: "/etc/x".to_owned() })
        );
        assert_eq!(Side::parse("-"), Ok(Side::Stream));
        assert_eq!(Side::parse("./web:/x"), here("./web:/x"));
        assert_eq!(Side::parse("dir/"), here("dir/"));
        assert!(Side::parse("web:etc").unwrap_err().contains("'web:/etc'"));
        assert!(Side::parse("").is_err());
    }

    #[test]
    fn a_name_is_the_last_of_a_path_and_a_dot_means_what_is_in_it() {
        for (path, name) in [
            ("/etc/x", Some("x")),
            ("dir/", Some("dir")),
            ("dir/.", None),
            (".", None),
            ("..", None),
            ("/", None),
            ("x", Some("x")),
        ] {
            assert_eq!(name_of(path), name, "{path}");
        }
    }
}
