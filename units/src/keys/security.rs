//! How far a container is opened up.

use super::draft::ContainerDraft;
use super::forms::{DENY, TIME_OFFSET};
use super::{
    Key, Section, Take, Text, Word, key, later, named, planned, planned_section, planned_word, section, word,
};
use crate::spec::Profile;

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    section("security", "How far it is opened up."),
    named("security.sysctl", Text::Sysctl, |_, _| (), "Namespaced sysctls by dotted name."),
    planned_section("security.selinux", "SELinux labels."),
    planned_section("security.landlock", "Paths it may use, beside what permissions say."),
    planned_section("security.time_offsets", "How its clocks differ from the node's."),
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
    planned("security.ambient", "false", Take::Bool(later), "A user other than root keeps the capabilities."),
    planned("security.seccomp", "\"default\"", Take::Words(SECCOMP), "Which system calls it may make."),
    planned("security.apparmor", "none", Take::Text(Text::Line, later), "AppArmor profile."),
    planned("security.selinux.type", "", Take::Text(Text::Line, later), "Type of its processes."),
    planned("security.selinux.level", "", Take::Text(Text::Line, later), "Level of its processes."),
    planned("security.selinux.mount_label", "", Take::Text(Text::Line, later), "Label of its files."),
    planned(
        "security.landlock.ro",
        "[]",
        Take::List(Text::Path, later),
        "Only from these paths it may read.",
    ),
    planned("security.landlock.rw", "[]", Take::List(Text::Path, later), "Only to these paths it may write."),
    planned("security.userns", "\"auto\"", Take::Userns(later), "Whose ids its users have on the node."),
    planned("security.pid_ns", "\"private\"", Take::Words(NAMESPACE), "Which processes it sees."),
    planned("security.ipc_ns", "\"private\"", Take::Words(NAMESPACE), "Which shared memory it sees."),
    planned("security.uts_ns", "\"private\"", Take::Words(NAMESPACE), "Which host name it sees."),
    planned("security.cgroup_ns", "\"private\"", Take::Words(NAMESPACE), "Which cgroups it sees."),
    planned("security.time_ns", "\"private\"", Take::Words(NAMESPACE), "Which clocks it sees."),
    planned(
        "security.time_offsets.monotonic",
        "\"0s\"",
        Take::Text(Text::Form(&TIME_OFFSET), later),
        "Added to CLOCK_MONOTONIC.",
    ),
    planned(
        "security.time_offsets.boottime",
        "\"0s\"",
        Take::Text(Text::Form(&TIME_OFFSET), later),
        "Added to CLOCK_BOOTTIME.",
    ),
    planned("security.mask_paths", "[]", Take::List(Text::Path, later), "Further paths that it cannot see."),
    planned("security.unmask_paths", "[]", Take::List(Text::Path, later), "Masked paths that it may see."),
    planned("security.ro_paths", "[]", Take::List(Text::Path, later), "Further paths that it cannot write."),
    planned("security.proc", "\"default\"", Take::Words(PROC), "How much of /proc it sees."),
    planned(
        "security.deny",
        "[]",
        Take::List(Text::Form(&DENY), later),
        "Groups of system calls it may not make.",
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

const SECCOMP: &[Word<ContainerDraft>] = &[
    planned_word("default", "those that ordinary programs make"),
    planned_word("strict", "fewer"),
    planned_word("unconfined", "all"),
    planned_word("profile:NAME", "those of a profile of the node"),
];

const NAMESPACE: &[Word<ContainerDraft>] = &[
    planned_word("private", "its own"),
    planned_word("host", "the node's"),
    planned_word("unit:NAME", "those of another unit"),
];

const PROC: &[Word<ContainerDraft>] = &[
    planned_word("default", "all that is not masked"),
    planned_word("own", "processes of its own user"),
    planned_word("minimal", "only processes"),
];
