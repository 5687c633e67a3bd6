//! One node: a `berth run` process and the QEMU below it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::appliance::Appliance;
use crate::{Outcome, ensure};

/// How long a boot may take under TCG on a busy machine.
pub const BOOT: Duration = Duration::from_secs(120);
/// How long anything else may take.
pub const SOON: Duration = Duration::from_secs(60);
/// Between two looks at something that cannot be awaited from outside the node.
const LOOK: Duration = Duration::from_millis(150);

/// What `berth run` is told besides the appliance.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--memory`.
    pub memory: &'static str,
    /// `--cpus`.
    pub cpus: u32,
    /// `--append`.
    pub append: Option<&'static str>,
    /// `--firmware`.
    pub firmware: bool,
    /// `--forward`, in its own words.
    pub forwards: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { memory: "192M", cpus: 2, append: None, firmware: false, forwards: Vec::new() }
    }
}

/// A booted node. Dropping it pulls the plug.
#[derive(Debug)]
pub struct Vm {
    dir: PathBuf,
    appliance: Appliance,
    options: Options,
    run: Child,
    booted: Instant,
}

impl Vm {
    /// Starts a node that keeps its files in `dir`; a data disk that is there already is used again.
    pub fn start(dir: &Path, appliance: &Appliance, options: &Options) -> Outcome<Self> {
        let run = start_run(dir, appliance, options)?;
        let (appliance, options) = (appliance.clone(), options.clone());
        Ok(Self { dir: dir.to_owned(), appliance, options, run, booted: Instant::now() })
    }

    /// Starts the node again after it ended, on the same data disk.
    pub fn start_again(&mut self) -> Outcome {
        ensure!(self.run.try_wait()?.is_some(), "the node still runs");
        self.run = start_run(&self.dir, &self.appliance, &self.options)?;
        self.booted = Instant::now();
        Ok(())
    }

    /// Its working directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The control socket of `berth --node`.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// The data disk.
    pub fn data(&self) -> PathBuf {
        self.dir.join("disk.data")
    }

    /// Since it was started.
    pub fn since_start(&self) -> Duration {
        self.booted.elapsed()
    }

    /// Everything that the console has said since the last start.
    pub fn console(&self) -> String {
        fs::read(self.dir.join("console"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until the console has said it.
    pub fn wait_for_console(&mut self, text: &str, limit: Duration) -> Outcome {
        self.wait_for(&format!("'{text}' on the console"), limit, |vm| {
            Ok(vm.console().contains(text).then_some(()))
        })
    }

    /// Looks again and again until `look` finds something; an error of `look` counts as nothing yet.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        look: impl Fn(&Self) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let start = Instant::now();
        let mut last = None;
        while start.elapsed() < limit {
            match look(self) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => last = None,
                Err(error) => last = Some(error),
            }
            if let Some(status) = self.run.try_wait()? {
                return Err(format!("the node ended ({status}) while waiting for {what}").into());
            }
            sleep(LOOK);
        }
        let why = last.map(|error| format!(": {error}")).unwrap_or_default();
        Err(format!("no {what} within {} s{why}", limit.as_secs()).into())
    }

    /// Waits until `berth run` ends by itself.
    pub fn wait_end(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.run.try_wait()? {
                return Ok(status);
            }
            sleep(LOOK);
        }
        Err(format!("the node did not end within {} s", limit.as_secs()).into())
    }

    /// What Ctrl-C does in the terminal of `berth run`, which presses the power button.
    pub fn interrupt(&self) -> Outcome {
        let pid = i32::try_from(self.run.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        Ok(kill_process(pid, Signal::INT)?)
    }

    /// The plug is pulled: QEMU gets SIGKILL, nothing is flushed.
    pub fn cut_power(&mut self) -> Outcome {
        self.pull_plug()?;
        self.wait_end(SOON).map(drop)
    }

    /// The same without waiting for the end of `berth run`.
    pub fn pull_plug(&self) -> Outcome {
        Ok(kill_process(self.qemu()?, Signal::KILL)?)
    }

    /// QEMU's process: the child of the `berth run` that was started here.
    fn qemu(&self) -> Outcome<Pid> {
        let run = self.run.id();
        let children = fs::read_to_string(format!("/proc/{run}/task/{run}/children"))?;
        let is_qemu = |pid: &&str| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu-system"))
        };
        let pid = children.split_whitespace().find(is_qemu).ok_or("'berth run' has no QEMU below it")?;
        Ok(Pid::from_raw(pid.parse()?).ok_or("no process id")?)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.run.try_wait() {
            return;
        }
        if let Ok(qemu) = self.qemu() {
            // It may end in this moment; what counts is that it is gone below.
            kill_process(qemu, Signal::KILL).ok();
        }
        if self.wait_end(Duration::from_secs(10)).is_err() {
            drop(self.run.kill());
            drop(self.run.wait());
        }
    }
}

fn start_run(dir: &Path, appliance: &Appliance, options: &Options) -> Outcome<Child> {
    let console = File::create(dir.join("console"))?;
    let mut command = Command::new("./bin/berth");
    command.arg("run").arg(appliance.dir()).arg("--headless");
    command.arg("--control").arg(dir.join("control.sock")).arg("--data").arg(dir.join("disk.data"));
    command.args(["--memory", options.memory, "--cpus", &options.cpus.to_string()]);
    for forward in &options.forwards {
        command.args(["--forward", forward]);
    }
    if options.firmware {
        command.arg("--firmware");
    }
    if let Some(words) = options.append {
        command.args(["--append", words]);
    }
    command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
    command.spawn().map_err(|error| format!("cannot start './bin/berth run': {error}").into())
}
