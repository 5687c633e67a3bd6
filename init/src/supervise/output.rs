//! What the log process is told of units, and what it tells of the lines that make them ready.

use std::os::fd::BorrowedFd;

use berth_units::Name;
use berth_units::life::Life;
use berth_units::spec::Ready;
use berth_units::wire::PACKET_MAX;
use berth_units::wire::log::{self, Awaited, Reply};

use super::Supervisor;
use super::link::fd_name;
use super::poll::Source;
use crate::channel::{Channel, Received};
use crate::error;

impl Supervisor {
    /// Gives the log process a unit's pipes.
    pub(super) fn tell_log(&mut self, name: &Name) {
        let pipes = ["stdout", "stderr"].map(|what| self.link.kept(&fd_name(what, name)));
        let ([Some(stdout), Some(stderr)], Some(channel)) = (pipes, &self.log) else {
            return;
        };
        let settings = self.set.declared.units.get(name).map(|unit| unit.log.clone()).unwrap_or_default();
        let request =
            log::Request::Add { unit: name.clone(), log: settings, awaits: self.awaited_line(name) };
        send_log(channel, &request, &[stdout, stderr]);
    }

    /// Has the log process end the lines of a run.
    pub(super) fn tell_log_of_end(&mut self, name: &Name) {
        if let Some(channel) = &self.log {
            send_log(channel, &log::Request::EndLines { unit: name.clone() }, &[]);
        }
    }

    /// Takes a unit's pipes from the log process.
    pub(super) fn untell_log(&mut self, name: &Name) {
        if let Some(channel) = &self.log {
            send_log(channel, &log::Request::Remove { unit: name.clone() }, &[]);
        }
    }

    /// The line that a unit's present run is not ready without.
    fn awaited_line(&self, name: &Name) -> Option<Awaited> {
        let Ready::Log(pattern) = &self.set.declared.units.get(name)?.ready else {
            return None;
        };
        let record = &self.observed.units.get(name)?.record;
        let run = record.run.as_ref().filter(|_| !record.health.said_ready)?;
        Some(Awaited { run: run.number, pattern: pattern.clone(), is_new: record.life == Life::Held })
    }

    /// The log process has something to say, or has ended; of its end its exit tells.
    pub(super) fn log_ready(&mut self) {
        let mut buffer = vec![0; PACKET_MAX];
        while let Some(channel) = &self.log {
            match channel.receive(&mut buffer) {
                Ok(Received::Packet { len, .. }) => {
                    match serde_json::from_slice(buffer.get(..len).unwrap_or_default()) {
                        Ok(reply) => self.log_said(&reply),
                        Err(error) => error!("the log process said something that makes no sense: {error}"),
                    }
                }
                Ok(Received::Closed) => return self.log_gone(),
                Err(_) => return,
            }
        }
    }

    fn log_said(&mut self, reply: &Reply) {
        let (Reply::Listening { unit, run } | Reply::Found { unit, run }) = reply;
        let Some(seen) = self.observed.units.get_mut(unit) else {
            return;
        };
        if seen.record.run.as_ref().is_none_or(|present| present.number != *run) {
            return;
        }
        match reply {
            Reply::Listening { .. } => seen.listened = Some(*run),
            Reply::Found { .. } => {
                // Its execve comes before its words, whatever order the events have.
                self.status_changed(unit);
                self.said_ready(unit);
            }
        }
    }

    /// Another one is told everything anew when it is started.
    pub(super) fn log_gone(&mut self) {
        if let Some(channel) = self.log.take() {
            self.poll.remove(&channel, &Source::Log);
        }
        for seen in self.observed.units.values_mut() {
            seen.listened = None;
        }
    }
}

fn send_log(channel: &Channel, request: &log::Request, fds: &[BorrowedFd<'_>]) {
    let sent =
        serde_json::to_vec(request).map_err(std::io::Error::from).and_then(|text| channel.send(&text, fds));
    if let Err(error) = sent {
        error!("cannot tell the log process: {error}");
    }
}
