//! The cgroup tree that everything hangs in: `system` for our own processes, `units` for containers.
//!
//! ```text
//! /sys/fs/cgroup
//! ├── system   memory.min
//! │   ├── init  supervise  netd  log  session  relay
//! └── units
//!     └── one for each container: made by the supervisor
//! ```

use std::fs;
use std::io;

use super::boot::BootError;

/// Where cgroup2 is mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// Groups of our own processes below `system`.
const SYSTEM: &[&str] = &["init", "supervise", "netd", "log", "session", "relay"];

/// Memory that the kernel does not take from our own processes while containers press, bytes.
const SYSTEM_MEMORY_MIN: &str = "16777216";

/// Controllers to use, where the kernel has them.
const CONTROLLERS: &[&str] = &["cpu", "memory", "pids", "io", "cpuset"];

/// Makes the tree and moves PID 1 into its place.
pub(super) fn set_up() -> Result<(), BootError> {
    for group in ["system", "units"] {
        ensure_group(group)?;
    }
    for group in SYSTEM {
        ensure_group(&format!("system/{group}"))?;
    }
    // PID 1 leaves the root first: system/init is where its memory is to be counted and protected.
    write("system/init/cgroup.procs", "0")?;
    for group in ["", "system/", "units/"] {
        enable_controllers(group);
    }
    write("system/memory.min", SYSTEM_MEMORY_MIN)
}

/// Kills everything but PID 1's own group: what cgroup.kill reaches cannot fork away.
pub(super) fn kill_all() {
    let system = SYSTEM.iter().filter(|group| **group != "init").map(|group| format!("system/{group}"));
    for group in std::iter::once("units".to_owned()).chain(system) {
        // Nothing to do where a group never was; what is left over is killed by pid next.
        let _absent = fs::write(format!("{ROOT}/{group}/cgroup.kill"), "1");
    }
}

fn ensure_group(group: &str) -> Result<(), BootError> {
    match fs::create_dir(format!("{ROOT}/{group}")) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(BootError::of(format!("make cgroup '{group}'"))),
    }
}

fn write(file: &str, value: &str) -> Result<(), BootError> {
    fs::write(format!("{ROOT}/{file}"), value).map_err(BootError::of(format!("write cgroup file '{file}'")))
}

/// One by one: a kernel without one of them refuses a list as a whole. Limits that then cannot be set are
/// reported where a unit wants them.
fn enable_controllers(group: &str) {
    let available = fs::read_to_string(format!("{ROOT}/{group}cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace().filter(|name| CONTROLLERS.contains(name)) {
        if let Err(error) = write(&format!("{group}cgroup.subtree_control"), &format!("+{controller}")) {
            crate::warning!("boot: {}, going on without '{controller}'", crate::kmsg::Chain(&error));
        }
    }
}
