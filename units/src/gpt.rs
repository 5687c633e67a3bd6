//! GUID partition tables, as bytes: what the builder writes and what the node changes when a disk has grown.
//!
//! UEFI specification 2.10, section 5.3. Sectors are of 512 bytes, tables of 128 entries of 128 bytes: what every tool
//! writes. Anything else is refused, for the node writes back what it has read.

use std::ops::Range;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Partitions begin and end at multiples of 1 MiB.
pub const ALIGNMENT: u64 = (1 << 20) / SECTOR;
/// Sectors at the start of a disk: MBR, header, entries. The copy at the end has no MBR.
pub const START_SECTORS: u64 = 2 + ENTRY_SECTORS;

/// C12A7328-F81F-11D2-BA4B-00A0C93EC93B as it lies on disk: the EFI system partition.
pub const KIND_ESP: [u8; 16] =
    [0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B];
/// 0FC63DAF-8483-4772-8E79-3D69D8477DE4: a Linux file system.
pub const KIND_LINUX: [u8; 16] =
    [0xAF, 0x3D, 0xC6, 0x0F, 0x83, 0x84, 0x72, 0x47, 0x8E, 0x79, 0x3D, 0x69, 0xD8, 0x47, 0x7D, 0xE4];

const ENTRIES: usize = 128;
const ENTRY: usize = 128;
const ENTRY_SECTORS: u64 = (ENTRIES * ENTRY) as u64 / SECTOR;
const HEADER: usize = 92;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x1_0000;

/// Why bytes are not a table that can be written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GptError {
    /// Not there, or too short.
    #[error("there is no partition table")]
    Absent,
    /// A checksum is wrong.
    #[error("the partition table is damaged")]
    Damaged,
    /// Another number or size of entries, or a table elsewhere.
    #[error("the partition table has a layout that is not known")]
    Unknown,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Type, as it lies on disk.
    pub kind: [u8; 16],
    /// Its own GUID.
    pub id: [u8; 16],
    /// Sectors; the table has the last one in place of the end.
    pub sectors: Range<u64>,
    /// Attribute bits.
    pub attributes: u64,
    /// At most 36 UTF-16 units.
    pub name: String,
}

/// A whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The disk's GUID.
    pub id: [u8; 16],
    /// Sectors of the disk.
    pub sectors: u64,
    /// By the number of their entry, from 0.
    pub partitions: Vec<Option<Partition>>,
}

impl Table {
    /// The first [`START_SECTORS`] of the disk: protective MBR, header, entries.
    pub fn start(&self) -> Vec<u8> {
        let entries = self.entries();
        let mut bytes = self.protective_mbr();
        bytes.extend(self.header(&entries, 1, self.sectors - 1, 2));
        bytes.extend(entries);
        bytes
    }

    /// The last sectors of the disk, entries and header.
    pub fn end(&self) -> Vec<u8> {
        let mut bytes = self.entries();
        let header = self.header(&bytes, self.sectors - 1, 1, self.sectors - 1 - ENTRY_SECTORS);
        bytes.extend(header);
        bytes
    }

    /// Reads the first [`START_SECTORS`] of a disk.
    pub fn parse(start: &[u8]) -> Result<Self, GptError> {
        let header = start.get(SECTOR as usize..2 * SECTOR as usize).ok_or(GptError::Absent)?;
        if header.get(..8) != Some(SIGNATURE) {
            return Err(GptError::Absent);
        }
        let known = u32_at(header, 12) == HEADER as u32
            && u64_at(header, 24) == 1
            && u64_at(header, 72) == 2
            && u32_at(header, 80) == ENTRIES as u32
            && u32_at(header, 84) == ENTRY as u32;
        if !known {
            return Err(GptError::Unknown);
        }
        let from = 2 * SECTOR as usize;
        let entries = start.get(from..from + ENTRIES * ENTRY).ok_or(GptError::Absent)?;
        let mut summed = header.get(..HEADER).unwrap_or_default().to_vec();
        put(&mut summed, 16, &[0; 4]);
        if crc32(&summed) != u32_at(header, 16) || crc32(entries) != u32_at(header, 88) {
            return Err(GptError::Damaged);
        }
        let mut partitions: Vec<_> = entries.chunks(ENTRY).map(parse_entry).collect();
        while partitions.last() == Some(&None) {
            partitions.pop();
        }
        let sectors = u64_at(header, 32).checked_add(1).ok_or(GptError::Unknown)?;
        // Whatever is written from this must have room for both copies.
        let end = partitions.iter().flatten().map(|partition| partition.sectors.end).max().unwrap_or(0);
        if sectors < 2 * START_SECTORS || end > sectors - ENTRY_SECTORS - 1 {
            return Err(GptError::Unknown);
        }
        Ok(Self { id: guid_at(header, 56), sectors, partitions })
    }

    /// The table of a disk that has become larger: the partition that begins at that sector, if none comes after it,
    /// takes the new room. `None` where there is nothing to change.
    pub fn grown(&self, sectors: u64, first: u64) -> Option<Self> {
        let mut table = self.clone();
        let end = (sectors.checked_sub(ENTRY_SECTORS + 1)? / ALIGNMENT) * ALIGNMENT;
        let last = table.partitions.iter_mut().flatten().max_by_key(|partition| partition.sectors.start)?;
        if last.sectors.start != first || sectors <= self.sectors {
            return None;
        }
        last.sectors.end = last.sectors.end.max(end);
        table.sectors = sectors;
        Some(table)
    }

    fn entries(&self) -> Vec<u8> {
        let mut bytes = vec![0; ENTRIES * ENTRY];
        for (entry, partition) in bytes.chunks_mut(ENTRY).zip(&self.partitions) {
            let Some(partition) = partition else { continue };
            put(entry, 0, &partition.kind);
            put(entry, 16, &partition.id);
            put(entry, 32, &partition.sectors.start.to_le_bytes());
            put(entry, 40, &(partition.sectors.end - 1).to_le_bytes());
            put(entry, 48, &partition.attributes.to_le_bytes());
            let name: Vec<u8> = partition.name.encode_utf16().take(36).flat_map(u16::to_le_bytes).collect();
            put(entry, 56, &name);
        }
        bytes
    }

    fn header(&self, entries: &[u8], own: u64, other: u64, entries_at: u64) -> Vec<u8> {
        let mut header = vec![0; SECTOR as usize];
        put(&mut header, 0, SIGNATURE);
        put(&mut header, 8, &REVISION.to_le_bytes());
        put(&mut header, 12, &(HEADER as u32).to_le_bytes());
        let usable = [START_SECTORS, self.sectors - ENTRY_SECTORS - 2];
        for (at, value) in [(24, own), (32, other), (40, usable[0]), (48, usable[1]), (72, entries_at)] {
            put(&mut header, at, &value.to_le_bytes());
        }
        put(&mut header, 56, &self.id);
        put(&mut header, 80, &(ENTRIES as u32).to_le_bytes());
        put(&mut header, 84, &(ENTRY as u32).to_le_bytes());
        put(&mut header, 88, &crc32(entries).to_le_bytes());
        let sum = crc32(header.get(..HEADER).unwrap_or_default());
        put(&mut header, 16, &sum.to_le_bytes());
        header
    }

    /// One partition of type 0xEE over the whole disk, so that old tools see none to change.
    fn protective_mbr(&self) -> Vec<u8> {
        let mut mbr = vec![0; SECTOR as usize];
        let size = u32::try_from(self.sectors - 1).unwrap_or(u32::MAX);
        put(&mut mbr, 446, &[0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0]);
        put(&mut mbr, 458, &size.to_le_bytes());
        put(&mut mbr, 510, &[0x55, 0xAA]);
        mbr
    }
}

fn parse_entry(entry: &[u8]) -> Option<Partition> {
    let (kind, first, last) = (guid_at(entry, 0), u64_at(entry, 32), u64_at(entry, 40));
    if kind == [0; 16] {
        return None;
    }
    let name: Vec<u16> = entry.get(56..)?.chunks(2).map(|unit| u16::from_le_bytes(array(unit, 0))).collect();
    let len = name.iter().position(|unit| *unit == 0).unwrap_or(name.len());
    Some(Partition {
        kind,
        id: guid_at(entry, 16),
        sectors: first..last.saturating_add(1),
        attributes: u64_at(entry, 48),
        name: String::from_utf16_lossy(name.get(..len)?),
    })
}

/// CRC-32 of IEEE 802.3, bit by bit: a table is small.
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

fn guid_at(bytes: &[u8], at: usize) -> [u8; 16] {
    array(bytes, at)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + part.len()) {
        place.copy_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = ALIGNMENT;

    fn table() -> Table {
        let partition = |number: u8, sectors: Range<u64>, name: &str| {
            let (kind, id) = (KIND_LINUX, [number; 16]);
            Some(Partition { kind, id, sectors, attributes: 4, name: name.to_owned() })
        };
        let partitions =
            vec![partition(1, MIB..4 * MIB, "esp"), None, partition(3, 4 * MIB..8 * MIB, "berth-data")];
        Table { id: [9; 16], sectors: 9 * MIB, partitions }
    }

    #[test]
    fn a_table_is_read_back() {
        let start = table().start();
        assert_eq!(start.len() as u64, START_SECTORS * SECTOR);
        assert_eq!(Table::parse(&start), Ok(table()));
        assert_eq!(&start[510..520], b"\x55\xAAEFI PART");
        // The copy's header names itself and the first one, and its entries before it.
        let end = table().end();
        let header = &end[end.len() - 512..];
        assert_eq!((u64_at(header, 24), u64_at(header, 32)), (9 * MIB - 1, 1));
        assert_eq!(u64_at(header, 72), 9 * MIB - 33);
        assert_eq!(&end[..16384], &start[1024..]);
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn damage_and_strange_layouts_are_refused() {
        let start = table().start();
        let with = |at: usize, byte: u8| {
            let mut start = start.clone();
            start[at] = byte;
            Table::parse(&start)
        };
        assert_eq!(with(512, 0), Err(GptError::Absent));
        assert_eq!(with(512 + 57, 1), Err(GptError::Damaged));
        assert_eq!(with(1024 + 33, 1), Err(GptError::Damaged));
        assert_eq!(with(512 + 80, 4), Err(GptError::Unknown));
        assert_eq!(Table::parse(&start[..1000]), Err(GptError::Absent));
        // Right sums over a table that leaves no room for its copy.
        let mut short = table();
        short.sectors = 8 * MIB;
        assert_eq!(Table::parse(&short.start()), Err(GptError::Unknown));
    }

    #[test]
    fn only_the_last_partition_grows() {
        let grown = table().grown(100 * MIB, 4 * MIB).unwrap();
        assert_eq!(grown.sectors, 100 * MIB);
        assert_eq!(grown.partitions[2].as_ref().unwrap().sectors, 4 * MIB..99 * MIB);
        assert_eq!(grown.partitions[0], table().partitions[0]);
        assert_eq!(Table::parse(&grown.start()), Ok(grown.clone()));
        assert_eq!(grown.grown(100 * MIB, 4 * MIB), None);
        assert_eq!(table().grown(100 * MIB, MIB), None);
        assert_eq!(table().grown(5 * MIB, 4 * MIB), None);
        // A little room is none for the partition, but the copy moves to the end.
        let moved = table().grown(9 * MIB + 1, 4 * MIB).unwrap();
        assert_eq!((moved.sectors, &moved.partitions), (9 * MIB + 1, &table().partitions));
    }
}
