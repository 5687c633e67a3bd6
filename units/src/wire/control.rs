//! The control interface `io.berth.Control`, varlink over /run/berth/control.sock (root only).
//!
//! A call is `{"method": "io.berth.Control.Status", "parameters": {}}` ended by NUL, a reply
//! `{"parameters": {…}}` or `{"error": "io.berth.Control.NoSuchUnit", "parameters": {…}}`, ended by NUL
//! (varlink.org, "Method Call", "Upgrade"). [`DESCRIPTION`] is the interface in varlink's own language.

mod apply;
mod figures;
mod revisions;
mod secrets;
mod status;
mod volume;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::{Name, Private};
pub use apply::{Applied, Apply, Change, Deed, PlaceError, check_place, set_hash};
pub use figures::{Figures, Inspected, Related, UnitFigures};
pub use revisions::{FailedStatus, History, RevisionState, RevisionStatus, Rollback, TrialStatus};
pub use secrets::{SECRET_MAX, SecretStatus, Secrets};
pub use status::{
    CheckStatus, ExitReason, LastExit, NodeStatus, PortStatus, ReloadState, ReloadStatus, ResultStatus,
    RunStatus, State, Status, UnitStatus,
};
pub use volume::{VolumeStatus, Volumes};

/// Where the supervisor listens.
pub const CONTROL_SOCKET: &str = "/run/berth/control.sock";

/// The longest call or reply, bytes.
pub const MESSAGE_MAX: usize = 4 << 20;

/// The interface in varlink's language, for GetInterfaceDescription.
pub const DESCRIPTION: &str = include_str!("control.varlink");

/// A method call as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Call {
    /// org.varlink.service: who is this.
    #[serde(rename = "org.varlink.service.GetInfo")]
    GetInfo {},
    /// org.varlink.service: the text of an interface.
    #[serde(rename = "org.varlink.service.GetInterfaceDescription")]
    GetInterfaceDescription {
        /// Its name.
        interface: String,
    },
    /// The node and all units: replies [`Status`].
    #[serde(rename = "io.berth.Control.Status")]
    Status {},
    /// What every container uses: replies [`Figures`].
    #[serde(rename = "io.berth.Control.Stats")]
    Stats {},
    /// All that is declared, written down and counted of a container; docs/contract.md has the members.
    #[serde(rename = "io.berth.Control.Inspect")]
    Inspect {
        /// Which.
        unit: Name,
    },
    /// Start a unit that is stopped, completed, failed or in backoff.
    #[serde(rename = "io.berth.Control.Start")]
    Start {
        /// Which.
        unit: Name,
    },
    /// Stop a unit; it stays stopped until started or until the node restarts.
    #[serde(rename = "io.berth.Control.Stop")]
    Stop {
        /// Which.
        unit: Name,
    },
    /// Stop, then start.
    #[serde(rename = "io.berth.Control.Restart")]
    Restart {
        /// Which.
        unit: Name,
    },
    /// Freeze a unit that is up: none of its processes runs until it is resumed, stopped or ended.
    #[serde(rename = "io.berth.Control.Pause")]
    Pause {
        /// Which.
        unit: Name,
    },
    /// Let a paused unit go on.
    #[serde(rename = "io.berth.Control.Resume")]
    Resume {
        /// Which.
        unit: Name,
    },
    /// Have a unit read its configuration again; how that ends is told by Status.
    #[serde(rename = "io.berth.Control.Reload")]
    Reload {
        /// Which.
        unit: Name,
    },
    /// Put another unit set in force, whole or not at all: replies [`Applied`].
    #[serde(rename = "io.berth.Control.Apply")]
    Apply(Apply),
    /// Every revision: replies [`History`].
    #[serde(rename = "io.berth.Control.History")]
    History {},
    /// Return to an earlier revision, as a trial like that of a new one: replies [`Applied`].
    #[serde(rename = "io.berth.Control.Rollback")]
    Rollback(Rollback),
    /// Keep a revision whatever comes, or no longer.
    #[serde(rename = "io.berth.Control.Pin")]
    Pin {
        /// Which.
        revision: u64,
        /// Whether.
        keep: bool,
    },
    /// Return to the factory revision without a trial; with `volumes` the node reboots and removes them all.
    #[serde(rename = "io.berth.Control.Reset")]
    Reset {
        /// Volumes too.
        #[serde(default)]
        volumes: bool,
    },
    /// Set a secret of source node; it lies in RAM until the node ends.
    #[serde(rename = "io.berth.Control.SetSecret")]
    SetSecret {
        /// Which.
        name: Name,
        /// In hexadecimal digits, of up to [`SECRET_MAX`] bytes.
        value: Private,
    },
    /// Forget a secret that was set; what runs with it goes on.
    #[serde(rename = "io.berth.Control.RemoveSecret")]
    RemoveSecret {
        /// Which.
        name: Name,
    },
    /// Every secret that is declared or set, without its value: replies [`Secrets`].
    #[serde(rename = "io.berth.Control.Secrets")]
    Secrets {},
    /// End the node: units in reverse order, then the machine.
    #[serde(rename = "io.berth.Control.Shutdown")]
    Shutdown {
        /// Then what.
        then: Then,
    },
    /// Run a program in a unit. With `upgrade`; the connection then carries [`super::session`] frames.
    #[serde(rename = "io.berth.Control.Exec")]
    Exec(Exec),
    /// Read a unit's log. With `upgrade`; the connection then carries [`super::session`] frames: Stdout frames of
    /// whole log lines, Exit at the end.
    #[serde(rename = "io.berth.Control.Logs")]
    Logs(Logs),
    /// What a container has changed against its image. With `upgrade`; the connection then carries
    /// [`super::session`] frames: Stdout frames of whole lines, `{"change", "path"}` each, Exit at the end.
    #[serde(rename = "io.berth.Control.DiffFs")]
    DiffFs {
        /// Which.
        unit: Name,
    },
    /// Read a file or directory of a container. With `upgrade`; the connection then carries [`super::session`] frames:
    /// Stdout frames of a tar, in which a file has its name and a directory is `./`, Exit at the end.
    #[serde(rename = "io.berth.Control.CopyOut")]
    CopyOut {
        /// Whose.
        unit: Name,
        /// From the container's `/`.
        path: String,
    },
    /// Write a file or directory of a container. With `upgrade`; the connection then carries [`super::session`] frames:
    /// the tar as Stdin frames, Exit when all of it is there.
    #[serde(rename = "io.berth.Control.CopyIn")]
    CopyIn {
        /// Whose.
        unit: Name,
        /// From the container's `/`.
        path: String,
        /// What the file or directory of the tar, made as by `CopyOut`, is called in a directory at `path`. Without,
        /// the entries of the tar are put into the directory `path`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Read events. With `upgrade`; the connection then carries [`super::session`] frames: Stdout frames of whole
    /// lines, each an [`super::event::Event`] as JSON, Exit at the end.
    #[serde(rename = "io.berth.Control.Events")]
    Events(Events),
    /// Every volume: replies [`Volumes`].
    #[serde(rename = "io.berth.Control.Volumes")]
    Volumes {},
    /// Delete a volume that no unit has mounted.
    #[serde(rename = "io.berth.Control.RemoveVolume")]
    RemoveVolume {
        /// Which.
        volume: Name,
        /// Even if the set in force declares it: it comes back empty.
        #[serde(default)]
        force: bool,
    },
    /// Read a volume as a tar file. With `upgrade`; the connection then carries [`super::session`] frames: Stdout
    /// frames of the tar, Exit at the end.
    #[serde(rename = "io.berth.Control.ExportVolume")]
    ExportVolume {
        /// Which.
        volume: Name,
    },
    /// Replace a volume that no unit has mounted by what is in a tar file. With `upgrade`; the connection then carries
    /// [`super::session`] frames: the tar as Stdin frames, Exit when the volume is replaced.
    #[serde(rename = "io.berth.Control.ImportVolume")]
    ImportVolume {
        /// Which.
        volume: Name,
    },
}

/// What follows a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// RB_POWER_OFF.
    Poweroff,
    /// RB_AUTOBOOT.
    Reboot,
}

/// Parameters of Exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Where.
    pub unit: Name,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables over the unit's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A terminal of rows and columns, or none.
    #[serde(default)]
    pub tty: Option<(u16, u16)>,
    /// `uid[:gid]` or name in place of the unit's user.
    #[serde(default)]
    pub user: Option<String>,
    /// Working directory in place of the unit's.
    #[serde(default)]
    pub workdir: Option<String>,
}

/// Parameters of Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Whose.
    pub unit: Name,
    /// Go on with lines as they come.
    #[serde(default)]
    pub follow: bool,
    /// Only the last so many lines.
    #[serde(default)]
    pub tail: Option<u64>,
}

/// Parameters of Events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Only those with a greater number.
    #[serde(default)]
    pub since: Option<u64>,
    /// Only those of this unit or network.
    #[serde(default)]
    pub unit: Option<Name>,
    /// Go on with events as they come.
    #[serde(default)]
    pub follow: bool,
}

/// What a call can answer besides its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum Fault {
    /// No such unit; the nearest name, if one is near.
    #[error("there is no unit '{unit}'")]
    #[serde(rename = "io.berth.Control.NoSuchUnit")]
    NoSuchUnit {
        /// As asked for.
        unit: String,
        /// Perhaps meant.
        nearest: Option<String>,
    },
    /// The unit is not in a state for it.
    #[error("unit '{unit}' is {state}")]
    #[serde(rename = "io.berth.Control.WrongState")]
    WrongState {
        /// Which.
        unit: String,
        /// Its state.
        state: State,
    },
    /// The unit set has faults: nothing was changed.
    #[error("the unit set has faults")]
    #[serde(rename = "io.berth.Control.Refused")]
    Refused {
        /// All of them; `path` is a place as in the call.
        diagnostics: Vec<Diagnostic>,
    },
    /// The node could not do it.
    #[error("{why}")]
    #[serde(rename = "io.berth.Control.Failed")]
    Failed {
        /// Cause chain in one line.
        why: String,
    },
    /// varlink: no such method.
    #[error("there is no method '{method}'")]
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    MethodNotFound {
        /// As asked for.
        method: String,
    },
    /// varlink: a parameter is wrong.
    #[error("parameter '{parameter}' is not valid")]
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    InvalidParameter {
        /// Which.
        parameter: String,
    },
}

/// Reads a call, without the NUL behind it, and whether the client wants the connection upgraded. varlink lets a client
/// leave out empty parameters: they are put in before the call is read.
///
/// # Errors
/// What to reply to something that is no call.
pub fn parse_call(bytes: &[u8]) -> Result<(Call, bool), Fault> {
    let Ok(serde_json::Value::Object(mut call)) = serde_json::from_slice(bytes) else {
        return Err(Fault::InvalidParameter { parameter: "call".into() });
    };
    let method = call.get("method").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let upgrade = call.get("upgrade") == Some(&serde_json::Value::Bool(true));
    call.entry("parameters").or_insert_with(|| serde_json::json!({}));
    call.retain(|key, _| key == "method" || key == "parameters");
    match serde_json::from_value::<Call>(call.into()) {
        Ok(call) => Ok((call, upgrade)),
        Err(error) if error.to_string().starts_with("unknown variant") => {
            Err(Fault::MethodNotFound { method })
        }
        Err(error) => Err(Fault::InvalidParameter { parameter: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_call_gets_a_fault() {
        for (text, expect) in [
            ("{}", "InvalidParameter"),
            ("[", "InvalidParameter"),
            (r#"{"method":"a.b","parameters":{}}"#, "MethodNotFound"),
            (r#"{"method":"io.berth.Control.Stop","parameters":{}}"#, "InvalidParameter"),
            (r#"{"method":"io.berth.Control.Stop","parameters":{"unit":"A!"}}"#, "InvalidParameter"),
        ] {
            let fault = parse_call(text.as_bytes()).unwrap_err();
            assert!(serde_json::to_string(&fault).unwrap().contains(expect), "{text}: {fault:?}");
        }
        let text = br#"{"method":"io.berth.Control.Logs","parameters":{"unit":"a"},"upgrade":true}"#;
        assert!(matches!(parse_call(text), Ok((Call::Logs(_), true))));
    }
}
