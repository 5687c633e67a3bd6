//! Volumes of a unit's own: what berth makes for it without a file that declares them.
//!
//! Their names are those of no file and of no mount: `web@state` belongs to the unit `web` alone.

use std::collections::BTreeMap;

use crate::Name;
use crate::notify::SOCKET;
use crate::path::{is_within, parse_absolute};
use crate::spec::{
    Image, ImageVolumes, Manner, Mount, MountSource, Retain, Unit, Upper, Volume, VolumeSource,
};
use crate::wire::image::ImageConfig;

/// Size of `runtime_dir`, bytes.
const RUNTIME_SIZE: u64 = 64 << 20;
/// An image has at most so many VOLUMEs.
const IMAGE_VOLUMES_MAX: usize = 64;
/// The longest name of a file, bytes.
const FILE_NAME_MAX: usize = 255;

/// What a unit has a volume of its own for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// `state_dir`.
    State,
    /// `cache_dir`.
    Cache,
    /// `runtime_dir`.
    Runtime,
    /// `rootfs.upper = "disk"`.
    Root,
    /// `image.volumes = "volume"`.
    Image,
}

impl Own {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::State, Self::Cache, Self::Runtime, Self::Root, Self::Image];

    fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Cache => "cache",
            Self::Runtime => "runtime",
            Self::Root => "root",
            Self::Image => "image",
        }
    }

    /// The key that asks for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::State => "state_dir",
            Self::Cache => "cache_dir",
            Self::Runtime => "runtime_dir",
            Self::Root => "rootfs.upper",
            Self::Image => "image.volumes",
        }
    }

    /// Where it is mounted, of those that are mounted whole.
    pub fn target(self, unit: &Unit) -> Option<&String> {
        match self {
            Self::State => unit.directories.state.as_ref(),
            Self::Cache => unit.directories.cache.as_ref(),
            Self::Runtime => unit.directories.runtime.as_ref(),
            Self::Root | Self::Image => None,
        }
    }

    /// Whether the unit has it.
    pub fn is_used(self, unit: &Unit) -> bool {
        match self {
            Self::Root => unit.rootfs.is_on_disk(),
            Self::Image => {
                unit.image.as_ref().map(|Image { volumes, .. }| *volumes) == Some(ImageVolumes::Volume)
            }
            Self::State | Self::Cache | Self::Runtime => self.target(unit).is_some(),
        }
    }

    /// The volume's name; none where it would be too long.
    pub fn name(self, unit: &Name) -> Option<Name> {
        Name::parse(&format!("{}@{}", unit.label(), self.word())).ok()
    }

    fn volume(self, unit: &Unit) -> Volume {
        let quota = unit.directories.quota;
        let (size, retain) = match self {
            Self::State => (quota, Retain::Keep),
            Self::Cache => (quota, Retain::Delete),
            Self::Runtime => (Some(RUNTIME_SIZE), Retain::Delete),
            Self::Root => (unit.rootfs.size, Retain::Delete),
            Self::Image => (None, Retain::Keep),
        };
        let source = if self == Self::Runtime { VolumeSource::Tmpfs } else { VolumeSource::Dir };
        Volume { size, retain, source, ..Volume::default() }
    }
}

/// The volumes that a unit has beside those of its mounts.
pub fn own_volumes(unit: &Unit) -> BTreeMap<Name, Volume> {
    let used = Own::ALL.into_iter().filter(|own| own.is_used(unit));
    used.filter_map(|own| Some((own.name(&unit.name)?, own.volume(unit)))).collect()
}

/// Mounts of the directories that berth makes for a unit.
pub fn own_mounts(unit: &Unit) -> Vec<Mount> {
    let mount = |own: Own| {
        let source = MountSource::Volume { volume: own.name(&unit.name)?, subpath: None, seed: false };
        let manner = Manner { own: true, ..Manner::default() };
        Some(Mount { source, target: own.target(unit)?.clone(), read_only: false, exec: false, manner })
    };
    Own::ALL.into_iter().filter_map(mount).collect()
}

/// Where they are, for the unit: the names are those of systemd.exec(5).
pub fn own_environment(unit: &Unit) -> Vec<(&'static str, String)> {
    let named = [
        (Own::State, "STATE_DIRECTORY"),
        (Own::Cache, "CACHE_DIRECTORY"),
        (Own::Runtime, "RUNTIME_DIRECTORY"),
    ];
    named.into_iter().filter_map(|(own, name)| Some((name, own.target(unit)?.clone()))).collect()
}

/// Whether a unit cannot mount anything there: the runtime makes it for every container.
pub(crate) fn is_reserved(unit: &Unit, target: &str) -> bool {
    matches!(target, "/" | "/dev")
        || ["/proc", "/sys"].iter().any(|tree| is_within(target, tree))
        || unit.notifies() && is_within(target, SOCKET)
}

/// Why an image's VOLUMEs cannot be mounted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageVolumeError {
    /// One of them.
    #[error("its image wants '{}' to be a volume: {why}; set image.volumes = \"ignore\"", path.escape_debug())]
    Path {
        /// As the image writes it.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// All of them.
    #[error("its image wants {0} volumes, and at most 64 are made; set image.volumes = \"ignore\"")]
    TooMany(usize),
}

/// Paths of the image's VOLUMEs that get a mount. What lies in a mount of the unit is the unit's business.
pub fn image_volumes(unit: &Unit, config: &ImageConfig) -> Result<Vec<String>, ImageVolumeError> {
    if config.volumes.len() > IMAGE_VOLUMES_MAX {
        return Err(ImageVolumeError::TooMany(config.volumes.len()));
    }
    let tmpfs = unit.rootfs.tmpfs.iter().filter(|_| unit.rootfs.read_only);
    let own = Own::ALL.into_iter().filter_map(|own| own.target(unit));
    let mounts: Vec<_> = unit.mounts.values().map(|mount| &mount.target).chain(tmpfs).chain(own).collect();
    let mut paths: Vec<String> = Vec::new();
    for path in &config.volumes {
        let fault = |why| ImageVolumeError::Path { path: path.chars().take(200).collect(), why };
        let parsed = parse_absolute(path).map_err(fault)?;
        if is_reserved(unit, &parsed) || is_within(&parsed, "/dev") {
            return Err(fault("nothing can be mounted there"));
        }
        if part_name(&parsed).is_none() {
            return Err(fault("it is too long"));
        }
        if !paths.contains(&parsed) && !mounts.iter().any(|mount| is_within(&parsed, mount)) {
            paths.push(parsed);
        }
    }
    Ok(paths)
}

/// The directory in the unit's volume that is mounted at a VOLUME of its image: no two paths have the same.
pub fn part_name(path: &str) -> Option<String> {
    let name = path.trim_start_matches('/').replace('%', "%25").replace('/', "%2F");
    (1..=FILE_NAME_MAX - ".new".len() - 1).contains(&name.len()).then_some(name)
}

/// Whether a unit's root is one that nothing is written to.
pub(crate) fn contradicts_itself(unit: &Unit) -> bool {
    !unit.rootfs.read_only && unit.rootfs.upper == Upper::None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    fn unit() -> Unit {
        let mut unit = Unit::new(Name::parse("web@a").unwrap(), Reference::parse("web").unwrap());
        unit.directories.state = Some("/var/lib/web".to_owned());
        unit.directories.runtime = Some("/run/web".to_owned());
        unit.directories.quota = Some(1 << 20);
        unit
    }

    #[test]
    fn a_unit_has_the_volumes_that_its_keys_ask_for() {
        let mut unit = unit();
        unit.rootfs.read_only = false;
        unit.rootfs.upper = Upper::Disk;
        unit.rootfs.size = Some(5 << 20);
        let all = own_volumes(&unit);
        let shown: Vec<_> =
            all.iter().map(|(name, one)| (name.as_str(), one.size.unwrap_or(0) >> 20, one.retain)).collect();
        assert_eq!(
            shown,
            [
                ("web-a@root", 5, Retain::Delete),
                ("web-a@runtime", 64, Retain::Delete),
                ("web-a@state", 1, Retain::Keep)
            ]
        );
        // With a read-only root there is nothing to keep of it.
        unit.rootfs.read_only = true;
        assert_eq!(own_volumes(&unit).len(), 2);
        assert_eq!(own_mounts(&unit).len(), 2);
        let named = own_environment(&unit);
        assert_eq!(
            named,
            [("STATE_DIRECTORY", "/var/lib/web".to_owned()), ("RUNTIME_DIRECTORY", "/run/web".to_owned())]
        );
        assert_eq!(Own::Runtime.name(&Name::parse(&"x".repeat(56)).unwrap()), None);
    }

    #[test]
    fn volumes_of_an_image_are_mounted_where_the_unit_mounts_nothing() {
        let of = |paths: &[&str]| {
            let volumes = paths.iter().map(|path| (*path).to_owned()).collect();
            image_volumes(&unit(), &ImageConfig { volumes, ..ImageConfig::default() })
        };
        let all = of(&["/srv//data/", "/srv/data", "/tmp/x", "/var/lib/web/sub", "/var/lib/webs"]);
        assert_eq!(all.unwrap(), ["/srv/data", "/var/lib/webs"]);
        let long = format!("/{}", "x".repeat(300));
        for bad in ["/", "/proc/1", "/dev/shm", "data", "/a/../b", "/a\0", long.as_str()] {
            assert!(matches!(of(&[bad]), Err(ImageVolumeError::Path { .. })), "{bad:?}");
        }
        let many: Vec<_> = (0..65).map(|n| format!("/{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&many), Err(ImageVolumeError::TooMany(65)));
    }

    #[test]
    fn parts_of_a_volume_have_names_of_their_own() {
        assert_eq!(part_name("/a/b").unwrap(), "a%2Fb");
        assert_eq!(part_name("/a%2Fb").unwrap(), "a%252Fb");
        assert_eq!(part_name("/"), None);
    }
}
