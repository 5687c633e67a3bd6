//! Loads the modules that the devices of this machine ask for, of those that the image carries.
//!
//! The kernel gives each device a `modalias`; the builder writes which module answers to which pattern
//! (`berth.alias`: `PATTERN FILE` a line) and what has to be loaded before it (`berth.dep`: `FILE: DEP DEP …`,
//! in order of loading). Devices that appear after a driver was loaded are looked at in a further round.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::kmsg::Chain;
use crate::modules::{MODULES_DIR, load_module};
use crate::{error, info};

/// Directories of /sys/devices that are looked at, at the most.
const DIRECTORIES_MAX: usize = 50_000;
/// A driver brings devices, which bring drivers: PCI bridge, controller, disk.
const ROUNDS_MAX: usize = 5;

/// Loads what is missing. Safe to call at any time; every failure is logged, and the next module is tried.
pub fn coldplug() {
    let read = |name: &str| fs::read_to_string(Path::new(MODULES_DIR).join(name)).unwrap_or_default();
    let (aliases, dependencies) = (read("berth.alias"), read("berth.dep"));
    let dependencies = parse_dependencies(&dependencies);
    let mut done = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let wanted = plan_modules(&aliases, &read_modaliases(Path::new("/sys/devices")));
        let new: Vec<_> = wanted.into_iter().filter(|file| !done.contains(file)).collect();
        if new.is_empty() {
            return;
        }
        for file in new {
            let before = dependencies.get(file).into_iter().flatten().copied();
            for file in before.chain([file]).filter(|file| done.insert(*file)) {
                match load_module(file) {
                    Ok(()) => info!("coldplug: {file}"),
                    Err(error) => error!("coldplug: {}, going on", Chain(&error)),
                }
            }
        }
    }
}

/// Files to load for devices of these modaliases, each once, in the order of the alias list.
fn plan_modules<'a>(aliases: &'a str, devices: &BTreeSet<String>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let pairs = aliases.lines().filter_map(|line| line.trim().rsplit_once(' '));
    let wanted = pairs.filter(|(pattern, _)| devices.iter().any(|device| matches(pattern.trim(), device)));
    wanted.map(|(_, file)| file).filter(|file| seen.insert(*file)).collect()
}

fn parse_dependencies(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(file, deps)| (file.trim(), deps.split_whitespace().collect())).collect()
}

/// The modaliases of all devices below a directory. Links are not followed: sysfs is full of them.
fn read_modaliases(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories: Vec<PathBuf> = vec![root.to_owned()];
    let mut count = 0;
    while let Some(directory) = directories.pop() {
        count += 1;
        if count > DIRECTORIES_MAX {
            error!(
                "coldplug: over {DIRECTORIES_MAX} directories below '{}', ignoring the rest",
                root.display()
            );
            break;
        }
        // Devices may vanish at any moment.
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let kind = entry.file_type();
            if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
                directories.push(entry.path());
            } else if entry.file_name() == "modalias" {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                found.extend(Some(text.trim().to_owned()).filter(|text| !text.is_empty()));
            }
        }
    }
    found
}

/// Shell patterns as in modules.alias: `*`, `?`, `[a-f]`, `[!x]`; a `*` that does not fit gives way to the one
/// before it, so the time is bounded by the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(seen) {
        if pattern.get(at) == Some(&b'*') {
            retry = Some((at + 1, seen));
            at += 1;
        } else if let Some(used) = match_one(pattern.get(at..).unwrap_or_default(), byte) {
            at += used;
            seen += 1;
        } else if let Some((after_star, from)) = retry {
            retry = Some((after_star, from + 1));
            (at, seen) = (after_star, from + 1);
        } else {
            return false;
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// Bytes of the pattern's first element if it matches `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            // A `]` that comes first is a member.
            let close = rest.iter().skip(1).position(|byte| *byte == b']')? + 1;
            let set = rest.get(..close)?;
            let (negated, set) = match set {
                [b'!' | b'^', set @ ..] => (true, set),
                set => (false, set),
            };
            (is_member(set, byte) != negated).then_some(close + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

fn is_member(mut set: &[u8], byte: u8) -> bool {
    loop {
        set = match set {
            [low, b'-', high, rest @ ..] => {
                if (*low..=*high).contains(&byte) {
                    return true;
                }
                rest
            }
            [one, rest @ ..] => {
                if *one == byte {
                    return true;
                }
                rest
            }
            [] => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_real_modules() {
        let virtio_net = "virtio:d00000001v00001AF4";
        let pci = "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00";
        for (pattern, text, expect) in [
            ("virtio:d00000001v*", virtio_net, true),
            ("virtio:d00000002v*", virtio_net, false),
            ("pci:v00001AF4d*sv*sd*bc*sc*i*", pci, true),
            ("pci:v*d*sv*sd*bc02sc00i*", pci, true),
            ("pci:v*d*sv*sd*bc02sc01i*", pci, false),
            ("acpi*:PNP0C0C:*", "acpi:PNP0C0C:", true),
            ("acpi*:LNXPWRBN:*", "acpi:LNXPWRBN:", true),
            ("usb:v04[a-f]*", "usb:v04b1", true),
            ("usb:v04[!a-f]*", "usb:v04b1", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[]]", "]", true),
            ("[", "[", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(matches(pattern, text), expect, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_stars_ends_soon() {
        assert!(!matches(&"*a".repeat(200), &"b".repeat(5000)));
    }

    #[test]
    fn each_module_is_wanted_once() {
        let aliases = "virtio:d1* net.ko\npci:x* blk.ko\nvirtio:d2* net.ko\nbroken\n";
        let devices = ["virtio:d2v3", "virtio:d1v3"].map(String::from).into();
        assert_eq!(plan_modules(aliases, &devices), ["net.ko"]);
        let dependencies = parse_dependencies("net.ko: a.ko b.ko\nblk.ko:\n");
        assert_eq!(dependencies["net.ko"], ["a.ko", "b.ko"]);
        assert!(dependencies["blk.ko"].is_empty());
    }
}
