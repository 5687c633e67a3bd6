//! What is common to every process: arguments, environment, limits, identity.

use std::ffi::CString;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};

use super::{ProcessPlan, RlimitPlan, Work, c_string, invalid, scheduling};
use crate::spawn::SpawnError;
use crate::spec::{DEFAULT_PATH, Process};
use crate::sys::strings::Strings;
use crate::user::Identity;

/// Room for HOME, bytes.
const HOME_MAX: usize = 512;

pub(super) fn plan(process: &Process) -> Result<ProcessPlan, SpawnError> {
    let Some(program) = process.argv.first().filter(|program| !program.is_empty()) else {
        return Err(invalid("argv", "", "it names no program"));
    };
    if !process.cwd.starts_with('/') || process.cwd.starts_with("/proc/") {
        return Err(invalid("cwd", &process.cwd, "it is absolute and not in /proc"));
    }
    if process.umask > 0o777 {
        return Err(invalid("umask", format!("{:o}", process.umask), "it is at most 777"));
    }
    Ok(ProcessPlan {
        name: c_string("argv", program)?,
        candidates: candidates(program, &process.env)?,
        argv: Strings::new(c_strings("argv", &process.argv)?, 0),
        umask: Mode::from_raw_mode(process.umask),
        rlimits: rlimits(process)?,
        scheduling: scheduling::attributes(&process.scheduling)?,
        io_priority: process.io_priority.map(scheduling::io_priority),
        user: c_string("user", &process.user.user)?,
        groups: c_strings("groups", &process.user.groups)?,
        cwd: c_string("cwd", &process.cwd)?,
        capabilities: process.capabilities.bits(),
        ambient: process.ambient,
        no_new_privileges: process.no_new_privileges,
    })
}

/// The room that the child writes to; `files` bytes for each of the image's files.
pub(super) fn work(process: &Process, files: Option<usize>) -> Result<Work, SpawnError> {
    let env = Strings::new(c_strings("env", &process.env)?, HOME_MAX);
    // Zeroed memory costs nothing until the child writes to it.
    let room = || files.map_or_else(Vec::new, |size| vec![0; size]);
    Ok(Work { env, passwd: room(), group: room(), identity: Identity::root() })
}

pub(super) fn oom_score_adj(process: &Process) -> Result<CString, SpawnError> {
    let score = process.oom_score_adj;
    if (-1000..=1000).contains(&score) {
        return c_string("oom_score_adj", score.to_string());
    }
    Err(invalid("oom_score_adj", score, "it is from -1000 to 1000"))
}

fn c_strings(what: &'static str, strings: &[String]) -> Result<Vec<CString>, SpawnError> {
    strings.iter().map(|string| c_string(what, string)).collect()
}

/// A program with a slash is where it says; another one is in one of the directories of PATH.
fn candidates(program: &str, env: &[String]) -> Result<Vec<CString>, SpawnError> {
    if program.contains('/') {
        return Ok(vec![c_string("argv", program)?]);
    }
    let path = env.iter().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    // An empty entry means the working directory: an old trap, left out.
    let dirs = path.split(':').filter(|dir| !dir.is_empty());
    dirs.map(|dir| c_string("PATH", format!("{}/{program}", dir.trim_end_matches('/')))).collect()
}

fn rlimits(process: &Process) -> Result<Vec<RlimitPlan>, SpawnError> {
    let plan = |(name, (soft, hard)): (&String, &(u64, u64))| {
        let resource =
            resource(name).ok_or_else(|| invalid("rlimit", name, "the kernel has none of that name"))?;
        if soft > hard {
            return Err(invalid("rlimit", name, "the soft limit is at most the hard one"));
        }
        let amount = |value: u64| (value != u64::MAX).then_some(value);
        let value = Rlimit { current: amount(*soft), maximum: amount(*hard) };
        Ok(RlimitPlan { name: c_string("rlimit", name)?, resource, value })
    };
    process.rlimits.iter().map(plan).collect()
}

/// getrlimit(2), without RLIMIT_ and in lower case.
fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}
