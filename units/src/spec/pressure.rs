//! `[pressure.NAME]`: what is done when a unit has to wait.

use std::time::Duration;

use serde::Serialize;

use crate::signal::parse_signal;

/// One trigger; "Monitoring for pressure thresholds" in the kernel's accounting/psi.rst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pressure {
    /// Of what there is too little.
    pub resource: Resource,
    /// Who has to wait for it.
    pub kind: PressureKind,
    /// How long, within the window.
    pub threshold: Duration,
    /// Over which it is measured.
    pub window: Duration,
    /// What is done then.
    pub action: PressureAction,
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            resource: Resource::Memory,
            kind: PressureKind::Some,
            threshold: Duration::from_millis(150),
            window: Duration::from_secs(1),
            action: PressureAction::Log,
        }
    }
}

/// `pressure.*.resource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// memory.pressure.
    Memory,
    /// cpu.pressure.
    Cpu,
    /// io.pressure.
    Io,
}

impl Resource {
    /// The kernel's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Io => "io",
        }
    }
}

/// `pressure.*.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PressureKind {
    /// One process at least.
    Some,
    /// All processes.
    Full,
}

/// `pressure.*.action`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PressureAction {
    /// It is said, and no more.
    #[default]
    Log,
    /// Its first process gets a signal.
    Signal(i32),
    /// It is stopped, and started again as `restart` says.
    Restart,
    /// The same without asking.
    Kill,
}

impl PressureAction {
    /// `log`, `restart`, `kill` or `signal:SIGUSR1`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "log" => Some(Self::Log),
            "restart" => Some(Self::Restart),
            "kill" => Some(Self::Kill),
            _ => text.strip_prefix("signal:").and_then(parse_signal).map(Self::Signal),
        }
    }
}
