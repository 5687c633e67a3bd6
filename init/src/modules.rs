//! Loading kernel modules: one file at a time, as the builder has put them under [`MODULES_DIR`].

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::system::finit_module;

use crate::error;
use crate::kmsg::Chain;

/// Where the image keeps its modules, and the lists about them.
pub const MODULES_DIR: &str = "/lib/modules";

/// MODULE_INIT_COMPRESSED_FILE of finit_module(2): the kernel unpacks it.
const COMPRESSED: i32 = 4;

/// Why a module is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The name leads out of the modules' directory.
    #[error("'{}' is not the name of a module file", .0.display())]
    Name(PathBuf),
    /// The file cannot be opened.
    #[error("cannot open module '{}'", .0.display())]
    Open(PathBuf, #[source] io::Error),
    /// The kernel refuses it.
    #[error("cannot load module '{}'", .0.display())]
    Load(PathBuf, #[source] io::Error),
}

/// Loads all modules of a list, one file name a line, in order. One that fails is logged, and the next is tried.
///
/// # Errors
/// The list cannot be read; one that is not there is empty.
pub fn load_list(name: &str) -> io::Result<()> {
    let list = match fs::read_to_string(Path::new(MODULES_DIR).join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for file in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Err(error) = load_module(file) {
            error!("{}, going on", Chain(&error));
        }
    }
    Ok(())
}

/// Loads the module of a file name relative to [`MODULES_DIR`]; one that is loaded already is fine.
pub fn load_module(file: &str) -> Result<(), ModuleError> {
    let relative = Path::new(file);
    if !relative.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        return Err(ModuleError::Name(relative.into()));
    }
    let path = Path::new(MODULES_DIR).join(relative);
    let opened = File::open(&path).map_err(|source| ModuleError::Open(path.clone(), source))?;
    let packed = path.extension().is_some_and(|end| end == "xz" || end == "zst" || end == "gz");
    match finit_module(&opened, c"", if packed { COMPRESSED } else { 0 }) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(source) => Err(ModuleError::Load(path, source.into())),
    }
}
