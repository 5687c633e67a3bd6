//! Where runs keep their files, and what stays of one that failed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// Working directories of the nodes, removed and made again by each run.
pub const WORK: &str = "target/vm";
/// What is kept of scenarios that failed.
pub const KEPT: &str = "qemu-tests/artefacts";
/// Files worth keeping; the data disk stays where it was.
const FILES: [&str; 2] = ["console", "status.json"];

/// Makes the root of the workspace the working directory.
pub fn enter_workspace() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the crate has no parent directory")?;
    Ok(std::env::set_current_dir(root)?)
}

/// An empty working directory of that name.
pub fn ensure_empty(name: &str) -> io::Result<PathBuf> {
    let dir = Path::new(WORK).join(name);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(&dir)?,
    }
    Ok(dir)
}

/// Copies what a node left behind to [`KEPT`], and gives the last lines of its console.
pub fn keep(scenario: &str, node: &Path) -> io::Result<String> {
    let kept = Path::new(KEPT).join(scenario);
    fs::create_dir_all(&kept)?;
    for file in FILES.iter().filter(|file| node.join(file).exists()) {
        fs::copy(node.join(file), kept.join(file))?;
    }
    fs::write(kept.join("node"), format!("{}\n", node.display()))?;
    let console = fs::read(node.join("console")).unwrap_or_default();
    Ok(last_lines(&String::from_utf8_lossy(&console), 40))
}

/// The end of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_of_texts_of_any_length() {
        for (text, count, expect) in [("a\nb\nc\n", 2, "b\nc"), ("a\n", 5, "a"), ("", 3, "")] {
            assert_eq!(last_lines(text, count), expect);
        }
    }
}
