//! As whom it runs, and how the kernel treats it.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::forms::{IO_PRIORITY, TIMEZONE};
use super::{Key, Section, Take, Text, Word, key, later, named, planned, planned_word, section, word};
use crate::schedule::Zone;
use crate::spec::{IoPriority, SchedulerPolicy, Scheduling, Stdin};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("process", "What runs."),
    named("process.rlimits", Text::Rlimit, |_, _| (), "Resource limits (setrlimit(2)) by lower-case name."),
    section("process.scheduler", "How the kernel schedules it."),
];

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key(
        "process.workdir",
        "the image's, or /",
        Take::Text(Text::Workdir, |d, _, v| d.unit.process.workdir = Some(v)),
        "Working directory; made when it is absent.",
    ),
    key(
        "process.user",
        "the image's, or root",
        Take::Text(Text::User, |d, _, v| d.unit.process.user = Some(v)),
        "uid[:gid] or name[:group], looked up in the image.",
    ),
    key(
        "process.groups",
        "[]",
        Take::List(Text::Group, |d, _, v| d.unit.process.groups = v),
        "Supplementary groups, ids or names of the image.",
    ),
    key(
        "process.umask",
        "octal 0022",
        Take::Mode(|d, _, v| d.unit.process.umask = Some(v)),
        "File mode creation mask.",
    ),
    key(
        "process.rlimits.*",
        "the node's",
        Take::Limits(|d, at, v| {
            d.unit.process.rlimits.insert(at.to_owned(), v);
        }),
        "One limit: soft and hard.",
    ),
    key(
        "process.oom_score_adj",
        "0",
        Take::Int(-1000, 1000, |d, _, v| d.unit.process.oom_score_adj = fit(v)),
        "How soon the kernel chooses it when memory is short; 1000 first.",
    ),
    planned("process.tty", "false", Take::Bool(later), "Give it a terminal."),
    key("process.stdin", "\"null\"", Take::Words(STDIN), "Its standard input."),
    key(
        "process.console",
        "",
        Take::Text(Text::Device, |d, _, v| d.unit.process.console = Some(v)),
        "Terminal of the node that is its input and output.",
    ),
    key(
        "process.init",
        "false",
        Take::Bool(|d, _, v| d.unit.process.init = v),
        "Run it below a small init that reaps and passes signals.",
    ),
    key(
        "process.timezone",
        "the image's",
        Take::Text(Text::Form(&TIMEZONE), |d, _, v| d.unit.process.timezone = Zone::parse(&v)),
        "Its time zone, in TZ and /etc/localtime.",
    ),
    key(
        "process.nice",
        "0",
        Take::Int(-20, 19, |d, _, v| scheduling(d).nice = fit(v)),
        "Share of a processor; 19 yields to all.",
    ),
    key(
        "process.io_priority",
        "the kernel's",
        Take::Text(Text::Form(&IO_PRIORITY), |d, _, v| d.unit.process.io_priority = IoPriority::parse(&v)),
        "ioprio_set(2).",
    ),
    key("process.coredump", "\"off\"", Take::Words(COREDUMP), "What becomes of core dumps."),
    key("process.scheduler.policy", "\"other\"", Take::Words(POLICY), "sched(7)."),
    key(
        "process.scheduler.priority",
        "",
        Take::Int(1, 99, |d, _, v| scheduling(d).priority = fit(v)),
        "Of fifo and rr.",
    ),
    key(
        "process.scheduler.runtime",
        "",
        Take::Duration(MILLI, SECOND, |d, _, v| scheduling(d).runtime = v),
        "Of deadline: processor time in each period.",
    ),
    key(
        "process.scheduler.deadline",
        "",
        Take::Duration(MILLI, SECOND, |d, _, v| scheduling(d).deadline = v),
        "Of deadline: until when in a period it has that time.",
    ),
    key(
        "process.scheduler.period",
        "process.scheduler.deadline",
        Take::Duration(MILLI, SECOND, |d, _, v| scheduling(d).period = v),
        "Of deadline.",
    ),
    key(
        "process.scheduler.reset_on_fork",
        "false",
        Take::Bool(|d, _, v| scheduling(d).reset_on_fork = v),
        "Children do not inherit it.",
    ),
    planned("fd_store_max", "0", Take::Int(0, 1024, later), "Descriptors that it may leave with berth."),
];

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const STDIN: &[Word<ContainerDraft>] = &[
    word("null", "/dev/null", |d, _| d.unit.process.stdin = Stdin::Null),
    word("open", "nothing ever comes, and no end", |d, _| d.unit.process.stdin = Stdin::Open),
];

const COREDUMP: &[Word<ContainerDraft>] = &[
    word("off", "none is made, unless process.rlimits.core says otherwise", |_, _| ()),
    planned_word("keep", "kept on the data partition"),
];

const POLICY: &[Word<ContainerDraft>] = &[
    word("other", "SCHED_OTHER", |d, _| scheduling(d).policy = SchedulerPolicy::Other),
    word("batch", "SCHED_BATCH", |d, _| scheduling(d).policy = SchedulerPolicy::Batch),
    word("idle", "SCHED_IDLE", |d, _| scheduling(d).policy = SchedulerPolicy::Idle),
    word("fifo", "SCHED_FIFO", |d, _| scheduling(d).policy = SchedulerPolicy::Fifo),
    word("rr", "SCHED_RR", |d, _| scheduling(d).policy = SchedulerPolicy::Rr),
    word("deadline", "SCHED_DEADLINE", |d, _| scheduling(d).policy = SchedulerPolicy::Deadline),
];

fn scheduling(draft: &mut ContainerDraft) -> &mut Scheduling {
    &mut draft.unit.process.scheduling
}
