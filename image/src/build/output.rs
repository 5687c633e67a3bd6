//! Files that appear all together when they are complete, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Files of one directory, under temporary names until [`Output::commit`]; removed if that does not come.
#[derive(Debug)]
pub struct Output {
    directory: PathBuf,
    /// Final name, without the directory.
    pending: Vec<&'static str>,
}

impl Output {
    /// Makes the directory when it is absent.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned(), pending: Vec::new() })
    }

    /// An empty file that will get this name.
    pub fn create(&mut self, name: &'static str) -> io::Result<File> {
        let path = self.temporary(name);
        // Left by a build that was killed, under the same process id.
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        self.pending.push(name);
        Ok(file)
    }

    /// Gives all files their names.
    pub fn commit(mut self) -> io::Result<()> {
        while let Some(name) = self.pending.last() {
            fs::rename(self.temporary(name), self.directory.join(name))?;
            self.pending.pop();
        }
        Ok(())
    }

    /// Where a file will be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.directory.join(format!(".{name}.{}", std::process::id()))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        for name in &self.pending {
            drop(fs::remove_file(self.temporary(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_not_committed_leaves_no_trace() {
        let directory = std::env::temp_dir().join(format!("berth-output-{}", std::process::id()));
        let write = |text: &[u8]| {
            let mut output = Output::open(&directory).unwrap();
            output.create("kernel").unwrap().write_all(text).unwrap();
            output
        };
        write(b"old").commit().unwrap();
        drop(write(b"new"));
        let names: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let content = fs::read(directory.join("kernel")).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!((names, content), (vec!["kernel".into()], b"old".to_vec()));
    }
}
