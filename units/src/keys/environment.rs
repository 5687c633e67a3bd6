//! What it is told: environment variables, secrets, configuration files.

use std::time::Duration;

use super::draft::{ContainerDraft, fit};
use super::forms::ENV_INFO;
use super::{Key, Section, Take, Text, Word, key, named, required, word};
use crate::spec::{EnvFile, EnvInfo, OnChange};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    named("env", Text::EnvName, |_, _| (), "Environment variables, laid over those of the image."),
    named(
        "secrets",
        Text::Entry,
        |d, at| {
            d.secret(at);
        },
        "Secrets that it is given, in RAM only, by name.",
    ),
    named(
        "configs",
        Text::Entry,
        |d, at| {
            d.config(at);
        },
        "Configuration files that it is given, by name.",
    ),
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
    key(
        "env_files",
        "[]",
        Take::Files(|d, _, v| d.unit.supplies.env_files = v.into_iter().map(env_file).collect()),
        "Files of the node with NAME=VALUE lines, below [env] in rank.",
    ),
    key(
        "env_from_node",
        "[]",
        Take::List(Text::EnvName, |d, _, v| d.unit.supplies.env_from_node = v.into_iter().collect()),
        "Variables of the node that it has, too: those of the kernel command line.",
    ),
    key(
        "env_unset",
        "[]",
        Take::List(Text::EnvName, |d, _, v| d.unit.supplies.env_unset = v.into_iter().collect()),
        "Variables of the image that are left out.",
    ),
    key(
        "env_proxy",
        "false",
        Take::Bool(|d, _, v| d.unit.supplies.env_proxy = v),
        "It has the node's proxy variables, too: http_proxy, https_proxy, all_proxy, no_proxy.",
    ),
    key(
        "env_info",
        "[]",
        Take::List(Text::Form(&ENV_INFO), |d, _, v| {
            d.unit.supplies.env_info = v.iter().filter_map(|word| env_info(word)).collect();
        }),
        "What it is told about itself: BERTH_IP, BERTH_NODE, BERTH_IMAGE_DIGEST.",
    ),
    key("on_change", "\"restart\"", Take::Words(ON_CHANGE), "When a secret or configuration changes."),
    key(
        "splay",
        "\"5s\"",
        Take::Duration(Duration::ZERO, HOUR, |d, _, v| d.unit.supplies.splay = v),
        "What on_change does happens at some time within that long.",
    ),
    key(
        "secrets.*.source",
        "the entry's name",
        Take::Name(|d, at, v| d.secret(at).source = Some(v)),
        "Unit of kind secret.",
    ),
    key(
        "secrets.*.target",
        "/run/secrets/NAME",
        Take::Text(Text::Path, |d, at, v| d.secret(at).target = Some(v)),
        "Its file in the container.",
    ),
    key(
        "secrets.*.mode",
        "\"0400\"",
        Take::Mode(|d, at, v| d.secret(at).mode = Some(v)),
        "Mode of the file.",
    ),
    key(
        "secrets.*.uid",
        "the unit's user",
        Take::Int(0, ID_MAX, |d, at, v| d.secret(at).uid = Some(fit(v))),
        "Owner of the file.",
    ),
    key(
        "secrets.*.gid",
        "the unit's group",
        Take::Int(0, ID_MAX, |d, at, v| d.secret(at).gid = Some(fit(v))),
        "Group of the file.",
    ),
    key(
        "secrets.*.env",
        "",
        Take::Text(Text::EnvName, |d, at, v| d.secret(at).env = Some(v)),
        "A variable in place of the file.",
    ),
    key("configs.*.source", "", Take::Name(|d, at, v| d.config(at).source = Some(v)), "Unit of kind config."),
    key(
        "configs.*.content",
        "",
        Take::Text(Text::Any, |d, at, v| d.config(at).content = Some(v)),
        "The content itself.",
    ),
    key(
        "configs.*.file",
        "",
        Take::Text(Text::Path, |d, at, v| d.config(at).file = Some(v)),
        "A file of the node.",
    ),
    required(
        "configs.*.target",
        Take::Text(Text::Path, |d, at, v| d.config(at).target = Some(v)),
        "Its file in the container.",
    ),
    key(
        "configs.*.mode",
        "\"0444\"",
        Take::Mode(|d, at, v| d.config(at).mode = Some(v)),
        "Mode of the file.",
    ),
    key(
        "configs.*.uid",
        "0",
        Take::Int(0, ID_MAX, |d, at, v| d.config(at).uid = Some(fit(v))),
        "Owner of the file.",
    ),
    key(
        "configs.*.gid",
        "0",
        Take::Int(0, ID_MAX, |d, at, v| d.config(at).gid = Some(fit(v))),
        "Group of the file.",
    ),
    key(
        "configs.*.template",
        "false",
        Take::Bool(|d, at, v| d.config(at).template = v),
        "Fill in what stands in double braces.",
    ),
];

const ON_CHANGE: &[Word<ContainerDraft>] = &[
    word("restart", "it is restarted", |d, _| d.unit.supplies.on_change = OnChange::Restart),
    word("reload", "its files are written anew, and it is told to reload", |d, _| {
        d.unit.supplies.on_change = OnChange::Reload;
    }),
    word("none", "nothing; it has the new one with its next start", |d, _| {
        d.unit.supplies.on_change = OnChange::None;
    }),
];

fn env_file((path, required): (String, bool)) -> EnvFile {
    EnvFile { path, required }
}

fn env_info(word: &str) -> Option<EnvInfo> {
    match word {
        "ip" => Some(EnvInfo::Ip),
        "node" => Some(EnvInfo::Node),
        "image_digest" => Some(EnvInfo::ImageDigest),
        _ => None,
    }
}
