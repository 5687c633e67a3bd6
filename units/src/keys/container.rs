//! Who the unit is, its image and the root made of it.

use super::draft::ContainerDraft;
use super::{Key, Section, Take, Text, Word, key, named, required, section, word};
use crate::spec::{Start, Upper};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    named("labels", Text::Label, |_, _| (), "Free key-value pairs, shown and filtered by."),
    section("image", "Which image runs."),
    section("rootfs", "The root file system that is made of the image."),
];

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    key("kind", "\"container\"", Take::Header("\"container\""), "What the file declares."),
    key("description", "", Take::Text(Text::Line, |d, _, v| d.unit.description = v), "One line for people."),
    key(
        "documentation",
        "[]",
        Take::List(Text::Url, |d, _, v| d.unit.documentation = v),
        "Links for people.",
    ),
    key(
        "enabled",
        "true",
        Take::Bool(|d, _, v| d.unit.enabled = v),
        "false keeps the unit in the set without ever starting it.",
    ),
    key("start", "\"boot\"", Take::Words(START), "When it starts."),
    key(
        "labels.*",
        "",
        Take::Text(Text::Value, |d, at, v| drop(d.unit.labels.insert(at.to_owned(), v))),
        "One label.",
    ),
    required(
        "image.ref",
        Take::Reference(|d, _, v| d.image = Some(v)),
        "Image reference, written as docker does.",
    ),
    key(
        "rootfs.read_only",
        "true",
        Take::Bool(|d, _, v| d.unit.rootfs.read_only = v),
        "Mount the root read-only.",
    ),
    key(
        "rootfs.tmpfs",
        "[\"/tmp\", \"/run\", \"/var/tmp\"]",
        Take::List(Text::Path, |d, _, v| d.unit.rootfs.tmpfs = v),
        "Paths that get a small tmpfs while the root is read-only.",
    ),
    key("rootfs.upper", "\"tmpfs\"", Take::Words(UPPER), "Where writes go when the root is writable."),
    key(
        "rootfs.size",
        "\"256M\"",
        Take::Size(64 << 10, 1 << 50, |d, _, v| d.unit.rootfs.size = v),
        "Size of a writable layer in RAM.",
    ),
];

const START: &[Word<ContainerDraft>] = &[
    word("boot", "with the node", |d, _| d.unit.start = Start::Boot),
    word("manual", "only by `berth start`", |d, _| d.unit.start = Start::Manual),
];

const UPPER: &[Word<ContainerDraft>] = &[
    word("tmpfs", "RAM, gone with the container", |d, _| d.unit.rootfs.upper = Upper::Tmpfs),
    word("disk", "the data partition, emptied at every start", |d, _| d.unit.rootfs.upper = Upper::Disk),
];
