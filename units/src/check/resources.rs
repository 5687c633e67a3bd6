//! Memory and processors: what units are promised, beside each other and beside what a node has.

use super::Set;
use crate::codes::{BEYOND_NODE, OVERCOMMIT};
use crate::diagnostic::Code;
use crate::fault::{Fault, clip};
use crate::human;
use crate::quantity::Amount;
use crate::spec::{Declared, Start, Unit};

/// What a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Memory, bytes.
    pub memory: u64,
    /// Processors that are online.
    pub cpus: u32,
}

/// Something to say about a set that is to run on a certain node. It has no place in a file: on another node it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What kind of.
    pub code: Code,
    /// Lower case, no full stop, one line.
    pub message: String,
}

/// What a set asks of a node that has not so much: warnings, since a set is also written for other nodes.
pub fn against_node(declared: &Declared, node: Capacity) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let reserve = declared.node.memory_reserve;
    let room = node.memory.saturating_sub(reserve);
    let bytes = |amount: Option<Amount>| match amount {
        Some(Amount::Bytes(bytes)) => bytes,
        Some(Amount::Percent(percent)) => node.memory / 100 * u64::from(percent),
        Some(Amount::Max) => room,
        None => 0,
    };
    let promised: u64 =
        running(declared).map(|unit| bytes(unit.memory.min)).fold(0, |sum, one| sum.saturating_add(one));
    if promised > room {
        let message = format!(
            "memory.min of all units comes to {}, more than the {} that the node leaves them",
            human::size(promised),
            human::size(room)
        );
        remarks.push(Remark { code: OVERCOMMIT, message });
    }
    for unit in declared.units.values() {
        let mut beyond = |message: String| remarks.push(Remark { code: BEYOND_NODE, message });
        let limits = [("memory.max", unit.memory.max), ("memory.high", unit.memory.high)];
        for (key, limit) in limits {
            if let Some(Amount::Bytes(limit)) = limit.filter(|limit| bytes(Some(*limit)) > node.memory) {
                let (limit, has) = (human::size(limit), human::size(node.memory));
                beyond(format!("{key} {limit} of unit '{}' is more than the node has, {has}", unit.name));
            }
        }
        if let Some(cpus) = unit.cpu.max.filter(|max| u64::from(max.0) > u64::from(node.cpus) * 1000) {
            let asked = f64::from(cpus.0) / 1000.0;
            beyond(format!(
                "cpu.max {asked} of unit '{}' is more than the node has, {}",
                unit.name, node.cpus
            ));
        }
    }
    remarks
}

/// Units that run together: each of them may have what it was promised at once.
fn running(declared: &Declared) -> impl Iterator<Item = &Unit> {
    declared.units.values().filter(|unit| unit.enabled && unit.start == Start::Boot)
}

/// Without a node only parts of its memory can be summed up.
pub(super) fn check_promises(set: &Set<'_>, faults: &mut Vec<Fault>) {
    let mut sum = 0;
    for unit in running(set.declared) {
        let (Some(Amount::Percent(percent)), Some(origin)) = (unit.memory.min, set.origin(&unit.name)) else {
            continue;
        };
        let before = sum;
        sum += u32::from(percent);
        // Said once: at the unit with which it is too much.
        if before <= 100 && sum > 100 {
            let name = clip(unit.name.as_str());
            let message =
                format!("with unit '{name}' memory.min comes to more than all of the node's memory");
            let fault = Fault::warning(OVERCOMMIT, origin.value("memory.min"), message);
            faults.push(fault.help("what is promised twice is kept for nobody"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::MilliCpus;
    use crate::{Name, Reference};

    #[test]
    fn a_set_is_compared_with_its_node() {
        let node = Capacity { memory: 1 << 30, cpus: 2 };
        let said = |change: fn(&mut Unit)| {
            let mut declared = Declared::default();
            declared.node.memory_reserve = 64 << 20;
            for name in ["a", "b"] {
                let name = Name::parse(name).unwrap();
                let mut unit = Unit::new(name.clone(), Reference::parse("x").unwrap());
                change(&mut unit);
                declared.units.insert(name, unit);
            }
            let remarks = against_node(&declared, node);
            remarks.iter().map(|remark| format!("{} {}", remark.code, remark.message)).collect::<Vec<_>>()
        };
        assert_eq!(said(|_| ()), [""; 0]);
        assert_eq!(said(|unit| unit.memory.min = Some(Amount::Bytes(480 << 20))), [""; 0]);
        let much =
            ["BU0411 memory.min of all units comes to 1000M, more than the 960M that the node leaves them"];
        assert_eq!(said(|unit| unit.memory.min = Some(Amount::Bytes(500 << 20))), much);
        assert_eq!(said(|unit| unit.memory.min = Some(Amount::Percent(49))).len(), 1);
        // Those that are only started by hand do not run beside all others.
        let by_hand = |unit: &mut Unit| {
            unit.memory.min = Some(Amount::Percent(60));
            unit.start = Start::Manual;
        };
        assert_eq!(said(by_hand), [""; 0]);
        let alone = |unit: &mut Unit| {
            if unit.name.as_str() == "a" {
                unit.memory.max = Some(Amount::Bytes(2 << 30));
                unit.cpu.max = Some(MilliCpus(2500));
            } else {
                unit.memory.max = Some(Amount::Max);
                unit.cpu.max = Some(MilliCpus(2000));
            }
        };
        assert_eq!(
            said(alone),
            [
                "BU0412 memory.max 2G of unit 'a' is more than the node has, 1G",
                "BU0412 cpu.max 2.5 of unit 'a' is more than the node has, 2",
            ]
        );
    }
}
