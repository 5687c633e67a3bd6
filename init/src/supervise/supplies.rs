//! What units are given: secrets that were set by hand, and files of the node. This room reads and keeps them; what
//! becomes of them is decided in `berth_units::supplies`.
//!
//! Secrets lie in files of a directory that only root may enter, in RAM: they end with the node. A value is read
//! when a unit starts. Whether there is another one is seen by what stat(2) says of its file, so no copy of a value
//! and no hash of one is kept anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use berth_runtime::resupply;
use berth_runtime::spec::Supply;
use berth_units::launch::{Launch, launch_with};
use berth_units::plan::hash;
use berth_units::spec::{SecretSource, Unit};
use berth_units::supplies::{
    FILE_MAX, Given, Laid, Source, check_given, files, inputs, outside, versions, with_what_is_there,
};
use berth_units::wire::control::{Fault, SECRET_MAX, SecretStatus};
use berth_units::wire::image::ImageConfig;
use berth_units::{Name, Private};
use rustix::fs::OFlags;
use serde_json::{Value, json};

use super::container::{self, Error};
use super::link::fd_name;
use super::{Supervisor, network};
use crate::kmsg::Chain;
use crate::{notice, warning};

/// Secrets that were set, one file each.
const SECRETS_DIR: &str = "/run/berth/secrets";
/// A value on its way into its place; no unit can have this name.
const NEW: &str = ".new";
/// Secrets that can be set.
const SECRETS_MAX: usize = 1024;

/// A version of everything that somebody is given and that is there.
pub(super) fn look(sources: BTreeSet<Source>) -> BTreeMap<Source, u64> {
    let seen = |source: Source| version(&source).map(|version| (source, version));
    sources.into_iter().filter_map(seen).collect()
}

impl Supervisor {
    /// What of the node a unit is given, as it is now.
    fn given(&self, unit: &Unit) -> Result<Given, Error> {
        let mut values = BTreeMap::new();
        for input in inputs(&self.set.declared, unit) {
            let Some(source) = input.source() else { continue };
            match read(&path(source)) {
                Ok(value) if value.bytes().is_empty() && !source.may_be_empty() => {}
                Ok(value) => drop(values.insert(source.clone(), value)),
                // Whether it can be done without is decided where it is used.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::Supply(input.to_string(), error)),
            }
        }
        let image = unit.reference().and_then(|reference| self.images.images.get(reference));
        Ok(Given {
            values,
            ip: network::addresses(unit, &self.leases).first().copied(),
            node: self.set.declared.node.hostname.to_string(),
            variables: variables(&fs::read("/proc/1/environ").unwrap_or_default()),
            image_digest: image.map(|image| image.digest.clone()),
        })
    }

    /// What a unit runs, with all of its variables that are still there: for programs that are run beside it.
    pub(super) fn launch(&self, unit: &Unit, config: &ImageConfig) -> Result<Launch, Error> {
        let given = self.given(unit)?;
        Ok(launch_with(unit, config, &outside(&self.set.declared, unit, &given)?)?)
    }

    /// The same, with the files that it is given.
    pub(super) fn supply(&self, unit: &Unit, config: &ImageConfig) -> Result<(Launch, Vec<Supply>), Error> {
        let given = self.given(unit)?;
        check_given(&self.set.declared, unit, &given)?;
        self.lay(unit, config, &given)
    }

    /// The same, of what is there.
    pub(super) fn supply_what_is_there(
        &self,
        unit: &Unit,
        config: &ImageConfig,
    ) -> Result<(Launch, Vec<Supply>), Error> {
        let given = self.given(unit)?;
        let unit = with_what_is_there(&self.set.declared, unit, &given);
        self.lay(&unit, config, &given)
    }

    fn lay(&self, unit: &Unit, config: &ImageConfig, given: &Given) -> Result<(Launch, Vec<Supply>), Error> {
        let declared = &self.set.declared;
        let launch = launch_with(unit, config, &outside(declared, unit, given)?)?;
        let files = files(declared, unit, &launch.env, given)?;
        Ok((launch, files.into_iter().map(supply).collect()))
    }

    /// Gives a unit that runs what it was given anew, and has it reload. One that cannot be given it is restarted.
    ///
    /// What it has now is noted last: a supervisor that dies before does all of this again, which harms nobody.
    pub(super) fn resupply(&mut self, name: &Name, what: &str) {
        if let Err(error) = self.try_resupply(name) {
            warning!("cannot write {what} of '{name}' anew: {}", Chain(&error));
            return self.renew(name, what);
        }
        notice!("{what} of '{name}' has changed; reloading it");
        if let Err(fault) = self.reload(name) {
            warning!("{name}: {fault}");
        }
        let unit = self.set.declared.units.get(name);
        let now = unit.map(|unit| versions(&self.set.declared, unit, &self.observed.facts));
        let run = self.observed.units.get_mut(name).and_then(|seen| seen.record.run.as_mut());
        if let Some((run, now)) = run.zip(now) {
            (run.supplies, run.renew_at) = (now, None);
        }
        self.save(name);
    }

    fn try_resupply(&self, name: &Name) -> Result<(), Error> {
        let system = |error| Error::System("write its files", error);
        let absent = || system(io::ErrorKind::NotFound.into());
        let unit = self.set.declared.units.get(name).ok_or_else(absent)?;
        let scratch = self.link.kept(&fd_name("supplies", name)).ok_or_else(absent)?;
        let base = container::base(&self.images.images, unit)?;
        let (_, supplies) = self.supply(unit, &base.config)?;
        resupply(scratch, &supplies).map_err(system)
    }

    /// Takes a secret's value; units that wait for it start, others follow it as they say.
    pub(super) fn ask_set_secret(&self, name: &Name, value: &Private) -> Result<Value, Fault> {
        if value.bytes().len() > SECRET_MAX {
            return Err(Fault::Failed { why: format!("a secret has at most {SECRET_MAX} bytes") });
        }
        if value.bytes().is_empty() {
            let why = format!("a secret has at least one byte; 'berth secret rm {name}' takes it away");
            return Err(Fault::Failed { why });
        }
        self.check_is_settable(name)?;
        let dir = Path::new(SECRETS_DIR);
        if fs::read_dir(dir).map_or(0, Iterator::count) >= SECRETS_MAX {
            return Err(Fault::Failed { why: format!("at most {SECRETS_MAX} secrets can be set") });
        }
        keep(dir, name, value).map_err(|error| Fault::Failed { why: format!("cannot keep it: {error}") })?;
        notice!("secret '{name}' was set");
        Ok(json!({}))
    }

    /// What the set takes from elsewhere is not set by hand.
    fn check_is_settable(&self, name: &Name) -> Result<(), Fault> {
        match self.set.declared.secrets.get(name).map(|secret| &secret.source) {
            Some(SecretSource::File(path)) => {
                Err(Fault::Failed { why: format!("secret '{name}' is taken from '{path}'") })
            }
            Some(SecretSource::Node) | None => Ok(()),
        }
    }

    /// Forgets a secret's value; what runs with it goes on.
    pub(super) fn ask_remove_secret(&self, name: &Name) -> Result<Value, Fault> {
        match fs::remove_file(Path::new(SECRETS_DIR).join(name.as_str())) {
            Ok(()) => notice!("secret '{name}' was removed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Fault::Failed { why: format!("secret '{name}' is not set") });
            }
            Err(error) => return Err(Fault::Failed { why: format!("cannot remove it: {error}") }),
        }
        Ok(json!({}))
    }

    /// All secrets that are declared or set, without their values.
    pub(super) fn secrets(&self) -> Vec<SecretStatus> {
        let declared = &self.set.declared;
        let mut all: BTreeMap<Name, Option<&SecretSource>> =
            declared.secrets.iter().map(|(name, secret)| (name.clone(), Some(&secret.source))).collect();
        for name in set_by_hand(Path::new(SECRETS_DIR)) {
            all.entry(name).or_default();
        }
        let status = |(name, source): (Name, Option<&SecretSource>)| {
            let (word, place) = match source {
                Some(SecretSource::File(file)) => ("file", Source::SecretFile(file.clone())),
                Some(SecretSource::Node) => ("node", Source::Node(name.clone())),
                None => ("undeclared", Source::Node(name.clone())),
            };
            let has_it = |unit: &&Unit| unit.supplies.secrets.values().any(|used| used.source == name);
            let units = declared.units.values().filter(has_it).map(|unit| unit.name.clone()).collect();
            SecretStatus { source: word.to_owned(), present: version(&place).is_some(), units, name }
        };
        all.into_iter().map(status).collect()
    }
}

/// Variables of PID 1: what the kernel made of words NAME=VALUE of its command line that it does not know
/// (admin-guide/kernel-parameters.rst), and no path of the node's programs.
fn variables(environ: &[u8]) -> BTreeMap<String, String> {
    let lines = environ.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn supply(Laid { place, contents }: Laid) -> Supply {
    let contents = contents.bytes().to_vec();
    Supply { target: place.target, contents, mode: place.mode, uid: place.uid, gid: place.gid }
}

fn path(source: &Source) -> PathBuf {
    match source {
        Source::Node(name) => Path::new(SECRETS_DIR).join(name.as_str()),
        Source::File(path) | Source::SecretFile(path) => path.into(),
    }
}

/// Tells what a file is now from what it was: every write changes its times, every replacement its number.
fn version(source: &Source) -> Option<u64> {
    let seen = fs::metadata(path(source)).ok().filter(Metadata::is_file)?;
    if seen.len() == 0 && !source.may_be_empty() {
        return None;
    }
    let times = (seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec());
    Some(hash(&format!("{:?}", (seen.dev(), seen.ino(), seen.len(), times))))
}

/// The whole of a file; never waits for one that is a pipe.
fn read(path: &Path) -> io::Result<Private> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(i32::try_from(flags).unwrap_or(0)).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let max = u64::try_from(FILE_MAX).unwrap_or(u64::MAX);
    // With its whole size from the start: a buffer that grows leaves copies of itself.
    let mut bytes = Vec::with_capacity(FILE_MAX + 1);
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_MAX} bytes")));
    }
    Ok(bytes.into())
}

/// Puts a value in its place, whole or not at all. The one that is there already stays as it is: no change.
fn keep(dir: &Path, name: &Name, value: &Private) -> io::Result<()> {
    let place = dir.join(name.as_str());
    if read(&place).is_ok_and(|known| known == *value) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let new = dir.join(NEW);
    // What a supervisor left that was killed here.
    drop(fs::remove_file(&new));
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(value.bytes())?;
    fs::rename(&new, &place)
}

fn set_by_hand(dir: &Path) -> Vec<Name> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Name::parse(entry.ok()?.file_name().to_str()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_value_is_kept_for_root_alone_and_only_another_one_is_a_change() {
        let dir = std::env::temp_dir().join(format!("berth-secrets-{}", std::process::id()));
        let [key, other] = ["key", "other"].map(|name| Name::parse(name).unwrap());
        let value = |text: &str| Private::from(text.to_owned());
        // What a killed supervisor left is no value.
        DirBuilder::new().mode(0o700).create(&dir).unwrap();
        fs::write(dir.join(NEW), "half").unwrap();
        assert_eq!(set_by_hand(&dir), []);
        keep(&dir, &key, &value("one")).unwrap();
        let place = dir.join("key");
        let seen = || version(&Source::SecretFile(place.display().to_string()));
        assert_eq!(read(&place).unwrap(), value("one"));
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let first = seen();
        keep(&dir, &key, &value("one")).unwrap();
        assert_eq!(seen(), first);
        keep(&dir, &key, &value("two")).unwrap();
        assert!(seen().is_some() && seen() != first);
        keep(&dir, &other, &value("x")).unwrap();
        assert_eq!(set_by_hand(&dir).into_iter().collect::<BTreeSet<_>>(), [key, other].into());
        fs::write(&place, "").unwrap();
        assert_eq!(seen(), None, "it is being written");
        assert!(version(&Source::File(place.display().to_string())).is_some());
        fs::remove_file(&place).unwrap();
        assert_eq!(seen(), None);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn variables_of_a_process_are_read() {
        let found = variables(b"SITE=berlin\0EMPTY=\0none\0A=b=c\0BAD=\xff\0");
        let expect = [("A", "b=c"), ("EMPTY", ""), ("SITE", "berlin")];
        assert!(found.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expect));
    }

    #[test]
    fn only_files_of_some_size_are_read() {
        let dir = std::env::temp_dir().join(format!("berth-supplies-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("most"), vec![b'x'; FILE_MAX]).unwrap();
        fs::write(dir.join("more"), vec![b'x'; FILE_MAX + 1]).unwrap();
        assert_eq!(read(&dir.join("most")).unwrap().bytes().len(), FILE_MAX);
        assert!(read(&dir.join("more")).unwrap_err().to_string().contains("more than"));
        assert!(read(&dir).is_err());
        assert_eq!(version(&Source::File(dir.display().to_string())), None);
        fs::remove_dir_all(dir).unwrap();
    }
}
