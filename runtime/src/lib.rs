//! From a resolved spec to a running process. The only unsafe code of berth, in `sys`.

pub mod capability;
pub mod cgroup;
mod child;
mod daemon;
mod exec;
mod node;
mod plan;
mod resolve;
mod spawn;
pub mod spec;
mod step;
mod sys;
mod user;

pub use capability::Capabilities;
pub use cgroup::Cgroup;
pub use daemon::Daemon;
pub use exec::{ExecSpec, Pty, exec, open_pty, start_time};
pub use node::load_module;
pub use spawn::{Held, Running, SpawnError, Stdio, spawn};
pub use spec::Spec;
pub use step::{CONTAINER, DAEMON, JOIN, Status, Step, StepError, read_status};
