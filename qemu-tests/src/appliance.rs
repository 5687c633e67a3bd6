//! Appliance directories: node.toml, units and images, written for one scenario or taken from the examples.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// Image of the probe, see scripts/probe-image.sh.
pub const PROBE_IMAGE: &str = "target/images/probe.tar";
/// The probe itself.
pub const PROBE_PROGRAM: &str = "target/images/berth-probe";
/// Its reference.
pub const PROBE: &str = "berth-tests/probe:1";

/// A directory that `berth build` and `berth run` take.
#[derive(Clone, Debug)]
pub struct Appliance {
    dir: PathBuf,
}

impl Appliance {
    /// A directory that is one already.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// One of the examples, used as it is.
    pub fn example(name: &str) -> Self {
        Self::at(&Path::new("examples").join(name))
    }

    /// An appliance in an empty directory, with the probe's image and no unit.
    pub fn new(dir: &Path) -> Outcome<Self> {
        let appliance = Self { dir: dir.join("appliance") };
        fs::create_dir_all(appliance.dir.join("units"))?;
        fs::create_dir_all(appliance.dir.join("images"))?;
        appliance.node("hostname = \"probe-node\"\n")?;
        appliance.image(PROBE_IMAGE)?;
        Ok(appliance)
    }

    /// Replaces node.toml; `kind` and `schema` are written here.
    pub fn node(&self, toml: &str) -> io::Result<()> {
        fs::write(self.dir.join("node.toml"), format!("schema = 1\nkind = \"node\"\n{toml}"))
    }

    /// Adds a unit file of exactly that text; `web.d/10` is a drop-in.
    pub fn unit(&self, name: &str, toml: &str) -> io::Result<()> {
        let path = self.dir.join("units").join(format!("{name}.toml"));
        fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
        fs::write(path, toml)
    }

    /// Adds a container of the probe: `words` are its arguments, `keys` further TOML.
    pub fn probe(&self, name: &str, words: &[&str], keys: &str) -> io::Result<()> {
        self.unit(name, &probe_unit(words, keys))
    }

    /// Adds an image archive by its path.
    pub fn image(&self, archive: &str) -> Outcome {
        let from = fs::canonicalize(archive).map_err(|error| format!("image '{archive}': {error}"))?;
        let file = from.file_name().ok_or("an image archive has a file name")?;
        // A link where the builder would read the same bytes from a copy.
        Ok(symlink(&from, self.dir.join("images").join(file))?)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The text of a container of the probe.
pub fn probe_unit(words: &[&str], keys: &str) -> String {
    probe_unit_with("", words, keys)
}

/// The same with keys of the unit itself, which TOML wants before the first table.
pub fn probe_unit_with(top: &str, words: &[&str], tables: &str) -> String {
    format!("schema = 1\n{top}\n[image]\nref = \"{PROBE}\"\n\n[process]\nargs = {words:?}\n\n{tables}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_units::{SourceFile, parse_set};

    #[track_caller]
    fn check(files: Vec<(PathBuf, String)>) {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let set: Vec<_> =
            files.into_iter().map(|(path, text)| SourceFile { path: name(&path), text }).collect();
        let checked = parse_set(&set);
        assert!(checked.declared.is_some() && checked.diagnostics.is_empty(), "{:#?}", checked.diagnostics);
    }

    fn read_dir(dir: &Path) -> Vec<(PathBuf, String)> {
        let mut paths: Vec<_> =
            fs::read_dir(dir.join("units")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.push(dir.join("node.toml"));
        paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
    }

    #[test]
    fn examples_are_without_fault() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples");
        for name in ["edge-gateway", "hello"] {
            check(read_dir(&examples.join(name)));
        }
    }

    #[test]
    fn a_probe_unit_is_without_fault() {
        let text = probe_unit_with("start = \"manual\"\n", &["spew", "3"], "[memory]\nmax = \"8M\"\n");
        let node = "schema = 1\nkind = \"node\"\nhostname = \"n\"\n".to_owned();
        check(vec![(PathBuf::from("node.toml"), node), (PathBuf::from("x.toml"), text)]);
    }
}
