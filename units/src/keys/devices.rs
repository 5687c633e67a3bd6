//! `[devices.NAME]` and other hardware that a unit is given.

use super::draft::ContainerDraft;
use super::forms::{CDI, DEVICE_ACCESS, DEVICE_RULE, HEX_ID, SUBSYSTEM};
use super::planned_word;
use super::{
    Key, Section, Take, Text, Word, later, planned, planned_named, planned_required, planned_section,
};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[
    planned_named("devices", Text::Entry, "Devices that it is given, by name."),
    planned_section("devices.*.match", "Finds the device by what it is."),
    planned_named("net_devices", Text::Interface, "Interfaces of the node that are moved into it."),
];

/// Ids below (uid_t) -1.
const ID_MAX: i64 = 4_294_967_294;

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    planned("devices.*.source", "", Take::Text(Text::Device, later), "Path on the node."),
    planned("devices.*.target", "the source", Take::Text(Text::Device, later), "Path in the container."),
    planned("devices.*.access", "\"rw\"", Take::Text(Text::Form(&DEVICE_ACCESS), later), "What it may do."),
    planned("devices.*.mode", "the node's", Take::Mode(later), "Mode of the device file."),
    planned("devices.*.uid", "0", Take::Int(0, ID_MAX, later), "Owner of the device file."),
    planned("devices.*.gid", "0", Take::Int(0, ID_MAX, later), "Group of the device file."),
    planned("devices.*.required", "true", Take::Bool(later), "It does not start without the device."),
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
