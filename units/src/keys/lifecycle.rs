//! When a unit starts, counts as ready, is restarted and stopped, and what becomes of its output.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::{Key, Section, Take, Text, Word, key, named, section, word};
use crate::Name;
use crate::spec::{Depends, LogSink, Policy, Until};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    named("depends", Text::Entry, |d, at| depend(d, at, Until::Ready), "Units that it waits for, by name."),
    section("ready", "When it counts as ready."),
    section("restart", "What happens after it ended."),
    section("stop", "How it is asked to end."),
    section("log", "What becomes of its output."),
];

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key("depends.*.until", "\"ready\"", Take::Words(UNTIL), "What of the other unit has to hold."),
    key("ready.when", "\"exec\"", Take::Ready(|d, _, v| d.unit.ready = v), "What makes it ready."),
    key(
        "start_timeout",
        "\"60s\"",
        Take::Duration(NOW, DAY, |d, _, v| d.unit.start_timeout = v),
        "From the start to ready; \"0s\" is no limit.",
    ),
    key("restart.policy", "\"always\"", Take::Words(POLICY), "When it is started again."),
    key(
        "restart.delay",
        "\"500ms\"",
        Take::Duration(NOW, DAY, |d, _, v| d.unit.restart.delay = v),
        "Before the first restart.",
    ),
    key(
        "restart.factor",
        "2.0",
        Take::Factor(|d, _, v| d.unit.restart.factor_milli = v),
        "How much longer each further restart waits.",
    ),
    key(
        "restart.max_delay",
        "\"1m\"",
        Take::Duration(NOW, DAY, |d, _, v| d.unit.restart.max_delay = v),
        "The longest wait.",
    ),
    key(
        "restart.reset_after",
        "\"1m\"",
        Take::Duration(NOW, DAY, |d, _, v| d.unit.restart.reset_after = v),
        "A run of this length starts the delays anew.",
    ),
    key(
        "stop.signal",
        "the image's, or SIGTERM",
        Take::Signal(|d, _, v| d.unit.stop.signal = Some(v)),
        "The signal that asks.",
    ),
    key(
        "stop.timeout",
        "\"10s\"",
        Take::Duration(NOW, HOUR, |d, _, v| d.unit.stop.timeout = v),
        "After it everything in the container is killed.",
    ),
    key("log.to", "\"store\"", Take::Words(SINK), "Where output goes."),
    key(
        "log.max_size",
        "\"10M\"",
        Take::Size(4096, 1 << 40, |d, _, v| d.unit.log.max_size = v),
        "A file is rotated at this size.",
    ),
    key("log.keep", "5", Take::Int(0, 1000, |d, _, v| d.unit.log.keep = fit(v)), "Rotated files kept."),
];

const UNTIL: &[Word<ContainerDraft>] = &[
    word("started", "its process has been executed", |d, at| depend(d, at, Until::Started)),
    word("ready", "it is ready", |d, at| depend(d, at, Until::Ready)),
];

const POLICY: &[Word<ContainerDraft>] = &[
    word("always", "however it ended", |d, _| d.unit.restart.policy = Policy::Always),
    word("on-failure", "after an exit code other than 0, a signal, or out of memory", |d, _| {
        d.unit.restart.policy = Policy::OnFailure
    }),
    word("never", "never", |d, _| d.unit.restart.policy = Policy::Never),
];

const SINK: &[Word<ContainerDraft>] = &[
    word("store", "files on the data partition", |d, _| d.unit.log.to = LogSink::Store),
    word("ram", "files in RAM", |d, _| d.unit.log.to = LogSink::Ram),
    word("none", "discarded", |d, _| d.unit.log.to = LogSink::None),
];

fn depend(draft: &mut ContainerDraft, unit: &str, until: Until) {
    // The walker has checked the name.
    if let Ok(unit) = Name::parse(unit) {
        draft.unit.depends.insert(unit, Depends { until });
    }
}
