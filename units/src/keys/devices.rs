//! `[devices.NAME]` and other hardware that a unit is given.

use super::draft::{ContainerDraft, fit};
use super::forms::{CDI, DEVICE_ACCESS, DEVICE_RULE, HEX_ID, SUBSYSTEM};
use super::planned_word;
use super::{
    Key, Section, Take, Text, Word, key, later, named, planned, planned_named, planned_required,
    planned_section,
};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    named(
        "devices",
        Text::Entry,
        |d, at| {
            d.device(at);
        },
        "Devices of the node that it is given, by name.",
    ),
    planned_section("devices.*.match", "Finds the device by what it is."),
    planned_named("net_devices", Text::Interface, "Interfaces of the node that are moved into it."),
];

/// Ids below (uid_t) -1.
const ID_MAX: i64 = 4_294_967_294;

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key(
        "devices.*.source",
        "",
        Take::Text(Text::Device, |d, at, v| d.device(at).source = Some(v)),
        "Path on the node.",
    ),
    key(
        "devices.*.target",
        "the source",
        Take::Text(Text::Device, |d, at, v| d.device(at).target = Some(v)),
        "Path in the container.",
    ),
    planned("devices.*.access", "\"rw\"", Take::Text(Text::Form(&DEVICE_ACCESS), later), "What it may do."),
    key(
        "devices.*.mode",
        "the node's",
        Take::Mode(|d, at, v| d.device(at).mode = Some(v)),
        "Mode of the device file.",
    ),
    key(
        "devices.*.uid",
        "0",
        Take::Int(0, ID_MAX, |d, at, v| d.device(at).uid = fit(v)),
        "Owner of the device file.",
    ),
    key(
        "devices.*.gid",
        "0",
        Take::Int(0, ID_MAX, |d, at, v| d.device(at).gid = fit(v)),
        "Group of the device file.",
    ),
    key(
        "devices.*.required",
        "true",
        Take::Bool(|d, at, v| d.device(at).required = Some(v)),
        "It does not start without the device.",
    ),
    planned("devices.*.on_unplug", "\"stop\"", Take::Words(ON_UNPLUG), "When the device goes away."),
    planned("devices.*.match.subsystem", "", Take::Text(Text::Form(&SUBSYSTEM), later), "Kind of device."),
    planned("devices.*.match.vendor", "", Take::Text(Text::Form(&HEX_ID), later), "Vendor id."),
    planned("devices.*.match.product", "", Take::Text(Text::Form(&HEX_ID), later), "Product id."),
    planned("devices.*.match.serial", "", Take::Text(Text::Line, later), "Serial number."),
    planned(
        "device_rules",
        "[]",
        Take::List(Text::Form(&DEVICE_RULE), later),
        "Classes of devices that it may use, as the kernel numbers them.",
    ),
    planned("cdi", "[]", Take::List(Text::Form(&CDI), later), "Devices by the Container Device Interface."),
    planned_required("net_devices.*.name", Take::Text(Text::Interface, later), "Its name in the container."),
];

const ON_UNPLUG: &[Word<ContainerDraft>] =
    &[planned_word("stop", "the unit is stopped"), planned_word("ignore", "nothing")];
