//! Unified kernel images: systemd's EFI stub with sections added behind its own.
//!
//! What the sections mean: <https://uapi-group.org/specifications/specs/unified_kernel_image/>. The format is PE32+
//! (Microsoft's "PE Format"); the stub leaves room in its headers for entries of more sections. What the kernel is, is
//! not looked at: the stub checks that.

/// CNT_INITIALIZED_DATA | MEM_READ.
const READABLE: u32 = 0x4000_0040;
/// Bytes of an entry of the section table.
const ENTRY: usize = 40;

/// One section to add.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// At most 8 bytes, with the dot.
    pub name: &'static str,
    /// What it holds.
    pub content: &'a [u8],
}

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UkiError {
    /// Not PE32+, or cut short.
    #[error("it is no EFI program of 64 bits")]
    NotPe,
    /// The headers are full.
    #[error("its headers have no room for more sections")]
    NoRoom,
    /// More than 4 GiB.
    #[error("kernel and initrd are too large for an EFI program")]
    TooLarge,
}

/// The stub with these sections, in this order.
pub fn uki(stub: &[u8], sections: &[Section<'_>]) -> Result<Vec<u8>, UkiError> {
    let pe = Headers::find(stub)?;
    if pe.table + ENTRY * (pe.count + sections.len()) > pe.headers_size {
        return Err(UkiError::NoRoom);
    }
    let mut image = stub.to_vec();
    // Nothing may lie behind the last section: a signature, debug data.
    image.truncate(pe.file_end(stub)?);
    let mut address = pe.memory_end(stub)?.next_multiple_of(pe.section_alignment);
    for (number, section) in sections.iter().enumerate() {
        let place = image.len().next_multiple_of(pe.file_alignment);
        image.resize(place, 0);
        image.extend(section.content);
        image.resize(image.len().next_multiple_of(pe.file_alignment), 0);
        let size = image.len() - place;
        let at = pe.table + ENTRY * (pe.count + number);
        put(&mut image, at, section.name.as_bytes());
        for (offset, value) in [(8, section.content.len()), (12, address), (16, size), (20, place)] {
            put(&mut image, at + offset, &small(value)?);
        }
        put(&mut image, at + 36, &READABLE.to_le_bytes());
        address = (address + section.content.len()).next_multiple_of(pe.section_alignment);
    }
    let count = u16::try_from(pe.count + sections.len()).map_err(|_| UkiError::NoRoom)?;
    put(&mut image, pe.start + 6, &count.to_le_bytes());
    put(&mut image, pe.optional + 56, &small(address)?);
    // The checksum is of the stub; no firmware looks at it.
    put(&mut image, pe.optional + 64, &[0; 4]);
    Ok(image)
}

/// The release of a Linux kernel, of the version that its boot header points to (Documentation/arch/x86/boot.rst,
/// `kernel_version`); `None` for other formats.
pub fn release(kernel: &[u8]) -> Option<&str> {
    if kernel.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    let text = kernel.get(0x200 + usize::from(u16_at(kernel, 0x20E).ok()?)..)?;
    let len = text.iter().take(128).position(|byte| byte.is_ascii_whitespace() || *byte == 0)?;
    std::str::from_utf8(text.get(..len)?).ok()
}

/// Where things are in an EFI program.
#[derive(Clone, Copy, Debug)]
struct Headers {
    /// Of the PE signature.
    start: usize,
    optional: usize,
    table: usize,
    count: usize,
    section_alignment: usize,
    file_alignment: usize,
    headers_size: usize,
}

impl Headers {
    fn find(pe: &[u8]) -> Result<Self, UkiError> {
        let start = u32_at(pe, 0x3C)?;
        let optional = start + 24;
        let is_pe = pe.get(start..start + 4) == Some(b"PE\0\0") && u16_at(pe, optional)? == 0x20B;
        let headers = Self {
            start,
            optional,
            table: optional + usize::from(u16_at(pe, start + 20)?),
            count: usize::from(u16_at(pe, start + 6)?),
            section_alignment: u32_at(pe, optional + 32)?,
            file_alignment: u32_at(pe, optional + 36)?,
            headers_size: u32_at(pe, optional + 60)?,
        };
        let aligned = headers.section_alignment.is_power_of_two() && headers.file_alignment.is_power_of_two();
        let fits = headers.headers_size <= pe.len();
        if is_pe && aligned && fits { Ok(headers) } else { Err(UkiError::NotPe) }
    }

    fn sections(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |number| self.table + ENTRY * number)
    }

    fn memory_end(self, pe: &[u8]) -> Result<usize, UkiError> {
        let end = |at| Ok(u32_at(pe, at + 12)? + u32_at(pe, at + 8)?);
        self.sections().map(end).try_fold(self.headers_size, |last, end| Ok(last.max(end?)))
    }

    fn file_end(self, pe: &[u8]) -> Result<usize, UkiError> {
        let end = |at| Ok(u32_at(pe, at + 20)? + u32_at(pe, at + 16)?);
        let end = self.sections().map(end).try_fold(self.headers_size, |last, end| Ok(last.max(end?)))?;
        if end <= pe.len() { Ok(end) } else { Err(UkiError::NotPe) }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, UkiError> {
    let part = bytes.get(at..at + 2).and_then(|part| part.try_into().ok());
    part.map(u16::from_le_bytes).ok_or(UkiError::NotPe)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<usize, UkiError> {
    let part = bytes.get(at..at + 4).and_then(|part| part.try_into().ok());
    part.map(|part| u32::from_le_bytes(part) as usize).ok_or(UkiError::NotPe)
}

fn small(value: usize) -> Result<[u8; 4], UkiError> {
    u32::try_from(value).map(u32::to_le_bytes).map_err(|_| UkiError::TooLarge)
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + part.len()) {
        place.copy_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An EFI program of one section of 5 bytes, with room for `room` more.
    fn stub(room: usize) -> Vec<u8> {
        let mut pe = vec![0; 0x400];
        put(&mut pe, 0x3C, &0x80_u32.to_le_bytes());
        put(&mut pe, 0x80, b"PE\0\0\x64\x86\x01\0");
        put(&mut pe, 0x80 + 20, &240_u16.to_le_bytes());
        let optional = 0x98;
        put(&mut pe, optional, &0x20B_u16.to_le_bytes());
        let headers = optional + 240 + ENTRY * (1 + room);
        for (at, value) in [(32, 0x1000), (36, 0x200), (56, 0x2000), (60, headers), (64, 77)] {
            put(&mut pe, optional + at, &(value as u32).to_le_bytes());
        }
        put(&mut pe, optional + 240, b".text\0\0\0");
        for (at, value) in [(8, 5_u32), (12, 0x1000), (16, 0x200), (20, 0x400)] {
            put(&mut pe, optional + 240 + at, &value.to_le_bytes());
        }
        pe.extend(b"ABCDE");
        pe.resize(0x600, 0);
        pe.extend(b"trailing");
        pe
    }

    #[test]
    fn sections_are_added_behind_the_stubs_own() {
        let linux = vec![7; 0x1234];
        let sections =
            [Section { name: ".osrel", content: b"ID=x\n" }, Section { name: ".linux", content: &linux }];
        let image = uki(&stub(2), &sections).unwrap();
        let pe = Headers::find(&image).unwrap();
        assert_eq!(pe.count, 3);
        let field = |number: usize, at| u32_at(&image, pe.table + ENTRY * number + at).unwrap();
        assert_eq!([8, 12, 16, 20].map(|at| field(1, at)), [5, 0x2000, 0x200, 0x600]);
        assert_eq!([8, 12, 16, 20].map(|at| field(2, at)), [0x1234, 0x3000, 0x1400, 0x800]);
        assert_eq!(&image[pe.table + ENTRY..][..8], b".osrel\0\0");
        assert_eq!((&image[0x400..0x405], &image[0x600..0x605]), (&b"ABCDE"[..], &b"ID=x\n"[..]));
        assert_eq!(&image[0x800..0x800 + linux.len()], linux);
        assert_eq!(image.len(), 0x800 + 0x1400);
        assert_eq!((u32_at(&image, pe.optional + 56), u32_at(&image, pe.optional + 64)), (Ok(0x5000), Ok(0)));
    }

    #[test]
    fn what_is_no_stub_is_refused() {
        let one = [Section { name: ".linux", content: b"" }];
        assert_eq!(uki(&stub(0), &one), Err(UkiError::NoRoom));
        assert_eq!(uki(b"MZ", &one), Err(UkiError::NotPe));
        assert_eq!(uki(&stub(1)[..0x500], &one), Err(UkiError::NotPe));
        let mut other = stub(1);
        other[0x98] = 0x0A;
        assert_eq!(uki(&other, &one), Err(UkiError::NotPe));
    }

    #[test]
    fn the_release_stands_in_the_boot_header() {
        let mut kernel = vec![0; 0x400];
        put(&mut kernel, 0x202, b"HdrS");
        put(&mut kernel, 0x20E, &0x100_u16.to_le_bytes());
        put(&mut kernel, 0x300, b"6.12.1-cloud (someone@somewhere) #1");
        assert_eq!(release(&kernel), Some("6.12.1-cloud"));
        assert_eq!(release(b"a kernel"), None);
    }
}
