//! From a resolved spec to a running process. The only unsafe code of berth, in `sys`.
//!
//! [`spawn()`] makes a container, [`exec()`] puts one more process into it, [`Daemon::spawn`] starts a program of our
//! own. All three are the same three acts:
//!
//! 1. *Plan* (`plan`): everything that can be refused is refused, every string becomes what the kernel takes, mount
//!    sources are copied as detached trees with their attributes already set. Nothing has happened yet.
//! 2. *Clone* (`sys::clone`): one clone3(2) makes the process in its cgroup and its namespaces, with a pidfd. With
//!    CLONE_PARENT it is the child of the caller's parent: PID 1 reaps what the supervisor spawns, and the
//!    supervisor may die at any instruction.
//! 3. *Steps* (`child`): the child walks a fixed list, [`CONTAINER`], [`JOIN`] or [`DAEMON`], without allocating. It
//!    ends by execve(2), or by one [`StepError`] on its status pipe and `_exit`.
//!
//! A container is held before its credentials are set: its network can be configured through [`Held::netns`] while
//! it mounts, and the end of file on the pipe that it waits on, because the supervisor died, is its end too.
//!
//! # The order of the steps, and why
//!
//! | steps | why there |
//! |---|---|
//! | `CloseInherited` | first: a descriptor of the node that leaks cannot be used by any later step, nor keep a sibling's pipe open |
//! | `Dumpable` | before anything of the container could trace us or read our descriptors |
//! | `Signals` `Session` `Keyring` | nothing inherited decides how the process behaves |
//! | `UserNamespace` | (its place) before the first mount, because mounts belong to the namespace that makes them |
//! | `Join` | only for exec: from here on paths are the container's |
//! | `Stdio` | before new descriptors are opened, so that none is in the way |
//! | `PrivateMounts` | before the first mount, or it would appear on the node |
//! | `EmptyUpper` `Scratch` `Overlay` | the root. Always an overlay with a writable layer, so that mount points and files can be made in an image that lacks them |
//! | `Seed` | while nothing but the image is in the root |
//! | `Proc` … `CgroupMount` | the kernel's file systems, fresh, on directories that are no links, before anything of the unit could lie over them |
//! | `Files` `Mounts` `Workdir` | onto descriptors resolved inside the root, parents first |
//! | `Loopback` `Hostname` `Sysctl` | through the procfs just mounted, while it is writable |
//! | `ReadOnlyPaths` `MaskedPaths` | after every mount, so that none uncovers them |
//! | `ReadOnlyRoot` | after the last mount point has been made |
//! | `OomScore` | needs a trusted procfs and the rights to lower it |
//! | `Pivot` | the node's root is gone |
//! | `Umask` `User` `Cwd` `Rlimits` | in the assembled root, by its own files; limits when nothing of ours needs more |
//! | `Wait` | with everything done that can fail and takes time, and all rights still there |
//! | `Credentials` `NoNewPrivileges` | rights only shrink from here on |
//! | `Seccomp` | (its place) last, so that the filter has to allow as little as possible |
//! | `CloseRest` `Exec` | whatever was opened on the way closes at execve |
//!
//! Not here: what should run (units), when (the supervisor), what becomes of the exit status (PID 1), network
//! configuration (netd), images (image).

pub mod capability;
pub mod cgroup;
mod child;
mod daemon;
pub mod disk;
mod exec;
mod plan;
pub mod project;
mod resolve;
mod resupply;
mod signal;
mod spawn;
pub mod spec;
mod step;
mod sys;
mod user;

pub use capability::Capabilities;
pub use cgroup::Cgroup;
pub use child::remove_all;
pub use daemon::Daemon;
pub use exec::{ExecSpec, Pty, cgroup_of, exec, open_pty, start_time};
pub use resupply::resupply;
pub use signal::send_signal;
pub use spawn::{Held, Running, SpawnError, Stdio, spawn};
pub use spec::Spec;
pub use step::{CONTAINER, DAEMON, JOIN, Status, Step, StepError, read_status};
