//! A unit's log files: `current`, and the rotated `1` (newest), `2`, ….
//!
//! Nothing is synced line by line: a power cut may cost what the kernel had not written back (some 30 seconds at
//! the worst). A file that is rotated is synced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use berth_units::wire::log::LOG_CURRENT;

/// The file being written and its directory.
#[derive(Debug)]
pub struct LogFile {
    directory: PathBuf,
    identity: (u64, u64),
    current: File,
    len: u64,
}

impl LogFile {
    /// Opens `current`, making the directory and the file where they are absent.
    ///
    /// `known_len` gives the bytes known to be whole lines, if `current` is known: what is beyond is cut off.
    /// Otherwise a last line that a power cut has torn is ended.
    pub fn open(directory: PathBuf, known_len: impl FnOnce((u64, u64)) -> Option<u64>) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(&directory)?;
        let found = fs::metadata(&directory)?;
        let identity = (found.dev(), found.ino());
        let current = open_current(&directory)?;
        let len = current.metadata()?.len();
        let mut file = Self { directory, identity, current, len };
        match known_len(identity) {
            Some(known) if known <= len => file.cut_to(known)?,
            Some(_) => {}
            None => file.end_torn_line()?,
        }
        Ok(file)
    }

    /// Bytes written.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Device and inode of the directory.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn cut_to(&mut self, len: u64) -> io::Result<()> {
        self.current.set_len(len)?;
        self.len = len;
        Ok(())
    }

    fn end_torn_line(&mut self) -> io::Result<()> {
        let Some(last) = self.len.checked_sub(1) else { return Ok(()) };
        let mut byte = [0];
        self.current.read_exact_at(&mut byte, last)?;
        if byte == *b"\n" { Ok(()) } else { self.append(b"\n") }
    }

    /// Appends whole lines: all of them or none.
    ///
    /// # Errors
    /// write(2)'s; the file is as before then.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.ensure_linked()?;
        if let Err(error) = self.current.write_all_at(lines, self.len) {
            // A part of them may be there. If it cannot be cut off, the next lines overwrite it.
            let _kept = self.current.set_len(self.len);
            return Err(error);
        }
        self.len += u64::try_from(lines.len()).unwrap_or(0);
        Ok(())
    }

    /// A `current` that somebody has removed or cut is made anew or followed.
    fn ensure_linked(&mut self) -> io::Result<()> {
        let found = self.current.metadata()?;
        if found.nlink() == 0 {
            fs::DirBuilder::new().recursive(true).mode(0o750).create(&self.directory)?;
            self.current = open_current(&self.directory)?;
            self.len = self.current.metadata()?.len();
        } else if found.len() < self.len {
            self.len = found.len();
        }
        Ok(())
    }

    /// Makes `current` the newest of at most `keep` rotated files, and begins a new one. Whoever was interrupted
    /// in it calls it again: see [`shift`].
    pub fn rotate(&mut self, keep: u32) -> io::Result<()> {
        if self.current.metadata()?.len() > 0 {
            self.current.sync_all()?;
            shift(&self.directory, keep)?;
            self.current = open_current(&self.directory)?;
        }
        self.len = 0;
        Ok(())
    }

    /// When `current` was begun, where the file system tells.
    fn begun(&self) -> Option<SystemTime> {
        self.current.metadata().and_then(|found| found.created()).ok().filter(|_| self.len > 0)
    }

    /// Whether `current` is that old.
    pub fn is_older(&self, age: Duration, now: SystemTime) -> bool {
        self.begun().is_some_and(|begun| begun + age <= now)
    }

    /// Removes rotated files whose last line is that old: the oldest have the highest numbers, so that no gap comes to be
    /// between two.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn remove_older(&self, age: Duration, now: SystemTime) -> io::Result<()> {
        for (path, written) in rotated(&self.directory)?.into_iter().rev() {
            if written + age > now {
                break;
            }
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// When the next of them is that old.
    pub fn next_older(&self, age: Duration) -> Option<SystemTime> {
        let oldest = rotated(&self.directory).ok().and_then(|files| Some(files.last()?.1));
        oldest.into_iter().chain(self.begun()).map(|since| since + age).min()
    }
}

/// Rotated files with the time of their last line, the newest first.
fn rotated(directory: &Path) -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) {
            files.push((number, entry.path(), entry.metadata()?.modified()?));
        }
    }
    files.sort_by_key(|(number, ..)| *number);
    Ok(files.into_iter().map(|(_, path, written)| (path, written)).collect())
}

fn open_current(directory: &Path) -> io::Result<File> {
    let path = directory.join(LOG_CURRENT);
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Renames every file to the next number, from the first gap or the last number down to `current`.
///
/// At any moment at most one number is missing, and everything above it has been moved already: whoever is
/// interrupted starts at the gap again, and nothing is moved twice.
fn shift(directory: &Path, keep: u32) -> io::Result<()> {
    let path = |number: u32| match number {
        0 => directory.join(LOG_CURRENT),
        _ => directory.join(number.to_string()),
    };
    if !path(0).exists() {
        return remove_over(directory, keep);
    }
    if keep == 0 {
        return fs::remove_file(path(0));
    }
    let gap = (1..keep).find(|number| !path(*number).exists()).unwrap_or(keep);
    for number in (0..gap).rev() {
        fs::rename(path(number), path(number + 1))?;
    }
    remove_over(directory, keep)
}

/// Removes files with a number over `keep`, which may have been larger before.
fn remove_over(directory: &Path, keep: u32) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if number.is_some_and(|number| number > keep) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("berth-log-file-{}-{name}", std::process::id()));
        let _absent = fs::remove_dir_all(&path);
        path
    }

    fn read(directory: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn rotation_keeps_so_many_files() {
        let path = directory("keep");
        let mut file = LogFile::open(path.clone(), |_| None).unwrap();
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            file.append(line.as_bytes()).unwrap();
            file.rotate(2).unwrap();
        }
        assert_eq!(read(&path), pairs(&[("1", "d\n"), ("2", "c\n"), ("current", "")]));
        file.append(b"e\n").unwrap();
        file.rotate(1).unwrap();
        assert_eq!(read(&path), pairs(&[("1", "e\n"), ("current", "")]));
        file.append(b"f\n").unwrap();
        file.rotate(0).unwrap();
        assert_eq!(read(&path).last(), Some(&("current".to_owned(), String::new())));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_rotation_goes_on_where_it_was_interrupted() {
        // Every state that a kill between two renames can leave, of the rotation of {current: d, 1: c, 2: b, 3: a}.
        let states: [&[(&str, &str)]; 4] = [
            &[("1", "c"), ("2", "b"), ("3", "a"), ("current", "d")],
            &[("1", "c"), ("3", "b"), ("current", "d")],
            &[("2", "c"), ("3", "b"), ("current", "d")],
            &[("1", "d"), ("2", "c"), ("3", "b")],
        ];
        for state in states {
            let path = directory("interrupted");
            fs::create_dir_all(&path).unwrap();
            for (name, text) in state {
                fs::write(path.join(name), text).unwrap();
            }
            LogFile::open(path.clone(), |_| Some(u64::MAX)).unwrap().rotate(3).unwrap();
            assert_eq!(
                read(&path),
                pairs(&[("1", "d"), ("2", "c"), ("3", "b"), ("current", "")]),
                "{state:?}"
            );
            fs::remove_dir_all(path).unwrap();
        }
    }

    #[test]
    fn files_of_some_age_are_closed_and_removed() {
        let path = directory("age");
        let mut file = LogFile::open(path.clone(), |_| None).unwrap();
        for line in ["a\n", "b\n"] {
            file.append(line.as_bytes()).unwrap();
            file.rotate(9).unwrap();
        }
        let (age, now) = (Duration::from_secs(600), SystemTime::now());
        let old = File::options().write(true).open(path.join("2")).unwrap();
        old.set_modified(now - Duration::from_secs(700)).unwrap();
        assert!(file.next_older(age).unwrap() < now);
        file.remove_older(age, now).unwrap();
        assert_eq!(read(&path), pairs(&[("1", "b\n"), ("current", "")]));
        assert!(file.next_older(age).unwrap() > now);
        assert!(!file.is_older(Duration::ZERO, now + age), "one without a line has no age");
        file.append(b"c\n").unwrap();
        assert!(!file.is_older(age, now) && file.is_older(age, now + age + age));
        // A newer one before an older one keeps it: no gap.
        File::options().write(true).open(path.join("1")).unwrap().set_modified(now - age - age).unwrap();
        fs::write(path.join("2"), "x\n").unwrap();
        file.remove_older(age, now).unwrap();
        assert_eq!(read(&path).len(), 3);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn torn_lines_are_ended_and_unknown_bytes_cut() {
        let path = directory("torn");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("current"), "whole\nto").unwrap();
        assert_eq!(LogFile::open(path.clone(), |_| None).unwrap().len(), 9);
        assert_eq!(LogFile::open(path.clone(), |_| None).unwrap().len(), 9);
        assert_eq!(LogFile::open(path.clone(), |_| Some(6)).unwrap().len(), 6);
        let mut file = LogFile::open(path.clone(), |_| Some(6)).unwrap();
        fs::remove_file(path.join("current")).unwrap();
        file.append(b"again\n").unwrap();
        assert_eq!(read(&path), pairs(&[("current", "again\n")]));
        fs::remove_dir_all(path).unwrap();
    }
}
