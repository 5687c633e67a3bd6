//! What a process can see of the system around it, from /proc and a few calls.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use berth_probe::{Mount, Report};

use crate::Outcome;

/// Prints the report as one line of JSON.
pub fn print() -> Outcome {
    let report = Report {
        pid: std::process::id(),
        ppid: std::os::unix::process::parent_id(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        groups: rustix::process::getgroups()?.iter().map(|gid| gid.as_raw()).collect(),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        args: std::env::args().collect(),
        env: std::env::vars().collect(),
        cwd: std::env::current_dir()?.display().to_string(),
        pids: numbers("/proc"),
        status: status(),
        cgroup: text("/proc/self/cgroup"),
        namespaces: links("/proc/self/ns"),
        mounts: text("/proc/self/mountinfo").lines().filter_map(mount).collect(),
        fds: links("/proc/self/fd").into_iter().filter_map(|(fd, to)| Some((fd.parse().ok()?, to))).collect(),
        root: names("/"),
        dev: names("/dev"),
        interfaces: interfaces(&text("/proc/net/dev")),
        addresses: local_addresses(&text("/proc/net/fib_trie")),
        limits: text("/proc/self/limits"),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Prints a field of /proc/self/status.
pub fn print_status(field: &str) -> Outcome {
    println!("{}", status().get(field).ok_or("no such field")?);
    Ok(())
}

/// Prints the names in a directory, sorted, one a line.
pub fn list(path: &str) -> Outcome {
    let mut found: Vec<_> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    found.sort();
    found.iter().for_each(|name| println!("{}", name.display()));
    Ok(())
}

/// Prints the proportional set size of PID 1 and of processes whose name begins so, from smaps_rollup below a mount
/// of /proc (proc_pid_smaps(5)).
pub fn print_pss(proc: &str, prefix: &str) -> Outcome {
    for pid in numbers(proc) {
        let name = text(&format!("{proc}/{pid}/comm"));
        if pid == 1 || name.starts_with(prefix) {
            let rollup = fs::read_to_string(format!("{proc}/{pid}/smaps_rollup"))?;
            let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
            println!("{} {}", kib.trim().trim_end_matches(" kB"), name.trim());
        }
    }
    Ok(())
}

/// Prints how often PID 1 and each process whose name begins so waited for something anew within that time: the
/// growth of voluntary_ctxt_switches (proc_pid_status(5)), with the name. One that is new or gone is not counted.
pub fn print_wake_ups(proc: &str, prefix: &str, seconds: u64) -> Outcome {
    let before = waits(proc, prefix);
    std::thread::sleep(Duration::from_secs(seconds));
    for (pid, (name, count)) in waits(proc, prefix) {
        if let Some((_, earlier)) = before.get(&pid) {
            println!("{} {name}", count.saturating_sub(*earlier));
        }
    }
    Ok(())
}

/// Name and voluntary switches by process.
fn waits(proc: &str, prefix: &str) -> BTreeMap<u32, (String, u64)> {
    let waits = |pid: u32| {
        let status = text(&format!("{proc}/{pid}/status"));
        let field = |name: &str| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim());
        let name = field("Name:")?;
        let count = field("voluntary_ctxt_switches:")?.parse().ok()?;
        (pid == 1 || name.starts_with(prefix)).then(|| (pid, (name.to_owned(), count)))
    };
    numbers(proc).into_iter().filter_map(waits).collect()
}

/// A file's text; empty when it cannot be read, which is a result too.
fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn names(path: &str) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn numbers(path: &str) -> Vec<u32> {
    names(path).iter().filter_map(|name| name.parse().ok()).collect()
}

fn links(path: &str) -> BTreeMap<String, String> {
    let link = |name: String| {
        let target = fs::read_link(format!("{path}/{name}")).ok()?;
        Some((name, target.display().to_string()))
    };
    names(path).into_iter().filter_map(link).collect()
}

fn status() -> BTreeMap<String, String> {
    let pair =
        |line: &str| line.split_once(':').map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
    text("/proc/self/status").lines().filter_map(pair).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3).map(str::to_owned);
    let mut right = right.split(' ').map(str::to_owned);
    Some(Mount {
        root: left.next()?,
        target: left.next()?,
        options: left.next()?,
        fs: right.next()?,
        source: right.next()?,
    })
}

/// /proc/net/dev: two heading lines, then `NAME: numbers`.
fn interfaces(dev: &str) -> Vec<String> {
    dev.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

/// /proc/net/fib_trie: an address stands on the line before its `/32 host LOCAL`.
fn local_addresses(trie: &str) -> Vec<String> {
    let lines: Vec<&str> = trie.lines().map(str::trim).collect();
    let local = lines.windows(2).filter_map(|pair| match pair {
        [address, kind] if kind.contains("/32 host LOCAL") => address.strip_prefix("|-- ").map(str::to_owned),
        _ => None,
    });
    let mut found: Vec<_> = local.collect();
    found.sort();
    found.dedup();
    found
}

/// Prints how large a path's file system is and how much of it is free, bytes.
pub fn print_space(path: &str) -> Outcome {
    let stat = rustix::fs::statvfs(path)?;
    println!("{} {}", stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
    Ok(())
}

/// Prints mode (octal), owner and group of a file.
pub fn print_mode(path: &str) -> Outcome {
    let seen = fs::metadata(path)?;
    println!("{:o} {} {}", seen.mode() & 0o7777, seen.uid(), seen.gid());
    Ok(())
}
