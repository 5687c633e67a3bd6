//! `berth top`: what units use, again and again.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use berth_units::human::size;
use berth_units::wire::control::{Call, Figures, UnitFigures};
use rustix::event::PollFlags;

use crate::client;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{Look, print, printable};
use crate::polls::Polls;
use crate::rates::{Rates, between, percent};
use crate::signals::{Signal, Signals};
use crate::table::{Cell, Column, draw};
use crate::terminal::{self, Raw};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// What ends it on a terminal: q, Escape, Ctrl-C, Ctrl-D.
const QUIT: &[u8] = b"q\x1b\x03\x04";

const COLUMNS: [Column; 7] = [
    Column { heading: "UNIT", gives_way: 0 },
    Column { heading: "STATE", gives_way: 2 },
    Column { heading: "CPU", gives_way: 0 },
    Column { heading: "MEMORY", gives_way: 1 },
    Column { heading: "PIDS", gives_way: 3 },
    Column { heading: "IO/S", gives_way: 4 },
    Column { heading: "PRESSURE CPU/MEM/IO", gives_way: 5 },
];

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  berth top                   q or Ctrl-C ends it\n  berth top --once\n  \
    berth top -n 10 --json | jq '.units[0].cpu_percent'"
)]
pub struct Args {
    /// End after so many tables
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// One table, of the second to come
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// One JSON object a line; its members are described in docs/contract.md
    #[arg(long)]
    json: bool,
}

/// Shows a table a second. Off a terminal one follows the other.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    let count = if args.once { Some(1) } else { args.count };
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGWINCH])
        .map_err(Failure::action)?;
    let is_screen = io::stdin().is_terminal() && io::stdout().is_terminal() && count.is_none() && !args.json;
    let screen = if is_screen { Some(Screen::open().map_err(Failure::action)?) } else { None };
    let mut before: Figures = client::call(node, &Call::Stats {})?;
    let mut shown = 0;
    while wait(&signals, screen.is_some()).map_err(Failure::action)? {
        let after: Figures = client::call(node, &Call::Stats {})?;
        let rates = between(&before, &after);
        match (&screen, args.json) {
            (Some(screen), _) => screen.show(&table(&after, &rates, Look::of_stdout()))?,
            (None, true) => print(&format!("{}\n", object(&after, &rates)))?,
            (None, false) => print(&table(&after, &rates, Look::of_stdout()))?,
        }
        before = after;
        shown += 1;
        if count.is_some_and(|count| shown >= count) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Until it is time for the next table; `false` when somebody wants an end. A key that means nothing is dropped.
fn wait(signals: &Signals, has_keys: bool) -> io::Result<bool> {
    let end = Instant::now() + INTERVAL;
    let stdin = io::stdin();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        let mut polls = Polls::new();
        polls.add(false, signals.fd(), PollFlags::IN);
        polls.add(true, stdin.as_fd(), if has_keys { PollFlags::IN } else { PollFlags::empty() });
        for (is_key, _) in polls.wait(Some(left))? {
            if is_key {
                let mut keys = [0; 64];
                let len = rustix::io::read(&stdin, &mut keys).unwrap_or(0);
                // A terminal that is gone reads as its end.
                if len == 0 || keys.iter().take(len).any(|key| QUIT.contains(key)) {
                    return Ok(false);
                }
            } else {
                match signals.next() {
                    // Another size: drawn at once.
                    Some(Signal::SIGWINCH) => return Ok(true),
                    Some(_) => return Ok(false),
                    None => {}
                }
            }
        }
    }
}

/// The terminal's other screen, without a cursor. Dropping it brings back what was there.
struct Screen(Raw);

impl Screen {
    fn open() -> io::Result<Self> {
        let raw = Raw::of_stdin()?;
        write_all("\x1b[?1049h\x1b[?25l")?;
        Ok(Self(raw))
    }

    /// From the first line on, as much as fits.
    fn show(&self, table: &str) -> Result<(), Failure> {
        let Self(_raw) = self;
        let rows = terminal::size_of(io::stdout()).map_or(usize::MAX, |(rows, _)| usize::from(rows));
        let mut text = "\x1b[H".to_owned();
        for (at, line) in table.lines().take(rows).enumerate() {
            text.push_str(if at == 0 { "" } else { "\r\n" });
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        print(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody left to tell.
        write_all("\x1b[?25h\x1b[?1049l").unwrap_or_default();
    }
}

fn write_all(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn table(figures: &Figures, rates: &BTreeMap<String, Rates>, look: Look) -> String {
    let mut units: Vec<(&UnitFigures, Rates)> =
        figures.units.iter().map(|unit| (unit, rates.get(&unit.name).copied().unwrap_or_default())).collect();
    // Those that do most first; what rests last.
    units.sort_by(|(_, a), (_, b)| b.cpu.unwrap_or(-1.0).total_cmp(&a.cpu.unwrap_or(-1.0)));
    let rows: Vec<Vec<Cell>> = units.iter().map(|(unit, rates)| row(unit, *rates)).collect();
    draw(&COLUMNS, &rows, look)
}

fn row(unit: &UnitFigures, rates: Rates) -> Vec<Cell> {
    let dash = || "-".to_owned();
    let memory = match (unit.memory, unit.memory_max) {
        (None, _) => dash(),
        (Some(used), None) => size(used),
        (Some(used), Some(max)) => format!("{} / {}", size(used), size(max)),
    };
    let pressures = [unit.pressure_cpu, unit.pressure_memory, unit.pressure_io];
    let pressure = match pressures.iter().all(Option::is_none) {
        true => dash(),
        false => pressures.map(|some| some.map_or_else(dash, |some| format!("{some:.1}"))).join(" / "),
    };
    [
        printable(&unit.name),
        unit.state.to_string(),
        percent(rates.cpu),
        memory,
        unit.pids.map_or_else(dash, |pids| pids.to_string()),
        rates.io.map_or_else(dash, |bytes| size(bytes as u64)),
        pressure,
    ]
    .map(Cell::from)
    .to_vec()
}

fn object(figures: &Figures, rates: &BTreeMap<String, Rates>) -> serde_json::Value {
    let unit = |unit: &UnitFigures| {
        let rates = rates.get(&unit.name).copied().unwrap_or_default();
        let mut value = serde_json::to_value(unit).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            members.insert("cpu_percent".to_owned(), rates.cpu.into());
            members.insert("io_bytes_per_second".to_owned(), rates.io.into());
        }
        value
    };
    serde_json::json!({ "at_usec": figures.at_usec, "units": figures.units.iter().map(unit).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_comes_first_and_what_is_not_counted_is_a_dash() {
        let figures: Figures = serde_json::from_value(serde_json::json!({ "at_usec": 1, "units": [
            { "name": "cache", "state": "stopped" },
            { "name": "db", "state": "ready", "memory": 1 << 20, "pids": 2, "pressure_cpu": 0.0 },
            { "name": "web", "state": "ready", "memory": 41 << 20, "memory_max": 256 << 20, "pids": 3 },
        ]}))
        .unwrap();
        let rates: BTreeMap<String, Rates> = [("db", 1.0), ("web", 20.04)]
            .map(|(name, cpu)| (name.to_owned(), Rates { cpu: Some(cpu), io: Some(2048.0) }))
            .into();
        assert_eq!(
            table(&figures, &rates, Look::PLAIN),
            "UNIT   STATE    CPU    MEMORY      PIDS  IO/S  PRESSURE CPU/MEM/IO\n\
             web    ready    20.0%  41M / 256M  3     2K    -\n\
             db     ready    1.0%   1M          2     2K    0.0 / - / -\n\
             cache  stopped  -      -           -     -     -\n"
        );
        let object = object(&figures, &rates);
        assert_eq!(object["units"][2]["cpu_percent"], 20.04);
        assert_eq!(object["units"][0]["cpu_percent"], serde_json::Value::Null);
    }
}
