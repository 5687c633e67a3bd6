//! What else is run around a unit: reload, hooks, units that follow its end.

use std::time::Duration;

use super::draft::ContainerDraft;
use super::forms::HOOK;
use super::order::names;
use super::{Key, Section, Take, Text, later, planned, planned_required, planned_section, planned_word};
use super::{Word, key, planned_named};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    planned_section("reload", "How it is told to read its configuration again."),
    planned_named(
        "hooks",
        Text::Form(&HOOK),
        "Programs that are run around it: pre_start, post_start, pre_stop, post_stop.",
    ),
];

const HOUR: Duration = Duration::from_secs(3600);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    planned("reload.signal", "", Take::Signal(later), "The signal that tells."),
    planned("reload.exec", "", Take::List(Text::Any, later), "A program in the container that tells."),
    planned(
        "reload.timeout",
        "\"30s\"",
        Take::Duration(Duration::ZERO, HOUR, later),
        "After it the reload has failed.",
    ),
    planned_required("hooks.*.exec", Take::List(Text::Any, later), "The program and its arguments."),
    planned("hooks.*.where", "\"container\"", Take::Words(WHERE), "Where it runs."),
    planned("hooks.*.user", "the unit's", Take::Text(Text::User, later), "As whom it runs."),
    planned(
        "hooks.*.timeout",
        "\"30s\"",
        Take::Duration(Duration::ZERO, HOUR, later),
        "After it the hook is killed and has failed.",
    ),
    planned("hooks.*.on_error", "\"fail\"", Take::Words(ON_ERROR), "What its failure means."),
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
        Take::Duration(Duration::from_secs(1), HOUR, |d, _, v| d.unit.watchdog = Some(v)),
        "It has to say WATCHDOG=1 at least this often once it is ready.",
    ),
];

const WHERE: &[Word<ContainerDraft>] = &[
    planned_word("container", "beside the unit's process"),
    planned_word("image", "in a container of its own, of the same image"),
];

const ON_ERROR: &[Word<ContainerDraft>] =
    &[planned_word("fail", "the unit has failed"), planned_word("ignore", "nothing")];
