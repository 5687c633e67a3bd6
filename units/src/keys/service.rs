//! `kind = "service"`: a program of the OS image, with the tables of a container but those of its image.

use super::draft::ContainerDraft;
use super::{
    Effect, Key, Schema, Take, Text, devices, environment, events, health, identity, key, lifecycle, logging,
    mounts, networking, order, pressure, process, required, resources, security,
};

/// `kind = "service"`.
pub(crate) static SERVICE: Schema<ContainerDraft> = Schema {
    kind: "service",
    sections: &[
        identity::SECTIONS,
        process::SECTIONS,
        environment::SECTIONS,
        resources::SECTIONS,
        pressure::SECTIONS,
        mounts::SECTIONS,
        devices::SECTIONS,
        networking::SECTIONS,
        order::SECTIONS,
        lifecycle::SECTIONS,
        health::SECTIONS,
        events::SECTIONS,
        logging::SECTIONS,
        security::SECTIONS,
    ],
    keys: &[
        KEYS,
        identity::KEYS,
        process::KEYS,
        environment::KEYS,
        resources::KEYS,
        pressure::KEYS,
        mounts::KEYS,
        devices::KEYS,
        networking::KEYS,
        networking::ATTACHMENT,
        networking::PORT,
        order::KEYS,
        lifecycle::KEYS,
        health::KEYS,
        events::KEYS,
        logging::KEYS,
        security::KEYS,
    ],
    effect: Effect::Now,
};

const KEYS: &[Key<ContainerDraft>] = &[
    required("schema", Take::Header("1"), "Version of the rules that the file follows."),
    required("kind", Take::Header("\"service\""), "What the file declares."),
    required(
        "process.entrypoint",
        Take::List(Text::Any, |d, _, v| d.unit.process.entrypoint = Some(v)),
        "Program of the OS image, by its absolute path, and its first arguments.",
    ),
    key(
        "process.args",
        "none",
        Take::List(Text::Any, |d, _, v| d.unit.process.args = Some(v)),
        "Further arguments.",
    ),
];
