//! From the node's Status to what a person who started it wants to read: who is ready, who is in trouble, and where
//! the published ports are.

use std::collections::BTreeSet;

use berth_units::spec::{Declared, Protocol, Start};
use berth_units::wire::control::{State, Status, UnitStatus};

use super::forward::{Forward, protocol_name};
use crate::output::printable;
use crate::status_text::explanation;

/// Remembers what was said.
#[derive(Debug)]
pub struct Progress {
    /// Units that start with the node.
    wanted: BTreeSet<String>,
    said: BTreeSet<String>,
    ready: bool,
}

impl Progress {
    /// Nothing was said yet.
    pub fn new(declared: &Declared) -> Self {
        let of_boot = declared.units.values().filter(|unit| unit.enabled && unit.start == Start::Boot);
        let wanted = of_boot.map(|unit| unit.name.to_string()).collect();
        Self { wanted, said: BTreeSet::new(), ready: false }
    }

    /// Whether everything is ready and nothing more is to be said.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Lines to say now that `status` came. `ending` follows the list of ports.
    pub fn take(&mut self, status: &Status, ports: &[String], ending: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(fault) = &status.node.fault {
            self.say_once(format!("node     {}", printable(fault)), &mut lines);
        }
        let programs = || status.units.iter().filter(|unit| unit.is_program());
        for unit in programs().filter(|unit| matches!(unit.state, State::Failed | State::Backoff)) {
            let line = format!("{:<8} {}: {}", printable(&unit.name), unit.state, explanation(unit));
            self.say_once(line, &mut lines);
        }
        if !self.ready && self.is_settled(status) {
            self.ready = true;
            lines.push(format!("ready in {:.1} s after the kernel started", ready_after(status)));
            lines.extend(ports.iter().map(|port| format!("  {port}")));
            lines.push(format!("  {ending}"));
        }
        lines
    }

    /// Units of the factory set have to be up; of another set it is only known what the node says.
    fn is_settled(&self, status: &Status) -> bool {
        let mut programs = status.units.iter().filter(|unit| unit.is_program());
        let at_rest = |state| matches!(state, State::Ready | State::Completed | State::Stopped);
        let is_up = |name: &String| {
            let unit = status.units.iter().find(|unit| unit.name == *name);
            unit.is_some_and(|unit| matches!(unit.state, State::Ready | State::Completed))
        };
        programs.all(|unit| at_rest(unit.state))
            && (status.node.source != "factory" || self.wanted.iter().all(is_up))
    }

    fn say_once(&mut self, line: String, lines: &mut Vec<String>) {
        if self.said.insert(line.clone()) {
            lines.push(line);
        }
    }
}

/// Seconds from the kernel's start to the last unit's becoming ready.
fn ready_after(status: &Status) -> f64 {
    let ages = status.units.iter().filter(|unit| unit.state == State::Ready).map(age);
    (status.node.uptime - ages.fold(f64::INFINITY, f64::min).min(status.node.uptime)).max(0.0)
}

fn age(unit: &UnitStatus) -> f64 {
    unit.since_seconds.max(0.0)
}

/// A line for each unit that can be reached from here: its name and the addresses.
pub fn ports(declared: &Declared, forwards: &[Forward]) -> Vec<String> {
    let width = declared.units.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (name, unit) in &declared.units {
        let urls: BTreeSet<String> = unit
            .ports
            .iter()
            .flat_map(|(port_name, port)| {
                let of_port =
                    |forward: &&Forward| forward.node == port.host && forward.protocol == port.protocol;
                forwards.iter().filter(of_port).map(|forward| url(port_name, *forward))
            })
            .collect();
        if !urls.is_empty() {
            let urls = urls.into_iter().collect::<Vec<_>>().join("  ");
            lines.push(format!("{:<width$}  {urls}", name.as_str()));
        }
    }
    lines
}

/// The name of a port often is the protocol on it.
fn url(port_name: &str, forward: Forward) -> String {
    const SCHEMES: [&str; 9] =
        ["http", "https", "mqtt", "mqtts", "redis", "postgres", "mysql", "amqp", "nats"];
    let scheme = SCHEMES.iter().find(|scheme| **scheme == port_name);
    match (scheme, forward.protocol) {
        (Some(scheme), Protocol::Tcp) => format!("{scheme}://127.0.0.1:{}", forward.host),
        _ => format!("127.0.0.1:{}/{}", forward.host, protocol_name(forward.protocol)),
    }
}

#[cfg(test)]
mod tests {
    use berth_units::spec::{Port, Unit};
    use berth_units::{Name, Reference};

    use super::*;

    fn status(states: &[(&str, State, f64)]) -> Status {
        let units: Vec<_> = states
            .iter()
            .map(|(name, state, since)| {
                serde_json::json!({
                    "name": name, "kind": "container", "state": state, "restarts": 0, "addresses": [],
                    "since": "", "since_seconds": since, "ports": [], "why": "it fell",
                })
            })
            .collect();
        let node = serde_json::json!({
            "hostname": "n", "version": "", "kernel": "", "source": "factory", "revision": 0, "uptime": 10.0,
            "storage": "data", "memory_total": 0, "memory_available": 0, "addresses": [], "restarts": {},
        });
        serde_json::from_value(serde_json::json!({"node": node, "units": units})).unwrap()
    }

    fn declared(names: &[&str]) -> Declared {
        let mut declared = Declared::default();
        for name in names.iter().map(|name| Name::parse(name).unwrap()) {
            declared.units.insert(name.clone(), Unit::new(name, Reference::parse("x").unwrap()));
        }
        declared
    }

    #[test]
    fn a_node_that_shows_no_units_yet_is_not_ready() {
        let mut progress = Progress::new(&declared(&["a"]));
        for early in [&[][..], &[("a", State::Stopped, 0.0)]] {
            assert!(progress.take(&status(early), &[], "").is_empty());
        }
        assert_eq!(Progress::new(&declared(&[])).take(&status(&[]), &[], "").len(), 2);
    }

    #[test]
    fn readiness_is_said_once_and_trouble_once() {
        let mut progress = Progress::new(&declared(&["a", "b"]));
        let take = |progress: &mut Progress, states: &[(&str, State, f64)]| {
            progress.take(&status(states), &["web  http://127.0.0.1:80".to_owned()], "stop: Ctrl-C")
        };
        assert!(take(&mut progress, &[("a", State::Ready, 1.0), ("b", State::Starting, 1.0)]).is_empty());
        let trouble = [("a", State::Ready, 2.0), ("b", State::Backoff, 0.5)];
        assert_eq!(take(&mut progress, &trouble), ["b        backoff: it fell; berth logs b"]);
        assert!(take(&mut progress, &trouble).is_empty() && !progress.is_ready());
        assert_eq!(
            take(&mut progress, &[("a", State::Ready, 8.0), ("b", State::Ready, 6.0)]),
            ["ready in 4.0 s after the kernel started", "  web  http://127.0.0.1:80", "  stop: Ctrl-C"]
        );
        assert!(progress.is_ready());
        assert!(take(&mut progress, &[("a", State::Ready, 9.0)]).is_empty());
    }

    #[test]
    fn ports_are_shown_as_they_are_reached() {
        let mut declared = Declared::default();
        let name = Name::parse("web").unwrap();
        let mut unit = Unit::new(name.clone(), Reference::parse("web").unwrap());
        for (key, host, protocol) in [("http", 80, Protocol::Tcp), ("dns", 53, Protocol::Udp)] {
            unit.ports.insert(key.to_owned(), Port { host, container: 1, protocol, host_ip: None });
        }
        declared.units.insert(name, unit);
        let forwards = ["8080:80".parse().unwrap(), "udp:5353:53".parse().unwrap()];
        assert_eq!(ports(&declared, &forwards), ["web  127.0.0.1:5353/udp  http://127.0.0.1:8080"]);
    }
}
