//! What a unit's files are on this node: where its root is written, its mounts, and volumes that are used for the
//! first time.

use std::fs;
use std::path::{Path, PathBuf};

use berth_runtime::spec::{Mount, MountSource, Seed, SeedFrom, Writable};
use berth_units::Name;
use berth_units::spec::{self, ImageVolumes, Manner, Unit, Upper};
use berth_units::volumes::{Own, image_volumes, own_mounts};

use super::container::{Base, Context, Error, layers, stored};
use super::volumes;

/// Size of the tmpfs on a path of `rootfs.tmpfs`, bytes.
const TMPFS_SIZE: u64 = 64 << 20;

/// All of it.
pub struct Mounts {
    /// Where writes to the root go.
    pub writable: Writable,
    /// Declared ones, and those that follow from other keys.
    pub mounts: Vec<Mount>,
    /// Volumes that are used for the first time.
    pub seeds: Vec<Seed>,
}

/// Makes what is missing of it.
pub fn mounts(context: &Context<'_>, unit: &Unit, base: &Base) -> Result<Mounts, Error> {
    let mut making = Making { context, unit, mounts: Vec::new(), seeds: Vec::new() };
    if unit.rootfs.read_only {
        making.small_tmpfs();
    }
    for mount in unit.mounts.values().chain(&own_mounts(unit)) {
        making.mount(mount)?;
    }
    making.image_volumes(base)?;
    let writable = making.writable(base)?;
    let Making { mut mounts, mut seeds, .. } = making;
    // One that lies in another comes after it, else it would be hidden.
    mounts.sort_by(|a, b| Path::new(&a.target).cmp(Path::new(&b.target)));
    // Where a unit mounts one volume twice, the mount that copies counts.
    seeds.sort_by_key(|seed| seed.from == SeedFrom::Nothing);
    Ok(Mounts { writable, mounts, seeds })
}

struct Making<'a> {
    context: &'a Context<'a>,
    unit: &'a Unit,
    mounts: Vec<Mount>,
    seeds: Vec<Seed>,
}

impl Making<'_> {
    /// On `rootfs.tmpfs`, where nothing else is mounted.
    fn small_tmpfs(&mut self) {
        let own = own_mounts(self.unit);
        for path in &self.unit.rootfs.tmpfs {
            if !self.unit.mounts.values().chain(&own).any(|mount| mount.target == *path) {
                self.tmpfs(path.clone(), TMPFS_SIZE, 0o1777, false);
            }
        }
    }

    fn tmpfs(&mut self, target: String, size: u64, mode: u32, filled: bool) {
        let manner = Manner { filled, ..Manner::default() };
        let source = MountSource::Tmpfs { size, mode };
        self.mounts.push(Mount { source, target, read_only: false, exec: false, manner });
    }

    fn mount(&mut self, mount: &spec::Mount) -> Result<(), Error> {
        let source = match &mount.source {
            spec::MountSource::Volume { volume, subpath, seed } => {
                let path = self.volume(volume, seed.then_some(&mount.target))?;
                MountSource::Bind { path, subpath: subpath.clone() }
            }
            spec::MountSource::Bind { path, create } => MountSource::Bind {
                path: if *create { ensure_dir(path.into())? } else { path.into() },
                subpath: None,
            },
            spec::MountSource::Tmpfs { size, mode } => MountSource::Tmpfs { size: *size, mode: *mode },
            spec::MountSource::Image { reference, subpath } => MountSource::Image {
                layers: layers(stored(self.context.images, reference)?),
                subpath: subpath.clone(),
            },
        };
        let spec::Mount { target, read_only, exec, manner, .. } = mount.clone();
        self.mounts.push(Mount { source, target, read_only, exec, manner });
        Ok(())
    }

    /// Its directory; at its first use it is filled from its own image, else from what this unit's has at `target`.
    fn volume(&mut self, name: &Name, target: Option<&String>) -> Result<PathBuf, Error> {
        let volume = self.context.declared.volumes.get(name).cloned().unwrap_or_default();
        let path = volumes::ensure(name, &volume)?;
        if volumes::is_unseeded(name, &path)? {
            let from = match (&volume.seed_image, target) {
                (Some(image), _) => SeedFrom::Image(layers(stored(self.context.images, image)?)),
                (None, Some(target)) => SeedFrom::Root(target.clone()),
                (None, None) => SeedFrom::Nothing,
            };
            self.seeds.push(Seed { volume: path.clone(), from, own: volume.implicit });
        }
        Ok(path)
    }

    /// The directory of a volume that is not mounted itself: what is in it is ours, and nothing fills it as a whole.
    fn frame(&self, name: &Name) -> Result<PathBuf, Error> {
        let volume = self.context.declared.volumes.get(name).cloned().unwrap_or_default();
        Ok(volumes::ensure(name, &volume)?)
    }

    /// What the image itself wants to be volumes.
    fn image_volumes(&mut self, base: &Base) -> Result<(), Error> {
        let Some(image) = self.unit.image.as_ref().filter(|image| image.volumes != ImageVolumes::Ignore)
        else {
            return Ok(());
        };
        for path in image_volumes(self.unit, &base.config)? {
            if image.volumes == ImageVolumes::Tmpfs {
                self.tmpfs(path, self.unit.rootfs.ram(), 0o755, true);
                continue;
            }
            let Some(name) = Own::Image.name(&self.unit.name) else { continue };
            let volume = self.frame(&name)?;
            let part = volumes::ensure_part(&name, &volume, &path)?;
            if volumes::is_unseeded(&name, &part)? {
                let from = SeedFrom::Root(path.clone());
                self.seeds.push(Seed { volume: part.clone(), from, own: true });
            }
            let source = MountSource::Bind { path: part, subpath: None };
            let manner = Manner::default();
            self.mounts.push(Mount { source, target: path, read_only: false, exec: false, manner });
        }
        Ok(())
    }

    fn writable(&mut self, base: &Base) -> Result<Writable, Error> {
        let root = &self.unit.rootfs;
        Ok(match root.upper {
            Upper::None => Writable::No,
            Upper::Tmpfs | Upper::Disk if root.read_only => Writable::No,
            Upper::Tmpfs => Writable::Tmpfs { size: root.ram() },
            Upper::Disk => {
                let keep = root.persist.then(|| base.digest.clone());
                match Own::Root.name(&self.unit.name) {
                    Some(name) => Writable::Disk { dir: self.frame(&name)?, keep },
                    // Refused when the file was read.
                    None => Writable::No,
                }
            }
        })
    }
}

fn ensure_dir(path: PathBuf) -> Result<PathBuf, Error> {
    let fault = |source| Error::Path { doing: "make directory", path: path.display().to_string(), source };
    fs::create_dir_all(&path).map_err(fault)?;
    Ok(path)
}
