//! Who a unit is and when it runs: what containers and services have in common.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::forms::{CRON, TIMEZONE};
use super::{Key, Section, Take, Text, Word, key, later, named, planned, section};
use super::{planned_word, word};
use crate::schedule::{CatchUp, Cron, Overlap, Schedule, Zone};
use crate::spec::{NetworkMode, Start, Type};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    named("labels", Text::Label, |_, _| (), "Free key-value pairs, shown and filtered by."),
    named("annotations", Text::Label, |_, _| (), "Key-value pairs for other programs, shown by inspect."),
    section("schedule", "When a job runs by itself."),
    section("job", "Tries of a job's runs, and what is kept of them."),
];

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);
const SECOND: Duration = Duration::from_secs(1);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
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
    planned("name", "the file's", Take::Name(later), "Another name than the file's."),
    key(
        "annotations.*",
        "",
        Take::Text(Text::Value, |d, at, v| drop(d.unit.annotations.insert(at.to_owned(), v))),
        "One annotation.",
    ),
    key(
        "profiles",
        "[]",
        Take::List(Text::Entry, |d, _, v| d.unit.profiles = v),
        "It is enabled only on a node that has one of these profiles.",
    ),
    key(
        "instances",
        "[]",
        // Read before a unit is: each of them is one.
        Take::List(Text::Entry, |_, _, _| ()),
        "Of a template NAME@.toml: which units it makes, NAME@INSTANCE each.",
    ),
    key(
        "pod",
        "",
        Take::Name(|d, _, v| d.unit.network = NetworkMode::Pod(v)),
        "Pod whose network, IPC and host name it shares.",
    ),
    planned("slice", "", Take::Name(later), "Slice whose limits it shares."),
    key("type", "\"service\"", Take::Words(TYPE), "Whether it goes on or ends by itself."),
    key(
        "remain_after_exit",
        "of a oneshot",
        Take::Bool(|d, _, v| d.unit.remain_after_exit = Some(v)),
        "After it has ended with success it still counts as ready.",
    ),
    key(
        "runtime_max",
        "no limit",
        Take::Duration(SECOND, YEAR, |d, _, v| d.unit.runtime_max = v),
        "The longest run; what has run so long is stopped and has failed.",
    ),
    key(
        "schedule.cron",
        "",
        Take::Text(Text::Form(&CRON), |d, _, v| schedule(d).cron = Cron::parse(&v)),
        "As crontab(5), without names.",
    ),
    key(
        "schedule.every",
        "",
        Take::Duration(SECOND, YEAR, |d, _, v| schedule(d).every = v),
        "From one run to the next.",
    ),
    key(
        "schedule.on_boot",
        "",
        Take::Duration(Duration::ZERO, YEAR, |d, _, v| schedule(d).on_boot = Some(v)),
        "Once, so long after the node's boot.",
    ),
    key(
        "schedule.timezone",
        "\"local\"",
        Take::Text(Text::Form(&TIMEZONE), |d, _, v| {
            schedule(d).timezone = Zone::parse(&v).unwrap_or_default()
        }),
        "In which schedule.cron is meant; local is the node's, UTC.",
    ),
    key(
        "schedule.jitter",
        "\"0s\"",
        Take::Duration(Duration::ZERO, DAY, |d, _, v| schedule(d).jitter = v),
        "Up to so much later than planned a run begins.",
    ),
    key("schedule.catch_up", "\"once\"", Take::Words(CATCH_UP), "What becomes of runs that were missed."),
    key(
        "schedule.deadline",
        "no limit",
        Take::Duration(SECOND, YEAR, |d, _, v| schedule(d).deadline = v),
        "How late a run may begin, its jitter apart.",
    ),
    key("schedule.overlap", "\"forbid\"", Take::Words(OVERLAP), "While the last run has not ended."),
    key(
        "schedule.without_clock",
        "false",
        Take::Bool(|d, _, v| schedule(d).without_clock = v),
        "Run also before the clock is set, counted from the boot.",
    ),
    key(
        "job.retries",
        "0",
        Take::Int(0, 1000, |d, _, v| d.unit.job.retries = fit(v)),
        "Further tries of a run that failed.",
    ),
    key("job.keep", "10", Take::Int(0, 100, |d, _, v| d.unit.job.keep = fit(v)), "Runs that are remembered."),
];

const START: &[Word<ContainerDraft>] = &[
    word("boot", "with the node", |d, _| d.unit.start = Start::Boot),
    word("manual", "only by `berth start`", |d, _| d.unit.start = Start::Manual),
];

const TYPE: &[Word<ContainerDraft>] = &[
    word("service", "goes on", |d, _| d.unit.kind = Type::Service),
    word("oneshot", "ends by itself, once", |d, _| d.unit.kind = Type::Oneshot),
    word("job", "ends by itself, at the times of [schedule] and when it is asked for", |d, _| {
        d.unit.kind = Type::Job
    }),
];

const CATCH_UP: &[Word<ContainerDraft>] = &[
    word("once", "one run makes up for all", |d, _| schedule(d).catch_up = CatchUp::Once),
    word("skip", "nothing", |d, _| schedule(d).catch_up = CatchUp::Skip),
];

const OVERLAP: &[Word<ContainerDraft>] = &[
    word("forbid", "the new run is left out", |d, _| schedule(d).overlap = Overlap::Forbid),
    planned_word("allow", "both run"),
    word("replace", "the old run is stopped", |d, _| schedule(d).overlap = Overlap::Replace),
];

fn schedule(draft: &mut ContainerDraft) -> &mut Schedule {
    draft.unit.schedule.get_or_insert_default()
}
