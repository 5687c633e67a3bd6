//! Kernel, initrd and factory store of an appliance: built when something changed, else as they are.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth_image::build::{Build, Built, Firmware, build};
use berth_units::human::size;
use berth_units::spec::Declared;
use rustix::fs::{FlockOperation, flock};

use super::disk::NewData;
use crate::appliance::Appliance;
use crate::failure::{Cannot, Failure};
use crate::output::note;

/// Where the parts of the OS image come from.
#[derive(Debug, clap::Args)]
pub struct Parts {
    /// Directory of the node's programs; `node` beside this command by default
    #[arg(long, env = "BERTH_NODE_DIR", value_name = "DIR")]
    node_binaries: Option<PathBuf>,
    /// Directory with vmlinuz and modules/; `kernel` beside this command by default
    #[arg(long, env = "BERTH_KERNEL_DIR", value_name = "DIR")]
    kernel: Option<PathBuf>,
    /// Directory of systemd's EFI programs and a firmware for QEMU; `boot` beside this command by default
    #[arg(long, env = "BERTH_BOOT_DIR", value_name = "DIR")]
    boot: Option<PathBuf>,
}

/// node.toml where there is none.
const NO_NODE: &str = "schema = 1\n";

/// Parts that were found.
#[derive(Clone, Debug)]
pub struct Located {
    node_binaries: PathBuf,
    kernel: PathBuf,
    /// Where os.efi and disk.raw are wanted.
    boot: Option<PathBuf>,
}

impl Located {
    /// Firmware for QEMU: code, and variables to begin with.
    pub fn firmware(&self) -> Option<[PathBuf; 2]> {
        let boot = self.boot.as_ref()?;
        Some(["ovmf-code.fd", "ovmf-vars.fd"].map(|name| boot.join(name)))
    }
}

/// What boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Os {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: PathBuf,
    /// Factory store.
    pub factory: PathBuf,
    /// All of it as a disk, where that was asked for.
    pub disk: Option<PathBuf>,
}

impl Os {
    /// As the builder names them.
    fn in_dir(dir: &Path, located: &Located) -> Self {
        Self {
            kernel: dir.join("kernel"),
            initrd: dir.join("initrd"),
            factory: dir.join("factory.erofs"),
            disk: located.boot.as_ref().map(|_| dir.join("disk.raw")),
        }
    }

    fn is_whole(&self) -> bool {
        [&self.kernel, &self.initrd, &self.factory].into_iter().chain(&self.disk).all(|path| path.is_file())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("'{}' holds no {what}", dir.display())]
struct NoParts {
    dir: PathBuf,
    what: &'static str,
}

impl Parts {
    /// The directories, after a look whether they hold what they should; that for `firmware` only if it boots so.
    pub fn locate(&self, firmware: bool) -> Result<Located, Failure> {
        let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
        let beside = beside.unwrap_or_default();
        let node_binaries = self.node_binaries.clone().unwrap_or_else(|| beside.join("node"));
        let kernel = self.kernel.clone().unwrap_or_else(|| beside.join("kernel"));
        let boot = self.boot.clone().unwrap_or_else(|| beside.join("boot"));
        let boot = firmware.then_some(boot);
        let needed =
            [(&node_binaries, "berth-init", "programs for the node"), (&kernel, "vmlinuz", "kernel")];
        let of_boot = boot.iter().map(|boot| (boot, "systemd-stub.efi", "EFI programs"));
        for (dir, file, what) in needed.into_iter().chain(of_boot) {
            if !dir.join(file).is_file() {
                let missing = NoParts { dir: dir.clone(), what };
                return Err(Failure::action(missing).hint(
                    "'make build' makes them beside bin/berth; BERTH_NODE_DIR, BERTH_KERNEL_DIR \
                     and BERTH_BOOT_DIR name others",
                ));
            }
        }
        Ok(Located { node_binaries, kernel, boot })
    }
}

/// Builds into `out`.
pub fn build_os(
    dir: &Path,
    appliance: &Appliance,
    declared: &Declared,
    located: &Located,
    out: &Path,
) -> Result<Built, Failure> {
    let units: Vec<(String, String)> =
        appliance.units.iter().map(|(place, file)| (place.clone(), file.text.clone())).collect();
    let data = match &located.boot {
        Some(_) => Some(NewData::make(out)?),
        None => None,
    };
    let firmware = located.boot.as_ref().zip(data.as_ref());
    let built = build(&Build {
        appliance: dir,
        node_toml: appliance.node.as_ref().map_or(NO_NODE, |file| file.text.as_str()),
        units: &units,
        declared,
        out,
        node_binaries: &located.node_binaries,
        kernel: &located.kernel,
        firmware: firmware.map(|(boot, data)| Firmware { boot, data: data.path() }),
    });
    built.map_err(Failure::input)
}

/// The files in `cache`, built anew if anything they are made of has changed. Those for firmware are kept apart.
pub fn ensure_os(
    dir: &Path,
    appliance: &Appliance,
    declared: &Declared,
    located: &Located,
    cache: &Path,
) -> Result<Os, Failure> {
    let lock = File::create(cache.join("lock")).map_err(Cannot::at("make", &cache.join("lock")));
    let lock = lock.map_err(Failure::action)?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        note("build    waits for another berth that builds the same\n");
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| {
            Failure::action(Cannot::at("lock", &cache.join("lock"))(std::io::Error::from(error)))
        })?;
    }
    let (dir_name, stamp_name) = match located.boot {
        Some(_) => ("os-firmware", "inputs-firmware"),
        None => ("os", "inputs"),
    };
    let os = Os::in_dir(&cache.join(dir_name), located);
    let stamp = cache.join(stamp_name);
    let inputs = inputs(dir, located);
    if os.is_whole() && fs::read_to_string(&stamp).is_ok_and(|known| known == inputs) {
        return Ok(os);
    }
    // A stamp beside half a build would be believed.
    fs::remove_file(&stamp).unwrap_or_default();
    let built = build_os(dir, appliance, declared, located, &cache.join(dir_name))?;
    note(&summary(&built));
    fs::write(&stamp, inputs).map_err(|error| Failure::action(Cannot::at("write", &stamp)(error)))?;
    Ok(os)
}

/// A line for each file that goes into the build: path, size and time of its last change.
fn inputs(dir: &Path, located: &Located) -> String {
    let mut lines = String::new();
    let own = ["node.toml", "node.d", "units", "images", "root"].map(|name| dir.join(name));
    let roots = own.into_iter().chain([located.node_binaries.clone()]).chain(located.boot.clone());
    for root in roots {
        list(&root, 8, &mut lines);
    }
    // The module tree is large, and made in one piece with its index.
    let exe = std::env::current_exe().unwrap_or_default();
    for file in [located.kernel.join("vmlinuz"), located.kernel.join("modules/modules.dep"), exe] {
        list(&file, 0, &mut lines);
    }
    if !dir.join("units").is_dir() {
        list(dir, 2, &mut lines);
    }
    lines
}

fn list(path: &Path, depth: u32, lines: &mut String) {
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.is_file() {
        let (shown, size, seconds, nanos) =
            (path.display(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        // Writing to a String cannot fail.
        writeln!(lines, "{shown} {size} {seconds}.{nanos:09}").unwrap_or_default();
    } else if metadata.is_dir() && depth > 0 {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let visible =
            |path: &&PathBuf| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        paths.iter().filter(visible).for_each(|path| list(path, depth - 1, lines));
    }
}

/// What was built, for people.
pub fn summary(built: &Built) -> String {
    let mut text = format!(
        "build    kernel {}  initrd {}  factory store {}  ({} modules at boot, {} on demand)\n",
        size(built.kernel.size),
        size(built.initrd.size),
        size(built.factory.size),
        built.modules.0,
        built.modules.1,
    );
    if let Some((os, disk)) = &built.firmware {
        text.push_str(&format!("firmware os.efi {}  disk.raw {}\n", size(os.size), size(disk.size)));
    }
    if !built.images.is_empty() {
        let image = |image: &berth_image::build::BuiltImage| {
            format!("{} {}", image.reference.familiar(), size(image.size))
        };
        let images: Vec<String> = built.images.iter().map(image).collect();
        text.push_str(&format!("images   {}\n", images.join("  ")));
    }
    for warning in &built.warnings {
        text.push_str(&format!("warning  {warning}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_input_is_noticed_and_hidden_files_are_none() {
        let dir = std::env::temp_dir().join(format!("berth-os-{}", std::process::id()));
        fs::create_dir_all(dir.join("units")).unwrap();
        fs::create_dir_all(dir.join("node")).unwrap();
        fs::write(dir.join("units/web.toml"), "a").unwrap();
        let located = Located { node_binaries: dir.join("node"), kernel: dir.join("kernel"), boot: None };
        let first = inputs(&dir, &located);
        assert!(first.contains("units/web.toml 1 "));
        fs::write(dir.join("units/.hidden"), "a").unwrap();
        assert_eq!(inputs(&dir, &located), first);
        fs::write(dir.join("units/web.toml"), "ab").unwrap();
        assert_ne!(inputs(&dir, &located), first);
        fs::remove_dir_all(&dir).unwrap();
    }
}
