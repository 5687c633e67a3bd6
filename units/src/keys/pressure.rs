//! `[pressure.NAME]`: what is done when a unit has to wait for memory, processors or disks.

use std::time::Duration;

use super::draft::ContainerDraft;
use super::forms::PRESSURE_ACTION;
use super::{Key, Section, Take, Text, Word, key, later, named, planned, required, word};
use crate::spec::{Pressure, PressureAction, PressureKind, Resource};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[named(
    "pressure",
    Text::Entry,
    |d, at| {
        pressure(d, at);
    },
    "What is done when resources run short, by name.",
)];

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    required("pressure.*.resource", Take::Words(RESOURCE), "Of what there is too little."),
    key("pressure.*.kind", "\"some\"", Take::Words(KIND), "Who has to wait for it."),
    key(
        "pressure.*.threshold",
        "\"150ms\"",
        Take::Duration(Duration::from_millis(1), Duration::from_secs(10), |d, at, v| {
            pressure(d, at).threshold = v;
        }),
        "How long, within the window.",
    ),
    key(
        "pressure.*.window",
        "\"1s\"",
        Take::Duration(Duration::from_millis(500), Duration::from_secs(10), |d, at, v| {
            pressure(d, at).window = v;
        }),
        "Over which it is measured.",
    ),
    key(
        "pressure.*.action",
        "\"log\"",
        Take::Text(Text::Form(&PRESSURE_ACTION), |d, at, v| {
            pressure(d, at).action = PressureAction::parse(&v).unwrap_or_default();
        }),
        "What is done then.",
    ),
    planned("pressure_notify", "false", Take::Bool(later), "Tell it of memory pressure, as systemd does."),
];

fn pressure<'d>(draft: &'d mut ContainerDraft, name: &str) -> &'d mut Pressure {
    draft.unit.pressure.entry(name.to_owned()).or_default()
}

const RESOURCE: &[Word<ContainerDraft>] = &[
    word("memory", "memory", |d, at| pressure(d, at).resource = Resource::Memory),
    word("cpu", "processors", |d, at| pressure(d, at).resource = Resource::Cpu),
    word("io", "disks", |d, at| pressure(d, at).resource = Resource::Io),
];

const KIND: &[Word<ContainerDraft>] = &[
    word("some", "one process at least", |d, at| pressure(d, at).kind = PressureKind::Some),
    word("full", "all processes", |d, at| pressure(d, at).kind = PressureKind::Full),
];
