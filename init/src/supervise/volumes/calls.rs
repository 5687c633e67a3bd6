//! What is asked about volumes, and what becomes of those that are no longer wanted.

use std::fs::File;
use std::os::fd::OwnedFd;

use berth_runtime::project::{Usage, usage};
use berth_units::Name;
use berth_units::nearest::nearest;
use berth_units::spec::{Volume, VolumeSource};
use berth_units::volumes::{Kept, staging_name, users};
use berth_units::wire::control::{Fault, VolumeStatus, Volumes};

use super::super::control::failed;
use super::super::{Supervisor, program};
use super::{Error, all, check_import, has_rubbish, make, path_of, put_away, ram};
use crate::kmsg::Chain;
use crate::session::Request;
use crate::{error, notice};

impl Supervisor {
    /// Every volume, declared or kept.
    pub(in super::super) fn volumes(&self) -> Volumes {
        let mut kept = all();
        let on_disk: Vec<_> = kept.keys().cloned().collect();
        for name in self.set.declared.volumes.keys() {
            kept.entry(name.clone()).or_default();
        }
        let exists = |name: &Name| on_disk.binary_search(name).is_ok();
        let status = |(name, kept): (&Name, &Kept)| self.volume_status(name, kept, exists(name));
        Volumes { volumes: kept.iter().map(status).collect() }
    }

    fn volume_status(&self, name: &Name, kept: &Kept, exists: bool) -> VolumeStatus {
        let declared = self.set.declared.volumes.get(name);
        let counted = if ram::is_there(name) {
            ram::count(name).map(|(limit, used, files)| Usage { used, files, limit: Some(limit) })
        } else {
            let directory = File::open(path_of(name)).ok().filter(|_| kept.project > 0);
            directory.and_then(|directory| usage(&directory, kept.project).ok())
        };
        VolumeStatus {
            name: name.clone(),
            declared: declared.is_some(),
            exists,
            size: declared.and_then(|volume| volume.size),
            limit: counted.and_then(|usage| usage.limit),
            used: counted.map(|usage| usage.used),
            files: counted.map(|usage| usage.files),
            used_by: self.users_of(name),
            retain: declared.map_or(kept.retain, |volume| volume.retain),
            labels: declared.map(|volume| volume.labels.clone()).unwrap_or_default(),
        }
    }

    fn users_of(&self, volume: &Name) -> Vec<Name> {
        users(&self.set.declared, &self.observed, volume).cloned().collect()
    }

    /// Refuses when somebody has the volume mounted.
    fn check_unused(&self, volume: &Name) -> Result<(), Fault> {
        let users: Vec<_> = self.users_of(volume).iter().map(ToString::to_string).collect();
        if users.is_empty() {
            return Ok(());
        }
        Err(Fault::Failed { why: format!("volume '{volume}' is mounted by {}", users.join(", ")) })
    }

    fn check_exists(&self, volume: &Name) -> Result<(), Fault> {
        let all = all();
        if all.contains_key(volume) {
            return Ok(());
        }
        let near = nearest(volume.as_str(), all.keys().map(Name::as_str));
        let hint = near.map(|near| format!(": did you mean '{near}'?")).unwrap_or_default();
        Err(Fault::Failed { why: format!("there is no volume '{volume}' on the disk{hint}") })
    }

    pub(in super::super) fn ask_remove_volume(&mut self, volume: &Name, force: bool) -> Result<(), Fault> {
        self.check_exists(volume)?;
        self.check_unused(volume)?;
        if self.set.declared.volumes.contains_key(volume) && !force {
            let why = format!("volume '{volume}' is declared: with force it is emptied");
            return Err(Fault::Failed { why });
        }
        check_import(volume).map_err(|error| failed(&error))?;
        notice!("asked to delete volume '{volume}'");
        self.try_discard(volume)
    }

    pub(in super::super) fn ask_export(&self, volume: Name) -> Result<Request, Fault> {
        self.check_exists(&volume)?;
        let ram = ram::is_there(&volume);
        Ok(Request::Export { volume, ram })
    }

    /// Makes the directory that an import fills, locked: the lock goes to the process that fills it, and ends with it.
    pub(in super::super) fn ask_import(&self, volume: Name) -> Result<(Request, OwnedFd), Fault> {
        self.check_unused(&volume)?;
        let declared = self.set.declared.volumes.get(&volume).cloned();
        if ram::is_there(&volume) || declared.as_ref().is_some_and(|one| one.source == VolumeSource::Tmpfs) {
            return Err(failed(&Error::InRam(volume)));
        }
        check_import(&volume).map_err(|error| failed(&error))?;
        let path = path_of(&volume).with_file_name(staging_name(&volume));
        make(&path, &volume, &declared.unwrap_or_else(Volume::default)).map_err(|error| failed(&error))?;
        let directory = File::open(path).map_err(|error| failed(&error))?;
        directory.try_lock().map_err(|error| failed(&error))?;
        Ok((Request::Import { volume }, directory.into()))
    }

    /// Deletes a volume that nobody declares any more.
    pub(in super::super) fn discard(&mut self, volume: &Name) {
        notice!("deleting volume '{volume}': it is no longer declared");
        if let Err(fault) = self.try_discard(volume) {
            error!("{fault}");
        }
        // Also when it could not be done: it is tried again with the next set.
        self.observed.volumes.remove(volume);
    }

    fn try_discard(&mut self, volume: &Name) -> Result<(), Fault> {
        let gone =
            if ram::is_there(volume) { ram::remove(volume) } else { put_away(volume, &path_of(volume)) };
        gone.map_err(|error| failed(&error))?;
        self.observed.volumes.remove(volume);
        remove_rubbish();
        Ok(())
    }
}

/// Starts the process that removes what is left of volumes, which may take long. Nobody waits for its end.
pub fn remove_rubbish() {
    if !has_rubbish() {
        return;
    }
    let words = ["/bin/berth-session", "--discard"];
    if let Err(error) = program::start(&words, &[], None, program::ORDINARY) {
        error!("cannot remove what is left of volumes: {}; it is tried again", Chain(&error));
    }
}
