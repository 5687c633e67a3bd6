//! Which kernel modules the initrd carries, in which order they are loaded, and for which devices.
//!
//! Four lists for the node, below /lib/modules, one line an entry:
//! - `berth.load`: file names in the order of loading, which PID 1 loads at every boot before all else.
//! - `berth.net`: the same for the network, loaded after it, while the supervisor gets going.
//! - `berth.alias`: `PATTERN FILE`: load FILE when a device's MODALIAS matches PATTERN (fnmatch(3)).
//! - `berth.dep`: `FILE: FILE…`: what must be loaded before the first one, in this order; what is in
//!   the first two lists is left out.
//!
//! Files are stored unpacked: the kernel of a small node should not need memory for a decompressor, and the initrd
//! is compressed as a whole. What is built into the kernel (modules.builtin) is left out everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use berth_units::nearest::nearest;

use super::modinfo::{ModInfo, normal};

/// What PID 1 and the supervisor need: a kernel without one of these cannot run berth.
#[rustfmt::skip]
pub const NEEDED_MODULES: &[&str] = &[
    "virtio_pci", "virtio_blk", "virtio_console", // devices of the machine
    "ext4", "quota_v2", // data, formatted with quota
    "erofs", "overlay", // factory store, container roots
];

/// What netd needs, no less, but loaded beside the boot.
#[rustfmt::skip]
pub const NETWORK_MODULES: &[&str] = &[
    "virtio_net", "af_packet", "bridge", "veth", // uplink, DHCP, networks
    "nf_tables", "nf_conntrack", "nft_chain_nat", "nft_nat", "nft_masq", // NAT and published ports
    "nft_ct", "nft_fib_inet", "nft_fib_ipv4",
];

/// Loaded at every boot where the kernel has them. crc32c_intel comes first: who needs a checksum chooses its
/// implementation once, when it is loaded.
const FIRST_WELCOME: &[&str] = &["crc32c_intel"];
/// The same, after all others: entropy, the power button.
const WELCOME: &[&str] = &["virtio_rng", "button", "evdev"];

/// Carried for machines that have the device. Others are named in node.toml.
const ON_DEMAND: &[&str] =
    &["ahci", "sd_mod", "virtio_scsi", "nvme", "e1000", "e1000e", "virtio_balloon", "i6300esb", "wdat_wdt"];

/// Largest module, unpacked, bytes.
const MAX_MODULE: u64 = 64 << 20;

/// Why the modules cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// The kernel's folder is incomplete.
    #[error("cannot read '{}' of the kernel: has 'make setup' been run?", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file is not what it should be.
    #[error("'{}' is not a kernel module", .0.display())]
    NotAModule(PathBuf),
    /// node.toml names a module that the kernel does not have.
    #[error("kernel module '{name}' does not exist{}", did_you_mean(.nearest))]
    Unknown {
        /// As written.
        name: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// Modules that need each other.
    #[error("kernel module '{0}' depends on itself")]
    Cycle(String),
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(": did you mean '{name}'?")).unwrap_or_default()
}

/// What goes below /lib/modules.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// Unpacked modules by file name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// berth.load.
    pub load: Vec<String>,
    /// berth.net.
    pub network: Vec<String>,
    /// berth.alias: pattern and file.
    pub aliases: Vec<(String, String)>,
    /// berth.dep.
    pub dependencies: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Texts of the three lists, by file name.
    pub fn lists(&self) -> [(&'static str, String); 4] {
        let line = |(pattern, file): &(String, String)| format!("{pattern} {file}\n");
        let dependency = |(file, before): (&String, &Vec<String>)| format!("{file}: {}\n", before.join(" "));
        [
            ("berth.load", self.load.iter().map(|file| format!("{file}\n")).collect()),
            ("berth.net", self.network.iter().map(|file| format!("{file}\n")).collect()),
            ("berth.alias", self.aliases.iter().map(line).collect()),
            ("berth.dep", self.dependencies.iter().map(dependency).collect()),
        ]
    }
}

/// Reads what berth needs and what `extra` names from a kernel's module folder (/lib/modules/RELEASE).
pub fn read_modules(folder: &Path, extra: &[String]) -> Result<Modules, ModulesError> {
    let mut reader =
        Reader { available: find(folder)?, builtin: read_builtin(folder)?, read: BTreeMap::new() };
    let mut load = Vec::new();
    for name in FIRST_WELCOME {
        reader.require(name, &mut load, Missing::Skip)?;
    }
    for name in NEEDED_MODULES.iter().copied().chain(extra.iter().map(String::as_str)) {
        reader.require(name, &mut load, Missing::Fail)?;
    }
    for name in WELCOME {
        reader.require(name, &mut load, Missing::Skip)?;
    }
    let mut always = load.clone();
    for name in NETWORK_MODULES {
        reader.require(name, &mut always, Missing::Fail)?;
    }
    let mut modules = Modules::default();
    for name in ON_DEMAND {
        let mut chain = always.clone();
        reader.require(name, &mut chain, Missing::Skip)?;
        let mut chain = chain.split_off(always.len());
        let Some(own) = chain.pop() else { continue };
        modules.aliases.extend(reader.aliases(&own).map(|pattern| (pattern, file_name(&own))));
        if !chain.is_empty() {
            modules.dependencies.insert(file_name(&own), chain.iter().map(|name| file_name(name)).collect());
        }
    }
    modules.network = always.split_off(load.len()).iter().map(|name| file_name(name)).collect();
    modules.load = load.iter().map(|name| file_name(name)).collect();
    modules.files = reader.read.into_iter().map(|(name, (bytes, _))| (file_name(&name), bytes)).collect();
    Ok(modules)
}

fn file_name(name: &str) -> String {
    format!("{name}.ko")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Fail,
    Skip,
}

struct Reader {
    /// Path by normalised name.
    available: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    /// Unpacked, by normalised name.
    read: BTreeMap<String, (Vec<u8>, ModInfo)>,
}

impl Reader {
    /// Appends a module to the list, behind all that it depends on, unless it is there or built in.
    fn require(&mut self, name: &str, list: &mut Vec<String>, missing: Missing) -> Result<(), ModulesError> {
        let normal = normal(name);
        if !self.available.contains_key(&normal) && !self.builtin.contains(&normal) {
            if missing == Missing::Skip {
                return Ok(());
            }
            let known = self.available.keys().chain(&self.builtin).map(String::as_str);
            let nearest = nearest(&normal, known).map(str::to_owned);
            return Err(ModulesError::Unknown { name: name.chars().take(80).collect(), nearest });
        }
        self.visit(&normal, list, &mut Vec::new())
    }

    /// Depth first; `path` are the modules that wait for this one.
    fn visit(
        &mut self,
        name: &str,
        list: &mut Vec<String>,
        path: &mut Vec<String>,
    ) -> Result<(), ModulesError> {
        if list.iter().any(|known| known == name) || self.builtin.contains(name) {
            return Ok(());
        }
        if path.iter().any(|waiting| waiting == name) {
            return Err(ModulesError::Cycle(name.to_owned()));
        }
        let Some(file) = self.available.get(name).cloned() else {
            return Err(ModulesError::Unknown { name: name.to_owned(), nearest: None });
        };
        let info = match self.read.get(name) {
            Some((_, info)) => info.clone(),
            None => self.read_module(name, &file)?,
        };
        path.push(name.to_owned());
        let wishes = info.wishes.iter().filter(|wish| self.available.contains_key(*wish)).cloned();
        for before in wishes.collect::<Vec<_>>().into_iter().chain(info.depends) {
            self.visit(&before, list, path)?;
        }
        path.pop();
        list.push(name.to_owned());
        Ok(())
    }

    fn read_module(&mut self, name: &str, path: &Path) -> Result<ModInfo, ModulesError> {
        let bytes = read_unpacked(path).map_err(|error| ModulesError::Read(path.to_owned(), error))?;
        let info = ModInfo::parse(&bytes).ok_or_else(|| ModulesError::NotAModule(path.to_owned()))?;
        self.read.insert(name.to_owned(), (bytes, info.clone()));
        Ok(info)
    }

    /// Patterns of devices (they have a bus and a colon), as a list of words can hold them.
    fn aliases(&self, name: &str) -> impl Iterator<Item = String> {
        let aliases = self.read.get(name).into_iter().flat_map(|(_, info)| info.aliases.iter());
        aliases.filter(|alias| alias.contains(':') && !alias.contains(char::is_whitespace)).cloned()
    }
}

/// A `.ko`, `.ko.xz` or `.ko.zst` file, unpacked.
fn read_unpacked(path: &Path) -> io::Result<Vec<u8>> {
    let file = io::BufReader::new(std::fs::File::open(path)?);
    let reader: Box<dyn Read> = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    reader.take(MAX_MODULE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_MODULE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// All modules below `kernel/`, and what out-of-tree builds put beside it.
fn find(folder: &Path) -> Result<BTreeMap<String, PathBuf>, ModulesError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let fault = |error| ModulesError::Read(folder.clone(), error);
        for entry in std::fs::read_dir(&folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            if entry.file_type().map_err(fault)?.is_dir() {
                folders.push(entry.path());
            } else if let Some(name) = module_name(&entry.file_name().to_string_lossy()) {
                found.insert(name, entry.path());
            }
        }
    }
    Ok(found)
}

/// `path/to/nf-nat.ko.xz` is `nf_nat`.
fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = [".ko", ".ko.xz", ".ko.zst"].iter().find_map(|end| file.strip_suffix(end))?;
    Some(normal(stem))
}

fn read_builtin(folder: &Path) -> Result<BTreeSet<String>, ModulesError> {
    let path = folder.join("modules.builtin");
    let text = std::fs::read_to_string(&path).map_err(|error| ModulesError::Read(path, error))?;
    Ok(text.lines().filter_map(module_name).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::modinfo::tests::elf;
    use super::*;

    /// A kernel folder in which everything needed is built in, but for the given modules.
    fn folder(name: &str, modules: &[(&str, &[&str])]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("berth-modules-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("kernel/net")).unwrap();
        let own = |name: &&&str| !modules.iter().any(|(module, _)| normal(module) == **name);
        let needed = NEEDED_MODULES.iter().chain(NETWORK_MODULES);
        let builtin: String = needed.filter(own).map(|name| format!("kernel/{name}.ko\n")).collect();
        fs::write(folder.join("modules.builtin"), builtin).unwrap();
        for (module, texts) in modules {
            fs::write(folder.join(format!("kernel/net/{module}.ko")), elf(texts)).unwrap();
        }
        folder
    }

    fn read(name: &str, modules: &[(&str, &[&str])], extra: &[&str]) -> Result<Modules, ModulesError> {
        let folder = folder(name, modules);
        let extra: Vec<String> = extra.iter().map(|name| (*name).to_owned()).collect();
        let result = read_modules(&folder, &extra);
        fs::remove_dir_all(folder).unwrap();
        result
    }

    #[test]
    fn dependencies_come_first() {
        let modules = read(
            "order",
            &[
                ("bridge", &["depends=stp,llc"]),
                ("stp", &["depends=llc", "softdep=pre: absent"]),
                ("llc", &["depends="]),
                ("virtio-rng", &["depends="]),
                ("unused", &["depends="]),
            ],
            &[],
        )
        .unwrap();
        assert_eq!(modules.load, ["virtio_rng.ko"]);
        assert_eq!(modules.network, ["llc.ko", "stp.ko", "bridge.ko"]);
        assert_eq!(modules.files.len(), 4);
    }

    #[test]
    fn devices_on_demand() {
        let modules = read(
            "demand",
            &[
                ("sd_mod", &["depends=scsi_mod,bridge", "alias=scsi:t-0x00*", "alias=block-major-8-*"]),
                ("scsi_mod", &["depends="]),
                ("bridge", &["depends="]),
            ],
            &[],
        )
        .unwrap();
        assert_eq!((modules.load.len(), modules.network.as_slice()), (0, &["bridge.ko".to_owned()][..]));
        let lists = modules.lists().map(|(_, text)| text);
        assert_eq!(lists, ["", "bridge.ko\n", "scsi:t-0x00* sd_mod.ko\n", "sd_mod.ko: scsi_mod.ko\n"]);
    }

    #[test]
    fn faults() {
        let wrong = read("unknown", &[("softdog", &["depends="])], &["softdgo"]).unwrap_err();
        assert_eq!(wrong.to_string(), "kernel module 'softdgo' does not exist: did you mean 'softdog'?");
        let cycle = read("cycle", &[("a", &["depends=b"]), ("b", &["depends=a"])], &["a"]);
        assert!(matches!(cycle, Err(ModulesError::Cycle(_))), "{cycle:?}");
        let folder = folder("damaged", &[]);
        fs::write(folder.join("kernel/softdog.ko"), "no module").unwrap();
        let damaged = read_modules(&folder, &["softdog".to_owned()]);
        fs::remove_dir_all(folder).unwrap();
        assert!(matches!(damaged, Err(ModulesError::NotAModule(_))), "{damaged:?}");
    }
}
