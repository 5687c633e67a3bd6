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
    /// Unit files and drop-ins, each with its place below /etc/berth: `units/web.toml`, `node.d/10.toml`.
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
}

impl Appliance {
    /// Every text, in the form that the parser takes.
    pub fn sources(&self) -> Vec<SourceFile> {
        self.node.iter().chain(self.units.iter().map(|(_, file)| file)).cloned().collect()
    }

    /// How many of the files are drop-ins.
    pub fn drop_ins(&self) -> usize {
        self.units.iter().filter(|(place, _)| place.contains(".d/")).count()
    }
}

/// Reads DIR/node.toml and DIR/units/*.toml, or DIR/*.toml where there is no DIR/units; and the drop-ins beside them.
pub fn read_appliance(dir: &Path) -> Result<Appliance, Failure> {
    let units_dir = Some(dir.join("units")).filter(|units| units.is_dir()).unwrap_or_else(|| dir.to_owned());
    let mut appliance = Appliance::default();
    let node = dir.join("node.toml");
    if node.is_file() {
        appliance.node = Some(read_source(&node)?);
    }
    let of_node = dir.join("node.d");
    if of_node.is_dir() && units_dir != dir {
        read_folder(&of_node, "node.d", &mut appliance)?;
    }
    for folder in paths(&units_dir, ".d")?.iter().filter(|folder| folder.is_dir()) {
        read_folder(folder, &format!("units/{}", name_of(folder)), &mut appliance)?;
    }
    read_folder(&units_dir, "units", &mut appliance)?;
    appliance.units.sort_by(|(a, _), (b, _)| a.cmp(b));
    if appliance.node.is_none() && appliance.units.is_empty() {
        let empty = ApplianceError::Empty(dir.display().to_string());
        return Err(Failure::input(empty).hint("examples/ has whole appliances to copy from"));
    }
    Ok(appliance)
}

fn read_folder(folder: &Path, place: &str, appliance: &mut Appliance) -> Result<(), Failure> {
    for path in paths(folder, ".toml")? {
        appliance.units.push((format!("{place}/{}", name_of(&path)), read_source(&path)?));
        if appliance.units.len() > FILES_MAX {
            return Err(Failure::input(ApplianceError::TooMany(folder.display().to_string())));
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What in a directory has that ending, by name; node.toml and what is hidden left out.
fn paths(dir: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |error| Failure::input(Cannot::at("read", dir)(error));
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = name_of(&path);
        if name.ends_with(ending) && !name.starts_with('.') && name != "node.toml" {
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
        return Err(Failure::input(ApplianceError::TooLarge(shown)).hint("is it a unit file at all?"));
    }
    // What is not text gets a mark in its place, of which the parser tells.
    Ok(SourceFile { path: shown, text: String::from_utf8_lossy(&bytes).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_read_one_level_deep() {
        let dir = std::env::temp_dir().join(format!("berth-appliance-{}", std::process::id()));
        for place in
            ["node.toml", "node.d/1.toml", "units/web.toml", "units/web.d/b.toml", "units/web.d/a.toml"]
        {
            fs::create_dir_all(dir.join(place).parent().unwrap()).unwrap();
            fs::write(dir.join(place), "").unwrap();
        }
        for other in ["units/web.d/deep.d", "units/web.d/.hidden.toml", "units/old"] {
            fs::create_dir_all(dir.join(other)).unwrap();
        }
        let appliance = read_appliance(&dir);
        fs::remove_dir_all(&dir).unwrap();
        let appliance = appliance.unwrap_or_else(|_| panic!("it can be read"));
        let places: Vec<_> = appliance.units.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["node.d/1.toml", "units/web.d/a.toml", "units/web.d/b.toml", "units/web.toml"]);
        assert_eq!((appliance.drop_ins(), appliance.sources().len()), (3, 5));
    }
}
