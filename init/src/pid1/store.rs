//! Descriptors kept for the supervisor over its restarts: a table of fixed size.
//!
//! PID 1 does not know what they are. A place is never moved, so a position in the table stays valid while the
//! table changes: that is how they are sent one by one to a new supervisor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use berth_units::wire::init::FdName;

/// Descriptors kept at the most: some six for each of 300 containers.
pub const KEPT_MAX: usize = 2048;

/// The table.
pub struct FdStore(Box<[Option<(FdName, OwnedFd)>]>);

impl Default for FdStore {
    fn default() -> Self {
        Self((0..KEPT_MAX).map(|_| None).collect())
    }
}

impl FdStore {
    /// Keeps `fd` under `name` and closes what had that name; `false` when there is no place: `fd` is closed.
    pub fn keep(&mut self, name: FdName, fd: OwnedFd) -> bool {
        let index = self.position(&name).or_else(|| self.0.iter().position(Option::is_none));
        match index.and_then(|index| self.0.get_mut(index)) {
            Some(place) => {
                *place = Some((name, fd));
                true
            }
            None => false,
        }
    }

    /// Closes what has that name.
    pub fn forget(&mut self, name: &FdName) {
        if let Some(place) = self.position(name).and_then(|index| self.0.get_mut(index)) {
            *place = None;
        }
    }

    /// Closes everything but what could make us wait: a socket that others write to may hold one of theirs, with
    /// SO_LINGER. The machine ends with it.
    pub fn clear(&mut self) {
        for (name, fd) in self.0.iter_mut().filter_map(Option::take) {
            if ["notify/", "socket/"].iter().any(|theirs| name.as_str().starts_with(theirs)) {
                std::mem::forget(fd);
            }
        }
    }

    /// The first kept descriptor at or after a position: its position, name and descriptor.
    pub fn next_from(&self, start: usize) -> Option<(usize, &FdName, BorrowedFd<'_>)> {
        self.0.iter().enumerate().skip(start).find_map(|(index, place)| {
            let (name, fd) = place.as_ref()?;
            Some((index, name, fd.as_fd()))
        })
    }

    fn position(&self, name: &FdName) -> Option<usize> {
        self.0.iter().position(|place| matches!(place, Some((kept, _)) if kept == name))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};

    use super::*;

    fn name(text: &str) -> FdName {
        FdName::new(text).unwrap()
    }

    #[test]
    fn keeping_replaces_and_closes() {
        let mut store = FdStore::default();
        let (mut reader, writer) = pipe().unwrap();
        assert!(store.keep(name("a"), writer.into()));
        assert!(store.keep(name("a"), pipe().unwrap().1.into()));
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0, "the replaced end is closed");
        let (index, kept, _) = store.next_from(0).unwrap();
        assert_eq!((index, kept.as_str()), (0, "a"));
        assert!(store.next_from(1).is_none());
        store.forget(&name("b"));
        store.forget(&name("a"));
        assert!(store.next_from(0).is_none());
    }

    #[test]
    fn a_full_table_refuses() {
        let mut store = FdStore::default();
        let (reader, _writer) = pipe().unwrap();
        let fd = OwnedFd::from(reader);
        let refused = (0..=KEPT_MAX).find(|i| !store.keep(name(&i.to_string()), fd.try_clone().unwrap()));
        assert_eq!(refused, Some(KEPT_MAX));
        assert!(store.keep(name("7"), fd.try_clone().unwrap()), "one of the same name has its place");
        store.clear();
        assert!(store.next_from(0).is_none());
    }
}
