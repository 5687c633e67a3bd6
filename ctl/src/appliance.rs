//! An appliance directory as files: node.toml and units, read but not understood.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use berth_units::SourceFile;

use crate::failure::{Cannot, Failure};

/// The longest file, bytes: no unit a person wrote comes near it.
const FILE_MAX: u64 = 1 << 20;
/// The most files.
const FILES_MAX: usize = 4096;

/// The texts of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appliance {
    /// node.toml; without one the node has its defaults.
    pub node: Option<SourceFile>,
    /// Unit files by stem.
    pub units: Vec<(String, SourceFile)>,
}

/// What makes a directory no appliance.
#[derive(Debug, thiserror::Error)]
pub enum ApplianceError {
    /// No unit and no node.toml.
    #[error("'{0}' holds neither node.toml nor units/*.toml")]
    Empty(String),
    /// A file that nobody wrote by hand.
    #[error("'{0}' is larger than {FILE_MAX} bytes")]
    TooLarge(String),
    /// More files than [`FILES_MAX`].
    #[error("'{0}' holds more than {FILES_MAX} unit files")]
    TooMany(String),
    /// Not text.
    #[error("'{0}' is not UTF-8 text")]
    NotText(String),
}

impl Appliance {
    /// Every text, in the form that the parser takes.
    pub fn sources(&self) -> Vec<SourceFile> {
        self.node.iter().chain(self.units.iter().map(|(_, file)| file)).cloned().collect()
    }
}

/// Reads DIR/node.toml and DIR/units/*.toml, or DIR/*.toml where there is no DIR/units.
pub fn read_appliance(dir: &Path) -> Result<Appliance, Failure> {
    let units_dir = Some(dir.join("units")).filter(|units| units.is_dir()).unwrap_or_else(|| dir.to_owned());
    let mut appliance = Appliance::default();
    let node = dir.join("node.toml");
    if node.is_file() {
        appliance.node = Some(read_source(&node)?);
    }
    for path in unit_files(&units_dir)? {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        appliance.units.push((stem, read_source(&path)?));
    }
    if appliance.node.is_none() && appliance.units.is_empty() {
        let empty = ApplianceError::Empty(dir.display().to_string());
        return Err(Failure::input(empty).hint("examples/ has whole appliances to copy from"));
    }
    Ok(appliance)
}

/// The *.toml files of a directory by name, node.toml and hidden files left out.
fn unit_files(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |error| Failure::input(Cannot::at("read", dir)(error));
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_unit = name.ends_with(".toml") && !name.starts_with('.') && name != "node.toml";
        if is_unit {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            return Err(Failure::input(ApplianceError::TooMany(dir.display().to_string())));
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_source(path: &Path) -> Result<SourceFile, Failure> {
    let cannot = |error| Failure::input(Cannot::at("read", path)(error));
    // `./` in front of every line helps nobody.
    let shown = path.strip_prefix(".").unwrap_or(path).display().to_string();
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Failure::input(ApplianceError::TooLarge(shown)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile { path: shown, text }),
        Err(_) => Err(Failure::input(ApplianceError::NotText(shown))),
    }
}
