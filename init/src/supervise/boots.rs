//! The record of boots: a line of JSON for each that began, and one for each end that was asked for.
//!
//! An asked end is written down before it begins. So a boot whose line nothing follows was cut short.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use berth_units::revision::LastEnd;
use berth_units::time::rfc3339;
use serde::{Deserialize, Serialize};

use super::clock;

/// Lines of earlier boots stay up to this length, bytes; the older half goes.
const RECORD_MAX: u64 = 64 << 10;

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// The kernel's boot id.
    pub boot: String,
    /// RFC 3339, by the clock on the wall.
    pub at: String,
    /// Of a beginning: the OS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Of a beginning: the revision that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Of a beginning: how the boot before it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_end: Option<String>,
    /// Of an end: `reboot`, `poweroff`, or `shutdown` where nobody said which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
}

/// How the boot before this one ended, as its record says.
pub fn last_end(path: &Path) -> (LastEnd, String) {
    let text = read(path).unwrap_or_default();
    let last = text.lines().next_back().and_then(|line| serde_json::from_str::<Line>(line).ok());
    match last {
        // A line that the power cut short: it was being written.
        None if text.is_empty() => (LastEnd::First, "first".to_owned()),
        Some(Line { intent: Some(intent), .. }) => (LastEnd::Asked, format!("asked {intent}")),
        _ => (LastEnd::Power, "power".to_owned()),
    }
}

/// The kernel's number of this boot (random(4)).
pub fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Appends a line of this boot, to the disk.
pub fn append(path: &Path, line: Line) -> io::Result<()> {
    let line = Line { boot: boot_id(), at: rfc3339(clock::wall()), ..line };
    shorten(path)?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    // Whatever the power has left of the line before ends here.
    let is_whole = read(path).is_ok_and(|text| text.is_empty() || text.ends_with('\n'));
    let text = serde_json::to_string(&line)?;
    file.write_all(format!("{}{text}\n", if is_whole { "" } else { "\n" }).as_bytes())?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

fn shorten(path: &Path) -> io::Result<()> {
    if !fs::metadata(path).is_ok_and(|found| found.len() > RECORD_MAX) {
        return Ok(());
    }
    let text = read(path)?;
    let lines: Vec<_> = text.lines().collect();
    let kept = lines.get(lines.len() / 2..).unwrap_or_default();
    let temporary = path.with_extension("tmp");
    let mut file = fs::File::create(&temporary)?;
    kept.iter().try_for_each(|line| writeln!(file, "{line}"))?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(2 * RECORD_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_known_by_what_was_written_before_it() {
        let path = std::env::temp_dir().join(format!("berth-boots-{}", std::process::id()));
        drop(fs::remove_file(&path));
        assert_eq!(last_end(&path).0, LastEnd::First);
        append(&path, Line { revision: Some(3), ..Line::default() }).unwrap();
        assert_eq!(last_end(&path), (LastEnd::Power, "power".to_owned()));
        append(&path, Line { intent: Some("reboot".into()), ..Line::default() }).unwrap();
        assert_eq!(last_end(&path), (LastEnd::Asked, "asked reboot".to_owned()));
        // The power went while a line was written.
        fs::write(&path, format!("{}{{\"boot\":", fs::read_to_string(&path).unwrap())).unwrap();
        assert_eq!(last_end(&path).0, LastEnd::Power);
        append(&path, Line::default()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
        for _ in 0..2000 {
            append(&path, Line { intent: Some("poweroff".into()), ..Line::default() }).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < RECORD_MAX + 200);
        assert_eq!(last_end(&path).0, LastEnd::Asked);
        fs::remove_file(&path).unwrap();
    }
}
