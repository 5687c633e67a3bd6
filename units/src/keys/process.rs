//! As whom it runs, and how the kernel treats it.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::forms::{IO_PRIORITY, TIMEZONE};
use super::{
    Key, Section, Take, Text, Word, key, later, named, planned, planned_section, planned_word, section,
};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("process", "What runs."),
    named("process.rlimits", Text::Rlimit, |_, _| (), "Resource limits (setrlimit(2)) by lower-case name."),
    planned_section("process.scheduler", "How the kernel schedules it."),
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
    planned("process.stdin", "\"null\"", Take::Words(STDIN), "Its standard input."),
    planned("process.console", "", Take::Text(Text::Device, later), "Terminal of the node that it has."),
    planned(
        "process.init",
        "false",
        Take::Bool(later),
        "Run it below a small init that reaps and passes signals.",
    ),
    planned("process.timezone", "the image's", Take::Text(Text::Form(&TIMEZONE), later), "Its time zone."),
    planned("process.nice", "0", Take::Int(-20, 19, later), "Share of a processor; 19 yields to all."),
    planned(
        "process.io_priority",
        "the kernel's",
        Take::Text(Text::Form(&IO_PRIORITY), later),
        "ioprio_set(2).",
    ),
    planned("process.coredump", "\"off\"", Take::Words(COREDUMP), "What becomes of core dumps."),
    planned("process.scheduler.policy", "\"other\"", Take::Words(POLICY), "sched(7)."),
    planned("process.scheduler.priority", "0", Take::Int(0, 99, later), "Of fifo and rr."),
    planned("process.scheduler.runtime", "", Take::Duration(MILLI, SECOND, later), "Of deadline."),
    planned("process.scheduler.deadline", "", Take::Duration(MILLI, SECOND, later), "Of deadline."),
    planned("process.scheduler.period", "", Take::Duration(MILLI, SECOND, later), "Of deadline."),
    planned("process.scheduler.reset_on_fork", "false", Take::Bool(later), "Children do not inherit it."),
    planned("fd_store_max", "0", Take::Int(0, 1024, later), "Descriptors that it may leave with berth."),
];

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const STDIN: &[Word<ContainerDraft>] =
    &[planned_word("null", "/dev/null"), planned_word("open", "kept open for `berth attach`")];

const COREDUMP: &[Word<ContainerDraft>] =
    &[planned_word("off", "none is made"), planned_word("keep", "kept on the data partition")];

const POLICY: &[Word<ContainerDraft>] = &[
    planned_word("other", "SCHED_OTHER"),
    planned_word("batch", "SCHED_BATCH"),
    planned_word("idle", "SCHED_IDLE"),
    planned_word("fifo", "SCHED_FIFO"),
    planned_word("rr", "SCHED_RR"),
    planned_word("deadline", "SCHED_DEADLINE"),
];
