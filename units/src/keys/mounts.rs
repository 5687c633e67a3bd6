//! `[mounts.NAME]`: volumes, paths of the node, RAM; and directories that berth keeps for a unit.

use super::draft::ContainerDraft;
use super::forms::MOUNT_OPTION;
use super::{Key, Section, Take, Text, Word, key, later, named, planned, planned_word, required, word};

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
    planned("mounts.*.image", "", Take::Reference(later), "An image, read-only."),
    planned(
        "mounts.*.options",
        "nosuid, nodev",
        Take::List(Text::Form(&MOUNT_OPTION), later),
        "Further options of mount(8).",
    ),
    planned("mounts.*.recursive", "false", Take::Bool(later), "Mounts below the source come along."),
    planned("mounts.*.propagation", "\"private\"", Take::Words(PROPAGATION), "How mounts below it spread."),
    planned("mounts.*.idmap", "true", Take::Bool(later), "Map owners into the unit's user namespace."),
    key("mounts.*.seed", "\"copy\"", Take::Words(SEED), "What a volume holds at its first use."),
    planned("state_dir", "", Take::Text(Text::Path, later), "Directory that lasts and belongs to the unit."),
    planned("cache_dir", "", Take::Text(Text::Path, later), "Directory that lasts while there is room."),
    planned("runtime_dir", "", Take::Text(Text::Path, later), "Directory in RAM that lasts over restarts."),
    planned("quota", "no limit", Take::Size(4096, 1 << 50, later), "What state_dir and cache_dir may hold."),
];

const PROPAGATION: &[Word<ContainerDraft>] = &[
    planned_word("private", "not at all"),
    planned_word("slave", "from the node into the container"),
    planned_word("shared", "both ways"),
];

const SEED: &[Word<ContainerDraft>] = &[
    word("copy", "what the image has there", |d, at| d.mount(at).unseeded = false),
    word("none", "nothing", |d, at| d.mount(at).unseeded = true),
];
