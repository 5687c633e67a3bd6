//! One unit's way from pipes to log: spool, lines, file, checkpoint, always in this order.
//!
//! Whoever is killed between two of them finds on its next start what was done, by the checkpoint: the log is cut
//! back to it, and the spooled bytes after it become lines again. So every line is in the log exactly once.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use berth_units::Name;
use berth_units::pattern::Pattern;
use berth_units::spec::{Log, LogSink, Overflow, Rate};
use berth_units::time::rfc3339_micros;
use berth_units::wire::log::Awaited;

use super::checkpoint::{Checkpoint, CheckpointFile};
use super::console::Console;
use super::file::LogFile;
use super::lines::{Budget, Form, format_lines};
use super::meter::Meter;
use super::places::Places;
use super::spool::{SPOOL_MAX, Spool, Taken, lose};
use crate::kmsg::Chain;
use crate::{error, notice};

/// Bytes of one stream that become lines in one step, or as many as the longest line has.
const STEP: usize = 32 << 10;

/// Old files are looked at no more often.
const EXPIRY_MIN: Duration = Duration::from_secs(1);

/// Names of the streams in the log, in the order of the pipes.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// A unit's pipes and files.
#[derive(Debug)]
pub struct Unit {
    name: Name,
    settings: Log,
    streams: [Stream; 2],
    file: LogFile,
    checkpoint: CheckpointFile,
    dropped: u64,
    meter: Meter,
    /// Lines over `log.rate` that no line of the log tells of yet.
    over: u64,
    is_rotating: bool,
    is_failing: bool,
    /// The line that somebody waits for.
    awaits: Option<Awaits>,
    /// Run whose line was found last.
    found: u64,
    /// A run has just ended: what has no line break is a line all the same.
    ends_lines: bool,
    /// When a file is so old that something has to be done about it.
    expiry: Option<SystemTime>,
    /// Lines that the console is to show.
    shown: Vec<u8>,
}

/// A line that somebody waits for.
#[derive(Debug)]
struct Awaits {
    run: u64,
    pattern: Pattern,
    /// Whoever waits has been told.
    is_told: bool,
}

#[derive(Debug)]
struct Stream {
    /// None once it has ended.
    pipe: Option<OwnedFd>,
    spool: Spool,
}

impl Unit {
    /// Goes on where the checkpoint says that this process, or one before it, has stopped.
    pub fn open(places: &Places, name: Name, settings: Log, pipes: [OwnedFd; 2]) -> io::Result<Self> {
        let (checkpoint, found) = CheckpointFile::open(&places.checkpoint(&name))?;
        let last = found.unwrap_or_default();
        let is_known = |identity| found.is_some() && last.directory == identity;
        // In the midst of a rotation `current` may be the old or the new one: it is not cut.
        let known_len = if last.is_rotating { u64::MAX } else { last.log_len };
        let directory = places.directory(&name, settings.to);
        let file = LogFile::open(directory, |identity| is_known(identity).then_some(known_len))?;
        let is_rotating = last.is_rotating && is_known(file.identity());
        let [stdout, stderr] = last.positions;
        let [out_pipe, err_pipe] = pipes;
        let stream = |index: usize, start, pipe| -> io::Result<Stream> {
            Ok(Stream { pipe: Some(pipe), spool: Spool::open(&places.spool(&name, index), start)? })
        };
        let streams = [stream(1, stdout, out_pipe)?, stream(2, stderr, err_pipe)?];
        let (dropped, over, found) = (last.dropped, last.over, last.found);
        let is_failing = false;
        let mut unit = Self {
            name,
            settings,
            streams,
            file,
            checkpoint,
            dropped,
            meter: Meter::default(),
            over,
            is_rotating,
            is_failing,
            awaits: None,
            found,
            ends_lines: false,
            expiry: None,
            shown: Vec::new(),
        };
        if is_rotating {
            unit.rotate()?;
        }
        unit.write_checkpoint()?;
        unit.set_expiry();
        Ok(unit)
    }

    /// Another `Add`: of another run (other pipes: what is left in the old ones comes first), after a restart of
    /// the supervisor (the same pipes), or with other settings.
    pub fn replace(&mut self, places: &Places, settings: Log, pipes: [OwnedFd; 2]) -> io::Result<()> {
        let is_other =
            |old: &Stream, new: &OwnedFd| old.pipe.as_ref().is_none_or(|old| !is_same_pipe(old, new));
        let is_other_run = self.streams.iter().zip(&pipes).any(|(old, new)| is_other(old, new));
        if is_other_run {
            self.finish();
        }
        let directory = places.directory(&self.name, settings.to);
        if directory != self.file.directory() {
            self.write_out();
            self.file = LogFile::open(directory, |_| None)?;
        }
        self.settings = settings;
        for (stream, pipe) in self.streams.iter_mut().zip(pipes) {
            stream.pipe = Some(pipe);
        }
        self.set_expiry();
        self.write_checkpoint()
    }

    /// Looks for a line from now on, or for none. Of a run that has not begun nothing can be there yet: what is in the
    /// pipes is dealt with first.
    ///
    /// # Errors
    /// The pattern is none, and why.
    pub fn listen(&mut self, awaited: Option<Awaited>) -> Result<(), String> {
        let Some(Awaited { run, pattern, is_new }) = awaited else {
            self.awaits = None;
            return Ok(());
        };
        let is_known = self.awaits.as_ref().is_some_and(|awaits| awaits.run == run);
        if is_new && !is_known {
            self.end_lines();
        }
        self.awaits = Some(Awaits { run, pattern: Pattern::parse(&pattern)?, is_told: false });
        Ok(())
    }

    /// The run whose line was found, to be told once more to whoever has asked anew.
    pub fn news(&mut self) -> Option<u64> {
        let found = self.found;
        let awaits = self.awaits.as_mut().filter(|awaits| awaits.run == found && !awaits.is_told)?;
        awaits.is_told = true;
        Some(awaits.run)
    }

    /// Takes what is left in the pipes and ends the last lines; the pipes are let go.
    pub fn finish(&mut self) {
        for index in 0..self.streams.len() {
            while self.take_in(index) {}
        }
        for stream in &mut self.streams {
            stream.pipe = None;
        }
        self.ends_lines = true;
        self.write_out();
        self.ends_lines = false;
    }

    /// Takes what is in the pipes now and ends the last lines, though the pipes stay open for the next run.
    pub fn end_lines(&mut self) {
        for index in 0..self.streams.len() {
            while self.take_in(index) {}
        }
        self.ends_lines = true;
        self.write_out();
        self.ends_lines = false;
    }

    /// The pipes that are still open and to be read, each with the index of its stream.
    pub fn pipes(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        // Who blocks is read again when the log can be written.
        let waits = self.is_failing && self.settings.overflow == Overflow::Block;
        let is_read = move |stream: &Stream| !(waits && stream.spool.waiting() >= SPOOL_MAX);
        let pipes = self.streams.iter().map(move |stream| stream.pipe.as_ref().filter(|_| is_read(stream)));
        pipes.enumerate().filter_map(|(index, pipe)| Some((index, pipe?.as_fd())))
    }

    /// When there is something to say though nothing may be read: lines were dropped, and the stretch of time in which
    /// there were too many is over then.
    pub fn next_wake(&self) -> Option<Instant> {
        self.meter.end(self.settings.rate).filter(|_| self.over > 0 && !self.is_failing)
    }

    /// When a file is so old that something has to be done about it.
    pub fn next_expiry(&self) -> Option<SystemTime> {
        self.expiry.filter(|_| !self.is_failing)
    }

    fn set_expiry(&mut self) {
        self.expiry = self.settings.max_age.and_then(|age| self.file.next_older(age));
    }

    /// Closes and removes files that are too old.
    pub fn expire(&mut self, now: SystemTime) {
        let Some(age) = self.settings.max_age.filter(|_| self.next_expiry().is_some_and(|at| at <= now))
        else {
            return;
        };
        let rotated = if self.file.is_older(age, now) { self.rotate() } else { Ok(()) };
        if let Err(error) = rotated.and_then(|()| self.file.remove_older(age, now)) {
            error!("cannot remove old logs of '{}': {error}, trying again later", self.name);
        }
        self.set_expiry();
        // What could not be removed now is tried again in a while, and not at once.
        self.expiry = self.expiry.map(|at| at.max(now + EXPIRY_MIN));
    }

    /// Shows on the console what has been written since the last time.
    pub fn show(&mut self, console: &mut Console) {
        if !self.shown.is_empty() {
            console.show(&self.name, &std::mem::take(&mut self.shown));
        }
    }

    /// The last attempt to write the log failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Takes one turn's bytes from a pipe; `true` when there may be more.
    pub fn take_in(&mut self, index: usize) -> bool {
        let is_discarded = self.settings.to == LogSink::None;
        let Some(stream) = self.streams.get_mut(index) else { return false };
        let Some(pipe) = &stream.pipe else { return false };
        let taken = if is_discarded { lose(pipe.as_fd()) } else { stream.spool.fill(pipe.as_fd()) };
        let has_more = match taken {
            Ok(Taken::Some) => true,
            Ok(Taken::Lost(count)) => {
                self.dropped += if is_discarded { 0 } else { count };
                true
            }
            Ok(Taken::Nothing) => false,
            Ok(Taken::End) => {
                stream.pipe = None;
                false
            }
            Err(error) => {
                error!("cannot read the output of '{}': {error}, closing it", self.name);
                stream.pipe = None;
                false
            }
        };
        // Only a log that cannot be written lets that much wait.
        let drops = self.is_failing && self.settings.overflow == Overflow::Drop;
        self.dropped += if drops { stream.spool.shrink() } else { 0 };
        has_more
    }

    /// Makes lines of everything that waits. A log that cannot be written is tried again later.
    pub fn write_out(&mut self) {
        let result = self.write_lines();
        match (&result, self.is_failing) {
            (Err(error), false) => {
                error!("cannot write the log of '{}': {}, keeping the newest", self.name, Chain(error));
            }
            (Ok(()), true) => notice!("the log of '{}' can be written again", self.name),
            _ => {}
        }
        self.is_failing = result.is_err();
    }

    fn write_lines(&mut self) -> io::Result<()> {
        if self.is_rotating {
            self.rotate()?;
        }
        while self.write_step()? {}
        Ok(())
    }

    /// Makes lines of the first bytes that wait; `false` when there are none.
    fn write_step(&mut self) -> io::Result<bool> {
        let (now, rate) = (Instant::now(), self.settings.rate);
        let time = rfc3339_micros(unix_micros());
        let (mut lines, left) = (Vec::new(), self.meter.left(rate, now));
        if self.dropped > 0 {
            lines.extend(format!("{time} stderr berth: {} bytes dropped\n", self.dropped).bytes());
        }
        let says_over = self.over > 0 && (left > 0 || self.ends_lines);
        if says_over {
            lines.extend(over_line(&time, self.over, rate).bytes());
        }
        let mut budget = Budget { left, ..Budget::default() };
        let used = self.format_step(&time, &mut budget, &mut lines)?;
        if lines.is_empty() && used == [0, 0] {
            return Ok(false);
        }
        let is_first = self.file.len() == 0;
        self.file.append(&lines)?;
        if let Some(awaits) = self.awaits.as_ref().filter(|_| budget.found) {
            // In the checkpoint with the line itself: whoever dies in between finds it once more.
            self.found = awaits.run;
        }
        if is_first {
            self.set_expiry();
        }
        if self.settings.to == LogSink::Console {
            self.shown.extend_from_slice(&lines);
        }
        self.dropped = 0;
        self.over = if says_over { 0 } else { self.over } + budget.over;
        self.meter.spend(rate, left - budget.left, now);
        for (stream, used) in self.streams.iter_mut().zip(used) {
            stream.spool.advance(used);
        }
        self.write_checkpoint()?;
        self.streams.iter_mut().for_each(|stream| stream.spool.free());
        if self.file.len() >= self.settings.max_size {
            self.rotate()?;
        }
        Ok(true)
    }

    /// The checkpoint frames it: a process that is killed in between goes on with it, and so does a failed one.
    fn rotate(&mut self) -> io::Result<()> {
        self.is_rotating = true;
        self.write_checkpoint()?;
        self.file.rotate(self.settings.keep)?;
        self.is_rotating = false;
        self.set_expiry();
        self.write_checkpoint()
    }

    /// The next lines of both streams; how many spooled bytes each gave.
    fn format_step(&self, time: &str, budget: &mut Budget, lines: &mut Vec<u8>) -> io::Result<[u64; 2]> {
        let max_line = usize::try_from(self.settings.max_line).unwrap_or(STEP);
        let mut buffer = vec![0; STEP.max(max_line + 1)];
        let mut used = [0; 2];
        let wanted =
            self.awaits.as_ref().filter(|awaits| awaits.run != self.found).map(|awaits| &awaits.pattern);
        for ((stream, name), used) in self.streams.iter().zip(STREAMS).zip(&mut used) {
            if stream.spool.is_empty() {
                continue;
            }
            let (bytes, is_all) = stream.spool.peek(&mut buffer)?;
            let prefix = format!("{time} {name} ");
            let is_ended = is_all && (self.ends_lines || stream.pipe.is_none());
            let form = Form { prefix: prefix.as_bytes(), max_line, is_ended, wanted };
            *used = u64::try_from(format_lines(form, bytes, budget, lines)).unwrap_or(0);
        }
        Ok(used)
    }

    fn write_checkpoint(&self) -> io::Result<()> {
        let [stdout, stderr] = &self.streams;
        self.checkpoint.write(&Checkpoint {
            directory: self.file.identity(),
            log_len: self.file.len(),
            positions: [stdout.spool.start(), stderr.spool.start()],
            dropped: self.dropped,
            over: self.over,
            found: self.found,
            is_rotating: self.is_rotating,
        })
    }

    /// The unit is gone: what it said last is written, what was kept in RAM for it is given back.
    pub fn close(mut self, places: &Places) {
        self.finish();
        if self.is_failing {
            error!("the last output of '{}' is lost", self.name);
        }
        // The checkpoint last: without it the spools would be read from their start.
        for path in [places.spool(&self.name, 1), places.spool(&self.name, 2), places.checkpoint(&self.name)]
        {
            remove(&path);
        }
    }
}

/// What is said of lines that are not there.
fn over_line(time: &str, count: u64, rate: Option<Rate>) -> String {
    let (lines, rate) = (if count == 1 { "line" } else { "lines" }, rate.map(|rate| format!(" {rate}")));
    format!("{time} stderr berth: {count} {lines} dropped, over log.rate{}\n", rate.unwrap_or_default())
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        error!("cannot remove '{}': {error}, ignoring it", path.display());
    }
}

fn is_same_pipe(old: &OwnedFd, new: &OwnedFd) -> bool {
    match (rustix::fs::fstat(old), rustix::fs::fstat(new)) {
        (Ok(old), Ok(new)) => (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino),
        _ => false,
    }
}

fn unix_micros() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
