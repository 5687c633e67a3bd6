//! Asking a node through its control socket, as a user does: by `./bin/berth --node`.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_probe::Report;
use berth_units::wire::control::{State, Status, UnitStatus};

use crate::vm::{BOOT, SOON, Vm};
use crate::{Outcome, ensure, ensure_eq};

/// What a command left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Exit code; 128 and the signal when it was killed.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Standard output of a command that has to succeed.
    pub fn ok(self) -> Outcome<String> {
        ensure!(self.code == 0, "exit {}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }
}

/// Runs `./bin/berth` with these words.
pub fn berth(words: &[&str], stdin: &[u8]) -> Outcome<Said> {
    let mut command = Command::new("./bin/berth");
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start './bin/berth': {error}"))?;
    let mut input = child.stdin.take().ok_or("no pipe")?;
    let bytes = stdin.to_vec();
    // A command that reads nothing closes the pipe; that is its right.
    let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| "the writer panicked")?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or(0);
    Ok(Said {
        code: output.status.code().unwrap_or(128 + signal),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Vm {
    /// Runs `berth --node unix:SOCKET` with these words.
    pub fn berth(&self, words: &[&str], stdin: &[u8]) -> Outcome<Said> {
        let node = format!("unix:{}", self.socket().display());
        berth(&[&["--node", &node], words].concat(), stdin)
    }

    /// `berth status --json`; the last one is kept for when the scenario fails.
    pub fn status(&self) -> Outcome<Status> {
        let text = self.berth(&["status", "--json"], b"")?.ok()?;
        fs::write(self.dir().join("status.json"), &text)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// A unit's part of the status.
    pub fn unit(&self, name: &str) -> Outcome<UnitStatus> {
        let units = self.status()?.units;
        Ok(units.into_iter().find(|unit| unit.name == name).ok_or_else(|| format!("no unit '{name}'"))?)
    }

    /// A unit's process id on the node.
    pub fn pid(&self, name: &str) -> Outcome<i32> {
        Ok(self.unit(name)?.pid.ok_or_else(|| format!("'{name}' has no process"))?)
    }

    /// Waits until a unit fulfils a condition.
    pub fn wait_unit(
        &mut self,
        name: &str,
        what: &str,
        limit: Duration,
        holds: impl Fn(&UnitStatus) -> bool,
    ) -> Outcome<UnitStatus> {
        self.wait_for(&format!("'{name}' {what}"), limit, |vm| {
            let unit = vm.unit(name)?;
            let why = format!("it is {}, {:?}, last exit {:?}", unit.state, unit.why, unit.last_exit);
            if holds(&unit) { Ok(Some(unit)) } else { Err(why.into()) }
        })
    }

    /// Waits until these units are ready; one that keeps failing is not waited for.
    pub fn wait_ready(&mut self, names: &[&str]) -> Outcome {
        for name in names {
            let unit = self.wait_unit(name, "ready", BOOT, |unit| {
                unit.state == State::Ready || unit.state == State::Failed || unit.restarts >= 4
            })?;
            ensure!(
                unit.state == State::Ready,
                "'{name}' is {}: {:?}, {:?}",
                unit.state,
                unit.why,
                unit.last_exit
            );
        }
        Ok(())
    }

    /// `berth exec`.
    pub fn exec(&self, unit: &str, words: &[&str]) -> Outcome<Said> {
        self.exec_with(unit, words, b"")
    }

    /// `berth exec` with something on standard input.
    pub fn exec_with(&self, unit: &str, words: &[&str], stdin: &[u8]) -> Outcome<Said> {
        self.berth(&[&["exec", unit, "--"], words].concat(), stdin)
    }

    /// What the probe says when run in that unit.
    pub fn probe(&self, unit: &str, words: &[&str]) -> Outcome<String> {
        self.exec(unit, &[&["/probe"], words].concat())?.ok()
    }

    /// The probe's report from a process in that unit.
    pub fn report(&self, unit: &str) -> Outcome<Report> {
        Ok(serde_json::from_str(&self.probe(unit, &["report"])?)?)
    }

    /// A unit's log, with time and stream.
    pub fn logs(&self, unit: &str) -> Outcome<String> {
        self.berth(&["logs", "-t", unit], b"")?.ok()
    }

    /// `berth poweroff`, which `berth run` ends with 0.
    pub fn power_off(&mut self) -> Outcome {
        self.berth(&["poweroff"], b"")?.ok()?;
        let status = self.wait_end(SOON)?;
        ensure_eq!(status.code(), Some(0));
        Ok(())
    }
}
