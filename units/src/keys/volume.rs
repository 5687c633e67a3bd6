//! `kind = "volume"`.

use super::draft::fit;
use super::forms::KEY_SOURCE;
use super::{
    Key, Section, Take, Text, Word, key, later, named, planned, planned_section, planned_word, required, word,
};
use crate::spec::{Retain, Volume, VolumeSource};

/// Ids below (uid_t) -1.
const ID_MAX: i64 = 4_294_967_294;

pub(super) const KEYS: &[Key<Volume>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    required("kind", Take::Header("\"volume\""), "What the file declares."),
    key("description", "", Take::Text(Text::Line, |_, _, _| ()), "One line for people."),
    key("uid", "0", Take::Int(0, ID_MAX, |d, _, v| d.uid = fit(v)), "Owner of its root."),
    key("gid", "0", Take::Int(0, ID_MAX, |d, _, v| d.gid = fit(v)), "Group of its root."),
    key("mode", "\"0755\"", Take::Mode(|d, _, v| d.mode = v), "Mode of its root."),
    key(
        "size",
        "no limit",
        Take::Size(64 << 10, 1 << 60, |d, _, v| d.size = Some(v)),
        "What it may hold; then writes fail with EDQUOT.",
    ),
    key("retain", "\"keep\"", Take::Words(RETAIN), "When no file declares it any more."),
    key("source", "\"dir\"", Take::Words(SOURCE), "Where its data is."),
    planned("fs", "\"ext4\"", Take::Words(FS), "File system of a partition."),
    planned(
        "device",
        "",
        Take::Text(Text::Line, later),
        "Partition: path, LABEL= or PARTUUID=; server and path of nfs.",
    ),
    planned("options", "[]", Take::List(Text::Line, later), "Options of mount(8)."),
    planned("encrypt", "none", Take::Text(Text::Form(&KEY_SOURCE), later), "Where its key comes from."),
    planned("grow", "false", Take::Bool(later), "Take all the room that is left."),
    key(
        "seed_image",
        "",
        Take::Reference(|d, _, v| d.seed_image = Some(v)),
        "Image whose files it holds at first, in place of those of the image that uses it.",
    ),
    planned("backup.include", "[]", Take::List(Text::Subpath, later), "What a backup saves."),
    planned("backup.exclude", "[]", Take::List(Text::Subpath, later), "What a backup leaves out."),
    key(
        "labels.*",
        "",
        Take::Text(Text::Value, |d, at, v| drop(d.labels.insert(at.to_owned(), v))),
        "One label.",
    ),
];

pub(super) const SECTIONS: &[Section<Volume>] = &[
    planned_section("backup", "Hints for backups."),
    named("labels", Text::Label, |_, _| (), "Free key-value pairs."),
];

const SOURCE: &[Word<Volume>] = &[
    word("dir", "a directory of the data partition", |d, _| d.source = VolumeSource::Dir),
    planned_word("partition", "a partition of its own"),
    word("tmpfs", "RAM, gone when the node restarts", |d, _| d.source = VolumeSource::Tmpfs),
    planned_word("image", "an image, read-only"),
    planned_word("nfs", "an NFS server"),
];

const FS: &[Word<Volume>] =
    &[planned_word("ext4", "ext4"), planned_word("xfs", "XFS"), planned_word("btrfs", "Btrfs")];

const RETAIN: &[Word<Volume>] = &[
    word("keep", "it stays on the disk", |d, _| d.retain = Retain::Keep),
    word("delete", "it is deleted", |d, _| d.retain = Retain::Delete),
];
