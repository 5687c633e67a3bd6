//! What a kernel module says about itself: the `.modinfo` section of its ELF file.
//!
//! The section holds `KEY=VALUE` texts, each ended by NUL. modules.dep and modules.alias are made of the same
//! texts by depmod; reading them here means that the builder needs neither depmod nor its files.

/// What of `.modinfo` matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModInfo {
    /// Names of modules that must be loaded before.
    pub depends: Vec<String>,
    /// Names of modules that should be loaded before (`softdep=pre: …`).
    pub wishes: Vec<String>,
    /// Patterns of devices that it drives.
    pub aliases: Vec<String>,
}

impl ModInfo {
    /// Reads a 64-bit little-endian ELF file; none when it is no such file or has no `.modinfo`.
    pub fn parse(elf: &[u8]) -> Option<Self> {
        let mut info = Self::default();
        let texts = section(elf, b".modinfo")?.split(|byte| *byte == 0);
        for text in texts.filter_map(|text| std::str::from_utf8(text).ok()) {
            match text.split_once('=') {
                Some(("depends", names)) => info.depends.extend(names_of(names, ',')),
                Some(("alias", pattern)) => info.aliases.push(pattern.to_owned()),
                Some(("softdep", text)) => info.wishes.extend(before(text)),
                _ => {}
            }
        }
        Some(info)
    }
}

fn names_of(text: &str, separator: char) -> impl Iterator<Item = String> {
    text.split(separator).filter(|name| !name.is_empty()).map(normal)
}

/// The names behind `pre:`, up to `post:`.
fn before(softdep: &str) -> Vec<String> {
    let (_, pre) = softdep.split_once("pre:").unwrap_or_default();
    names_of(pre.split("post:").next().unwrap_or_default(), ' ').collect()
}

/// The kernel takes `-` and `_` in module names as the same.
pub fn normal(name: &str) -> String {
    name.trim().replace('-', "_")
}

/// A section's bytes, by name (elf(5)).
fn section<'a>(elf: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(number(elf, 40, 8)?).ok()?;
    let entry_size = usize::try_from(number(elf, 58, 2)?).ok()?;
    let count = usize::try_from(number(elf, 60, 2)?).ok()?;
    let names = usize::try_from(number(elf, 62, 2)?).ok()?;
    let header =
        |index: usize| elf.get(table.checked_add(index.checked_mul(entry_size)?)?..)?.get(..entry_size);
    let data = |header: &[u8]| {
        let offset = usize::try_from(number(header, 24, 8)?).ok()?;
        let size = usize::try_from(number(header, 32, 8)?).ok()?;
        elf.get(offset..offset.checked_add(size)?)
    };
    let strings = data(header(names)?)?;
    (0..count).filter_map(header).find_map(|header| {
        let text = strings.get(usize::try_from(number(header, 0, 4)?).ok()?..)?;
        (text.strip_prefix(name)?.first() == Some(&0)).then(|| data(header))?
    })
}

/// A little-endian number of `len` bytes.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let field = bytes.get(at..)?.get(..len)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A module of nothing but `.modinfo`.
    pub(crate) fn elf(texts: &[&str]) -> Vec<u8> {
        let info: Vec<u8> = texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
        let names = b"\0.modinfo\0.shstrtab\0";
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        let sections = [(1u32, 64, info.len()), (10, 64 + info.len(), names.len())];
        elf.extend(&info);
        elf.extend(names);
        let table = elf.len() as u64;
        for (name, offset, size) in sections {
            let mut header = name.to_le_bytes().to_vec();
            header.resize(24, 0);
            header.extend((offset as u64).to_le_bytes());
            header.extend((size as u64).to_le_bytes());
            header.resize(64, 0);
            elf.extend(header);
        }
        elf[40..48].copy_from_slice(&table.to_le_bytes());
        elf[58..64].copy_from_slice(&[64, 0, 2, 0, 1, 0]);
        elf
    }

    #[test]
    fn reads_what_a_module_says() {
        let texts =
            ["license=GPL", "depends=nf-nat,nf_tables", "alias=pci:v*", "softdep=pre: crc32c post: x"];
        let info = ModInfo::parse(&elf(&texts)).unwrap();
        assert_eq!(info.depends, ["nf_nat", "nf_tables"]);
        assert_eq!(info.aliases, ["pci:v*"]);
        assert_eq!(info.wishes, ["crc32c"]);
        assert_eq!(ModInfo::parse(&elf(&["depends="])), Some(ModInfo::default()));
    }

    #[test]
    fn damaged_files_are_none() {
        let whole = elf(&["depends=a"]);
        for len in 0..whole.len() {
            assert_eq!(ModInfo::parse(&whole[..len]), None, "{len}");
        }
    }
}
