//! `[mounts.NAME]`, the directories that berth makes, and what the root's writable layer is.

use std::collections::BTreeMap;

use crate::codes::{
    BIND_IN_VOLUME, KEY_WITHOUT_EFFECT, MOUNT_OPTIONS, MOUNT_SOURCE, MOUNT_TARGET, MOUNT_TWICE, OWN_VOLUME,
    ROOT_NOWHERE, UPPER_UNUSED,
};
use crate::fault::{Fault, Place};
use crate::keys::MountDraft;
use crate::path::is_within;
use crate::resolve::Origin;
use crate::spec::{Manner, Mount, MountSource, Propagation, Unit, Upper};
use crate::volumes::{Own, RAM_VOLUMES_DIR, VOLUMES_DIR, contradicts_itself, is_reserved};

/// Size of a tmpfs mount, bytes.
const TMPFS_SIZE: u64 = 64 << 20;
/// Mode of its root.
const TMPFS_MODE: u32 = 0o1777;
/// The sources that a mount may have.
const SOURCES: [&str; 4] = ["volume", "bind", "tmpfs", "image"];
/// Keys that belong to some sources only.
const BELONGS: [(&str, &[&str]); 7] = [
    ("subpath", &["volume", "image"]),
    ("seed", &["volume"]),
    ("create", &["bind"]),
    ("recursive", &["bind"]),
    ("propagation", &["bind"]),
    ("size", &["tmpfs"]),
    ("mode", &["tmpfs"]),
];

/// The mounts of a file; one with a fault is left out.
pub(super) fn finish(
    drafts: &BTreeMap<String, MountDraft>,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Mount> {
    let mut mounts = BTreeMap::new();
    for (name, draft) in drafts {
        let entry = Entry { name, draft, origin };
        mounts.extend(entry.finish(faults).map(|mount| (name.clone(), mount)));
    }
    mounts
}

struct Entry<'a> {
    name: &'a str,
    draft: &'a MountDraft,
    origin: &'a Origin,
}

impl Entry<'_> {
    fn path(&self, key: &str) -> String {
        format!("mounts.{}.{key}", self.name)
    }

    fn has(&self, key: &str) -> bool {
        self.origin.spans.has(&self.path(key))
    }

    fn key(&self, key: &str) -> Place {
        self.origin.key(&self.path(key))
    }

    fn finish(&self, faults: &mut Vec<Fault>) -> Option<Mount> {
        let source = self.source(faults)?;
        self.check_company(&source, faults);
        self.check_bind(&source, faults);
        let is_read_only = matches!(source, MountSource::Bind { .. } | MountSource::Image { .. });
        let options = self.options(&source, faults);
        let draft = self.draft;
        let manner = Manner {
            no_atime: options.no_atime,
            no_symfollow: options.no_symfollow,
            alone: draft.alone,
            propagation: draft.propagation,
            ..Manner::default()
        };
        Some(Mount {
            source,
            target: draft.target.clone()?,
            read_only: draft.read_only.or(options.read_only).unwrap_or(is_read_only),
            exec: draft.exec.unwrap_or(false),
            manner,
        })
    }

    fn source(&self, faults: &mut Vec<Fault>) -> Option<MountSource> {
        let (name, draft) = (self.name, self.draft);
        let set: Vec<_> = SOURCES.into_iter().filter(|key| self.has(key)).collect();
        let subpath = || draft.subpath.clone();
        match (&draft.volume, &draft.bind, draft.tmpfs, &draft.image) {
            (Some(volume), None, false, None) => {
                let seed = !draft.unseeded && draft.subpath.is_none();
                Some(MountSource::Volume { volume: volume.clone(), subpath: subpath(), seed })
            }
            (None, Some(bind), false, None) => {
                Some(MountSource::Bind { path: bind.clone(), create: draft.create })
            }
            (None, None, true, None) => Some(MountSource::Tmpfs {
                size: draft.size.unwrap_or(TMPFS_SIZE),
                mode: draft.mode.unwrap_or(TMPFS_MODE),
            }),
            (None, None, false, Some(image)) => {
                Some(MountSource::Image { reference: image.clone(), subpath: subpath() })
            }
            // A source with a flaw of its own has been reported.
            (None, None, false, None) if set.iter().any(|key| *key != "tmpfs") => None,
            (None, None, false, None) => {
                let fault = Fault::error(MOUNT_SOURCE, self.key(""), format!("mount '{name}' has no source"));
                let help = "set one of `volume = \"NAME\"`, `bind = \"/path\"`, `tmpfs = true` and \
                            `image = \"REF\"`";
                faults.push(fault.help(help));
                None
            }
            _ => {
                let message = format!("mount '{name}' has more than one source: {}", set.join(", "));
                let place = self.key(set.last().copied().unwrap_or(""));
                faults.push(Fault::error(MOUNT_SOURCE, place, message).help("keep one of them"));
                None
            }
        }
    }

    /// Keys that do nothing for this source.
    fn check_company(&self, source: &MountSource, faults: &mut Vec<Fault>) {
        let name = self.name;
        let own = match source {
            MountSource::Volume { .. } => "volume",
            MountSource::Bind { .. } => "bind",
            MountSource::Tmpfs { .. } => "tmpfs",
            MountSource::Image { .. } => "image",
        };
        for (key, owners) in BELONGS.iter().filter(|(key, owners)| self.has(key) && !owners.contains(&own)) {
            let message = format!("'{key}' has no effect on mount '{name}'");
            let owners: Vec<_> = owners.iter().map(|owner| format!("`{owner}`")).collect();
            let help = format!("it belongs to mounts with {}", owners.join(" or "));
            faults.push(Fault::error(KEY_WITHOUT_EFFECT, self.key(key), message).help(help));
        }
        if self.draft.subpath.is_some() && self.has("seed") {
            let message = format!("'seed' has no effect on mount '{name}': only a whole volume is seeded");
            let fault = Fault::error(KEY_WITHOUT_EFFECT, self.key("seed"), message);
            faults.push(fault.help("take out `seed` or `subpath`"));
        }
        if self.draft.alone && self.draft.propagation != Propagation::Private {
            let message = format!("'propagation' has no effect on mount '{name}', which leaves mounts out");
            let fault = Fault::error(KEY_WITHOUT_EFFECT, self.key("propagation"), message);
            faults.push(fault.help("take out `propagation` or `recursive`"));
        }
    }

    fn check_bind(&self, source: &MountSource, faults: &mut Vec<Fault>) {
        let MountSource::Bind { path: bind, .. } = source else { return };
        let inside = |dir: &&str| bind != *dir && is_within(bind, dir);
        if [VOLUMES_DIR, RAM_VOLUMES_DIR].iter().any(inside) {
            let message = format!("mount '{}' binds '{bind}', which a unit can change", self.name);
            let help = "mount the volume by its name, with `subpath` for a part of it";
            let place = self.origin.value(&self.path("bind"));
            faults.push(Fault::error(BIND_IN_VOLUME, place, message).help(help));
        }
    }

    fn options(&self, source: &MountSource, faults: &mut Vec<Fault>) -> Options {
        // What is set is set for all that comes along, so that the recursive forms say nothing more.
        let is = |word: &str| {
            self.draft.options.iter().any(|one| one == word || one.strip_prefix('r') == Some(word))
        };
        let draft = self.draft;
        let is_image = matches!(source, MountSource::Image { .. });
        let contradictions = [
            (is("ro") && is("rw"), "\"ro\" and \"rw\""),
            (is("noatime") && is("relatime"), "\"noatime\" and \"relatime\""),
            (is("ro") && draft.read_only == Some(false), "\"ro\" and read_only = false"),
            (is("rw") && draft.read_only == Some(true), "\"rw\" and read_only = true"),
            (is("noexec") && draft.exec == Some(true), "\"noexec\" and exec = true"),
        ];
        for (_, what) in contradictions.into_iter().filter(|(found, _)| *found) {
            let message = format!("{what} contradict each other on mount '{}'", self.name);
            let place = self.origin.value(&self.path("options"));
            faults.push(Fault::error(MOUNT_OPTIONS, place, message).help("keep one of them"));
        }
        let key = if is("rw") { "options" } else { "read_only" };
        if is_image && (is("rw") || draft.read_only == Some(false)) {
            let message = format!("mount '{}' is an image, which nobody can write to", self.name);
            let place = self.origin.value(&self.path(key));
            faults.push(Fault::error(MOUNT_OPTIONS, place, message).help("use a volume with seed_image"));
        }
        let read_only = if is("ro") { Some(true) } else { is("rw").then_some(false) };
        Options { read_only, no_atime: is("noatime"), no_symfollow: is("nosymfollow") }
    }
}

struct Options {
    read_only: Option<bool>,
    no_atime: bool,
    no_symfollow: bool,
}

/// Every mount has a place of its own, where one can be.
pub(super) fn check_targets(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    let mounts = unit.mounts.iter().map(|(name, mount)| (format!("mounts.{name}.target"), &mount.target));
    let own = Own::ALL.into_iter().filter_map(|own| Some((own.key().to_owned(), own.target(unit)?)));
    for (key, target) in mounts.chain(own) {
        let place = origin.value(&key);
        if is_reserved(unit, target) {
            let message = format!("nothing can be mounted on '{target}'");
            let fault = Fault::error(MOUNT_TARGET, place.clone(), message);
            faults.push(fault.help("the runtime makes it for every container"));
        }
        if let Some(first) = seen.insert(target, key.clone()) {
            let shown =
                |key: &str| match key.strip_prefix("mounts.").and_then(|key| key.strip_suffix(".target")) {
                    Some(name) => format!("mount '{name}'"),
                    None => format!("'{key}'"),
                };
            let message = format!("{} and {} have the same target '{target}'", shown(&first), shown(&key));
            let other = origin.value(&first);
            faults.push(Fault::error(MOUNT_TWICE, place, message).related(other, "the other one"));
        }
    }
}

/// The volumes that berth makes for the unit can be made.
pub(super) fn check_directories(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let used = Own::ALL.into_iter().filter(|own| own.is_used(unit));
    for own in used.filter(|own| own.name(&unit.name).is_none()) {
        let message = format!("the name '{}' is too long for a volume of its own", unit.name);
        let fault = Fault::error(OWN_VOLUME, origin.key(own.key()), message);
        faults.push(fault.help("give the unit a name of at most 55 characters"));
    }
    let directories = &unit.directories;
    if directories.quota.is_some() && directories.state.is_none() && directories.cache.is_none() {
        let message = "'quota' has no effect: the unit has neither state_dir nor cache_dir";
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.key("quota"), message);
        faults.push(fault.help("the size of a volume stands in its own file, that of a root is rootfs.size"));
    }
}

/// What a writable layer is, and whether there is one.
pub(super) fn check_rootfs(unit: &mut Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    if contradicts_itself(unit) {
        let message = "the root is writable, and there is nothing to write to";
        let fault = Fault::error(ROOT_NOWHERE, origin.value("rootfs.upper"), message);
        faults.push(fault.help("take out rootfs.read_only = false, or use upper = \"tmpfs\" or \"disk\""));
        return;
    }
    let idle = |key: &str, why: &str| {
        Fault::warning(UPPER_UNUSED, origin.key(key), format!("'{key}' has no effect: {why}"))
    };
    if unit.rootfs.read_only {
        let chosen = unit.rootfs.upper != Upper::None;
        let keys = [("rootfs.upper", chosen), ("rootfs.size", true), ("rootfs.persist", unit.rootfs.persist)];
        for (key, _) in keys.into_iter().filter(|(key, counts)| *counts && origin.spans.has(key)) {
            let fault = idle(key, "the root is read-only");
            faults.push(fault.help("set rootfs.read_only = false for a writable root"));
        }
    } else if unit.rootfs.persist && unit.rootfs.upper != Upper::Disk {
        let message = "'rootfs.persist' has no effect: what is written stays in RAM";
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.key("rootfs.persist"), message);
        faults.push(fault.help("set rootfs.upper = \"disk\""));
    }
}
