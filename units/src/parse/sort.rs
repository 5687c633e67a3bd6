//! Which file of a set is what, by its name alone.

use std::collections::BTreeMap;

use super::{NODE_FILE, SourceFile};
use crate::Name;
use crate::codes::{DUPLICATE_FILE, FILE_NAME};
use crate::fault::{Fault, Layout, clip};
use crate::name::NameError;

/// Owner of drop-ins for every container.
pub(super) const ALL: &str = "_all";
/// Owner of drop-ins for the node.
pub(super) const NODE: &str = "node";

/// Indices of the files of a set.
#[derive(Default)]
pub(super) struct Sorted {
    pub node: Option<usize>,
    /// `NAME.toml`.
    pub units: BTreeMap<Name, usize>,
    /// `NAME@.toml`.
    pub templates: BTreeMap<Name, usize>,
    /// `NAME@INSTANCE.toml`.
    pub instances: BTreeMap<Name, usize>,
    /// `OWNER.d/*.toml`, in the order in which they are laid over.
    pub drop_ins: BTreeMap<String, Vec<usize>>,
}

impl Sorted {
    pub fn drop_ins(&self, owner: &str) -> &[usize] {
        self.drop_ins.get(owner).map_or(&[], Vec::as_slice)
    }
}

/// A file name, or a drop-in folder's and a file name.
fn short_path(path: &str) -> (&str, Option<&str>) {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = above.rsplit('/').next().unwrap_or("");
    (name, folder.strip_suffix(".d").filter(|owner| !owner.is_empty()))
}

/// Sorts the files; one whose name means nothing is a fault.
pub(super) fn sort(files: &[SourceFile], layout: &Layout, faults: &mut Vec<Fault>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut seen = BTreeMap::new();
    let mut order: Vec<usize> = (0..files.len()).collect();
    // Drop-ins are laid over in the order of their names, wherever their folder stands.
    order.sort_by_key(|index| files.get(*index).map(|file| short_path(&file.path)));
    for index in order {
        let Some(file) = files.get(index) else { continue };
        let (name, owner) = short_path(&file.path);
        if let Some(first) = seen.insert((name, owner), index) {
            let folder = owner.map(|owner| format!("{}.d/", clip(owner))).unwrap_or_default();
            let message = format!("two files of the set are called '{folder}{}'", clip(name));
            let (place, other) = (layout.file(index.max(first)), layout.file(index.min(first)));
            faults.push(Fault::error(DUPLICATE_FILE, place, message).related(other, "the other one"));
        } else if let (Some(owner), true) = (owner, name.ends_with(".toml")) {
            sorted.drop_ins.entry(owner.to_owned()).or_default().push(index);
        } else if name == NODE_FILE {
            sorted.node = Some(index);
        } else if let Err(fault) = sorted.add_unit(name, index) {
            faults.push(fault.at(name, index, layout));
        }
    }
    sorted
}

/// Why a file name is not that of a unit.
enum NotAUnit {
    Ending,
    Name(NameError),
}

impl NotAUnit {
    fn at(self, name: &str, index: usize, layout: &Layout) -> Fault {
        let (message, help) = match self {
            Self::Ending => {
                (format!("'{}' is not a unit file", clip(name)), "unit files are called NAME.toml".to_owned())
            }
            Self::Name(why) => (format!("'{}' cannot be a unit's file", clip(name)), why.to_string()),
        };
        Fault::error(FILE_NAME, layout.file(index), message).help(help)
    }
}

impl Sorted {
    fn add_unit(&mut self, name: &str, index: usize) -> Result<(), NotAUnit> {
        let stem = name.strip_suffix(".toml").ok_or(NotAUnit::Ending)?;
        if let Some(base) = stem.strip_suffix('@') {
            self.templates.insert(Name::parse_plain(base).map_err(NotAUnit::Name)?, index);
            return Ok(());
        }
        let unit = Name::parse(stem).map_err(NotAUnit::Name)?;
        let own = if unit.parts().is_some() { &mut self.instances } else { &mut self.units };
        own.insert(unit, index);
        Ok(())
    }
}
