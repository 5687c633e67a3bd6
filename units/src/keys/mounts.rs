//! `[mounts.NAME]`: volumes, paths of the node, RAM; and directories that berth keeps for a unit.

use super::draft::ContainerDraft;
use super::forms::MOUNT_OPTION;
use super::{Key, Section, Take, Text, Word, key, later, named, planned, required, word};
use crate::spec::Propagation;

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
        "A directory below the volume; a directory or file of the image.",
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
        "true for a bind and an image, else false",
        Take::Bool(|d, at, v| d.mount(at).read_only = Some(v)),
        "Mount it read-only.",
    ),
    key(
        "mounts.*.exec",
        "false",
        Take::Bool(|d, at, v| d.mount(at).exec = Some(v)),
        "Let programs on it be executed.",
    ),
    key(
        "mounts.*.image",
        "",
        Take::Reference(|d, at, v| d.mount(at).image = Some(v)),
        "The files of another image, read-only.",
    ),
    key(
        "mounts.*.options",
        "nosuid, nodev",
        Take::List(Text::Form(&MOUNT_OPTION), |d, at, v| d.mount(at).options = v),
        "Further options of mount(8); they hold for all that comes along.",
    ),
    key(
        "mounts.*.recursive",
        "true",
        Take::Bool(|d, at, v| d.mount(at).alone = !v),
        "What is mounted below the source of a bind comes along.",
    ),
    key(
        "mounts.*.propagation",
        "\"private\"",
        Take::Words(PROPAGATION),
        "How later mounts below a bind spread.",
    ),
    planned("mounts.*.idmap", "true", Take::Bool(later), "Map owners into the unit's user namespace."),
    key("mounts.*.seed", "\"copy\"", Take::Words(SEED), "What a volume holds at its first use."),
    key(
        "state_dir",
        "",
        Take::Text(Text::Path, |d, _, v| d.unit.directories.state = Some(v)),
        "Directory that lasts and belongs to the unit's user.",
    ),
    key(
        "cache_dir",
        "",
        Take::Text(Text::Path, |d, _, v| d.unit.directories.cache = Some(v)),
        "The same, deleted when the unit is no longer declared.",
    ),
    key(
        "runtime_dir",
        "",
        Take::Text(Text::Path, |d, _, v| d.unit.directories.runtime = Some(v)),
        "The same in RAM, 64M: it lasts over restarts of the unit and not of the node.",
    ),
    key(
        "quota",
        "no limit",
        Take::Size(64 << 10, 1 << 50, |d, _, v| d.unit.directories.quota = Some(v)),
        "What state_dir may hold, and cache_dir as much again.",
    ),
];

const PROPAGATION: &[Word<ContainerDraft>] = &[
    word("private", "not at all", |d, at| d.mount(at).propagation = Propagation::Private),
    word("slave", "from the node into the container", |d, at| d.mount(at).propagation = Propagation::Slave),
    word("shared", "both ways", |d, at| d.mount(at).propagation = Propagation::Shared),
];

const SEED: &[Word<ContainerDraft>] = &[
    word("copy", "what the image has there", |d, at| d.mount(at).unseeded = false),
    word("none", "nothing", |d, at| d.mount(at).unseeded = true),
];
