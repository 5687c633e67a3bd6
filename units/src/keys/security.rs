//! How far a container is opened up.

use super::draft::ContainerDraft;
use super::{Key, Section, Take, Text, Word, key, named, section};
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
    Word {
        word: "restricted",
        doc: "no capabilities",
        set: |d, _| d.unit.security.profile = Profile::Restricted,
    },
    Word {
        word: "baseline",
        doc: "what ordinary images expect of root",
        set: |d, _| d.unit.security.profile = Profile::Baseline,
    },
    Word {
        word: "privileged",
        doc: "all capabilities, nothing masked, the node's devices",
        set: |d, _| d.unit.security.profile = Profile::Privileged,
    },
];
