//! From an appliance directory to what boots: kernel, initrd and factory store.
//!
//! The initrd is the node's root and carries everything but the images; those are in the factory store, a disk or
//! partition of its own, which costs no memory. Units have been parsed by the caller: here they only say which
//! images must be there. What is built depends on the input only, byte for byte; see [`Build`] for what counts as
//! input.

mod files;
mod initrd;
mod modinfo;
mod modules;
mod output;
mod root;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use berth_units::Reference;
use berth_units::spec::Declared;

pub use modules::{ModulesError, NEEDED_MODULES, NETWORK_MODULES};
use output::Output;

use crate::import::{ImportError, Options, UNPACKED_LIMIT, architecture, import};
use crate::store::{Store, StoreError};

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

/// Builds OUT/kernel, OUT/initrd and OUT/factory.erofs.
///
/// Each is written under a temporary name and renamed when all three are complete: a failed build leaves the
/// old ones. The same input gives the same bytes.
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
    let size = store.write(&output.create("factory.erofs").map_err(write)?)?;
    built.factory = Part { path: output.path("factory.erofs"), size };
    built.initrd = write_initrd(build, &mut output, &mut built)?;
    let vmlinuz = build.kernel.join("vmlinuz");
    let mut kernel = File::open(&vmlinuz).map_err(|error| BuildError::Read(vmlinuz, error))?;
    let size = io::copy(&mut kernel, &mut output.create("kernel").map_err(write)?).map_err(write)?;
    built.kernel = Part { path: output.path("kernel"), size };
    output.commit().map_err(write)?;
    Ok(built)
}

fn write_initrd(build: &Build<'_>, output: &mut Output, built: &mut Built) -> Result<Part, BuildError> {
    let write = |error| BuildError::Write(build.out.to_owned(), error);
    let modules = modules::read_modules(&build.kernel.join("modules"), &build.declared.node.kernel_modules)?;
    let at_boot = modules.load.len() + modules.network.len();
    built.modules = (at_boot, modules.files.len() - at_boot);
    let root = root::root(build, &modules)?;
    built.root_size = root.size();
    let initrd = root.compressed().map_err(write)?;
    let mut file = output.create("initrd").map_err(write)?;
    io::Write::write_all(&mut file, &initrd).map_err(write)?;
    Ok(Part { path: output.path("initrd"), size: initrd.len() as u64 })
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
    let entries = match std::fs::read_dir(images) {
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
