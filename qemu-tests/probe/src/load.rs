//! Bad company: takes memory, processors and process numbers.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use berth_probe::Burnt;
use nix::sys::signal::{SigSet, Signal};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use rustix::thread::move_into_link_name_space;
use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

/// Waits for a time.
pub fn sleep_for(seconds: f64) -> Outcome {
    thread::sleep(Duration::try_from_secs_f64(seconds)?);
    Ok(())
}

/// Waits for SIGTERM. The first process of a container inherits its orphans: they are reaped meanwhile.
pub fn sleep() -> Outcome {
    sleep_beside(|| ())
}

/// The same with work in a thread.
pub fn sleep_beside(work: impl FnOnce() + Send + 'static) -> Outcome {
    // Blocked before the thread is made, so that only the wait below gets them. A blocked SIGTERM reaches even the
    // first process of a PID namespace, which the default action does not (pid_namespaces(7)).
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGCHLD].into_iter().collect();
    signals.thread_block()?;
    thread::spawn(work);
    loop {
        reap_ended()?;
        if signals.wait()? == Signal::SIGTERM {
            return Ok(());
        }
    }
}

fn reap_ended() -> Result<(), Errno> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Takes memory in steps of 1 MiB, touches every page, and keeps it.
pub fn eat_memory(mib: usize) -> Outcome {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for number in 1..=mib {
        held.push((0..1 << 20).map(|at: u32| at.to_le_bytes()[0] ^ 1).collect());
        println!("holding {number} MiB");
    }
    let slept = sleep();
    drop(held);
    slept
}

fn myself(words: &[&str]) -> Command {
    // Not by its path: that may lie outside the root that this process sees.
    let mut command = Command::new("/proc/self/exe");
    command.args(words).stdin(Stdio::null());
    command
}

/// Every process starts others as long as the kernel lets it.
pub fn fork_bomb() -> Outcome {
    let mut said = false;
    loop {
        if let Err(error) = myself(&["fork-bomb"]).spawn() {
            if !said {
                println!("cannot fork: {error}");
                said = true;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Runs threads that do nothing but count, and prints wall and processor time in seconds.
pub fn burn_cpu(seconds: f64, threads: usize) -> Outcome {
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    let burner = move || while Instant::now() < end {};
    let burners: Vec<_> = (0..threads).map(|_| thread::spawn(burner)).collect();
    for burner in burners {
        burner.join().map_err(|_| "a thread panicked")?;
    }
    let used = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))?;
    let burnt = Burnt { wall: start.elapsed().as_secs_f64(), cpu: used.as_secs_f64() };
    println!("{}", serde_json::to_string(&burnt)?);
    Ok(())
}

/// Processes whose parent is gone: 100 at a time, each through a parent that ends first.
pub fn orphans(count: u64) -> Outcome {
    let mut left = count;
    while left > 0 {
        let now = left.min(100);
        let status = myself(&["orphan-parent", &now.to_string()]).status()?;
        if !status.success() {
            return Err(format!("parent of orphans: {status}").into());
        }
        left -= now;
        // As the first process of a container it gets them back.
        if rustix::process::getpid() == Pid::INIT {
            reap_ended()?;
        }
    }
    println!("{count} orphans made");
    Ok(())
}

/// Starts children and ends without waiting for them.
pub fn orphan_parent(count: u64) -> Outcome {
    for _ in 0..count {
        drop(myself(&["exit", "0"]).spawn()?);
    }
    Ok(())
}

/// Leaves the cgroup of its unit and removes it, so that whoever keeps it cannot have seen it half done.
pub fn stray(cgroups: &Path, unit: &str) -> Outcome {
    // Out of a namespace of cgroups nobody is let; the node's has all of them.
    let node = fs::File::open("/node-proc/1/ns/cgroup")?;
    move_into_link_name_space(node.as_fd(), None)?;
    let supervisor = freeze_supervisor(cgroups)?;
    // Zero is the writer itself.
    let gone = fs::write(cgroups.join("cgroup.procs"), "0")
        .and_then(|()| fs::remove_dir(cgroups.join("units").join(unit)));
    fs::write(supervisor.join("cgroup.freeze"), "0")?;
    gone?;
    println!("the cgroup is gone");
    Ok(())
}

/// Writes a file that nobody sees being written: the supervisor is frozen meanwhile, and then killed.
pub fn unseen(cgroups: &Path, path: &str, text: &str) -> Outcome {
    let supervisor = freeze_supervisor(cgroups)?;
    fs::write(path, text)?;
    fs::write(supervisor.join("cgroup.kill"), "1")?;
    // Who is killed does not run again; the next one has to.
    Ok(fs::write(supervisor.join("cgroup.freeze"), "0")?)
}

fn freeze_supervisor(cgroups: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let supervisor = cgroups.join("system/supervise");
    fs::write(supervisor.join("cgroup.freeze"), "1")?;
    while !fs::read_to_string(supervisor.join("cgroup.events"))?.contains("frozen 1") {
        thread::yield_now();
    }
    Ok(supervisor)
}
