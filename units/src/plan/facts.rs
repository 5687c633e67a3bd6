//! Facts outside of the set: those that a start waits for, and those on which it depends whether there is one.

use crate::human;
use crate::life::Life;
use crate::observed::{Facts, Seen};
use crate::spec::{Conditions, Server, Unit};

/// The first fact that a start still waits for, in words.
pub(super) fn missing(unit: &Unit, facts: &Facts) -> Option<String> {
    let wait = &unit.wait_for;
    if wait.online && !facts.online {
        return Some("waits for an address of the uplink".to_owned());
    }
    if wait.time && !facts.clock_set {
        return Some("waits for the clock to be set".to_owned());
    }
    let mut paths = wait.paths.iter().chain(&wait.devices);
    if let Some(path) = paths.find(|path| !facts.paths.contains(*path)) {
        return Some(format!("waits for '{path}'"));
    }
    let answers = |server: &&Server| facts.answering.get(&unit.name).is_some_and(|all| all.contains(server));
    let silent = wait.tcp.iter().find(|server| !answers(server))?;
    Some(format!("waits for '{silent}' to accept connections"))
}

/// The servers that somebody has to try to reach now, because a start waits for them.
pub fn awaited_servers<'u>(unit: &'u Unit, seen: &Seen) -> &'u [Server] {
    let waits = seen.record.life == Life::Idle && seen.record.waits_since.is_some();
    if waits { &unit.wait_for.tcp } else { &[] }
}

/// The first condition that does not hold, in words.
pub(super) fn unmet(conditions: &Conditions, facts: &Facts) -> Option<String> {
    let mut paths = conditions.path_exists.iter().chain(&conditions.device);
    if let Some(path) = paths.find(|path| !facts.paths.contains(*path)) {
        return Some(format!("'{path}' does not exist"));
    }
    if let Some(arch) = conditions.arch.filter(|arch| arch.word() != facts.arch) {
        return Some(format!("the node is {}, not {}", facts.arch, arch.word()));
    }
    if let Some(min) = conditions.memory_min.filter(|min| facts.memory < *min) {
        let (has, min) = (human::size(facts.memory), human::size(min));
        return Some(format!("the node has {has} of memory, less than {min}"));
    }
    if let Some(word) = conditions.kernel_cmdline.iter().find(|word| !facts.kernel_cmdline.contains(*word)) {
        return Some(format!("the kernel command line has no '{word}'"));
    }
    if let Some(word) = conditions.cpu_feature.iter().find(|word| !facts.cpu_features.contains(*word)) {
        return Some(format!("the processor has no '{word}'"));
    }
    match conditions.first_boot.filter(|first| *first != facts.first_boot) {
        Some(true) => Some("this is not the first boot".to_owned()),
        Some(false) => Some("this is the first boot".to_owned()),
        None => None,
    }
}

/// Paths whose existence a start waits for: whoever plans has to hear of them.
pub fn awaited_paths(unit: &Unit) -> impl Iterator<Item = &String> {
    unit.wait_for.paths.iter().chain(&unit.wait_for.devices)
}

/// Paths whose existence a start asks for once.
pub fn asked_paths(unit: &Unit) -> impl Iterator<Item = &String> {
    unit.conditions.path_exists.iter().chain(&unit.conditions.device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Moment;
    use crate::spec::{Arch, WaitFor};
    use crate::{Name, Reference};

    fn server(text: &str) -> Vec<Server> {
        vec![Server::parse(text).unwrap()]
    }

    fn facts() -> Facts {
        Facts {
            online: true,
            clock_set: true,
            paths: ["/data/x".to_owned()].into(),
            arch: "x86_64".into(),
            memory: 128 << 20,
            kernel_cmdline: ["quiet".to_owned()].into(),
            cpu_features: ["sse2".to_owned()].into(),
            first_boot: true,
            ..Facts::default()
        }
    }

    #[test]
    fn each_missing_fact_is_named() {
        let wait = |set: fn(&mut WaitFor)| {
            let mut unit = Unit::new(Name::parse("a").unwrap(), Reference::parse("probe").unwrap());
            set(&mut unit.wait_for);
            unit
        };
        let rows: [(Unit, Option<&str>); 6] = [
            (wait(|_| ()), None),
            (wait(|w| w.online = true), Some("waits for an address of the uplink")),
            (wait(|w| w.time = true), Some("waits for the clock to be set")),
            (wait(|w| w.paths = vec!["/data/x".into()]), Some("waits for '/data/x'")),
            (wait(|w| w.devices = vec!["/dev/y".into()]), Some("waits for '/dev/y'")),
            (wait(|w| w.tcp = server("db:1")), Some("waits for 'db:1' to accept connections")),
        ];
        for (unit, expect) in rows {
            assert_eq!(missing(&unit, &Facts::default()).as_deref(), expect);
            let answering = [(unit.name.clone(), server("db:1").into_iter().collect())].into();
            let paths = ["/data/x".to_owned(), "/dev/y".to_owned()].into();
            let there = Facts { paths, answering, ..facts() };
            assert_eq!(missing(&unit, &there), None);
        }
    }

    #[test]
    fn servers_are_tried_while_nothing_else_is_missing() {
        let mut unit = Unit::new(Name::parse("a").unwrap(), Reference::parse("probe").unwrap());
        unit.wait_for.tcp = server("10.0.0.1:80");
        let mut seen = Seen::default();
        assert_eq!(awaited_servers(&unit, &seen), []);
        seen.record.waits_since = Some(Moment(1));
        assert_eq!(awaited_servers(&unit, &seen), server("10.0.0.1:80"));
        seen.record.life = Life::Ready;
        assert_eq!(awaited_servers(&unit, &seen), []);
    }

    #[test]
    fn each_unmet_condition_is_named() {
        let on = |set: fn(&mut Conditions)| {
            let mut conditions = Conditions::default();
            set(&mut conditions);
            conditions
        };
        let rows: [(Conditions, Option<&str>); 14] = [
            (on(|_| ()), None),
            (on(|c| c.path_exists = vec!["/data/x".into()]), None),
            (on(|c| c.path_exists = vec!["/data/y".into()]), Some("'/data/y' does not exist")),
            (on(|c| c.device = Some("/dev/z".into())), Some("'/dev/z' does not exist")),
            (on(|c| c.arch = Some(Arch::X86)), None),
            (on(|c| c.arch = Some(Arch::Arm)), Some("the node is x86_64, not aarch64")),
            (on(|c| c.memory_min = Some(128 << 20)), None),
            (on(|c| c.memory_min = Some(1 << 30)), Some("the node has 128M of memory, less than 1G")),
            (on(|c| c.kernel_cmdline = vec!["quiet".into()]), None),
            (on(|c| c.kernel_cmdline = vec!["lab".into()]), Some("the kernel command line has no 'lab'")),
            (on(|c| c.cpu_feature = vec!["sse2".into()]), None),
            (on(|c| c.cpu_feature = vec!["sse2".into(), "avx9".into()]), Some("the processor has no 'avx9'")),
            (on(|c| c.first_boot = Some(true)), None),
            (on(|c| c.first_boot = Some(false)), Some("this is the first boot")),
        ];
        for (conditions, expect) in rows {
            assert_eq!(unmet(&conditions, &facts()).as_deref(), expect, "{conditions:?}");
        }
    }
}
