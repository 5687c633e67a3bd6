//! From an appliance directory to what boots: kernel, initrd and factory store.

use std::path::{Path, PathBuf};

use berth_units::Reference;
use berth_units::spec::Declared;

/// What to build from and where to. Units have been parsed and checked by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// Appliance directory; `images/` in it holds the bundled images and may be absent.
    pub appliance: &'a Path,
    /// Text of node.toml, copied to /etc/berth/node.toml.
    pub node_toml: &'a str,
    /// Stem and text of each unit file, copied to /etc/berth/units/STEM.toml.
    pub units: &'a [(String, String)],
    /// What those texts mean.
    pub declared: &'a Declared,
    /// Directory for kernel, initrd and factory.erofs; made when absent.
    pub out: &'a Path,
    /// Directory of the static node binaries: berth-init, berth-supervise, berth-log, berth-netd,
    /// berth-session, berth.
    pub node_binaries: &'a Path,
    /// Directory with `vmlinuz` and `modules/` (the content of /lib/modules/RELEASE).
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
    #[error("unit '{unit}' needs image '{reference}', which is not in '{}'{}", images.display(), hint(.available))]
    MissingImage {
        /// Unit.
        unit: String,
        /// As normalised.
        reference: Reference,
        /// The folder searched.
        images: PathBuf,
        /// What is there, the nearest first.
        available: Vec<String>,
    },
}

fn hint(_available: &[String]) -> String {
    String::new()
}

/// Builds OUT/kernel, OUT/initrd and OUT/factory.erofs.
///
/// Each is written under a temporary name and renamed when all three are complete: a failed build leaves the
/// old ones. The same input gives the same bytes.
pub fn build(build: &Build<'_>) -> Result<Built, BuildError> {
    _ = build;
    Ok(Built::default())
}
