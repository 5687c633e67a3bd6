//! The key table: every key that a file may hold, as data.
//!
//! One row a key: its path, what values it takes, what it is for, its default, and where the value goes. Parser,
//! diagnostics and (later) JSON Schema, berth.unit(5) and completions all come from these rows: [`rows`] is what
//! they read. To add a key, add a row to its section's module, a field to [`spec`](crate::spec), and a line to
//! the table test.

mod container;
mod devices;
mod draft;
mod drop_in;
mod environment;
mod events;
mod forms;
mod health;
mod identity;
mod kinds;
mod lifecycle;
mod logging;
mod mounts;
mod network;
mod networking;
mod node;
mod order;
mod pod;
mod pressure;
mod process;
mod resources;
mod security;
mod service;
mod supplies;
mod take;
mod text;
mod value;
mod volume;

pub(crate) use draft::{
    CheckDraft, ContainerDraft, DeviceDraft, MountDraft, NetworkDraft, NodeDraft, ReloadDraft, SocketDraft,
    UplinkWord,
};
pub(crate) use draft::{ConfigDraft, ConfigUseDraft, SecretDraft, SecretUseDraft};
pub(crate) use drop_in::DROP_IN;
pub use forms::{Form, Rule};
pub(crate) use kinds::KINDS as PLANNED_KINDS;
pub(crate) use pod::POD;
pub(crate) use service::SERVICE;
pub use take::{Choice, Shape};
pub(crate) use take::{Flaw, Take, Word};
pub(crate) use text::RLIMITS;
pub use text::Text;
pub(crate) use value::describe;

/// A key: where it stands, and what becomes of its value.
pub(crate) struct Key<T: 'static> {
    /// `memory.max`; `*` stands for a name that the user chooses.
    pub path: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// The value when it is not set, as text; empty where there is none.
    pub default: &'static str,
    /// The file or the table cannot do without it.
    pub required: bool,
    /// Whether this version carries it out.
    pub effect: Effect,
    /// Its values, and where they go.
    pub take: Take<T>,
}

/// Whether this version of berth does what a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Now,
    /// Not yet: the value is checked, and a file that sets the key is refused.
    Planned,
}

impl Effect {
    /// Of a part of something.
    fn and(self, part: Self) -> Self {
        if self == Self::Now { part } else { self }
    }
}

/// A table that holds keys.
pub(crate) struct Section<T: 'static> {
    /// `memory`, `mounts`.
    pub path: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// Of a table whose entries the user names: what the names are made of, and what an entry begins with.
    pub entries: Option<(Text, Open<T>)>,
    /// Of the table as a whole: with a planned one all keys below it are planned.
    pub effect: Effect,
}

/// Makes the entry of that name.
pub(crate) type Open<T> = fn(&mut T, &str);

/// All keys of one kind of file.
pub(crate) struct Schema<T: 'static> {
    /// The word of `kind`.
    pub kind: &'static str,
    /// Tables, by module.
    pub sections: &'static [&'static [Section<T>]],
    /// Keys, by module.
    pub keys: &'static [&'static [Key<T>]],
    /// Whether this version carries out units of this kind.
    pub effect: Effect,
}

const fn key<T>(path: &'static str, default: &'static str, take: Take<T>, doc: &'static str) -> Key<T> {
    Key { path, doc, default, required: false, effect: Effect::Now, take }
}

const fn required<T>(path: &'static str, take: Take<T>, doc: &'static str) -> Key<T> {
    Key { path, doc, default: "", required: true, effect: Effect::Now, take }
}

/// A key without effect yet; its setter is [`later`].
const fn planned<T>(path: &'static str, default: &'static str, take: Take<T>, doc: &'static str) -> Key<T> {
    Key { path, doc, default, required: false, effect: Effect::Planned, take }
}

/// The same, without which its table makes no sense.
const fn planned_required<T>(path: &'static str, take: Take<T>, doc: &'static str) -> Key<T> {
    Key { path, doc, default: "", required: true, effect: Effect::Planned, take }
}

/// Where the value of a planned key goes: nowhere.
fn later<T, V>(_: &mut T, _: &str, _: V) {}

const fn section<T>(path: &'static str, doc: &'static str) -> Section<T> {
    Section { path, doc, entries: None, effect: Effect::Now }
}

const fn named<T>(path: &'static str, name: Text, open: Open<T>, doc: &'static str) -> Section<T> {
    Section { path, doc, entries: Some((name, open)), effect: Effect::Now }
}

/// A table without effect yet, with all below it.
const fn planned_section<T>(path: &'static str, doc: &'static str) -> Section<T> {
    Section { path, doc, entries: None, effect: Effect::Planned }
}

/// The same, with entries that the user names.
const fn planned_named<T>(path: &'static str, name: Text, doc: &'static str) -> Section<T> {
    Section { path, doc, entries: Some((name, |_, _| ())), effect: Effect::Planned }
}

const fn word<T>(word: &'static str, doc: &'static str, set: fn(&mut T, &str)) -> Word<T> {
    Word { word, doc, effect: Effect::Now, set }
}

/// A word without effect yet.
const fn planned_word<T>(word: &'static str, doc: &'static str) -> Word<T> {
    Word { word, doc, effect: Effect::Planned, set: |_, _| () }
}

/// The version of the rules that this berth knows.
pub const SCHEMA: i64 = 1;

/// `kind = "container"`, the default.
pub(crate) static CONTAINER: Schema<ContainerDraft> = Schema {
    kind: "container",
    sections: &[
        container::SECTIONS,
        identity::SECTIONS,
        process::SECTIONS,
        environment::SECTIONS,
        resources::SECTIONS,
        pressure::SECTIONS,
        mounts::SECTIONS,
        devices::SECTIONS,
        networking::SECTIONS,
        order::SECTIONS,
        lifecycle::SECTIONS,
        security::SECTIONS,
        events::SECTIONS,
        health::SECTIONS,
        logging::SECTIONS,
    ],
    keys: &[
        container::KEYS,
        identity::KEYS,
        process::KEYS,
        environment::KEYS,
        resources::KEYS,
        pressure::KEYS,
        mounts::KEYS,
        devices::KEYS,
        networking::KEYS,
        networking::ATTACHMENT,
        networking::PORT,
        order::KEYS,
        lifecycle::KEYS,
        security::KEYS,
        events::KEYS,
        health::KEYS,
        logging::KEYS,
    ],
    effect: Effect::Now,
};

/// `kind = "network"`.
pub(crate) static NETWORK: Schema<NetworkDraft> =
    Schema { kind: "network", sections: &[network::SECTIONS], keys: &[network::KEYS], effect: Effect::Now };

/// `kind = "volume"`.
pub(crate) static VOLUME: Schema<crate::spec::Volume> =
    Schema { kind: "volume", sections: &[volume::SECTIONS], keys: &[volume::KEYS], effect: Effect::Now };

/// `kind = "config"`.
pub(crate) static CONFIG: Schema<ConfigDraft> = Schema {
    kind: "config",
    sections: &[supplies::CONFIG_SECTIONS],
    keys: &[supplies::CONFIG],
    effect: Effect::Now,
};

/// `kind = "secret"`.
pub(crate) static SECRET: Schema<SecretDraft> = Schema {
    kind: "secret",
    sections: &[supplies::SECRET_SECTIONS],
    keys: &[supplies::SECRET],
    effect: Effect::Now,
};

/// `node.toml`.
pub(crate) static NODE: Schema<NodeDraft> =
    Schema { kind: "node", sections: &[node::SECTIONS], keys: &[node::KEYS], effect: Effect::Now };

/// Kinds that this version does not carry out.
pub(crate) fn planned_kinds() -> impl Iterator<Item = &'static str> {
    PLANNED_KINDS.iter().map(|schema| schema.kind)
}

impl<T> Schema<T> {
    pub(crate) fn key(&self, path: &str) -> Option<&'static Key<T>> {
        self.keys.iter().copied().flatten().find(|key| key.path == path)
    }

    pub(crate) fn section(&self, path: &str) -> Option<&'static Section<T>> {
        self.sections.iter().copied().flatten().find(|section| section.path == path)
    }

    /// Whether this version carries out the key or table of that path.
    pub(crate) fn effect(&self, path: &str) -> Effect {
        let key = self.key(path).map(|key| key.effect);
        key.or_else(|| self.section(path).map(|section| section.effect)).unwrap_or(Effect::Now)
    }

    /// Paths of everything: keys and tables.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'static str> + use<T> {
        let keys = self.keys.iter().copied().flatten().map(|key| key.path);
        keys.chain(self.sections.iter().copied().flatten().map(|section| section.path))
    }

    /// Names that may stand in the table of that path; an empty path is the file itself.
    pub(crate) fn children(&self, table: &str) -> Vec<&'static str> {
        let below = |path: &'static str| match table {
            "" => Some(path),
            _ => path.strip_prefix(table)?.strip_prefix('.'),
        };
        let mut names: Vec<_> = self
            .paths()
            .filter_map(below)
            .filter_map(|rest| rest.split('.').next())
            .filter(|n| *n != "*")
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// One row of the table, without its type: for documents, schemas and completions.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The kind of file: `container`, `network`, `node` and so on.
    pub kind: &'static str,
    /// `memory.max`, `mounts.*.volume`.
    pub path: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// The value when it is not set, as text; empty where there is none.
    pub default: &'static str,
    /// Whether it has to be set.
    pub required: bool,
    /// What values it takes; `None` for a table.
    pub shape: Option<Shape>,
    /// Of a table whose entries the user names: what the names are.
    pub entries: Option<Text>,
    /// Whether this version carries it out.
    pub effect: Effect,
}

/// The whole table: keys and tables of every kind of file.
pub fn rows() -> Vec<Row> {
    let containers = [CONTAINER.rows(), NETWORK.rows(), VOLUME.rows(), CONFIG.rows(), SECRET.rows()];
    let others = [NODE.rows(), DROP_IN.rows(), SERVICE.rows(), POD.rows()];
    let mut rows = [containers.concat(), others.concat()].concat();
    rows.extend(PLANNED_KINDS.iter().flat_map(Schema::rows));
    rows
}

impl<T> Schema<T> {
    fn rows(&self) -> Vec<Row> {
        let kind = self.kind;
        let all = self.effect;
        let tables =
            self.sections.iter().copied().flatten().map(|Section { path, doc, entries, effect }| Row {
                kind,
                path,
                doc,
                default: "",
                required: false,
                shape: None,
                entries: entries.as_ref().map(|(name, _)| *name),
                effect: all.and(*effect),
            });
        let keys =
            self.keys.iter().copied().flatten().map(|Key { path, doc, default, required, effect, take }| {
                Row {
                    kind,
                    path,
                    doc,
                    default,
                    required: *required,
                    shape: Some(take.shape()),
                    entries: None,
                    effect: all.and(*effect),
                }
            });
        tables.chain(keys).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
