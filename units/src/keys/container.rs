//! Who a container is, its image and the root made of it.

use std::time::Duration;

use super::draft::ContainerDraft;
use super::forms::{FOLLOW, PLATFORM, WINDOW};
use super::{Key, Section, Take, Text, Word, key, later, planned, planned_word, required, section, word};
use crate::spec::{ImageVolumes, Upper};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("image", "Which image runs."),
    section("rootfs", "The root file system that is made of the image."),
];

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    key("kind", "\"container\"", Take::Header("\"container\""), "What the file declares."),
    required(
        "image.ref",
        Take::Reference(|d, _, v| d.image = Some(v)),
        "Image reference, written as docker does.",
    ),
    key(
        "process.entrypoint",
        "the image's",
        Take::List(Text::Any, |d, _, v| d.unit.process.entrypoint = Some(v)),
        "Replaces the image's entrypoint, and clears its command.",
    ),
    key(
        "process.args",
        "the image's",
        Take::List(Text::Any, |d, _, v| d.unit.process.args = Some(v)),
        "Replaces the image's command.",
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
        "256M in RAM, no limit on disk",
        Take::Size(64 << 10, 1 << 50, |d, _, v| d.unit.rootfs.size = Some(v)),
        "What a writable layer may hold.",
    ),
    key(
        "rootfs.persist",
        "false",
        Take::Bool(|d, _, v| d.unit.rootfs.persist = v),
        "Keep a writable layer on disk over starts, as long as the image is the same.",
    ),
    key(
        "rootfs.propagation",
        "\"private\"",
        Take::Words(PROPAGATION),
        "Whether mounts of the container show in mount namespaces that it makes.",
    ),
    planned("image.pull", "\"missing\"", Take::Words(PULL), "When the image is fetched."),
    planned("image.source", "\"auto\"", Take::Words(SOURCE), "Where the image comes from."),
    planned("image.retries", "3", Take::Int(0, 100, later), "Further tries of a pull that failed."),
    planned("image.retry_delay", "\"5s\"", Take::Duration(SECOND, DAY, later), "Between two tries."),
    planned(
        "image.timeout",
        "\"15m\"",
        Take::Duration(SECOND, DAY, later),
        "Of one pull; start_timeout begins after it.",
    ),
    planned("image.auth", "", Take::Name(later), "Secret that holds the registry's credentials."),
    planned("image.platform", "the node's", Take::Text(Text::Form(&PLATFORM), later), "Which variant."),
    planned("image.verify", "", Take::Name(later), "Policy that its signature has to meet."),
    key("image.volumes", "\"tmpfs\"", Take::Words(VOLUMES), "What the image's own VOLUMEs become."),
    planned(
        "update.auto",
        "\"off\"",
        Take::Text(Text::Form(&FOLLOW), later),
        "What of the image's tag is followed.",
    ),
    planned("update.check", "\"6h\"", Take::Duration(SECOND, DAY, later), "How often it is looked for."),
    planned(
        "update.window",
        "any time",
        Take::Text(Text::Form(&WINDOW), later),
        "Hours in which an update may begin.",
    ),
    planned("update.order", "\"stop-first\"", Take::Words(ORDER), "Which of the two runs first."),
    planned("update.keep", "2", Take::Int(0, 100, later), "Earlier images that stay on the node."),
    planned("update.snapshot", "[]", Take::List(Text::Entry, later), "Volumes saved before the switch."),
    planned(
        "update.gates_os",
        "false",
        Take::Bool(later),
        "A new OS image is good only when this unit is healthy on it.",
    ),
];
const UPPER: &[Word<ContainerDraft>] = &[
    word("tmpfs", "RAM, gone with the container", |d, _| d.unit.rootfs.upper = Upper::Tmpfs),
    word("disk", "the data partition, emptied at every start unless it persists", |d, _| {
        d.unit.rootfs.upper = Upper::Disk;
    }),
    word("none", "nowhere: the root is read-only", |d, _| d.unit.rootfs.upper = Upper::None),
];

const PROPAGATION: &[Word<ContainerDraft>] = &[
    word("private", "no", |d, _| d.unit.rootfs.shared = false),
    word("shared", "yes", |d, _| d.unit.rootfs.shared = true),
    planned_word("slave", "mounts of the node show in the container: `propagation` of a mount does that"),
];

const PULL: &[Word<ContainerDraft>] = &[
    planned_word("missing", "when the node does not have it"),
    planned_word("always", "at every start"),
    planned_word("never", "never"),
    planned_word("newer", "when the registry has a newer one"),
];

const SOURCE: &[Word<ContainerDraft>] = &[
    planned_word("auto", "the factory store, then a registry"),
    planned_word("bundle", "only the factory store"),
    planned_word("registry", "only a registry"),
];

const VOLUMES: &[Word<ContainerDraft>] = &[
    word("tmpfs", "RAM, filled from the image", |d, _| d.image_volumes = ImageVolumes::Tmpfs),
    word("volume", "a volume of the unit, filled from the image at its first use", |d, _| {
        d.image_volumes = ImageVolumes::Volume;
    }),
    word("ignore", "nothing", |d, _| d.image_volumes = ImageVolumes::Ignore),
];

const ORDER: &[Word<ContainerDraft>] = &[
    planned_word("stop-first", "the old one ends before the new one starts"),
    planned_word("start-first", "the old one ends when the new one is ready"),
];
