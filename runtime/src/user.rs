//! Who a process runs as: names of the unit or the image, looked up in the image's own files.
//!
//! Parsing is pure and does not allocate, because it happens in the child, in the assembled root. The rules are those
//! of the OCI image configuration ("User"): a group that is named leaves out the groups that the image gives to the
//! user. A word of digits is always an id, never a name that looks like one.

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

/// Most supplementary groups that a process gets.
pub(crate) const GROUPS_MAX: usize = 256;

/// Longest /etc/passwd or /etc/group that is read, bytes.
pub(crate) const FILE_MAX: usize = 1 << 20;

/// The ids of a process.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    /// Root, with room for groups.
    pub(crate) fn root() -> Self {
        Self { uid: Uid::ROOT, gid: Gid::ROOT, groups: Vec::with_capacity(GROUPS_MAX) }
    }

    /// Supplementary groups.
    pub(crate) fn groups(&self) -> &[Gid] {
        &self.groups
    }

    /// Pushes within the room that is there.
    fn add_group(&mut self, gid: u32) -> Result<(), Errno> {
        let gid = Gid::from_raw(gid);
        if self.groups.contains(&gid) {
            return Ok(());
        }
        if self.groups.len() == self.groups.capacity() {
            return Err(Errno::TOOBIG);
        }
        self.groups.push(gid);
        Ok(())
    }
}

/// The image's two files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Files<'a> {
    pub(crate) passwd: &'a [u8],
    pub(crate) group: &'a [u8],
}

struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// Looks up `uid[:gid]` or `name[:group]` (empty is root) into `into`. Says the home directory.
///
/// # Errors
/// ENOENT: no such name. EINVAL: no such form, or an id out of range. E2BIG: too many groups.
pub(crate) fn look_up_user<'a>(
    user: &[u8],
    files: Files<'a>,
    into: &mut Identity,
) -> Result<&'a [u8], Errno> {
    let (user, group) = match user.iter().position(|byte| *byte == b':') {
        Some(at) => (user.get(..at).unwrap_or_default(), user.get(at + 1..)),
        None => (user, None),
    };
    let user = if user.is_empty() { b"0" } else { user };
    let account = match parse_id(user)? {
        Some(uid) => accounts(files.passwd).find(|account| account.uid == uid),
        None => Some(accounts(files.passwd).find(|account| account.name == user).ok_or(Errno::NOENT)?),
    };
    let uid = parse_id(user)?.or(account.as_ref().map(|account| account.uid)).ok_or(Errno::NOENT)?;
    into.uid = Uid::from_raw(uid);
    let gid = match group {
        Some(group) => look_up_group(group, files)?,
        None => account.as_ref().map_or(0, |account| account.gid),
    };
    into.gid = Gid::from_raw(gid);
    into.groups.clear();
    if let (None, Some(account)) = (group, &account) {
        for gid in groups_of(files.group, account.name) {
            into.add_group(gid)?;
        }
    }
    Ok(account.map_or(b"/", |account| account.home))
}

/// Adds a supplementary group, id or name.
///
/// # Errors
/// As [`look_up_user`].
pub(crate) fn add_named_group(group: &[u8], files: Files<'_>, into: &mut Identity) -> Result<(), Errno> {
    into.add_group(look_up_group(group, files)?)
}

fn look_up_group(group: &[u8], files: Files<'_>) -> Result<u32, Errno> {
    if let Some(gid) = parse_id(group)? {
        return Ok(gid);
    }
    let mut found = lines(files.group).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let gid = parse_id(fields.nth(1)?).ok()??;
        (name == group).then_some(gid)
    });
    found.next().ok_or(Errno::NOENT)
}

/// A word of digits as an id. (uid_t) -1 means "unchanged" to setresuid(2), so it is none.
fn parse_id(word: &[u8]) -> Result<Option<u32>, Errno> {
    if word.is_empty() {
        return Err(Errno::INVAL);
    }
    if !word.iter().all(u8::is_ascii_digit) {
        return Ok(None);
    }
    let digits = word.iter().map(|byte| u32::from(byte - b'0'));
    let id = digits.into_iter().try_fold(0_u32, |id, digit| id.checked_mul(10)?.checked_add(digit));
    id.filter(|id| *id != u32::MAX).map(Some).ok_or(Errno::INVAL)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// The well-formed lines of /etc/passwd; passwd(5).
fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = parse_id(fields.nth(1)?).ok()??;
        let gid = parse_id(fields.next()?).ok()??;
        let home = fields.nth(1).filter(|home| home.starts_with(b"/")).unwrap_or(b"/");
        Some(Account { name, uid, gid, home })
    })
}

/// The groups that have `user` as a member; group(5).
fn groups_of<'a>(group: &'a [u8], user: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
    lines(group).filter_map(move |line| {
        let mut fields = line.split(|byte| *byte == b':');
        let gid = parse_id(fields.nth(2)?).ok()??;
        let members = fields.next()?;
        members.split(|byte| *byte == b',').any(|member| member == user).then_some(gid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: Files<'static> = Files {
        passwd: b"root:x:0:0:root:/root:/bin/sh\n# no\nbroken:x\nweb:x:101:102:,,:/srv/web:/bin/sh\n1000:x:7:7::/x:\nnohome:x:9:9\n",
        group: b"root:x:0:\nweb:x:102:\ntty:x:5:web,other\nlog:x:6:other,web\nstaff:x:50:\n",
    };

    #[track_caller]
    fn check(user: &str, expect: Result<(u32, u32, &[u32], &str), Errno>) {
        let mut identity = Identity::root();
        let home = look_up_user(user.as_bytes(), FILES, &mut identity);
        let groups: Vec<u32> = identity.groups().iter().map(|gid| gid.as_raw()).collect();
        let got = home.map(|home| {
            (
                identity.uid.as_raw(),
                identity.gid.as_raw(),
                groups.as_slice(),
                std::str::from_utf8(home).unwrap(),
            )
        });
        assert_eq!(got, expect, "{user}");
    }

    #[test]
    fn users_are_looked_up_by_the_rules_of_the_image_spec() {
        check("", Ok((0, 0, &[], "/root")));
        check("web", Ok((101, 102, &[5, 6], "/srv/web")));
        check("101", Ok((101, 102, &[5, 6], "/srv/web")));
        check("web:staff", Ok((101, 50, &[], "/srv/web")));
        check("web:7", Ok((101, 7, &[], "/srv/web")));
        check("4242", Ok((4242, 0, &[], "/")));
        check("4242:staff", Ok((4242, 50, &[], "/")));
        check("nohome", Ok((9, 9, &[], "/")));
    }

    #[test]
    fn digits_are_an_id_even_where_a_name_looks_the_same() {
        check("1000", Ok((1000, 0, &[], "/")));
    }

    #[test]
    fn unknown_and_impossible_users_are_refused() {
        check("nobody", Err(Errno::NOENT));
        check("broken", Err(Errno::NOENT));
        check("web:nogroup", Err(Errno::NOENT));
        check("web:", Err(Errno::INVAL));
        check("4294967295", Err(Errno::INVAL));
        check("99999999999", Err(Errno::INVAL));
        check("0:4294967295", Err(Errno::INVAL));
        check("-1", Err(Errno::NOENT));
    }

    #[test]
    fn groups_are_added_once_and_never_without_room() {
        let mut identity = Identity::root();
        for group in ["staff", "50", "7"] {
            add_named_group(group.as_bytes(), FILES, &mut identity).unwrap();
        }
        assert_eq!(identity.groups().len(), 2);
        let many = (0..300_u32).try_for_each(|gid| identity.add_group(gid));
        assert_eq!(many, Err(Errno::TOOBIG));
        assert_eq!(identity.groups().len(), GROUPS_MAX);
    }
}
