//! What runs, as whom, in which environment.

use super::draft::{ContainerDraft, fit};
use super::{Key, Section, Take, Text, key, named, section};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("process", "What runs."),
    named("process.rlimits", Text::Rlimit, |_, _| (), "Resource limits (setrlimit(2)) by lower-case name."),
    named("env", Text::EnvName, |_, _| (), "Environment variables, laid over those of the image."),
];

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
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
    key(
        "env.*",
        "",
        Take::Text(Text::Any, |d, at, v| drop(d.unit.env.insert(at.to_owned(), v))),
        "One variable.",
    ),
];
