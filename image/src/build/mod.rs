//! From an appliance directory to what boots: kernel, initrd and factory store; and, for real firmware, the same as one
//! EFI program and as a whole disk.
//!
//! The initrd is the node's root and carries everything but the images; those are in the factory store, a disk or
//! partition of its own, which costs no memory. Units have been parsed by the caller: here they only say which
//! images must be there. What is built depends on the input only, byte for byte; see [`Build`] for what counts as
//! input.

mod disk;
mod fat;
mod files;
mod initrd;
mod modinfo;
mod modules;
mod output;
mod root;
mod uki;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use berth_units::Reference;
use berth_units::spec::Declared;

pub use modules::{ModulesError, NEEDED_MODULES, NETWORK_MODULES};
use output::Output;
use uki::Section;
pub use uki::UkiError;

use crate::import::{ImportError, Options, UNPACKED_LIMIT, architecture, import};
use crate::store::{Store, StoreError};

/// The kernel's words where firmware boots: `gpt` lets it use the copy at the end of the disk where the first table
/// was torn by a power cut. Serial console last: that one is PID 1's.
#[cfg(target_arch = "x86_64")]
const CMDLINE: &str = "console=tty0 console=ttyS0 quiet panic=5 gpt";
#[cfg(target_arch = "aarch64")]
const CMDLINE: &str = "console=tty0 console=ttyAMA0 quiet panic=5 gpt";

/// What to build from and where to. Units have been parsed and checked by the caller.
///
/// Input besides these fields: the environment variable SOURCE_DATE_EPOCH; without it the modification times of
/// kernel and programs, of which the newest becomes /etc/berth/built.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// Appliance directory; `images/` in it holds the bundled images, `root/` files of the OS image. Both may be absent.
    pub appliance: &'a Path,
    /// Text of node.toml, copied to /etc/berth/node.toml.
    pub node_toml: &'a str,
    /// Place below /etc/berth and text of each unit file and drop-in: `units/web.toml`, `units/web.d/10.toml`.
    pub units: &'a [(String, String)],
    /// What those texts mean.
    pub declared: &'a Declared,
    /// Directory for kernel, initrd and factory.erofs; made when absent. Temporary files are in it, too.
    pub out: &'a Path,
    /// Directory of the static node binaries: berth-init, berth-supervise, berth-log, berth-netd,
    /// berth-session, berth-check, berth-modules, berth.
    pub node_binaries: &'a Path,
    /// Directory with `vmlinuz` and `modules/` (the content of /lib/modules/RELEASE; of its lists only
    /// modules.builtin is read).
    pub kernel: &'a Path,
    /// What os.efi and disk.raw are made of besides; without it neither is written.
    pub firmware: Option<Firmware<'a>>,
}

/// Parts of an OS that boots through UEFI firmware.
#[derive(Clone, Copy, Debug)]
pub struct Firmware<'a> {
    /// Directory with `systemd-stub.efi` and `systemd-boot.efi`.
    pub boot: &'a Path,
    /// File that holds the file system of a new data partition; its size is the partition's.
    pub data: &'a Path,
}

/// What [`build`] has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// OUT/kernel.
    pub kernel: Part,
    /// OUT/initrd.
    pub initrd: Part,
    /// OUT/factory.erofs.
    pub factory: Part,
    /// OUT/os.efi and OUT/disk.raw, when they were asked for.
    pub firmware: Option<(Part, Part)>,
    /// Bytes of the initrd, unpacked: what it takes of the node's memory.
    pub root_size: u64,
    /// Images of the factory store, by reference.
    pub images: Vec<BuiltImage>,
    /// Kernel modules carried: (loaded at boot, loaded on demand).
    pub modules: (usize, usize),
    /// For the person who builds, one sentence each.
    pub warnings: Vec<String>,
}

/// One written file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// One image of the factory store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// Its name in normal form.
    pub reference: Reference,
    /// Number of layers.
    pub layers: usize,
    /// Bytes of its layers, unpacked.
    pub size: u64,
}

/// Why nothing was built; what was in OUT before is still there.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A unit's image is not in `images/`.
    #[error("unit '{unit}' needs image '{reference}', which is not in '{}'{}",
        .images.display(), hint(.available))]
    MissingImage {
        /// Unit.
        unit: String,
        /// As a person writes it.
        reference: String,
        /// The folder searched.
        images: PathBuf,
        /// What is there, the nearest first.
        available: Vec<String>,
    },
    /// An image is not acceptable.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The factory store cannot be written.
    #[error("cannot make the factory store")]
    Store(#[from] StoreError),
    /// A service's program is not in the OS image.
    #[error("unit '{unit}' runs '{program}', which is not in the OS image; put it into '{}'", .root.display())]
    MissingProgram {
        /// Unit.
        unit: String,
        /// Its path on the node.
        program: String,
        /// The folder of the appliance for such files.
        root: PathBuf,
    },
    /// A file of `root/` cannot become one of the OS image.
    #[error("'{}' cannot be a file of the OS image: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Kernel modules are not right.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// An input cannot be read.
    #[error("cannot read '{}'", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// OUT cannot be written.
    #[error("cannot write to '{}'", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// systemd's stub cannot take kernel and initrd.
    #[error("cannot make an EFI program of '{}'", .0.display())]
    Uki(PathBuf, #[source] UkiError),
    /// A unit's name would be no file name.
    #[error("unit name '{0}' is not a file name")]
    UnitName(String),
    /// SOURCE_DATE_EPOCH is set to something else.
    #[error("SOURCE_DATE_EPOCH is '{0}', not a number of seconds")]
    SourceDate(String),
}

fn hint(available: &[String]) -> String {
    match available {
        [] => ": it holds no image; put an OCI archive or layout there".to_owned(),
        [one] => format!(": it holds '{one}'"),
        [first, rest @ ..] => {
            let rest: String = rest.iter().take(8).map(|name| format!(", '{name}'")).collect();
            format!(": it holds '{first}'{rest}")
        }
    }
}

/// Builds OUT/kernel, OUT/initrd and OUT/factory.erofs, and OUT/os.efi and OUT/disk.raw where they are asked for.
///
/// Each is written under a temporary name and renamed when all are complete: a failed build leaves the old ones. The
/// same input gives the same bytes.
pub fn build(build: &Build<'_>) -> Result<Built, BuildError> {
    let write = |error| BuildError::Write(build.out.to_owned(), error);
    let mut output = Output::open(build.out).map_err(write)?;
    let mut built = Built::default();
    let store = read_images(build, &mut built.warnings)?;
    built.images = store
        .images
        .iter()
        .map(|(reference, image)| BuiltImage {
            reference: reference.clone(),
            layers: image.layers.len(),
            size: image.size,
        })
        .collect();
    let factory = output.create("factory.erofs").map_err(write)?;
    built.factory = Part { path: output.path("factory.erofs"), size: store.write(&factory)? };
    let initrd = pack_root(build, &mut built)?;
    built.initrd = write_part(&mut output, "initrd", &initrd).map_err(write)?;
    let kernel = read(&build.kernel.join("vmlinuz"))?;
    built.kernel = write_part(&mut output, "kernel", &kernel).map_err(write)?;
    if let Some(firmware) = &build.firmware {
        let os = make_uki(build, firmware, [&kernel, &initrd])?;
        let part = write_part(&mut output, "os.efi", &os).map_err(write)?;
        let data =
            File::open(firmware.data).map_err(|error| BuildError::Read(firmware.data.to_owned(), error))?;
        let data_size = data.metadata().map_err(write)?.len();
        let parts = disk::Parts {
            loader: &read(&firmware.boot.join("systemd-boot.efi"))?,
            uki: &os,
            factory: (&factory, built.factory.size),
            data: (&data, data_size),
        };
        let size = disk::write(&output.create("disk.raw").map_err(write)?, &parts).map_err(write)?;
        built.firmware = Some((part, Part { path: output.path("disk.raw"), size }));
    }
    output.commit().map_err(write)?;
    Ok(built)
}

fn pack_root(build: &Build<'_>, built: &mut Built) -> Result<Vec<u8>, BuildError> {
    let modules = modules::read_modules(&build.kernel.join("modules"), &build.declared.node.kernel_modules)?;
    let at_boot = modules.load.len() + modules.network.len();
    built.modules = (at_boot, modules.files.len() - at_boot);
    let root = root::root(build, &modules)?;
    built.root_size = root.size();
    root.compressed().map_err(|error| BuildError::Write(build.out.to_owned(), error))
}

fn write_part(output: &mut Output, name: &'static str, content: &[u8]) -> io::Result<Part> {
    output.create(name)?.write_all(content)?;
    Ok(Part { path: output.path(name), size: content.len() as u64 })
}

/// os-release for the loader's list: with a version in it the loader would sort slots by that, and a node could not
/// go back to an older OS. Ours is in a section of its own.
fn make_uki(
    build: &Build<'_>,
    firmware: &Firmware<'_>,
    [kernel, initrd]: [&[u8]; 2],
) -> Result<Vec<u8>, BuildError> {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("ID=berth\nPRETTY_NAME=\"berth {version}\"\n");
    let words = [CMDLINE, &build.declared.node.kernel_append.join(" ")].join(" ");
    let own = format!("format = 1\nversion = \"{version}\"\n");
    let mut sections = vec![
        Section { name: ".osrel", content: name.as_bytes() },
        Section { name: ".cmdline", content: words.trim_end().as_bytes() },
        Section { name: ".berth", content: own.as_bytes() },
    ];
    sections.extend(uki::release(kernel).map(|text| Section { name: ".uname", content: text.as_bytes() }));
    sections
        .extend([Section { name: ".initrd", content: initrd }, Section { name: ".linux", content: kernel }]);
    let stub = firmware.boot.join("systemd-stub.efi");
    let bytes = read(&stub)?;
    uki::uki(&bytes, &sections).map_err(|error| BuildError::Uki(stub, error))
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|error| BuildError::Read(path.to_owned(), error))
}

/// Imports `images/`, checks it against the units and leaves out what none of them uses.
fn read_images(build: &Build<'_>, warnings: &mut Vec<String>) -> Result<Store, BuildError> {
    let images = build.appliance.join("images");
    let options = Options { architecture: architecture(), spool: build.out, limit: UNPACKED_LIMIT };
    let mut store = Store::default();
    for path in sources(&images, warnings)? {
        import(&mut store, &path, &options)?;
    }
    let units = || build.declared.units.values();
    for (unit, reference) in
        units().flat_map(|unit| build.declared.images(unit).map(move |image| (unit, image)))
    {
        if !ensure_named(&mut store, reference) {
            let available = nearest_first(reference, &store);
            return Err(BuildError::MissingImage {
                unit: unit.name.to_string(),
                reference: reference.familiar(),
                images,
                available,
            });
        }
    }
    let used: BTreeSet<_> = units().flat_map(|unit| build.declared.images(unit).cloned()).collect();
    let needed: BTreeSet<_> =
        used.iter().filter_map(|reference| store.images.get(reference)).map(|image| image.digest).collect();
    for (reference, image) in &store.images {
        if !needed.contains(&image.digest) {
            warnings.push(format!("no unit uses image '{}': left out", reference.familiar()));
        }
    }
    store.retain(|reference| used.contains(reference));
    Ok(store)
}

/// Whether the store has it. A pinned reference (`name@sha256:…`) is an image of that name with that manifest, and
/// becomes a further name of it.
fn ensure_named(store: &mut Store, reference: &Reference) -> bool {
    if store.images.contains_key(reference) {
        return true;
    }
    let text = reference.to_string();
    let Some((name, digest)) = text.split_once('@') else { return false };
    let same = |known: &Reference| {
        let known = known.to_string();
        known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
    };
    let found = store.images.iter().find(|(known, image)| same(known) && image.digest.to_string() == digest);
    let Some(image) = found.map(|(_, image)| image.clone()) else { return false };
    store.images.insert(reference.clone(), image);
    true
}

/// The archives and layouts of `images/` in the order of their names.
pub fn sources(images: &Path, warnings: &mut Vec<String>) -> Result<Vec<PathBuf>, BuildError> {
    let fault = |error| BuildError::Read(images.to_owned(), error);
    let entries = match fs::read_dir(images) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fault)?,
    };
    let mut sources = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_archive = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| name.ends_with(end));
        let is_source = if path.is_dir() { path.join("index.json").exists() } else { is_archive };
        if is_source {
            sources.push(path);
        } else if !name.starts_with('.') {
            warnings.push(format!("'{}' is neither an archive nor an OCI layout: ignored", path.display()));
        }
    }
    sources.sort();
    Ok(sources)
}

/// Names of the store's images as a person writes them, the most similar one first.
fn nearest_first(reference: &Reference, store: &Store) -> Vec<String> {
    let mut names: Vec<_> = store.images.keys().map(Reference::familiar).collect();
    let wanted = reference.familiar();
    let nearest = berth_units::nearest::nearest(&wanted, names.iter().map(String::as_str)).map(str::to_owned);
    names.sort_by_key(|name| Some(name) != nearest.as_ref());
    names
}
