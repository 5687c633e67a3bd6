//! How far a container is opened up.

use super::draft::ContainerDraft;
use super::{Key, Section, Take, Text, Word, key, named, section, word};
use crate::spec::Profile;

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("security", "How far it is opened up."),
    named("security.sysctl", Text::Sysctl, |_, _| (), "Namespaced sysctls by dotted name."),
];

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key("security.profile", "\"restricted\"", Take::Words(PROFILE), "What the rest starts from."),
    key(
        "security.cap_add",
        "[]",
        Take::List(Text::Capability, |d, _, v| d.unit.security.cap_add = v),
        "Capabilities added to the profile's, without CAP_.",
    ),
    key(
        "security.cap_drop",
        "[]",
        Take::List(Text::CapabilityOrAll, |d, _, v| d.unit.security.cap_drop = v),
        "Capabilities taken from the profile's; ALL takes all.",
    ),
    key(
        "security.no_new_privileges",
        "true",
        Take::Bool(|d, _, v| d.unit.security.no_new_privileges = v),
        "No program gains rights by set-user-ID or file capabilities.",
    ),
    key(
        "security.sysctl.*",
        "the kernel's",
        Take::Text(Text::Value, |d, at, v| drop(d.unit.security.sysctl.insert(at.to_owned(), v))),
        "One sysctl.",
    ),
];

const PROFILE: &[Word<ContainerDraft>] = &[
    word("restricted", "no capabilities", |d, _| d.unit.security.profile = Profile::Restricted),
    word("baseline", "what ordinary images expect of root", |d, _| {
        d.unit.security.profile = Profile::Baseline
    }),
    word("privileged", "all capabilities, nothing masked, the node's devices", |d, _| {
        d.unit.security.profile = Profile::Privileged
    }),
];
