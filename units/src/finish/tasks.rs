//! `[hooks]` and `[reload]`: from what a file says to programs, and what in it does not fit together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codes::{HOOK_PLACE, RELOAD_WAY};
use crate::fault::Fault;
use crate::keys::ReloadDraft;
use crate::resolve::Origin;
use crate::spec::{Hook, Place, Reload, ReloadWay};
use crate::task::Task;

/// Of a reload that says nothing of it.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn hooks(
    drafts: BTreeMap<String, Hook>,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> BTreeMap<Task, Hook> {
    let mut hooks = BTreeMap::new();
    for (name, mut hook) in drafts {
        let task = match name.as_str() {
            "pre_start" => Task::PreStart,
            "post_start" => Task::PostStart,
            "pre_stop" => Task::PreStop,
            "post_stop" => Task::PostStop,
            // A name with a flaw has been reported.
            _ => continue,
        };
        if task.is_around() {
            let at = format!("hooks.{name}.where");
            if hook.place == Place::Container && origin.spans.has(&at) {
                let message = format!("hook '{name}' runs while the unit has no process to be beside");
                let fault = Fault::error(HOOK_PLACE, origin.value(&at), message);
                faults.push(fault.help("take it out, or write where = \"image\""));
            }
            hook.place = Place::Image;
        }
        if hook.exec.first().is_none_or(String::is_empty) && origin.spans.has(&format!("hooks.{name}.exec")) {
            let message = format!("hook '{name}' names no program");
            let fault = Fault::error(RELOAD_WAY, origin.value(&format!("hooks.{name}.exec")), message);
            faults.push(fault.help("write exec = [\"/bin/program\"]"));
        }
        hooks.insert(task, hook);
    }
    hooks
}

pub(super) fn reload(draft: ReloadDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Option<Reload> {
    let timeout = draft.timeout.unwrap_or(TIMEOUT);
    let mut fault = |place, message: &str, help: &str| {
        faults.push(Fault::error(RELOAD_WAY, place, message).help(help));
        None
    };
    match (draft.signal, draft.exec) {
        (Some(signal), None) => Some(Reload { way: ReloadWay::Signal(signal), timeout }),
        (None, Some(argv)) if argv.first().is_none_or(String::is_empty) => fault(
            origin.value("reload.exec"),
            "the reload names no program",
            "write exec = [\"/bin/program\"]",
        ),
        (None, Some(argv)) => Some(Reload { way: ReloadWay::Exec(argv), timeout }),
        (Some(_), Some(_)) => {
            fault(origin.key("reload.exec"), "the reload has a signal and a program", "keep one of them")
        }
        // A value with a flaw of its own has been reported.
        (None, None) if origin.spans.has("reload.signal") || origin.spans.has("reload.exec") => None,
        (None, None) if origin.spans.has("reload") => {
            fault(origin.key("reload"), "the reload has no way to tell", "set `signal` or `exec`")
        }
        (None, None) => None,
    }
}
