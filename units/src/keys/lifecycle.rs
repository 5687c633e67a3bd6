//! When a unit starts, counts as ready, is restarted and stopped, and what becomes of its output.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::{Key, Section, Take, Word, key, planned_word, section, word};
use crate::spec::{LogSink, OnFailedUpdate, OnLimit, Policy, StopMode};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("ready", "When it counts as ready."),
    section("restart", "What happens after it ended."),
    section("stop", "How it is asked to end."),
    section("log", "What becomes of its output."),
    section("update", "How a newer one is taken, judged and undone."),
];

const NOW: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
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
        "restart.jitter",
        "0.1",
        Take::Ratio(|d, _, v| d.unit.restart.jitter_milli = v),
        "Up to which part a wait is shorter, so that units do not come back in step.",
    ),
    key(
        "restart.burst",
        "10",
        Take::Int(1, 1000, |d, _, v| d.unit.restart.burst = fit(v)),
        "More restarts within restart.window are too many.",
    ),
    key(
        "restart.window",
        "\"10m\"",
        Take::Duration(SECOND, DAY, |d, _, v| d.unit.restart.window = v),
        "See restart.burst.",
    ),
    key("restart.on_limit", "\"slow\"", Take::Words(ON_LIMIT), "What follows too many restarts."),
    key(
        "restart.success_codes",
        "[]",
        Take::Ints(1, 255, |d, _, v| d.unit.restart.success_codes = codes(v)),
        "Exit codes that are success, beside 0.",
    ),
    key(
        "restart.no_restart_codes",
        "[]",
        Take::Ints(0, 255, |d, _, v| d.unit.restart.no_restart_codes = codes(v)),
        "Exit codes after which it is left alone, whatever the policy.",
    ),
    key(
        "restart.force_codes",
        "[]",
        Take::Ints(0, 255, |d, _, v| d.unit.restart.force_codes = codes(v)),
        "Exit codes after which it is started again, whatever the policy.",
    ),
    key(
        "restart.propagate",
        "false",
        Take::Bool(|d, _, v| d.unit.restart.propagate = v),
        "When it ends by itself, units that need it are restarted too.",
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
    key("stop.mode", "\"main\"", Take::Words(STOP_MODE), "Who is sent the signal."),
    key(
        "stop.delay",
        "\"0s\"",
        Take::Duration(NOW, HOUR, |d, _, v| d.unit.stop.delay = v),
        "Its ports are taken back so long before the signal.",
    ),
    key("log.to", "\"store\"", Take::Words(SINK), "Where output goes."),
    key(
        "log.max_size",
        "\"10M\"",
        Take::Size(4096, 1 << 40, |d, _, v| d.unit.log.max_size = v),
        "A file is rotated at this size.",
    ),
    key("log.keep", "5", Take::Int(0, 1000, |d, _, v| d.unit.log.keep = fit(v)), "Rotated files kept."),
    key(
        "update.healthy_for",
        "\"30s\"",
        Take::Duration(NOW, HOUR, |d, _, v| d.unit.update.healthy_for = v),
        "A new revision is good when the unit has been healthy for this long.",
    ),
    key(
        "update.deadline",
        "\"5m\"",
        Take::Duration(SECOND, DAY, |d, _, v| d.unit.update.deadline = v),
        "By then it has to have been, or the revision has failed.",
    ),
    key("update.on_failure", "\"rollback\"", Take::Words(ON_FAILURE), "What follows when it is not."),
];

const ON_FAILURE: &[Word<ContainerDraft>] = &[
    word("rollback", "the node returns to the last good revision", |d, _| {
        d.unit.update.on_failure = OnFailedUpdate::Rollback;
    }),
    word("hold", "nothing: the unit has no say in what is good", |d, _| {
        d.unit.update.on_failure = OnFailedUpdate::Hold;
    }),
];

const POLICY: &[Word<ContainerDraft>] = &[
    word("always", "however it ended", |d, _| d.unit.restart.policy = Policy::Always),
    word("on-failure", "after an exit code other than 0, a signal, or out of memory", |d, _| {
        d.unit.restart.policy = Policy::OnFailure
    }),
    word("never", "never", |d, _| d.unit.restart.policy = Policy::Never),
];

const ON_LIMIT: &[Word<ContainerDraft>] = &[
    word("slow", "it goes on, max_delay apart", |d, _| d.unit.restart.on_limit = OnLimit::Slow),
    word("fail", "it has failed", |d, _| d.unit.restart.on_limit = OnLimit::Fail),
    word("reboot", "it has failed, and the node restarts", |d, _| d.unit.restart.on_limit = OnLimit::Reboot),
    planned_word("rollback", "the revision before this one is taken back"),
];

const STOP_MODE: &[Word<ContainerDraft>] = &[
    word("main", "its first process", |d, _| d.unit.stop.mode = StopMode::Main),
    word("all", "all of its processes", |d, _| d.unit.stop.mode = StopMode::All),
];

const SINK: &[Word<ContainerDraft>] = &[
    word("store", "files on the data partition", |d, _| d.unit.log.to = LogSink::Store),
    word("ram", "files in RAM", |d, _| d.unit.log.to = LogSink::Ram),
    word("none", "discarded", |d, _| d.unit.log.to = LogSink::None),
    word("console", "files in RAM, and shown on the node's console", |d, _| d.unit.log.to = LogSink::Console),
];

fn codes(list: Vec<i64>) -> Vec<u8> {
    list.into_iter().map(fit).collect()
}
