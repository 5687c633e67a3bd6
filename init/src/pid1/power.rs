//! The power button: every input device that can send KEY_POWER.
//!
//! Devices come and go as modules are loaded; a watch on their directory says when to look again.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};

/// Devices that are listened to at the most.
pub const BUTTONS_MAX: usize = 8;

/// KEY_POWER of input-event-codes.h.
const KEY_POWER: u16 = 116;
/// Bytes of struct input_event on 64-bit machines: two words of time, type, code, value.
const EVENT_LEN: usize = 24;

/// Open input devices with a power key.
#[derive(Default)]
pub struct PowerButtons {
    watch: Option<OwnedFd>,
    devices: Vec<(String, OwnedFd)>,
}

impl PowerButtons {
    /// Watches for devices and opens those that are there. Without inotify, only those.
    pub fn open() -> Self {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let mut buttons = Self { watch, devices: Vec::with_capacity(BUTTONS_MAX) };
        buttons.watch_directories();
        buttons.look_again();
        buttons
    }

    /// Readable when devices may have come.
    pub fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Readable when a key was pressed.
    pub fn devices(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.iter().map(|(_, fd)| fd.as_fd())
    }

    /// Looks for new devices if the watch says that there may be some.
    pub fn look_again_if_changed(&mut self) {
        let mut events = [0; 4096];
        let Some(watch) = &self.watch else { return };
        if rustix::io::read(watch, &mut events).is_ok_and(|len| len > 0) {
            self.watch_directories();
            self.look_again();
        }
    }

    /// /dev/input itself appears with the first device.
    fn watch_directories(&self) {
        let Some(watch) = &self.watch else { return };
        for directory in ["/dev", "/dev/input"] {
            let _absent = inotify::add_watch(watch, directory, WatchFlags::CREATE);
        }
    }

    fn look_again(&mut self) {
        let Ok(entries) = fs::read_dir("/dev/input") else { return };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let known = self.devices.iter().any(|(device, _)| *device == name);
            if known || self.devices.len() == BUTTONS_MAX || !name.starts_with("event") {
                continue;
            }
            let keys = format!("/sys/class/input/{name}/device/capabilities/key");
            let has_power = fs::read_to_string(keys).is_ok_and(|text| has_key(&text, KEY_POWER));
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if has_power && let Ok(fd) = rustix::fs::open(entry.path(), flags, Mode::empty()) {
                self.devices.push((name, fd));
            }
        }
    }

    /// Reads what the devices have; `true` when a power key went down. Devices that are gone are closed.
    pub fn read_pressed(&mut self) -> bool {
        let mut pressed = false;
        self.devices.retain(|(_, fd)| {
            let mut events = [0; 32 * EVENT_LEN];
            match rustix::io::read(fd, &mut events) {
                Ok(len) => {
                    pressed |= events.get(..len).unwrap_or_default().chunks_exact(EVENT_LEN).any(is_press);
                    len > 0
                }
                Err(error) => error == rustix::io::Errno::AGAIN || error == rustix::io::Errno::INTR,
            }
        });
        pressed
    }
}

/// EV_KEY of KEY_POWER with value 1: down, not up and not a repeat.
fn is_press(event: &[u8]) -> bool {
    const EV_KEY: u16 = 1;
    event.get(16..18) == Some(&EV_KEY.to_ne_bytes())
        && event.get(18..20) == Some(&KEY_POWER.to_ne_bytes())
        && event.get(20..24) == Some(&1_i32.to_ne_bytes())
}

/// Whether a bitmap of sysfs has a bit: words in hexadecimal, the highest first, 64 bits each.
fn has_key(bitmap: &str, key: u16) -> bool {
    let word = bitmap.split_whitespace().rev().nth(usize::from(key) / 64);
    word.and_then(|word| u64::from_str_radix(word, 16).ok()).is_some_and(|bits| bits >> (key % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps_of_real_devices() {
        for (bitmap, expected) in [
            ("10000000000000 0", true), // ACPI power button
            ("402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe", true), // AT keyboard
            ("1f0000 0 0 0 0", false),  // mouse
            ("0", false),
            ("", false),
            ("x 0", false),
        ] {
            assert_eq!(has_key(bitmap, KEY_POWER), expected, "{bitmap}");
        }
    }

    #[test]
    fn only_going_down_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut bytes = [0; EVENT_LEN];
            bytes[16..18].copy_from_slice(&kind.to_ne_bytes());
            bytes[18..20].copy_from_slice(&code.to_ne_bytes());
            bytes[20..24].copy_from_slice(&value.to_ne_bytes());
            bytes
        };
        assert!(is_press(&event(1, 116, 1)));
        for other in [event(1, 116, 0), event(1, 116, 2), event(1, 115, 1), event(2, 116, 1)] {
            assert!(!is_press(&other));
        }
    }
}
