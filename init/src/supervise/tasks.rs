//! Hooks and reloads of running units: a process of ours-to-start in their container, the supervisor not waiting for it.
//!
//! Such a process is PID 1's child as all are, and its end comes as theirs does. What is under way is written down
//! before it begins; a supervisor that dies before it has noted the process leaves one that nobody waits for, and a
//! task that ends at its deadline.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use berth_runtime::{Status as StepStatus, Stdio, exec, read_status};
use berth_units::Name;
use berth_units::observed::{Run, Seen};
use berth_units::spec::{Place, Ready, ReloadWay, Unit};
use berth_units::task::{Doing, Task, end_task};
use berth_units::wire::control::{Exec, Fault};
use berth_units::wire::init::ExitStatus;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::around::End;
use super::container::{self, Error, cgroup_dir};
use super::link::fd_name;
use super::signal::{Delivery, is_member, send};
use super::{Supervisor, clock};
use crate::kmsg::Chain;
use crate::{notice, warning};

/// What is under way for a unit, beside its process or while it has none.
fn doing(seen: &Seen) -> Option<&Doing> {
    seen.record.around.as_ref().or_else(|| seen.record.run.as_ref()?.doing.as_ref())
}

/// Status pipes of the tasks that this supervisor started: they tell why a program could not be executed.
pub type TaskStatus = BTreeMap<Name, OwnedFd>;

/// What the end of a process means for what it was to do; `step` is the one of its start that failed, if one did.
pub(super) fn result_of(step: Option<StepStatus>, status: ExitStatus) -> Result<(), String> {
    match (step, status) {
        (Some(StepStatus::Failed(step)), _) => Err(step.to_string()),
        (_, ExitStatus::Code(0)) => Ok(()),
        (_, ExitStatus::Code(code)) => Err(format!("exit code {code}")),
        (_, ExitStatus::Signal(signal)) => Err(format!("killed by signal {signal}")),
    }
}

impl Supervisor {
    /// Begins a hook.
    pub(super) fn run_hook(&mut self, name: &Name, task: Task) {
        let hook = self.set.declared.units.get(name).and_then(|unit| unit.hooks.get(&task)).cloned();
        let Some(hook) = hook else {
            return;
        };
        match hook.place {
            Place::Image => self.run_apart(name, task, &hook),
            Place::Container => {
                self.note_task(name, task, hook.timeout);
                self.run_beside(name, hook.exec, hook.user);
            }
        }
    }

    /// What `berth reload` asks for.
    pub(super) fn reload(&mut self, name: &Name) -> Result<(), Fault> {
        let failed = |why: String| Fault::Failed { why };
        let unit = self.set.declared.units.get(name).cloned();
        let unit = unit.ok_or_else(|| failed(format!("'{name}' is no longer declared")))?;
        let reload = unit.reload.clone().ok_or_else(|| {
            failed(format!(
                "'{name}' cannot reload: its file has no [reload]; 'berth restart {name}' works always"
            ))
        })?;
        let seen = self.observed.units.get(name).filter(|seen| seen.record.life.is_up());
        let Some(run) = seen.and_then(|seen| seen.record.run.as_ref()) else {
            return Err(Fault::WrongState { unit: name.to_string(), state: self.state_of(name) });
        };
        if run.paused.is_some() {
            return Err(failed(format!("'{name}' cannot reload: it is paused")));
        }
        if let Some(doing) = &run.doing {
            return Err(failed(format!("'{name}' cannot reload: its {} is under way", doing.task.word())));
        }
        let pid = run.pid;
        self.note_task(name, Task::Reload, reload.timeout);
        match reload.way {
            ReloadWay::Exec(argv) => self.run_beside(name, argv, None),
            ReloadWay::Signal(signal) => self.signal_reload(&unit, pid, signal),
        }
        Ok(())
    }

    /// A unit that talks says itself when it is done; of others nothing is heard.
    fn signal_reload(&mut self, unit: &Unit, pid: i32, signal: i32) {
        let sent = match send(pid, &cgroup_dir(&unit.name), signal) {
            Ok(Delivery::Sent) if unit.ready == Ready::Notify => return,
            Ok(Delivery::Sent) => Ok(()),
            Ok(Delivery::Unheard) => Err("its first process does not handle the signal".to_owned()),
            Err(error) => Err(format!("cannot signal it: {error}")),
        };
        self.task_ended(&unit.name, sent);
    }

    fn run_of(&mut self, name: &Name) -> Option<&mut Run> {
        self.observed.units.get_mut(name)?.record.run.as_mut()
    }

    fn note_task(&mut self, name: &Name, task: Task, timeout: std::time::Duration) {
        let deadline = clock::now().after(timeout);
        if let Some(run) = self.run_of(name) {
            run.doing = Some(Doing { task, pid: None, deadline });
        }
        self.save(name);
    }

    fn run_beside(&mut self, name: &Name, argv: Vec<String>, user: Option<String>) {
        match self.try_run_beside(name, argv, user) {
            Ok((pid, status)) => {
                if let Some(doing) = self.run_of(name).and_then(|run| run.doing.as_mut()) {
                    doing.pid = Some(pid);
                }
                self.task_status.insert(name.clone(), status);
                self.save(name);
            }
            Err(error) => self.task_ended(name, Err(Chain(&error).to_string())),
        }
    }

    /// Its words go where the unit's go.
    fn try_run_beside(
        &mut self,
        name: &Name,
        argv: Vec<String>,
        user: Option<String>,
    ) -> Result<(i32, OwnedFd), Error> {
        let system = |doing| move |error: std::io::Error| Error::System(doing, error);
        let gone = || system("find the unit")(std::io::ErrorKind::NotFound.into());
        let unit = self.set.declared.units.get(name).cloned().ok_or_else(gone)?;
        let pid = self.run_of(name).map(|run| run.pid).ok_or_else(gone)?;
        let base = container::base(&self.images.images, &unit)?;
        let launch = self.launch(&unit, &base.config)?;
        let asked = Exec { unit: name.clone(), argv, env: BTreeMap::new(), tty: None, user, workdir: None };
        let mut spec = container::exec_spec(&unit, &launch, &asked, pid)?;
        spec.clone_parent = true;
        let (stdout, stderr) = self.log_pipes(&unit)?;
        let null = std::fs::File::open("/dev/null").map_err(system("open '/dev/null'"))?;
        let stdio =
            Stdio { stdin: null.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd(), extra: Vec::new() };
        let running = exec(&spec, &stdio)?;
        Ok((running.pid, running.status))
    }

    /// The process of a task has ended; `None` when it is none.
    pub(super) fn task_exited(&mut self, pid: i32, status: ExitStatus) -> Option<()> {
        let is_it = |(_, seen): &(&Name, &Seen)| doing(seen).is_some_and(|doing| doing.pid == Some(pid));
        let name = self.observed.units.iter().find(is_it).map(|(name, _)| name.clone())?;
        match self.end_of_hook(&name, status) {
            Some(End::Never) => self.drop_task(&name),
            Some(End::Ended(result)) => self.hook_ended(&name, result),
            None => {
                let step = self.task_status.remove(&name).and_then(|status| read_status(status).ok());
                self.hook_ended(&name, result_of(step, status));
            }
        }
        Some(())
    }

    /// A hook is over, wherever it ran.
    pub(super) fn hook_ended(&mut self, name: &Name, result: Result<(), String>) {
        let is_around = self.observed.units.get(name).is_some_and(|seen| seen.record.around.is_some());
        match is_around {
            true => self.around_ended(name, result),
            false => {
                drop(self.link.forget(&fd_name("hook", name)));
                self.task_ended(name, result);
            }
        }
    }

    /// A task was never begun: it is planned anew.
    fn drop_task(&mut self, name: &Name) {
        if let Some(run) = self.run_of(name) {
            run.doing = None;
        }
        self.call_off(name);
    }

    /// Ends a task that takes too long.
    pub(super) fn end_late_task(&mut self, name: &Name) {
        let doing = self.observed.units.get(name).and_then(doing);
        let late = match doing.map(|doing| doing.pid) {
            Some(None) => "it was not done in time",
            _ => "it took too long and was killed",
        };
        self.kill_task(name);
        self.hook_ended(name, Err(late.to_owned()));
    }

    /// Kills the process of a task; what follows from its end is not waited for.
    pub(super) fn kill_task(&mut self, name: &Name) {
        self.task_status.remove(name);
        let pid =
            self.observed.units.get(name).and_then(doing).and_then(|doing| doing.pid).and_then(Pid::from_raw);
        let Some(pid) = pid else {
            return;
        };
        // Opened first and compared then, as with every signal to a unit.
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            && is_member(pid.as_raw_pid(), &cgroup_dir(name)).unwrap_or(false)
        {
            let _ended = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    fn task_ended(&mut self, name: &Name, result: Result<(), String>) {
        let word = self.run_of(name).and_then(|run| run.doing.as_ref()).map(|doing| doing.task.word());
        let (Some(word), Some(seen)) = (word, self.observed.units.get_mut(name)) else {
            return;
        };
        let unit = self.set.declared.units.get(name);
        match &result {
            Ok(()) => notice!("{name}: {word} done"),
            Err(why) => warning!("{name}: {word} failed: {why}"),
        }
        match end_task(unit, &mut seen.record, result, clock::now()) {
            Some(why) => self.fail_run(name, &format!("{word} failed: {why}")),
            None => {
                self.save(name);
                self.settle_readiness(name);
            }
        }
    }
}
