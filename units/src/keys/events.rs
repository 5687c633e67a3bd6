//! What else is run around a unit: reload, hooks, units that follow its end.

use std::time::Duration;

use super::draft::ContainerDraft;
use super::forms::HOOK;
use super::order::names;
use super::{Key, Section, Take, Text, Word, key, named, required, section, word};
use crate::spec::{OnError, Place};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("reload", "How it is told to read its configuration again."),
    named(
        "hooks",
        Text::Form(&HOOK),
        |d, at| {
            d.hook(at);
        },
        "Programs that are run around it: pre_start, post_start, pre_stop and post_stop.",
    ),
];

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key(
        "reload.signal",
        "",
        Take::Signal(|d, _, v| d.reload.signal = Some(v)),
        "The signal that tells its first process.",
    ),
    key(
        "reload.exec",
        "",
        Take::List(Text::Any, |d, _, v| d.reload.exec = Some(v)),
        "A program in the container that tells; in place of a signal.",
    ),
    key(
        "reload.timeout",
        "30 seconds",
        Take::Duration(SECOND, HOUR, |d, _, v| d.reload.timeout = Some(v)),
        "After it the reload has failed.",
    ),
    required(
        "hooks.*.exec",
        Take::List(Text::Any, |d, at, v| d.hook(at).exec = v),
        "The program and its arguments.",
    ),
    key("hooks.*.where", "container; of pre_start and post_stop image", Take::Words(WHERE), "Where it runs."),
    key(
        "hooks.*.user",
        "the unit's",
        Take::Text(Text::User, |d, at, v| d.hook(at).user = Some(v)),
        "As whom it runs.",
    ),
    key(
        "hooks.*.timeout",
        "\"30s\"",
        Take::Duration(SECOND, HOUR, |d, at, v| d.hook(at).timeout = v),
        "After it the hook is killed and has failed.",
    ),
    key("hooks.*.on_error", "\"fail\"", Take::Words(ON_ERROR), "What its failure means."),
    key(
        "on_failure",
        "[]",
        Take::List(Text::Unit, |d, _, v| d.unit.on_failure = names(&v)),
        "Units started when it has failed.",
    ),
    key(
        "on_success",
        "[]",
        Take::List(Text::Unit, |d, _, v| d.unit.on_success = names(&v)),
        "Units started when it has ended well.",
    ),
    key(
        "watchdog",
        "none",
        Take::Duration(SECOND, HOUR, |d, _, v| d.unit.watchdog = Some(v)),
        "It has to say WATCHDOG=1 at least this often once it is ready.",
    ),
];

const WHERE: &[Word<ContainerDraft>] = &[
    word("container", "beside the unit's process", |d, at| d.hook(at).place = Place::Container),
    word("image", "in a container of its own, of the same image", |d, at| d.hook(at).place = Place::Image),
];

const ON_ERROR: &[Word<ContainerDraft>] = &[
    word("fail", "the start has failed; a unit that is to stop is stopped all the same", |d, at| {
        d.hook(at).on_error = OnError::Fail;
    }),
    word("ignore", "nothing", |d, at| d.hook(at).on_error = OnError::Ignore),
];
