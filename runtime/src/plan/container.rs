//! What only a new root has: layers, files, mounts, sysctls, hidden paths.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fstat, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use super::{
    FilePlan, Lifted, ReaperPlan, RootPlan, SeedPlan, SeedPlanFrom, SupplyPlan, SysctlPlan, Upper, c_string,
    devices, invalid, mounts, open, system,
};
use crate::resolve::Target;
use crate::spawn::SpawnError;
use crate::spec::{File, Network, Seed, SeedFrom, Spec, Supply, Writable};
use crate::sys::strings::Strings;

/// fsconfig(2) takes strings of up to 255 bytes.
const LAYER_PATH_MAX: usize = 255;
/// Overlay takes no more, fs/overlayfs/params.h.
const LAYERS_MAX: usize = 500;
/// For mount points and the files of a root that is read-only, bytes.
const SCRATCH_MIN: u64 = 4 << 20;
/// All files together, bytes.
const FILES_MAX: usize = 1 << 20;
/// sethostname(2).
const HOSTNAME_MAX: usize = 64;
/// Not for a unit to mount on: the kernel's own file systems.
const RESERVED: [&str; 2] = ["/proc", "/sys"];

pub(super) fn plan(spec: &Spec, lifted: &mut Lifted) -> Result<RootPlan, SpawnError> {
    if spec.hostname.is_empty() || spec.hostname.len() > HOSTNAME_MAX {
        return Err(invalid("hostname", &spec.hostname, "it has 1 to 64 bytes"));
    }
    let unhidden = |paths: &[String]| if spec.privileged { Vec::new() } else { paths.to_vec() };
    Ok(RootPlan {
        layers: layers(&spec.root.layers)?,
        upper: upper(&spec.root.writable)?,
        scratch: lifted.lift(scratch(spec).map_err(system("make a file system in RAM"))?)?,
        read_only: spec.root.writable == Writable::No,
        shared: spec.root.shared,
        privileged: spec.privileged,
        delegate: spec.delegate,
        shm_size: c_string("shm_size", spec.shm_size.to_string())?,
        seeds: seeds(&spec.seeds, lifted)?,
        devices: devices::plan(spec)?,
        files: files(&spec.files)?,
        supplies: supplies(&spec.supplies)?,
        mounts: mounts::plan(&spec.mounts, lifted)?,
        workdir: target("cwd", &spec.process.cwd)?,
        loopback: spec.network == Network::Private,
        hostname: match &spec.network {
            Network::Join(peer) if peer.pod => None,
            _ => Some(c_string("hostname", &spec.hostname)?),
        },
        sysctl: spec
            .sysctl
            .iter()
            .map(|(name, value)| sysctl(spec, name, value))
            .collect::<Result<_, _>>()?,
        readonly_paths: paths("readonly_paths", &unhidden(&spec.readonly_paths))?,
        masked_paths: paths("masked_paths", &unhidden(&spec.masked_paths))?,
    })
}

/// What the first process is told: the number of its child.
const REAPED: &str = "2";

pub(super) fn reaper(spec: &Spec, lifted: &mut Lifted) -> Result<Option<ReaperPlan>, SpawnError> {
    let Some(path) = &spec.reaper else { return Ok(None) };
    let program = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let program = lifted.lift(program.map_err(open("open", path))?)?;
    let words = [crate::spec::REAPER, REAPED].map(|word| c_string("reaper", word));
    let argv = Strings::new(words.into_iter().collect::<Result<_, _>>()?, 0);
    Ok(Some(ReaperPlan { program, argv, env: Strings::new(Vec::new(), 0) }))
}

pub(super) fn layers(layers: &[std::path::PathBuf]) -> Result<Vec<CString>, SpawnError> {
    if layers.is_empty() || layers.len() > LAYERS_MAX {
        return Err(invalid("layers", layers.len(), "there are 1 to 500"));
    }
    layers.iter().rev().map(|layer| host_path("layer", layer)).collect()
}

/// A path that goes to the kernel as an overlay option.
fn host_path(what: &'static str, path: &Path) -> Result<CString, SpawnError> {
    let bytes = path.as_os_str().as_bytes();
    if !path.is_absolute() || bytes.len() > LAYER_PATH_MAX || bytes.contains(&b'\\') {
        return Err(invalid(
            what,
            path.display(),
            "it is absolute, of at most 255 bytes, without a backslash",
        ));
    }
    c_string(what, bytes)
}

fn upper(writable: &Writable) -> Result<Upper, SpawnError> {
    let Writable::Disk { dir, keep } = writable else { return Ok(Upper::Scratch) };
    let below = |name| host_path("writable", &dir.join(name));
    let keep = keep.as_deref().map(|image| c_string("keep", image)).transpose()?;
    Ok(Upper::Disk { dir: host_path("writable", dir)?, upper: below("upper")?, work: below("work")?, keep })
}

/// Made here and not by the child, so that whoever starts a container can keep it: see [`crate::resupply`].
fn scratch(spec: &Spec) -> Result<OwnedFd, rustix::io::Errno> {
    let size = match &spec.root.writable {
        Writable::Tmpfs { size } => (*size).max(SCRATCH_MIN),
        Writable::No | Writable::Disk { .. } => SCRATCH_MIN,
    };
    let tmpfs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(tmpfs.as_fd(), "size", size.to_string())?;
    fsconfig_set_string(tmpfs.as_fd(), c"mode", c"0755")?;
    if !spec.supplies.is_empty() {
        // Secrets are in it. A kernel before 6.4 does not know the word, and swaps nothing that has no swap.
        let _unknown = fsconfig_set_flag(tmpfs.as_fd(), c"noswap");
    }
    fsconfig_create(tmpfs.as_fd())?;
    fsmount(tmpfs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn files(files: &[File]) -> Result<Vec<FilePlan>, SpawnError> {
    if files.iter().map(|file| file.contents.len()).sum::<usize>() > FILES_MAX {
        return Err(invalid("files", files.len(), "together they have at most 1 MiB"));
    }
    let plan = |(n, file): (usize, &File)| {
        Ok(FilePlan {
            target: mount_target(&file.target)?,
            name: c_string("files", format!("files/{n}"))?,
            contents: file.contents.clone(),
        })
    };
    files.iter().enumerate().map(plan).collect()
}

fn seeds(seeds: &[Seed], lifted: &mut Lifted) -> Result<Vec<SeedPlan>, SpawnError> {
    seeds.iter().enumerate().map(|(number, one)| seed(number, one, lifted)).collect()
}

fn seed(number: usize, seed: &Seed, lifted: &mut Lifted) -> Result<SeedPlan, SpawnError> {
    let path = &seed.volume;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let volume = openat(CWD, path, flags, Mode::empty()).map_err(open("open volume", path))?;
    Ok(SeedPlan {
        volume: lifted.lift(volume)?,
        name: c_string("volume", path.as_os_str().as_bytes())?,
        from: match &seed.from {
            SeedFrom::Nothing => SeedPlanFrom::Nothing,
            SeedFrom::Root(path) => SeedPlanFrom::Root(mount_target(path)?),
            SeedFrom::Image(layers) => {
                SeedPlanFrom::Image(mounts::image(layers, &format!("images/s{number}"))?)
            }
        },
        own: seed.own,
    })
}

fn supplies(supplies: &[Supply]) -> Result<Vec<SupplyPlan>, SpawnError> {
    if supplies.iter().map(|supply| supply.contents.len()).sum::<usize>() > FILES_MAX {
        return Err(invalid("supplies", supplies.len(), "together they have at most 1 MiB"));
    }
    let id = |id: Option<u32>| match id {
        // chown(2) takes it for "leave it as it is".
        Some(u32::MAX) => Err(invalid("owner", u32::MAX, "it is no user or group")),
        id => Ok(id),
    };
    let plan = |(n, supply): (usize, &Supply)| {
        if supply.mode > 0o7777 {
            return Err(invalid("mode", format!("{:o}", supply.mode), "it is at most 7777"));
        }
        let name = c_string("supplies", crate::resupply::place(n))?;
        Ok(SupplyPlan {
            file: FilePlan { target: mount_target(&supply.target)?, name, contents: supply.contents.clone() },
            mode: Mode::from_raw_mode(supply.mode),
            uid: id(supply.uid)?.map(Uid::from_raw),
            gid: id(supply.gid)?.map(Gid::from_raw),
        })
    };
    supplies.iter().enumerate().map(plan).collect()
}

pub(super) fn mount_target(path: &str) -> Result<Target, SpawnError> {
    let parsed = target("mount target", path)?;
    if parsed.depth() == 0 || RESERVED.iter().any(|dir| parsed.is_below(dir)) {
        return Err(invalid(
            "mount target",
            path,
            "it is not '/', not '/proc' or '/sys', and not below these two",
        ));
    }
    Ok(parsed)
}

pub(super) fn target(what: &'static str, path: &str) -> Result<Target, SpawnError> {
    Target::parse(path).ok_or_else(|| invalid(what, path, "it is absolute, without '.' and '..'"))
}

fn paths(what: &'static str, paths: &[String]) -> Result<Vec<CString>, SpawnError> {
    paths.iter().map(|path| target(what, path).map(|target| target.path().to_owned())).collect()
}

/// Only what a namespace of the container owns.
fn sysctl(spec: &Spec, name: &str, value: &str) -> Result<SysctlPlan, SpawnError> {
    const NAMESPACED: [&str; 4] = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
    let network = name.starts_with("net.") && spec.network == Network::Private;
    if !spec.privileged && !network && !NAMESPACED.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(invalid("sysctl", name, "no namespace of the container owns it"));
    }
    // As sysctl(8): a slash stands for a dot inside a component, such as in the name of an interface.
    let swapped: String = name
        .chars()
        .map(|c| {
            if c == '.' {
                '/'
            } else if c == '/' {
                '.'
            } else {
                c
            }
        })
        .collect();
    let path = target("sysctl", &format!("/sys/{swapped}"))?;
    let relative = path.path().to_bytes().strip_prefix(b"/").unwrap_or_default();
    Ok(SysctlPlan {
        name: c_string("sysctl", name)?,
        path: c_string("sysctl", relative)?,
        value: c_string("sysctl", value)?,
    })
}

/// The cgroup that a child is born in.
pub(crate) fn open_cgroup(path: &Path) -> Result<OwnedFd, SpawnError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(open("open cgroup", path))
}

/// /dev/null of the caller, checked.
pub(crate) fn open_null() -> Result<OwnedFd, SpawnError> {
    let path = Path::new("/dev/null");
    let null =
        openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(open("open", path))?;
    let stat = fstat(&null).map_err(system("examine /dev/null"))?;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if device == (1, 3) {
        Ok(null)
    } else {
        Err(invalid("device", path.display(), "it is character device 1:3"))
    }
}
