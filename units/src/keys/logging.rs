//! What becomes of a unit's output, beyond where it goes.

use std::time::Duration;

use super::draft::ContainerDraft;
use super::forms::PER_SECOND;
use super::{Key, Section, Take, Text, Word, key, later, planned, planned_named, planned_word, word};
use crate::spec::{Overflow, Rate};

pub(super) const SECTIONS: &[Section<ContainerDraft>] =
    &[planned_named("log.labels", Text::Label, "Key-value pairs that go with forwarded lines.")];

const MINUTE: Duration = Duration::from_secs(60);
const YEARS: Duration = Duration::from_secs(10 * 366 * 86_400);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key(
        "log.max_age",
        "no limit",
        Take::Duration(MINUTE, YEARS, |d, _, v| d.unit.log.max_age = Some(v)),
        "A file that is so old is rotated, one whose last line is so old is removed.",
    ),
    planned("log.compress", "false", Take::Bool(later), "Compress files that are no longer written."),
    key(
        "log.rate",
        "\"1000/s\"",
        Take::Text(Text::Form(&PER_SECOND), |d, _, v| d.unit.log.rate = Rate::parse(&v)),
        "Lines beyond it are dropped, and counted in the log.",
    ),
    key(
        "log.max_line",
        "\"16K\"",
        Take::Size(256, 1 << 20, |d, _, v| d.unit.log.max_line = v),
        "Longer lines are split.",
    ),
    planned("log.format", "\"auto\"", Take::Words(FORMAT), "How its lines are read."),
    key("log.overflow", "\"drop\"", Take::Words(OVERFLOW), "When it writes faster than the disk does."),
    planned(
        "log.targets",
        "[]",
        Take::List(Text::Entry, later),
        "Units of kind log-target that get its lines.",
    ),
    planned("log.labels.*", "", Take::Text(Text::Value, later), "One label."),
];

const FORMAT: &[Word<ContainerDraft>] = &[
    planned_word("auto", "as JSON where a line is JSON"),
    planned_word("text", "as text"),
    planned_word("json", "as JSON"),
];

const OVERFLOW: &[Word<ContainerDraft>] = &[
    word("drop", "lines are dropped and counted", |d, _| d.unit.log.overflow = Overflow::Drop),
    word("block", "it has to wait", |d, _| d.unit.log.overflow = Overflow::Block),
];
