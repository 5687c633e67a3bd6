//! `berth events`: lines of the file of events, the oldest first, and further ones as they come.

use std::io;
use std::path::Path;

use berth_units::wire::control::Events;
use berth_units::wire::event::{EVENTS_DIR, Event};
use berth_units::wire::session::Kind;

use super::SessionError;
use super::client::Client;
use super::logs::{Reader, wait, watch};

/// Sends what was asked for; comes back at the end or, following, when the client is gone.
pub fn run(client: &mut Client, asked: &Events, root: &Path) -> Result<(), SessionError> {
    let directory = root.join(EVENTS_DIR.trim_start_matches('/'));
    let cannot_read = SessionError::system::<io::Error>;
    // The watch comes first: what is written between reading and waiting wakes us.
    let watch = asked.follow.then(|| watch(&directory)).transpose().map_err(cannot_read("watch events"))?;
    let mut reader = Reader::open(directory, None).map_err(cannot_read("read events"))?;
    loop {
        while let Some(lines) = reader.next_lines().map_err(cannot_read("read events"))? {
            let lines: Vec<&[u8]> = lines
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|line| is_asked_for(line, asked))
                .collect();
            if !lines.is_empty() {
                client.push(Kind::Stdout, &lines.concat());
                client.flush_all().map_err(SessionError::ClientGone)?;
            }
        }
        match &watch {
            Some(watch) => wait(client, watch)?,
            None => return Ok(()),
        }
    }
}

/// A line that is no event is none that anybody asked for.
fn is_asked_for(line: &[u8], asked: &Events) -> bool {
    serde_json::from_slice::<Event>(line).is_ok_and(|event| {
        event.seq > asked.since.unwrap_or(0)
            && asked.unit.as_ref().is_none_or(|unit| event.unit.as_ref() == Some(unit))
    })
}
