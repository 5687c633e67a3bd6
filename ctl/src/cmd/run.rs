//! `berth run`: an appliance directory as a running virtual machine, until it powers off.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::appliance::read_appliance;
use crate::failure::{Cannot, Failure};
use crate::host::accel::{self, Choice};
use crate::host::forward::{self, Forward};
use crate::host::machine::{Boot, Machine};
use crate::host::os::{Located, Os, Parts, ensure_os};
use crate::host::socket::ControlSocket;
use crate::host::vm::{self, Setup};
use crate::host::{disk, install, progress, qemu};
use crate::output::note;
use crate::report;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth run examples/gateway\n  \
    berth run . --headless --control /tmp/c.sock --data /tmp/data.raw --forward udp:5353:53\n\n\
    Ends when the node powers off: exit code 0 for a clean end. Ctrl-C powers it off; a second one cuts the power.\n\
    What is built and the data disk are kept in DIR/.berth.")]
pub struct Args {
    /// Appliance directory
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The console goes to standard output as plain lines
    #[arg(long)]
    headless: bool,
    /// Where other commands reach the node; DIR/.berth/control.sock by default
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// Data disk, made when absent; DIR/.berth/data.raw by default. With --firmware the only disk, DIR/.berth/disk.raw
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Boots a disk through UEFI firmware, as a real machine does
    #[arg(long)]
    firmware: bool,
    /// Memory of the machine
    #[arg(long, default_value = "192M", value_name = "SIZE", value_parser = parse_memory)]
    memory: u64,
    /// Processors of the machine
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// One more forwarded port, [tcp:|udp:]HOSTPORT:NODEPORT; may be given again
    #[arg(long, value_name = "PORTS")]
    forward: Vec<Forward>,
    /// Forward only the ports given with --forward
    #[arg(long)]
    no_unit_forwards: bool,
    /// Words for the kernel's command line; may be given again
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    append: Vec<String>,
    /// How the processor is run
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    accel: Choice,
    #[command(flatten)]
    parts: Parts,
}

/// MiB of `192M`, `1G` or `192` (MiB).
fn parse_memory(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['M', 'm']) {
        Some(digits) => (digits, 1),
        None => text.strip_suffix(['G', 'g']).map_or((text, 1), |digits| (digits, 1024)),
    };
    let mib = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match mib {
        Some(mib @ 64..=1_048_576) => Ok(mib),
        _ => Err("memory is written 192M or 1G, and is 64M at least".to_owned()),
    }
}

/// Builds what has changed, boots, and stays until the end.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let appliance = read_appliance(&args.dir)?;
    let declared = report::check_or_fail(&appliance)?;
    let qemu = qemu::find()?;
    let more = args.forward.as_slice();
    let forwards = if args.no_unit_forwards { more.to_vec() } else { forward::of_units(&declared, more) };
    forward::check_free(&forwards)?;
    let cache = ensure_cache(&args.dir)?;
    let control = args.control.clone().unwrap_or_else(|| cache.join("control.sock"));
    let socket = ControlSocket::listen(&control)?;
    let located = args.parts.locate(args.firmware)?;
    let os = ensure_os(&args.dir, &appliance, &declared, &located, &cache)?;
    let disks = Disks::ensure(args, &os, &located, &cache)?;
    let accel = accel::choose(args.accel, &qemu, &os.kernel)?;
    // Those of node.toml are in what firmware boots.
    let own = if args.firmware { String::new() } else { declared.node.kernel_append.join(" ") };
    let words = [own, args.append.join(" ")].join(" ");
    let (name, accel_name) = (&declared.node.hostname, accel::describe(accel));
    let (cpus, memory) = (args.cpus, args.memory);
    note(&format!("boot     {name} under QEMU ({accel_name}, {cpus} cpus, {memory}M)\n"));
    vm::run(Setup {
        qemu: &qemu,
        machine: &Machine {
            arch: qemu.arch,
            accel,
            cpus,
            memory_mib: memory,
            boot: disks.boot(&os),
            words: words.trim(),
            forwards: &forwards,
        },
        declared: &declared,
        control: socket,
        headless: args.headless,
        ports: progress::ports(&declared, &forwards),
        ending: ending(&control),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The files of a machine that last from one run to the next.
struct Disks {
    /// Data disk, or the whole disk with firmware.
    disk: PathBuf,
    /// The firmware, and its variables.
    firmware: Option<[PathBuf; 2]>,
}

impl Disks {
    /// Makes those that are absent.
    fn ensure(args: &Args, os: &Os, located: &Located, cache: &Path) -> Result<Self, Failure> {
        let at = |name: &str| args.data.clone().unwrap_or_else(|| cache.join(name));
        let (Some(image), Some([code, new_vars])) = (&os.disk, located.firmware()) else {
            let disk = at("data.raw");
            disk::ensure_data(&disk)?;
            return Ok(Self { disk, firmware: None });
        };
        let disk = at("disk.raw");
        install::ensure_disk(image, &disk)?;
        let mut vars = disk.clone().into_os_string();
        vars.push(".vars");
        let vars = PathBuf::from(vars);
        if !vars.exists() {
            fs::copy(&new_vars, &vars).map_err(|error| Failure::action(Cannot::at("write", &vars)(error)))?;
        }
        Ok(Self { disk, firmware: Some([code, vars]) })
    }

    fn boot<'a>(&'a self, os: &'a Os) -> Boot<'a> {
        match &self.firmware {
            Some([code, vars]) => Boot::Firmware { code, vars, disk: &self.disk },
            None => Boot::Direct {
                kernel: &os.kernel,
                initrd: &os.initrd,
                factory: &os.factory,
                data: &self.disk,
            },
        }
    }
}

/// How to reach the machine from elsewhere, and how to stop it.
fn ending(control: &Path) -> String {
    let command = std::env::args().next().unwrap_or_else(|| "berth".to_owned());
    format!("in another terminal: {command} --node unix:{} status      stop: Ctrl-C", control.display())
}

/// DIR/.berth, which no version control wants.
fn ensure_cache(dir: &Path) -> Result<PathBuf, Failure> {
    let cache = dir.join(".berth");
    fs::create_dir_all(&cache)
        .and_then(|()| fs::write(cache.join(".gitignore"), "*\n"))
        .map_err(|error| Failure::action(Cannot::at("write to", &cache)(error)))?;
    Ok(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory() {
        for (text, mib) in [("192M", 192), ("1G", 1024), ("256", 256), ("64m", 64)] {
            assert_eq!(parse_memory(text), Ok(mib), "{text}");
        }
        for bad in ["", "M", "32M", "-1G", "1T", "18446744073709551615G"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }
}
