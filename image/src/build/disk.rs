//! `disk.raw`: what is written to a disk as it is, and boots through UEFI firmware.
//!
//! ```text
//! 1 MiB    EFI system partition, FAT32: systemd-boot, its configuration, slot 1
//! 257 MiB  factory store, with spare room: a later build of about the same size finds the partitions where they are
//! …        data partition, last, small: the node gives it the rest of the disk at boot
//! ```
//!
//! The file is sparse. Names of slots and what the loader makes of them: docs/install.md.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use berth_units::gpt::{ALIGNMENT, KIND_ESP, KIND_LINUX, Partition, SECTOR, Table};
use berth_units::wire::image::{DATA_LABEL, FACTORY_LABEL};

use super::fat;
use crate::digest::Digest;

const MIB: u64 = 1 << 20;
const ESP: u64 = 256 * MIB;
/// Spare room of the factory partition, and what its size is a multiple of.
const FACTORY_SPARE: u64 = 16 * MIB;
const FACTORY_STEP: u64 = 64 * MIB;
/// What is copied at once; pieces of zeros are left out.
const PIECE: usize = 64 << 10;

/// The first slot; the next ones count up.
const SLOT: &str = "EFI/Linux/berth_1.efi";
/// Where firmware looks on a disk that it has not met (UEFI 2.10, 3.5.1.1).
#[cfg(target_arch = "x86_64")]
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
#[cfg(target_arch = "aarch64")]
const LOADER: &str = "EFI/BOOT/BOOTAA64.EFI";
/// loader.conf(5): no menu, nothing to type, no entries but ours.
const CONFIG: &str = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\nsecure-boot-enroll off\n";

/// What goes onto the disk.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// systemd-boot.
    pub loader: &'a [u8],
    /// The first slot.
    pub uki: &'a [u8],
    /// Factory store and its bytes.
    pub factory: (&'a File, u64),
    /// File system of the data partition and its bytes.
    pub data: (&'a File, u64),
}

/// Writes it all into an empty file; gives its bytes.
pub fn write(disk: &File, parts: &Parts<'_>) -> io::Result<u64> {
    let factory = (parts.factory.1 + FACTORY_SPARE).next_multiple_of(FACTORY_STEP);
    let data = parts.data.1.next_multiple_of(MIB);
    let starts = [MIB, MIB + ESP, MIB + ESP + factory];
    let size = starts[2] + data + MIB;
    disk.set_len(size)?;
    // GUIDs only have to differ from those of other disks; these are of what is on it.
    let seed = Digest::of(parts.uki).to_string();
    let id = |what: &str| guid(&Digest::of(format!("{seed} {what} {size}").as_bytes()).to_string());
    let partition = |name: &str, kind, start: u64, size: u64| {
        let sectors = start / SECTOR..(start + size) / SECTOR;
        Some(Partition { kind, id: id(name), sectors, attributes: 0, name: name.to_owned() })
    };
    let table = Table {
        id: id("disk"),
        sectors: size / SECTOR,
        partitions: vec![
            partition("berth-esp", KIND_ESP, starts[0], ESP),
            partition(FACTORY_LABEL, KIND_LINUX, starts[1], factory),
            partition(DATA_LABEL, KIND_LINUX, starts[2], data),
        ],
    };
    debug_assert!(starts.iter().all(|start| start % (ALIGNMENT * SECTOR) == 0));
    let (start, end) = (table.start(), table.end());
    disk.write_all_at(&start, 0)?;
    disk.write_all_at(&end, size - end.len() as u64)?;
    let files: [(&str, &[u8]); 3] =
        [(LOADER, parts.loader), ("loader/loader.conf", CONFIG.as_bytes()), (SLOT, parts.uki)];
    let serial = id("serial");
    let serial = u32::from_le_bytes([serial[0], serial[1], serial[2], serial[3]]);
    fat::write(disk, fat::Place { offset: starts[0], size: ESP, id: serial }, "BERTH-ESP", &files)?;
    copy(parts.factory, disk, starts[1])?;
    copy(parts.data, disk, starts[2])?;
    Ok(size)
}

/// A version 8 GUID (RFC 9562) of the digest's first digits.
fn guid(digest: &str) -> [u8; 16] {
    let digits = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    let mut id = u128::from_str_radix(digits.get(..32).unwrap_or("0"), 16).unwrap_or(0).to_le_bytes();
    id[7] = id[7] & 0x0F | 0x80;
    id[8] = id[8] & 0x3F | 0x80;
    id
}

fn copy((from, size): (&File, u64), to: &File, offset: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        let len = PIECE.min((size - at) as usize);
        let bytes = piece.get_mut(..len).unwrap_or_default();
        from.read_exact_at(bytes, at)?;
        if bytes.iter().any(|byte| *byte != 0) {
            to.write_all_at(bytes, offset + at)?;
        }
        at += len as u64;
    }
    Ok(())
}
