//! What a call of the control interface does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use berth_units::Name;
use berth_units::life::{Event, Life};
use berth_units::nearest::nearest;
use berth_units::observed::{Seen, Wanted};
use berth_units::spec::{Declared, LogSink};
use berth_units::wire::control::{Call, DESCRIPTION, Exec, ExitReason, Fault, Logs, Then};
use berth_units::wire::init::ToInit;
use berth_units::wire::session;
use serde_json::{Value, json};

use super::apply::Outcome;
use super::clients::{Asked, Reply, Sent};
use super::poll::{Interest, Source};
use super::{Supervisor, container, program};
use crate::kmsg::Chain;
use crate::session::{Request, STAGED};
use crate::{notice, warning};

/// What becomes of a call.
enum Answer {
    /// A reply at once.
    Now(Value),
    /// The connection goes to a session process, which has this to do.
    Session(Request),
    /// The same with a directory to fill.
    Import(Request, OwnedFd),
    /// The connection goes to a process that does this and then sends the reply.
    Deputy(Request),
}

impl Supervisor {
    /// Clients wait to be let in.
    pub(super) fn accept(&mut self) {
        let Some(listener) = self.link.kept(super::LISTENER) else {
            return;
        };
        let flags = rustix::net::SocketFlags::CLOEXEC;
        while let Ok(socket) = rustix::net::accept_with(listener, flags) {
            let Some(client) = self.clients.add(socket) else {
                warning!("too many clients of the control socket; one was turned away");
                continue;
            };
            let added = self
                .clients
                .socket(client)
                .map(|fd| self.poll.add(fd, Source::Client(client), Interest::Read));
            if !matches!(added, Some(Ok(()))) {
                self.clients.remove(client);
            }
        }
    }

    /// A client sent something, went away, or has room again.
    pub(super) fn client_ready(&mut self, client: u64) {
        let sent = match self.clients.receive(client) {
            Asked::Nothing => self.clients.flush(client),
            Asked::Gone => Sent::Gone,
            Asked::Fault(fault) => self.clients.reply(client, &Reply::fault(&fault)),
            Asked::Call(call, upgrade) => match self.answer(call, upgrade) {
                Ok(Answer::Now(value)) => self.clients.reply(client, &Reply::parameters(&value)),
                Ok(Answer::Session(request)) => return self.upgrade(client, &request, None),
                Ok(Answer::Import(request, staged)) => return self.upgrade(client, &request, Some(staged)),
                Ok(Answer::Deputy(request)) => return self.hand_over(client, &request),
                Err(fault) => self.clients.reply(client, &Reply::fault(&fault)),
            },
        };
        self.after_sending(client, sent);
    }

    fn after_sending(&mut self, client: u64, sent: Sent) {
        let interest = match sent {
            Sent::All => Interest::Read,
            Sent::Some => Interest::ReadWrite,
            Sent::Gone => {
                // A session process may have the connection now: closing ours would not end the events.
                if let Some(socket) = self.clients.socket(client) {
                    self.poll.remove(socket, &Source::Client(client));
                }
                self.clients.remove(client);
                return;
            }
        };
        let changed =
            self.clients.socket(client).map(|fd| self.poll.change(fd, &Source::Client(client), interest));
        if !matches!(changed, Some(Ok(()))) {
            self.clients.remove(client);
        }
    }

    fn answer(&mut self, call: Call, upgrade: bool) -> Result<Answer, Fault> {
        let value = match call {
            Call::GetInfo {} => json!({
                "vendor": "berth", "product": "berth", "version": env!("CARGO_PKG_VERSION"),
                "url": "", "interfaces": ["org.varlink.service", "io.berth.Control"],
            }),
            Call::GetInterfaceDescription { interface } if interface == "io.berth.Control" => {
                json!({ "description": DESCRIPTION })
            }
            Call::GetInterfaceDescription { .. } => {
                return Err(Fault::InvalidParameter { parameter: "interface".to_owned() });
            }
            Call::Status {} => serde_json::to_value(self.status()).map_err(|error| failed(&error))?,
            Call::Stats {} => serde_json::to_value(self.figures()).map_err(|error| failed(&error))?,
            Call::Inspect { unit } => self.inspect(&unit)?,
            Call::Start { unit } => self.ask_start(&unit, false)?,
            Call::Stop { unit } => self.ask_stop(&unit)?,
            Call::Restart { unit } => self.ask_start(&unit, true)?,
            Call::Pause { unit } => self.ask_pause(&unit)?,
            Call::Resume { unit } => self.ask_resume(&unit)?,
            Call::Reload { unit } => self.ask_reload(&unit)?,
            Call::Apply(apply) => match self.ask_apply(apply)? {
                Outcome::Said(applied) => serde_json::to_value(applied).map_err(|error| failed(&error))?,
                Outcome::Store(request) => return Ok(Answer::Deputy(request)),
            },
            Call::History {} => serde_json::to_value(self.history()).map_err(|error| failed(&error))?,
            Call::Rollback(asked) => {
                serde_json::to_value(self.ask_rollback(&asked)?).map_err(|error| failed(&error))?
            }
            Call::Pin { revision, keep } => self.ask_pin(revision, keep)?,
            Call::Reset { volumes } => self.ask_reset(volumes)?,
            Call::SetSecret { name, value } => self.ask_set_secret(&name, &value)?,
            Call::RemoveSecret { name } => self.ask_remove_secret(&name)?,
            Call::Secrets {} => json!({ "secrets": self.secrets() }),
            Call::Shutdown { then } => self.ask_shutdown(then)?,
            Call::Volumes {} => serde_json::to_value(self.volumes()).map_err(|error| failed(&error))?,
            Call::RemoveVolume { volume, force } => {
                self.ask_remove_volume(&volume, force)?;
                json!({})
            }
            Call::Exec(_) | Call::Logs(_) | Call::Events(_) | Call::DiffFs { .. } if !upgrade => {
                return Err(not_upgraded());
            }
            Call::ExportVolume { .. } | Call::ImportVolume { .. } if !upgrade => return Err(not_upgraded()),
            Call::CopyOut { .. } | Call::CopyIn { .. } if !upgrade => return Err(not_upgraded()),
            Call::CopyOut { unit, path } => {
                return Ok(Answer::Session(Request::CopyOut(self.ask_copy(&unit, path, None)?)));
            }
            Call::CopyIn { unit, path, name } => {
                return Ok(Answer::Session(Request::CopyIn(self.ask_copy(&unit, path, name)?)));
            }
            Call::Exec(exec) => return self.ask_exec(&exec).map(Answer::Session),
            Call::DiffFs { unit } => return self.ask_diff(&unit).map(Answer::Session),
            Call::Events(events) => return Ok(Answer::Session(Request::Events(events))),
            Call::Logs(logs) => return self.ask_logs(logs).map(Answer::Session),
            Call::ExportVolume { volume } => return self.ask_export(volume).map(Answer::Session),
            Call::ImportVolume { volume } => {
                return self.ask_import(volume).map(|(what, staged)| Answer::Import(what, staged));
            }
        };
        Ok(Answer::Now(value))
    }

    pub(super) fn known(&self, unit: &Name) -> Result<(), Fault> {
        if self.observed.units.contains_key(unit) {
            return Ok(());
        }
        let names = self.observed.units.keys().map(Name::as_str);
        let nearest = nearest(unit.as_str(), names).map(str::to_owned);
        Err(Fault::NoSuchUnit { unit: unit.to_string(), nearest })
    }

    pub(super) fn wrong_state(&self, unit: &Name) -> Fault {
        Fault::WrongState { unit: unit.to_string(), state: self.state_of(unit) }
    }

    fn ask_start(&mut self, unit: &Name, again: bool) -> Result<Value, Fault> {
        self.known(unit)?;
        if !self.set.declared.units.contains_key(unit) {
            return Err(Fault::Failed { why: format!("'{unit}' is no longer declared") });
        }
        if !again && self.observed.units.get(unit).is_some_and(Seen::is_paused) {
            return Err(self.wrong_state(unit));
        }
        self.want(unit, again);
        Ok(json!({}))
    }

    /// Has a unit start, or start anew, and those that it conflicts with stop.
    pub(super) fn want(&mut self, unit: &Name, again: bool) {
        for rival in rivals(&self.set.declared, unit) {
            self.want_no_more(&rival);
        }
        if let Some(seen) = self.observed.units.get_mut(unit) {
            seen.record.wanted = Wanted::Started;
            seen.record.restarts = 0;
            seen.record.failures = 0;
            seen.record.recent.clear();
            let stopping = matches!(seen.record.life, Life::Stopping | Life::Killing);
            seen.record.again = seen.record.life.has_process() && (again || stopping);
        }
        self.ask_run(unit);
        self.step(unit, Event::StartAsked);
    }

    fn want_no_more(&mut self, unit: &Name) {
        if let Some(seen) = self.observed.units.get_mut(unit) {
            seen.record.wanted = Wanted::Stopped;
            seen.record.again = false;
            if !seen.record.life.has_process() {
                self.end_run(unit, ExitReason::Stopped, "");
            }
        }
        self.step(unit, Event::StopAsked);
    }

    fn ask_stop(&mut self, unit: &Name) -> Result<Value, Fault> {
        self.known(unit)?;
        self.want_no_more(unit);
        Ok(json!({}))
    }

    fn ask_reload(&mut self, unit: &Name) -> Result<Value, Fault> {
        self.known(unit)?;
        self.reload(unit)?;
        Ok(json!({}))
    }

    pub(super) fn ask_shutdown(&mut self, then: Then) -> Result<Value, Fault> {
        notice!("asked to {}", if then == Then::Reboot { "reboot" } else { "power off" });
        self.asked_end = Some(then);
        self.link.say(ToInit::Shutdown { reboot: then == Then::Reboot }).map_err(|error| failed(&error))?;
        Ok(json!({}))
    }

    fn ask_exec(&mut self, asked: &Exec) -> Result<Request, Fault> {
        self.known(&asked.unit)?;
        if asked.argv.is_empty() {
            return Err(Fault::InvalidParameter { parameter: "argv".to_owned() });
        }
        let seen = self.observed.units.get(&asked.unit);
        // Nothing runs in a frozen cgroup: the program would wait, and with it whoever asked.
        let seen = seen.filter(|seen| seen.record.life.is_up() && !seen.is_paused());
        let pid = seen.and_then(|seen| seen.record.run.as_ref()).map(|run| run.pid);
        let unit = self.set.declared.units.get(&asked.unit);
        let base = unit.and_then(|unit| container::base(&self.images.images, unit).ok());
        let (Some(pid), Some(unit), Some(base)) = (pid, unit, base) else {
            return Err(self.wrong_state(&asked.unit));
        };
        let launch = self.launch(unit, &base.config).map_err(|error| failed(&error))?;
        let spec = container::exec_spec(unit, &launch, asked, pid).map_err(|error| failed(&error))?;
        Ok(Request::Exec { spec: Box::new(spec), tty: asked.tty })
    }

    fn ask_logs(&mut self, logs: Logs) -> Result<Request, Fault> {
        self.known(&logs.unit)?;
        let sink = self.set.declared.units.get(&logs.unit).map_or(LogSink::Store, |unit| unit.log.to);
        if sink == LogSink::None {
            return Err(Fault::Failed { why: format!("'{}' keeps no log: log.to is \"none\"", logs.unit) });
        }
        Ok(Request::Logs { logs, ram: sink != LogSink::Store })
    }

    /// Gives a client's connection to a process of its own, which answers in our place.
    fn hand_over(&mut self, client: u64, request: &Request) {
        let sent = match spawn_session(self.clients.socket(client), request, None) {
            Ok(()) => Sent::Gone,
            Err(why) => self.clients.reply(client, &Reply::fault(&Fault::Failed { why })),
        };
        self.after_sending(client, sent);
    }

    /// Gives a client's connection to a process of its own, after the reply that ends varlink on it.
    fn upgrade(&mut self, client: u64, request: &Request, staged: Option<OwnedFd>) {
        if self.clients.reply(client, &Reply::parameters(&json!({}))) == Sent::All
            && let Err(why) = spawn_session(self.clients.socket(client), request, staged)
        {
            let mut frame = Vec::new();
            session::encode(session::Kind::Error, why.as_bytes(), &mut frame);
            self.clients.send(client, &frame);
        }
        self.after_sending(client, Sent::Gone);
    }
}

/// Those that never run beside a unit, whichever of the two says so.
fn rivals(declared: &Declared, unit: &Name) -> Vec<Name> {
    let named = declared.units.get(unit).map(|unit| unit.conflicts.clone()).unwrap_or_default();
    let naming = declared.units.values().filter(|other| other.conflicts.contains(unit));
    named.into_iter().chain(naming.map(|other| other.name.clone())).filter(|other| other != unit).collect()
}

/// The session process: descriptor 3 is the connection, 4 what to do, [`STAGED`] what an import fills.
pub(super) fn spawn_session(
    socket: Option<BorrowedFd<'_>>,
    request: &Request,
    staged: Option<OwnedFd>,
) -> Result<(), String> {
    let socket = socket.ok_or("the client is gone")?;
    let request =
        program::memory_file(request).map_err(|error| format!("cannot pass the request on: {error}"))?;
    let cgroup = program::shared_group(&Path::new(super::SYSTEM_CGROUPS).join("session"))
        .map_err(|error| Chain(&error).to_string())?;
    let mut fds = vec![(socket, 3), (request.as_fd(), 4)];
    fds.extend(staged.as_ref().map(|staged| (staged.as_fd(), STAGED)));
    program::start(&["/bin/berth-session"], &fds, Some(cgroup.path()), program::ORDINARY)
        .map(drop)
        .map_err(|error| Chain(&error).to_string())
}

/// A call that only makes sense on a connection that carries something else afterwards.
fn not_upgraded() -> Fault {
    Fault::InvalidParameter { parameter: "upgrade".to_owned() }
}

/// What went wrong, with its causes.
pub(super) fn failed(error: &dyn std::error::Error) -> Fault {
    Fault::Failed { why: Chain(error).to_string() }
}
