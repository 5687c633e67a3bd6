//! `berth exec`: a program in a unit, with our standard streams and its exit code.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;

use berth_units::Name;
use berth_units::wire::control::{Call, Exec};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::session::{self, AsIs, SessionError, Streams};
use crate::signals::{Signal, Signals};
use crate::terminal::{self, Raw};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  berth exec web -- sh                     a shell, where both ends are terminals\n  \
    berth exec web -- tar c /etc > etc.tar   streams pass unchanged\n  \
    berth exec -u nobody -w /tmp web -- id   as another user, elsewhere\n\n\
    The exit code is the program's; 127 and 126 mean that it was not found or cannot be executed, as in a shell."
)]
pub struct Args {
    /// A terminal inside, even if ours is not one
    #[arg(short = 't', long = "tty", conflicts_with = "no_tty")]
    tty: bool,
    /// No terminal inside, even if ours is one
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Accepted for habit: standard input is always passed
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// UID[:GID] or a name of the image, in place of the unit's user
    #[arg(short, long)]
    user: Option<String>,
    /// Working directory, in place of the unit's
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// NAME=VALUE, over the unit's own; may be given again
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// Where
    #[arg(value_parser = Name::parse)]
    unit: Name,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[cfg(test)]
impl Args {
    /// Program and arguments.
    pub fn command(&self) -> &[String] {
        &self.command
    }
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("an environment variable is written NAME=VALUE".to_owned()),
    }
}

/// Passes streams until the program ends.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let tty = args.tty || (!args.no_tty && session::is_interactive());
    let mut env: BTreeMap<String, String> = args.env.iter().cloned().collect();
    if tty && let Ok(term) = std::env::var("TERM") {
        env.entry("TERM".to_owned()).or_insert(term);
    }
    let call = Call::Exec(Exec {
        unit: args.unit.clone(),
        argv: args.command.clone(),
        env,
        tty: tty.then(|| terminal::size_of(io::stdout()).unwrap_or((24, 80))),
        user: args.user.clone(),
        workdir: args.workdir.clone(),
    });
    let upgraded = client::upgrade(node, &call)?;
    let local = |error| Failure::from(SessionError::Local(error));
    // In raw mode Ctrl-C is a byte like any other.
    let taken: &[Signal] = if tty {
        &[Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGHUP]
    } else {
        &[Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP]
    };
    let signals = Signals::take(taken).map_err(local)?;
    let raw = if tty && session::is_interactive() { Some(Raw::of_stdin().map_err(local)?) } else { None };
    let code = session::run(upgraded, &Streams { stdin: true, signals: Some(&signals) }, AsIs);
    drop(raw);
    Ok(ExitCode::from(code?))
}
