//! A file tree in memory: names, metadata and where contents are, never on the host's file system.
//!
//! A layer becomes one; the factory store is one that is made of many. Nodes live in one vector and directories
//! name them by number: a hard link is a second name of the same number, and nothing can form a loop because a
//! directory is only ever named once, by the call that creates it.

use std::collections::BTreeMap;

use crate::extent::Extent;

/// Names a node of one [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// A rooted tree.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
}

/// One inode.
#[derive(Clone, Debug)]
pub struct Node {
    /// Everything but its kind.
    pub meta: Meta,
    /// Its kind, and what only that kind has.
    pub body: Body,
}

/// Metadata of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds of the Unix epoch.
    pub mtime: i64,
    /// Extended attributes by full name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Meta {
    /// Owned by root, of the epoch.
    pub fn root(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }
}

/// Kinds of inodes.
#[derive(Clone, Debug)]
pub enum Body {
    /// Its entries.
    Directory(BTreeMap<Vec<u8>, NodeId>),
    /// A regular file.
    File(Content),
    /// Its target, verbatim.
    Symlink(Vec<u8>),
    /// A character device: major, minor. 0:0 is overlayfs' whiteout.
    Char(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// What a regular file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a spooled layer.
    Extent(Extent),
}

impl Content {
    /// Length, bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Extent(extent) => extent.len(),
        }
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from the start.
    pub fn reader(&self) -> Box<dyn std::io::Read + '_> {
        match self {
            Self::Bytes(bytes) => Box::new(bytes.as_slice()),
            Self::Extent(extent) => Box::new(extent.reader()),
        }
    }
}

/// Why a node cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The parent is no directory.
    #[error("it is below a non-directory")]
    NotADirectory,
    /// A node number is 32 bits wide.
    #[error("the tree has too many entries")]
    Full,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node { meta: Meta::root(0o755), body: Body::Directory(BTreeMap::new()) }] }
    }
}

impl Tree {
    /// The root directory, which always exists.
    pub const ROOT: NodeId = NodeId(0);

    /// Number of nodes, those that have lost their name included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: there is a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// A node.
    #[expect(
        clippy::indexing_slicing,
        reason = "a NodeId is only ever made by its tree, which never shrinks"
    )]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// A node, to change.
    #[expect(
        clippy::indexing_slicing,
        reason = "a NodeId is only ever made by its tree, which never shrinks"
    )]
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// The entries of a directory; none for anything else.
    pub fn entries(&self, id: NodeId) -> Option<&BTreeMap<Vec<u8>, NodeId>> {
        match &self.node(id).body {
            Body::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    /// The node of that name in a directory.
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        self.entries(parent)?.get(name).copied()
    }

    /// Adds a node, in place of one that has the name.
    pub fn add(&mut self, parent: NodeId, name: &[u8], node: Node) -> Result<NodeId, TreeError> {
        let id = NodeId(u32::try_from(self.nodes.len()).map_err(|_| TreeError::Full)?);
        self.name(parent, name, id)?;
        self.nodes.push(node);
        Ok(id)
    }

    /// Gives a node that is no directory a further name, in place of one that has it.
    pub fn link(&mut self, parent: NodeId, name: &[u8], target: NodeId) -> Result<(), TreeError> {
        if self.entries(target).is_some() {
            return Err(TreeError::NotADirectory);
        }
        self.name(parent, name, target)
    }

    fn name(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), TreeError> {
        let Body::Directory(entries) = &mut self.node_mut(parent).body else {
            return Err(TreeError::NotADirectory);
        };
        entries.insert(name.to_vec(), id);
        Ok(())
    }

    /// Makes every regular file empty.
    pub fn forget_contents(&mut self) {
        for node in &mut self.nodes {
            if let Body::File(content) = &mut node.body {
                *content = Content::Bytes(Vec::new());
            }
        }
    }

    /// Moves a whole tree in, its root under the given name.
    pub fn graft(&mut self, parent: NodeId, name: &[u8], other: Self) -> Result<NodeId, TreeError> {
        let base = u32::try_from(self.nodes.len()).map_err(|_| TreeError::Full)?;
        u32::try_from(other.nodes.len()).ok().and_then(|len| base.checked_add(len)).ok_or(TreeError::Full)?;
        self.name(parent, name, NodeId(base))?;
        self.nodes.extend(other.nodes.into_iter().map(|mut node| {
            if let Body::Directory(entries) = &mut node.body {
                entries.values_mut().for_each(|id| id.0 += base);
            }
            node
        }));
        Ok(NodeId(base))
    }
}
