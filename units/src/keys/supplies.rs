//! `kind = "config"` and `kind = "secret"`.

use super::draft::{ConfigDraft, SecretDraft, fit};
use super::order::names;
use super::{Key, Section, Take, Text, Word, key, named, planned_word, required, word};

pub(super) const CONFIG_SECTIONS: &[Section<ConfigDraft>] =
    &[named("labels", Text::Label, |_, _| (), "Free key-value pairs.")];

pub(super) const CONFIG: &[Key<ConfigDraft>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    required("kind", Take::Header("\"config\""), "What the file declares."),
    key("description", "", Take::Text(Text::Line, |_, _, _| ()), "One line for people."),
    key("content", "", Take::Text(Text::Any, |d, _, v| d.content = Some(v)), "The content itself."),
    key("file", "", Take::Text(Text::Path, |d, _, v| d.file = Some(v)), "A file of the node."),
    key("template", "false", Take::Bool(|d, _, v| d.template = v), "Fill in what stands in double braces."),
    key(
        "labels.*",
        "",
        Take::Text(Text::Value, |d, at, v| drop(d.labels.insert(at.to_owned(), v))),
        "One label.",
    ),
];

pub(super) const SECRET_SECTIONS: &[Section<SecretDraft>] =
    &[named("labels", Text::Label, |_, _| (), "Free key-value pairs.")];

pub(super) const SECRET: &[Key<SecretDraft>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    required("kind", Take::Header("\"secret\""), "What the file declares."),
    key("description", "", Take::Text(Text::Line, |_, _, _| ()), "One line for people."),
    required("source", Take::Words(SOURCE), "Where it comes from."),
    key("path", "", Take::Text(Text::Path, |d, _, v| d.path = Some(v)), "Of source file: its file."),
    key(
        "version",
        "1",
        Take::Int(1, 1_000_000_000, |d, _, v| d.version = fit(v)),
        "Another number is a change of the secret.",
    ),
    key(
        "allow",
        "all",
        Take::List(Text::Entry, |d, _, v| d.allow = Some(names(&v).into_iter().collect())),
        "Units that may have it.",
    ),
    key(
        "labels.*",
        "",
        Take::Text(Text::Value, |d, at, v| drop(d.labels.insert(at.to_owned(), v))),
        "One label.",
    ),
];

const SOURCE: &[Word<SecretDraft>] = &[
    word("file", "a file of the node", |d, _| d.is_file = true),
    planned_word("tpm-sealed", "a file that only this machine's TPM opens"),
    word("node", "set by `berth secret set`, in RAM until the node ends", |d, _| d.is_node = true),
    planned_word("env", "the firmware's or the hypervisor's configuration"),
    planned_word("kms-plugin", "a program of the OS image"),
];
