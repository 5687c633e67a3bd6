//! Argument and environment arrays as execve(2) takes them.

use std::ffi::{CString, c_char};
use std::ptr;

/// Strings behind a null-terminated array of pointers, with room for one more that becomes known later.
///
/// The pointers are valid as long as the value lives, wherever it is moved: what they point to is on the heap
/// and never resized.
pub(crate) struct Strings {
    strings: Vec<CString>,
    spare: Box<[u8]>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// The array of `strings`, with `spare` bytes kept for one more.
    pub(crate) fn new(strings: Vec<CString>, spare: usize) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.extend([ptr::null(); 2]);
        Self { strings, spare: vec![0; spare].into_boxed_slice(), pointers }
    }

    /// Whether one begins with `prefix`.
    pub(crate) fn has_prefix(&self, prefix: &[u8]) -> bool {
        self.strings.iter().any(|string| string.as_bytes().starts_with(prefix))
    }

    /// Adds the concatenation of `parts` in the room kept for it, without allocating. Says whether there was room;
    /// a part with a NUL is refused too.
    pub(crate) fn set_spare(&mut self, parts: &[&[u8]]) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let bytes = parts.iter().flat_map(|part| part.iter().copied());
        if length >= self.spare.len() || bytes.clone().any(|byte| byte == 0) {
            return false;
        }
        for (to, from) in self.spare.iter_mut().zip(bytes.chain([0])) {
            *to = from;
        }
        if let Some(slot) = self.pointers.get_mut(self.strings.len()) {
            *slot = self.spare.as_ptr().cast();
        }
        true
    }

    /// The array for execve.
    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spare_takes_one_more_and_never_too_much() {
        let mut strings = Strings::new(vec![c"A=1".to_owned()], 8);
        assert!(strings.has_prefix(b"A=") && !strings.has_prefix(b"HOME="));
        assert_eq!(strings.pointers.len(), 3);
        assert!(!strings.set_spare(&[b"HOME=", b"/root"]));
        assert!(!strings.set_spare(&[b"H=", b"\0"]));
        assert!(strings.pointers[1].is_null());
        assert!(strings.set_spare(&[b"HOME=", b"/x"]));
        assert_eq!(&*strings.spare, b"HOME=/x\0");
        assert!(!strings.pointers[1].is_null() && strings.pointers[2].is_null());
    }
}
