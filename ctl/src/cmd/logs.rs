//! `berth logs`: what a unit has written.

use std::process::ExitCode;

use berth_units::Name;
use berth_units::wire::control::{Call, Logs};

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::pending::Pending;
use crate::session::{self, Filter, Streams};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  berth logs web\n  berth logs -f -n 20 web\n  berth logs -t web | grep stderr"
)]
pub struct Args {
    /// Go on with lines as they come
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u64>,
    /// Show time and stream before each line
    #[arg(short, long)]
    timestamps: bool,
    /// One JSON object a line: time, stream, text
    #[arg(long, conflicts_with = "timestamps")]
    json: bool,
    /// Whose
    #[arg(value_parser = Name::parse)]
    unit: Name,
}

/// Prints the lines of both streams in the order in which they came.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let call = Call::Logs(Logs { unit: args.unit.clone(), follow: args.follow, tail: args.lines });
    let upgraded = client::upgrade(node, &call)?;
    let form = match (args.timestamps, args.json) {
        (true, _) => Form::Whole,
        (_, true) => Form::Json,
        _ => Form::Text,
    };
    let streams = Streams { stdin: false, signals: None };
    let code = session::run(upgraded, &streams, Lines { partial: Vec::new(), form })?;
    Ok(ExitCode::from(code))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Whole,
    Json,
}

/// Lines of a log file (`TIME STREAM TEXT`), shown in some form.
struct Lines {
    partial: Vec<u8>,
    form: Form,
}

/// A longer line is shown in pieces.
const LINE_MAX: usize = 1 << 20;

impl Filter for Lines {
    fn take(&mut self, bytes: &[u8], out: &mut Pending) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() > LINE_MAX {
                out.push(&shown(&self.partial, self.form));
                self.partial.clear();
            }
        }
    }
}

fn shown(line: &[u8], form: Form) -> Vec<u8> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    match (form, parts.next(), parts.next(), parts.next()) {
        (Form::Text, Some(_), Some(_), Some(text)) => text.to_vec(),
        (Form::Json, Some(time), Some(stream), Some(text)) => {
            let [time, stream, text] =
                [time, stream, text.strip_suffix(b"\n").unwrap_or(text)].map(String::from_utf8_lossy);
            format!("{}\n", serde_json::json!({"time": time, "stream": stream, "text": text})).into_bytes()
        }
        _ => line.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: Form, chunks: &[&[u8]], expected: &str) {
        let (mut lines, mut out) = (Lines { partial: Vec::new(), form }, Pending::default());
        for chunk in chunks {
            lines.take(chunk, &mut out);
        }
        assert_eq!(String::from_utf8_lossy(&out.to_vec()), expected);
    }

    #[test]
    fn lines_are_shown_without_and_with_their_time() {
        let chunks: [&[u8]; 3] = [b"T1 stdout a  b", b" c\nT2 stderr \nodd", b"\n"];
        check(Form::Text, &chunks, "a  b c\n\nodd\n");
        check(Form::Whole, &chunks, "T1 stdout a  b c\nT2 stderr \nodd\n");
        check(
            Form::Json,
            &[b"T1 stdout say \"x\"\n"],
            "{\"stream\":\"stdout\",\"text\":\"say \\\"x\\\"\",\"time\":\"T1\"}\n",
        );
    }
}
