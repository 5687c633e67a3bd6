//! What a person sees of a pull: a bar for each layer on a terminal, a line for each elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use berth_image::digest::Digest;
use berth_image::registry::{News, Watch};
use berth_units::human;

use crate::failure::chain;
use crate::output::{note, printable};

/// Bars are drawn this often.
const FRAME: Duration = Duration::from_millis(100);
/// Characters of a bar.
const WIDTH: u64 = 28;

/// Draws.
pub struct Bars {
    how: How,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Quiet,
    Lines,
    Bars,
}

#[derive(Default)]
struct State {
    layers: BTreeMap<Digest, Layer>,
    /// Lines on the terminal that are drawn over.
    drawn: usize,
    last: Option<Instant>,
}

struct Layer {
    size: u64,
    got: u64,
    start: Instant,
    /// What was there when it began.
    first: Option<u64>,
}

impl Bars {
    /// As standard error allows.
    pub fn of_stderr(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let how = match (quiet, io::stderr().is_terminal() && !dumb) {
            (true, _) => How::Quiet,
            (false, true) => How::Bars,
            (false, false) => How::Lines,
        };
        Self { how, state: Mutex::default() }
    }

    /// The last picture.
    pub fn end(&self) {
        if self.how == How::Bars {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).draw(true);
        }
    }
}

impl Watch for Bars {
    fn see(&self, news: News<'_>) {
        if self.how == How::Quiet {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Layers(plans, wanted) => {
                for (plan, wanted) in plans.iter().zip(wanted) {
                    if *wanted {
                        let layer = Layer { size: plan.size, got: 0, start: Instant::now(), first: None };
                        state.layers.insert(plan.digest, layer);
                    } else if self.how == How::Lines {
                        note(&format!("layer    {}  here already\n", short(&plan.digest)));
                    }
                }
            }
            News::Got(plan, bytes) => {
                if let Some(layer) = state.layers.get_mut(&plan.digest) {
                    layer.first.get_or_insert(bytes);
                    layer.got = bytes;
                }
            }
            News::Fetched(plan) if self.how == How::Lines => {
                note(&format!("layer    {}  {}\n", short(&plan.digest), human::size(plan.size)));
            }
            News::Fetched(_) => {}
            News::Again { what, wait, why } => {
                let why = printable(&chain(why));
                let what: String = what.chars().take(19).collect();
                state.clear(self.how);
                note(&format!("again    {what} in {}: {why}\n", human::duration(wait)));
            }
        }
        if self.how == How::Bars {
            state.draw(false);
        }
    }
}

impl State {
    fn clear(&mut self, how: How) {
        if how == How::Bars && self.drawn > 0 {
            note(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn draw(&mut self, last: bool) {
        if !last && self.last.is_some_and(|last| last.elapsed() < FRAME) {
            return;
        }
        self.last = Some(Instant::now());
        let mut text = String::new();
        if self.drawn > 0 {
            write!(text, "\x1b[{}A\x1b[J", self.drawn).unwrap_or_default();
        }
        for (digest, layer) in &self.layers {
            writeln!(text, "layer    {}  {}", short(digest), bar(layer)).unwrap_or_default();
        }
        self.drawn = self.layers.len();
        note(&text);
    }
}

fn bar(layer: &Layer) -> String {
    let size = layer.size.max(1);
    let full = usize::try_from(layer.got.saturating_mul(WIDTH) / size).unwrap_or(0);
    let percent = layer.got.saturating_mul(100) / size;
    let seconds = layer.start.elapsed().as_secs_f64().max(0.001);
    let fresh = layer.got.saturating_sub(layer.first.unwrap_or(layer.got));
    let speed = human::size((fresh as f64 / seconds) as u64);
    let (bar, width) = ("#".repeat(full), WIDTH as usize);
    format!("{:>7}  {bar:<width$} {percent:>3}%  {speed}/s", human::size(layer.size))
}

fn short(digest: &Digest) -> String {
    human::short_digest(&digest.hex()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_its_share() {
        let layer = |got, size| Layer { size, got, start: Instant::now(), first: Some(got) };
        let half = bar(&layer(50 << 20, 100 << 20));
        assert!(half.contains(&format!("   100M  {:<28}  50%", "#".repeat(14))), "{half}");
        assert!(bar(&layer(0, 0)).contains("  0%"));
    }
}
