//! Checks of the source tree itself: rules that no compiler knows.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may depend on whom. What is not here is forbidden.
const ARROWS: [(&str, &[&str]); 10] = [
    ("berth-units", &[]),
    ("berth-runtime", &["berth-units"]),
    ("berth-archive", &[]),
    ("berth-init", &["berth-units", "berth-archive", "berth-runtime"]),
    ("berth-image", &["berth-units"]),
    ("berth-netd", &["berth-units"]),
    ("berth-ctl", &["berth-units", "berth-archive", "berth-image"]),
    ("berth-probe", &[]),
    ("berth-fuzz", &["berth-image", "berth-units"]),
    ("berth-qemu-tests", &["berth-units", "berth-probe"]),
];

/// Lines of a source file, its tests not counted.
const FILE_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files that git knows or would take, as paths from the root.
fn tracked() -> Vec<String> {
    let words = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(words).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    let files: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert!(files.iter().any(|file| file == "Cargo.toml"), "git lists no Cargo.toml");
    files.into_iter().filter(|file| root().join(file).exists()).collect()
}

fn sources() -> Vec<(String, String)> {
    let read = |file: String| (fs::read_to_string(root().join(&file)).unwrap(), file);
    tracked()
        .into_iter()
        .filter(|file| file.ends_with(".rs"))
        .map(read)
        .map(|(text, file)| (file, text))
        .collect()
}

/// What stands before the unit tests of a file.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn report(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn dependencies_point_one_way() {
    let mut command = cargo_metadata::MetadataCommand::new();
    let metadata = command.manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| package.name.as_str() == *name) else {
            faults.push(format!("{} is not in the table", package.name));
            continue;
        };
        let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
        for dependency in ours.filter(|dependency| !allowed.contains(&dependency.name.as_str())) {
            faults.push(format!("{} -> {}", package.name, dependency.name));
        }
    }
    assert_eq!(metadata.packages.len(), ARROWS.len(), "a room is gone");
    report(&faults, "arrows of ARCHITECTURE.md");
}

#[test]
fn files_stay_short() {
    let mut faults = Vec::new();
    for (file, text) in sources().iter().filter(|(file, _)| !file.ends_with("tests.rs")) {
        let lines = without_tests(text).lines().count();
        if lines > FILE_LINES {
            faults.push(format!("{file}: {lines} lines"));
        }
    }
    report(&faults, "at most 500 lines without tests");
}

#[test]
fn unsafe_lives_in_one_room() {
    let word = ["un", "safe"].concat();
    let forms = [" {", " fn", " impl", " extern", "_code"].map(|after| format!("{word}{after}"));
    let mut faults = Vec::new();
    for (file, text) in sources().iter().filter(|(file, _)| !file.starts_with("runtime/src/sys")) {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            let forbids = code.contains("forbid(") || code.contains("deny(");
            if !forbids && forms.iter().any(|form| code.contains(form.as_str())) {
                faults.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report(&faults, "the only place for it is runtime/src/sys");
}

#[test]
fn no_file_knows_where_it_was_written() {
    let mut places: Vec<String> = ["home", "root", "work"].map(|top| format!("/{top}/")).to_vec();
    places.push(root().display().to_string());
    let mut faults = Vec::new();
    for file in tracked() {
        let bytes = fs::read(root().join(&file)).unwrap();
        for (number, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            if places.iter().any(|place| names_place(line, place)) {
                faults.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report(&faults, "no path of a machine in a file of the tree");
}

/// Whether a path of the line begins with the place: `DIR/root/x` is somebody else's.
fn names_place(line: &str, place: &str) -> bool {
    let free = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}/".contains(c));
    line.match_indices(place).any(|(at, _)| free(at))
}

#[test]
fn manifests_share_one_set_of_versions() {
    let mut faults = Vec::new();
    for file in tracked().into_iter().filter(|file| file.ends_with("/Cargo.toml")) {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        let dependencies =
            text.split("[dependencies]").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
        for line in
            dependencies.lines().filter(|line| line.contains('=') && !line.contains("workspace = true"))
        {
            faults.push(format!("{file}: {line}"));
        }
    }
    report(&faults, "versions stand in the root's [workspace.dependencies]");
}
