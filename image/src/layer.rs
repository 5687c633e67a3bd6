//! From the tar stream of a layer to a [`Tree`] that overlayfs can use as a lower directory.
//!
//! What a layer says (OCI image-spec, layer.md) becomes what overlayfs understands
//! (Documentation/filesystems/overlayfs.rst): `.wh.NAME` is a character device 0:0, `.wh..wh..opq` the extended
//! attribute trusted.overlay.opaque on its directory. Names are normalised as every other tool does it: a leading
//! `/` or `./` is dropped; `..` is refused. Symbolic links are kept verbatim and never followed: an entry below
//! one is refused. A hard link must name an entry of the same layer that came before it. Of entries with the
//! same name the last one counts. Of extended attributes `security.capability` and `user.*` are kept.
//!
//! A directory that only its entries mention is *implied*: some tools write what has changed and not what is above
//! it. As the upper directory is the one whose metadata counts, an implied one has to repeat that of the layers below
//! ([`Layer::inherit`]); without one there it has mode 0755 and root as owner. A layer on other layers may so become
//! another tree, and is then stored under another name ([`Layer::id`]).

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::extent::Extent;
use crate::tarfile::{End, Entries, Entry, Kind, TarError, shown};
use crate::tree::{Body, Content, Meta, Node, NodeId, Tree, TreeError};

/// Most entries of a layer, implied directories counted.
const MAX_ENTRIES: usize = 1_000_000;
/// Longest component of a path, as NAME_MAX.
const MAX_NAME: usize = 255;
/// Most bytes of extended attributes on one inode, names and values.
const MAX_XATTRS: usize = 64 << 10;

/// Most bytes of names, link targets and extended attributes of a layer: what is held in memory.
const MAX_HELD: usize = 256 << 20;

/// What an entry takes beside that, about, bytes.
const NODE: usize = 256;

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const OPAQUE_XATTR: &[u8] = b"trusted.overlay.opaque";

/// Why a layer is refused.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// It is no proper tar stream.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry is not acceptable.
    #[error("entry '{path}' {fault}")]
    Entry {
        /// Its path as written.
        path: String,
        /// What is wrong with it.
        fault: EntryFault,
    },
    /// Too many entries.
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooMany,
    /// Too much besides the contents of files.
    #[error("its names and attributes have more than {} MiB", MAX_HELD >> 20)]
    TooMuch,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// `..` in its path.
    #[error("leaves the root")]
    LeavesRoot,
    /// A component is too long.
    #[error("has a name of more than {MAX_NAME} bytes")]
    LongName,
    /// One of its parents is a file or a symbolic link.
    #[error("is below a non-directory")]
    BelowNonDirectory,
    /// The root is something else than a directory.
    #[error("would replace the root")]
    Root,
    /// A whiteout of nothing, or as a directory of others.
    #[error("is not a proper whiteout")]
    Whiteout,
    /// The target leaves the root.
    #[error("is a hard link to '{0}', which leaves the root")]
    LinkLeavesRoot(String),
    /// The target is not in this layer.
    #[error("is a hard link to '{0}', which this layer does not hold before it")]
    LinkTarget(String),
    /// The target is a directory.
    #[error("is a hard link to the directory '{0}'")]
    LinkToDirectory(String),
    /// The owner does not fit 32 bits.
    #[error("has an owner or group beyond 32 bits")]
    Owner,
    /// Device numbers beyond what Linux has: 12 bits major, 20 bits minor.
    #[error("has a device number that does not exist")]
    Device,
    /// A symbolic link to nothing.
    #[error("is a symbolic link without a target")]
    EmptySymlink,
    /// Extended attributes beyond the bounds.
    #[error("has too many or too long extended attributes")]
    Xattrs,
}

impl From<TreeError> for EntryFault {
    fn from(_: TreeError) -> Self {
        Self::BelowNonDirectory
    }
}

/// One layer, as overlayfs takes it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Digest of its tar stream.
    pub diff_id: Digest,
    /// Bytes of its tar stream.
    pub size: u64,
    /// Its files.
    pub tree: Tree,
    /// Implied directories by path.
    implied: BTreeMap<Vec<u8>, NodeId>,
    /// Bytes of names, link targets and extended attributes, not less than there are.
    held: usize,
}

impl Layer {
    /// Reads a whole layer, unpacked; `diff_id` is its digest, which the caller has checked.
    pub fn read(tar: Extent, diff_id: Digest) -> Result<Self, LayerError> {
        let implied = BTreeMap::from([(Vec::new(), Tree::ROOT)]);
        let mut layer = Self { diff_id, size: tar.len(), tree: Tree::default(), implied, held: 0 };
        for (count, entry) in Entries::new(tar, End::Data).enumerate() {
            if count >= MAX_ENTRIES || layer.tree.len() > MAX_ENTRIES {
                return Err(LayerError::TooMany);
            }
            let entry = entry?;
            let (path, len, nodes) = (entry.shown(), entry.path.len(), layer.tree.len());
            layer.held += entry.link.len() + entry.xattrs.values().map(Vec::len).sum::<usize>();
            layer.add(entry).map_err(|fault| LayerError::Entry { path, fault })?;
            // An implied directory is remembered with its path.
            layer.held += len * (1 + layer.tree.len() - nodes);
            if layer.held > MAX_HELD {
                return Err(LayerError::TooMuch);
            }
        }
        Ok(layer)
    }

    /// A layer that was stored, of which only the directories are known.
    pub fn of_directories(tree: Tree, diff_id: Digest) -> Self {
        Self { diff_id, size: 0, tree, implied: BTreeMap::new(), held: 0 }
    }

    /// Bytes of memory that it takes, about.
    pub fn memory(&self) -> usize {
        self.held + self.tree.len() * NODE
    }

    /// Whether it has directories whose metadata the layers below have to say.
    pub fn has_implied(&self) -> bool {
        !self.implied.is_empty()
    }

    /// Lets go of the contents of files: what is left serves [`Self::inherit`] of others.
    pub fn forget_contents(&mut self) {
        self.tree.forget_contents();
    }

    /// Gives implied directories the metadata that they have in the layers below, the nearest one first.
    pub fn inherit<'a>(&mut self, below: impl Iterator<Item = &'a Self> + Clone) {
        for (path, id) in &self.implied {
            let mut meta = below.clone().find_map(|layer| layer.look_up(path)).flatten();
            let meta = meta.take().unwrap_or_else(|| Meta::root(0o755));
            set_directory_meta(&mut self.tree, *id, meta);
        }
    }

    /// What this layer says about a directory: nothing (look further down), that there is none (stop looking), or
    /// its metadata.
    fn look_up(&self, path: &[u8]) -> Option<Option<Meta>> {
        let mut at = Tree::ROOT;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            at = match self.tree.child(at, name) {
                Some(child) if self.tree.entries(child).is_some() => child,
                Some(_) => return Some(None),
                None => return is_opaque(&self.tree, at).then_some(None),
            };
        }
        let mut meta = self.tree.node(at).meta.clone();
        meta.xattrs.remove(OPAQUE_XATTR);
        Some(Some(meta))
    }

    /// Names the tree that it is now: its diff_id, where nothing has been inherited.
    pub fn id(&self) -> Digest {
        let metas = self.implied.iter().map(|(path, id)| (path, &self.tree.node(*id).meta));
        let inherited: Vec<_> = metas.filter(|(_, meta)| **meta != Meta::root(0o755)).collect();
        if inherited.is_empty() {
            return self.diff_id;
        }
        Digest::of(format!("{} {inherited:?}", self.diff_id).as_bytes())
    }

    fn add(&mut self, entry: Entry) -> Result<(), EntryFault> {
        let tree = &mut self.tree;
        let path = entry.path.clone();
        let mut components = components(&path)?;
        let Some(name) = components.pop() else {
            set_root(tree, &entry)?;
            self.implied.remove(&b""[..]);
            return Ok(());
        };
        if components.iter().any(|component| component.starts_with(WHITEOUT)) {
            return Err(EntryFault::Whiteout);
        }
        let parent = ensure_directories(tree, &components, &mut self.implied)?;
        if name == OPAQUE {
            mark_opaque(tree, parent);
            return Ok(());
        }
        if name.starts_with(WHITEOUT_META) {
            return Ok(()); // bookkeeping of aufs, without a meaning elsewhere
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return add_whiteout(tree, parent, hidden);
        }
        components.push(name);
        self.implied.remove(&components.join(&b'/'));
        if entry.kind == Kind::HardLink {
            return add_hard_link(tree, parent, name, &entry.link);
        }
        add_node(tree, parent, name, entry)
    }
}

/// Splits and normalises; empty is the root.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, EntryFault> {
    let components: Vec<_> =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if components.contains(&&b".."[..]) {
        return Err(EntryFault::LeavesRoot);
    }
    if components.iter().any(|part| part.len() > MAX_NAME) {
        return Err(EntryFault::LongName);
    }
    Ok(components)
}

fn set_root(tree: &mut Tree, entry: &Entry) -> Result<(), EntryFault> {
    if entry.kind != Kind::Directory {
        return Err(EntryFault::Root);
    }
    set_directory_meta(tree, Tree::ROOT, meta(entry)?);
    Ok(())
}

/// New metadata for a directory; that it is opaque was not said by its entry and stays.
fn set_directory_meta(tree: &mut Tree, id: NodeId, mut meta: Meta) {
    let node = tree.node_mut(id);
    if let Some(opaque) = node.meta.xattrs.remove(OPAQUE_XATTR) {
        meta.xattrs.insert(OPAQUE_XATTR.to_vec(), opaque);
    }
    node.meta = meta;
}

fn mark_opaque(tree: &mut Tree, directory: NodeId) {
    tree.node_mut(directory).meta.xattrs.insert(OPAQUE_XATTR.to_vec(), b"y".to_vec());
}

fn is_opaque(tree: &Tree, directory: NodeId) -> bool {
    tree.node(directory).meta.xattrs.contains_key(OPAQUE_XATTR)
}

fn is_whiteout(tree: &Tree, id: NodeId) -> bool {
    matches!(tree.node(id).body, Body::Char(0, 0))
}

fn ensure_directories(
    tree: &mut Tree,
    components: &[&[u8]],
    implied: &mut BTreeMap<Vec<u8>, NodeId>,
) -> Result<NodeId, EntryFault> {
    let (mut at, mut path) = (Tree::ROOT, Vec::new());
    for name in components {
        path.extend(if path.is_empty() { &b""[..] } else { b"/" });
        path.extend(*name);
        at = match tree.child(at, name) {
            Some(id) if tree.entries(id).is_some() => id,
            Some(id) if !is_whiteout(tree, id) => return Err(EntryFault::BelowNonDirectory),
            Some(_) => add_directory(tree, at, name, Meta::root(0o755), true)?,
            None => {
                let id = add_directory(tree, at, name, Meta::root(0o755), false)?;
                implied.insert(path.clone(), id);
                id
            }
        };
    }
    Ok(at)
}

fn add_directory(
    tree: &mut Tree,
    parent: NodeId,
    name: &[u8],
    meta: Meta,
    over_whiteout: bool,
) -> Result<NodeId, TreeError> {
    let id = tree.add(parent, name, Node { meta, body: Body::Directory(Default::default()) })?;
    if over_whiteout {
        mark_opaque(tree, id); // hides the lower directory, as the whiteout did
    }
    Ok(id)
}

/// A whiteout speaks of the layers below only: what this layer has under the name stays.
fn add_whiteout(tree: &mut Tree, parent: NodeId, hidden: &[u8]) -> Result<(), EntryFault> {
    if hidden.is_empty() || hidden == b"." || hidden == b".." {
        return Err(EntryFault::Whiteout);
    }
    match tree.child(parent, hidden) {
        Some(id) if tree.entries(id).is_some() => mark_opaque(tree, id),
        Some(_) => {}
        None => {
            tree.add(parent, hidden, Node { meta: Meta::root(0), body: Body::Char(0, 0) })?;
        }
    }
    Ok(())
}

fn add_hard_link(tree: &mut Tree, parent: NodeId, name: &[u8], link: &[u8]) -> Result<(), EntryFault> {
    let components = components(link).map_err(|_| EntryFault::LinkLeavesRoot(shown(link)))?;
    let mut target = Tree::ROOT;
    for component in components {
        target = tree.child(target, component).ok_or_else(|| EntryFault::LinkTarget(shown(link)))?;
    }
    if is_whiteout(tree, target) {
        return Err(EntryFault::LinkTarget(shown(link)));
    }
    tree.link(parent, name, target).map_err(|_| EntryFault::LinkToDirectory(shown(link)))
}

fn add_node(tree: &mut Tree, parent: NodeId, name: &[u8], entry: Entry) -> Result<(), EntryFault> {
    let meta = meta(&entry)?;
    let found = tree.child(parent, name);
    let body = match entry.kind {
        Kind::Directory => match found {
            Some(id) if tree.entries(id).is_some() => {
                set_directory_meta(tree, id, meta);
                return Ok(());
            }
            _ => {
                let over_whiteout = found.is_some_and(|id| is_whiteout(tree, id));
                add_directory(tree, parent, name, meta, over_whiteout)?;
                return Ok(());
            }
        },
        Kind::File | Kind::HardLink => Body::File(Content::Extent(entry.data)),
        Kind::Symlink if entry.link.is_empty() => return Err(EntryFault::EmptySymlink),
        Kind::Symlink => Body::Symlink(entry.link),
        Kind::Fifo => Body::Fifo,
        Kind::Char | Kind::Block => {
            let (major, minor) = entry.device;
            if major >= 1 << 12 || minor >= 1 << 20 {
                return Err(EntryFault::Device);
            }
            if entry.kind == Kind::Char { Body::Char(major, minor) } else { Body::Block(major, minor) }
        }
    };
    tree.add(parent, name, Node { meta, body })?;
    Ok(())
}

fn meta(entry: &Entry) -> Result<Meta, EntryFault> {
    let id = |id: u64| u32::try_from(id).map_err(|_| EntryFault::Owner);
    let kept = |name: &[u8]| {
        name == b"security.capability"
            || (name.starts_with(b"user.") && name.len() > 5 && !name.starts_with(b"user.overlay."))
    };
    let xattrs: BTreeMap<_, _> = entry
        .xattrs
        .iter()
        .filter(|(name, _)| kept(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let sizes = xattrs.iter().map(|(name, value)| name.len() + value.len());
    if xattrs.keys().any(|name| name.len() > MAX_NAME) || sizes.sum::<usize>() > MAX_XATTRS {
        return Err(EntryFault::Xattrs);
    }
    let mode = u16::try_from(entry.mode & 0o7777).unwrap_or(0);
    Ok(Meta { mode, uid: id(entry.uid)?, gid: id(entry.gid)?, mtime: entry.mtime, xattrs })
}
