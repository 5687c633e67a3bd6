//! Whether KVM works here. /dev/kvm may exist, open and still not run a kernel: only a boot tells.
//!
//! The boot has a kernel and no root, so that it ends in a panic within a second or two. What it showed is kept for
//! as long as this machine is up.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::qemu::Qemu;
use crate::failure::Failure;
use crate::output::note;
use crate::polls::Polls;

const PROBE_DEADLINE: Duration = Duration::from_secs(10);
const PROBE_OUTPUT_MAX: usize = 1 << 20;

/// How the guest's processor is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Emulated.
    Tcg,
    /// By the host's processor.
    Kvm,
}

/// `--accel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// KVM if a probe boot works, TCG otherwise
    Auto,
    /// Emulation
    Tcg,
    /// The host's processor, unproved
    Kvm,
}

impl Accel {
    /// As QEMU names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// What to boot with.
pub fn choose(choice: Choice, qemu: &Qemu, kernel: &Path) -> Result<Accel, Failure> {
    match choice {
        Choice::Tcg => Ok(Accel::Tcg),
        Choice::Kvm => Ok(Accel::Kvm),
        Choice::Auto if !can_open_kvm() => Ok(Accel::Tcg),
        Choice::Auto => {
            let cache = cache_file(qemu);
            if let Some(known) = cache.as_deref().and_then(read_cache) {
                return Ok(known);
            }
            note("probe    whether KVM works here\n");
            let accel = if probe(qemu, kernel)? { Accel::Kvm } else { Accel::Tcg };
            if let Some(cache) = cache {
                // Without a cache the next run probes again.
                write_cache(&cache, accel).unwrap_or_default();
            }
            Ok(accel)
        }
    }
}

fn can_open_kvm() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// One file for each start of this machine and version of QEMU.
fn cache_file(qemu: &Qemu) -> Option<PathBuf> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let dir = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    let (major, minor) = qemu.version;
    Some(dir.join("berth").join(format!("accel-{}-{major}.{minor}", boot.trim())))
}

fn read_cache(path: &Path) -> Option<Accel> {
    match fs::read_to_string(path).ok()?.trim() {
        "kvm" => Some(Accel::Kvm),
        "tcg" => Some(Accel::Tcg),
        _ => None,
    }
}

fn write_cache(path: &Path, accel: Accel) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, accel.name())
}

/// Whether a kernel boots as far as looking for its root.
fn probe(qemu: &Qemu, kernel: &Path) -> Result<bool, Failure> {
    let words = format!("console={} panic=-1", qemu.arch.console);
    let options = ["-accel", "kvm", "-cpu", "max", "-m", "256M", "-nodefaults", "-no-user-config"];
    let rest = ["-display", "none", "-no-reboot", "-serial", "stdio", "-M", qemu.arch.machine];
    let mut args: Vec<_> = options.iter().chain(&rest).map(|word| (*word).into()).collect();
    args.extend(["-kernel".into(), kernel.into(), "-append".into(), words.into()]);
    let mut command = qemu.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = qemu.spawn(command)?;
    let works = watch(&mut child).unwrap_or(false);
    // It may have ended by itself.
    child.kill().unwrap_or_default();
    child.wait().map_err(Failure::action)?;
    Ok(works)
}

fn watch(child: &mut Child) -> std::io::Result<bool> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(false) };
    let deadline = Instant::now() + PROBE_DEADLINE;
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    while seen.len() < PROBE_OUTPUT_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let mut polls = Polls::new();
        polls.add((), stdout.as_fd(), PollFlags::IN);
        if polls.wait(Some(left))?.is_empty() {
            continue;
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(is_proof(&seen)),
            len => seen.extend_from_slice(buffer.get(..len).unwrap_or(&[])),
        }
        if is_proof(&seen) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The kernel said its name, and later that it has no root.
fn is_proof(console: &[u8]) -> bool {
    let console = String::from_utf8_lossy(console);
    console.split_once("Linux version").is_some_and(|(_, rest)| rest.contains("Unable to mount root fs"))
}

/// For error messages and the boot line.
pub fn describe(accel: Accel) -> &'static str {
    match accel {
        Accel::Tcg => "TCG",
        Accel::Kvm => "KVM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_boot_up_to_the_root_is_proof() {
        let good =
            b"[0.0] Linux version 6.12\n[1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on";
        assert!(is_proof(good));
        for bad in [&b""[..], b"Linux version 6.12\nKVM internal error", b"Unable to mount root fs"] {
            assert!(!is_proof(bad));
        }
    }

    #[test]
    fn the_cache_is_read_back_and_nonsense_ignored() {
        let path = std::env::temp_dir().join(format!("berth-accel-{}/x/cache", std::process::id()));
        assert_eq!(read_cache(&path), None);
        write_cache(&path, Accel::Kvm).unwrap();
        assert_eq!(read_cache(&path), Some(Accel::Kvm));
        fs::write(&path, "maybe").unwrap();
        assert_eq!(read_cache(&path), None);
        fs::remove_dir_all(path.ancestors().nth(2).unwrap()).unwrap();
    }
}
