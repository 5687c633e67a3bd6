//! `kind = "volume"`.

use super::draft::fit;
use super::{Key, Take, Text, key, required};
use crate::spec::Volume;

/// Ids below (uid_t) -1.
const ID_MAX: i64 = 4_294_967_294;

pub(super) const KEYS: &[Key<Volume>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    required("kind", Take::Header("\"volume\""), "What the file declares."),
    key("description", "", Take::Text(Text::Line, |_, _, _| ()), "One line for people."),
    key("uid", "0", Take::Int(0, ID_MAX, |d, _, v| d.uid = fit(v)), "Owner of its root."),
    key("gid", "0", Take::Int(0, ID_MAX, |d, _, v| d.gid = fit(v)), "Group of its root."),
    key("mode", "\"0755\"", Take::Mode(|d, _, v| d.mode = v), "Mode of its root."),
];
