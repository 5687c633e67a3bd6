//! What the node's root holds: programs, units, kernel modules and a few texts.

use std::path::Path;
use std::time::UNIX_EPOCH;
use std::{fs, io};

use super::files;
use super::initrd::Initrd;
use super::modules::Modules;
use super::{Build, BuildError, read};

/// Mount points and folders that init expects.
const DIRECTORIES: [&str; 10] =
    ["bin", "data", "dev", "etc", "factory", "lib/modules", "proc", "run", "sys", "tmp"];

/// PID 1, as a file of the binaries' folder.
const INIT: &str = "berth-init";
/// The programs of /bin.
const PROGRAMS: [&str; 7] =
    ["berth-supervise", "berth-check", "berth-log", "berth-netd", "berth-session", "berth-modules", "berth"];

/// Puts the root together.
pub fn root(build: &Build<'_>, modules: &Modules) -> Result<Initrd, BuildError> {
    let mut root = Initrd::default();
    DIRECTORIES.iter().for_each(|directory| root.directory(directory));
    // PID 1's first output, before it has mounted devtmpfs over it.
    root.char_device("dev/console", (5, 1));
    root.file("init", 0o755, read(&build.node_binaries.join(INIT))?);
    for program in PROGRAMS {
        root.file(&format!("bin/{program}"), 0o755, read(&build.node_binaries.join(program))?);
    }
    root.file("etc/berth/node.toml", 0o644, build.node_toml);
    for (place, text) in build.units {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if !place.split('/').all(plain) {
            return Err(BuildError::UnitName(place.clone()));
        }
        root.file(&format!("etc/berth/{place}"), 0o644, text.as_str());
    }
    root.directory("etc/berth/units");
    root.file("etc/berth/hostname", 0o644, format!("{}\n", build.declared.node.hostname));
    root.file("etc/berth/built", 0o644, format!("{}\n", source_date(build)?));
    root.file("etc/os-release", 0o644, os_release());
    for (name, content) in &modules.files {
        root.file(&format!("lib/modules/{name}"), 0o644, content.clone());
    }
    for (name, text) in modules.lists() {
        root.file(&format!("lib/modules/{name}"), 0o644, text);
    }
    files::add(build.appliance, &mut root)?;
    files::check_programs(build, &root)?;
    Ok(root)
}

fn os_release() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("ID=berth\nNAME=\"berth\"\nVERSION_ID={version}\nPRETTY_NAME=\"berth {version}\"\n")
}

/// When the node's software was made, seconds of the Unix epoch: its clock starts no earlier.
///
/// SOURCE_DATE_EPOCH (<https://reproducible-builds.org/specs/source-date-epoch/>) where it is set; else the newest
/// modification time of the kernel and the programs, which are as much an input as their content.
fn source_date(build: &Build<'_>) -> Result<u64, BuildError> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.trim().parse().map_err(|_| BuildError::SourceDate(text));
    }
    let programs = PROGRAMS.iter().chain([&INIT]).map(|program| build.node_binaries.join(program));
    let mut newest = 0;
    for path in programs.chain([build.kernel.join("vmlinuz")]) {
        newest = newest.max(modified(&path).map_err(|error| BuildError::Read(path, error))?);
    }
    Ok(newest)
}

fn modified(path: &Path) -> io::Result<u64> {
    let modified = fs::metadata(path)?.modified()?;
    Ok(modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
