//! What only a drop-in may say; all else in it is said of the unit.

use super::{Effect, Key, Schema, Section, Take, Text, key};

/// `NAME.d/*.toml`.
pub(crate) static DROP_IN: Schema<Vec<String>> =
    Schema { kind: "drop-in", sections: &[SECTIONS], keys: &[KEYS], effect: Effect::Now };

const SECTIONS: &[Section<Vec<String>>] = &[];

const KEYS: &[Key<Vec<String>>] = &[
    key("schema", "", Take::Header("1"), "Version of the rules; that of the unit counts."),
    key(
        "unset",
        "[]",
        Take::List(Text::Any, |keys, _, v| *keys = v),
        "Keys and tables that are taken out of the unit first, such as \"mounts.cache\".",
    ),
];
