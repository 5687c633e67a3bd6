//! What it is told: environment variables, secrets, configuration files.

use std::time::Duration;

use super::draft::ContainerDraft;
use super::forms::ENV_INFO;
use super::planned_word;
use super::{Key, Section, Take, Text, Word, key, later, named, planned, planned_named, planned_required};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    named("env", Text::EnvName, |_, _| (), "Environment variables, laid over those of the image."),
    planned_named("secrets", Text::Entry, "Secrets that it is given, in RAM only, by name."),
    planned_named("configs", Text::Entry, "Configuration files that it is given, by name."),
];

const HOUR: Duration = Duration::from_secs(3600);
/// Ids below (uid_t) -1.
const ID_MAX: i64 = 4_294_967_294;

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key(
        "env.*",
        "",
        Take::Text(Text::Any, |d, at, v| drop(d.unit.env.insert(at.to_owned(), v))),
        "One variable.",
    ),
    planned("env_files", "[]", Take::Files(later), "Files of NAME=VALUE lines, below [env] in rank."),
    planned("env_from_node", "[]", Take::List(Text::EnvName, later), "Variables taken over from the node."),
    planned("env_unset", "[]", Take::List(Text::EnvName, later), "Variables of the image that are left out."),
    planned("env_proxy", "false", Take::Bool(later), "Take over the node's proxy variables."),
    planned(
        "env_info",
        "[]",
        Take::List(Text::Form(&ENV_INFO), later),
        "What it is told about itself, as BERTH_ variables.",
    ),
    planned("on_change", "\"restart\"", Take::Words(ON_CHANGE), "When a secret or configuration changes."),
    planned("splay", "\"5s\"", Take::Duration(Duration::ZERO, HOUR, later), "Spread of what on_change does."),
    planned("secrets.*.source", "the entry's name", Take::Name(later), "Unit of kind secret."),
    planned(
        "secrets.*.target",
        "/run/secrets/NAME",
        Take::Text(Text::Path, later),
        "Its file in the container.",
    ),
    planned("secrets.*.mode", "\"0400\"", Take::Mode(later), "Mode of the file."),
    planned("secrets.*.uid", "the unit's", Take::Int(0, ID_MAX, later), "Owner of the file."),
    planned("secrets.*.gid", "the unit's", Take::Int(0, ID_MAX, later), "Group of the file."),
    planned("secrets.*.env", "", Take::Text(Text::EnvName, later), "A variable in place of the file."),
    planned("configs.*.source", "", Take::Name(later), "Unit of kind config."),
    planned("configs.*.content", "", Take::Text(Text::Any, later), "The content itself."),
    planned("configs.*.file", "", Take::Text(Text::Path, later), "A file of the node."),
    planned_required("configs.*.target", Take::Text(Text::Path, later), "Its file in the container."),
    planned("configs.*.mode", "\"0444\"", Take::Mode(later), "Mode of the file."),
    planned("configs.*.uid", "0", Take::Int(0, ID_MAX, later), "Owner of the file."),
    planned("configs.*.gid", "0", Take::Int(0, ID_MAX, later), "Group of the file."),
    planned("configs.*.template", "false", Take::Bool(later), "Fill in what stands in double braces."),
];

const ON_CHANGE: &[Word<ContainerDraft>] = &[
    planned_word("restart", "it is restarted"),
    planned_word("reload", "it is told to reload"),
    planned_word("none", "nothing; the file is new"),
];
