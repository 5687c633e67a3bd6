//! `[mounts.NAME]`: volumes, paths of the node, RAM.

use super::draft::ContainerDraft;
use super::{Key, Section, Take, Text, key, named, required};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[named(
    "mounts",
    Text::Entry,
    |d, at| {
        d.mount(at);
    },
    "What is mounted into the container, by name.",
)];

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key(
        "mounts.*.volume",
        "",
        Take::Name(|d, at, v| d.mount(at).volume = Some(v)),
        "A named volume of the data partition.",
    ),
    key(
        "mounts.*.subpath",
        "",
        Take::Text(Text::Subpath, |d, at, v| d.mount(at).subpath = Some(v)),
        "A directory below the volume.",
    ),
    key(
        "mounts.*.bind",
        "",
        Take::Text(Text::Path, |d, at, v| d.mount(at).bind = Some(v)),
        "A path of the node.",
    ),
    key(
        "mounts.*.create",
        "false",
        Take::Bool(|d, at, v| d.mount(at).create = v),
        "Make the directory of a bind when it is absent.",
    ),
    key("mounts.*.tmpfs", "false", Take::Bool(|d, at, v| d.mount(at).tmpfs = v), "RAM."),
    key(
        "mounts.*.size",
        "\"64M\"",
        Take::Size(4096, 1 << 50, |d, at, v| d.mount(at).size = Some(v)),
        "Size of a tmpfs.",
    ),
    key(
        "mounts.*.mode",
        "\"1777\"",
        Take::Mode(|d, at, v| d.mount(at).mode = Some(v)),
        "Mode of the root of a tmpfs.",
    ),
    required(
        "mounts.*.target",
        Take::Text(Text::Path, |d, at, v| d.mount(at).target = Some(v)),
        "Where in the container.",
    ),
    key(
        "mounts.*.read_only",
        "true for a bind, else false",
        Take::Bool(|d, at, v| d.mount(at).read_only = Some(v)),
        "Mount it read-only.",
    ),
    key(
        "mounts.*.exec",
        "false",
        Take::Bool(|d, at, v| d.mount(at).exec = v),
        "Let programs on it be executed.",
    ),
];
