//! `[hooks]` and `[reload]`: from what a file says to programs, and what in it does not fit together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codes::{RELOAD_WAY, UNSUPPORTED_KEY};
use crate::fault::Fault;
use crate::keys::ReloadDraft;
use crate::resolve::Origin;
use crate::spec::{Hook, Reload, ReloadWay};
use crate::task::Task;

/// Of a reload that says nothing of it.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn hooks(
    drafts: BTreeMap<String, Hook>,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> BTreeMap<Task, Hook> {
    let mut hooks = BTreeMap::new();
    for (name, hook) in drafts {
        let task = match name.as_str() {
            "post_start" => Task::PostStart,
            "pre_stop" => Task::PreStop,
            _ => {
                let message = format!("hook '{name}' is not supported yet");
                faults.push(Fault::error(UNSUPPORTED_KEY, origin.key(&format!("hooks.{name}")), message));
                continue;
            }
        };
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
