//! `[sockets.NAME]`: from what a file says to a socket, and what in it does not fit together.

use std::collections::BTreeMap;

use crate::codes::{BAD_VALUE, KEY_WITHOUT_EFFECT, SOCKET_NUMBER, SOCKET_PATH};
use crate::fault::Fault;
use crate::keys::SocketDraft;
use crate::path::is_within;
use crate::resolve::Origin;
use crate::spec::{LISTEN_FD, Listen, Ready, Socket, Unit};

/// Mode of a unix socket that says nothing of it.
const MODE: u32 = 0o660;

pub(super) fn sockets(
    drafts: &BTreeMap<String, SocketDraft>,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, Socket> {
    let finish = |(name, draft): (&String, &SocketDraft)| {
        let socket = socket(name, draft, origin, faults)?;
        Some((name.clone(), socket))
    };
    drafts.iter().filter_map(finish).collect()
}

fn socket(name: &str, draft: &SocketDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Option<Socket> {
    let path = |key: &str| format!("sockets.{name}.{key}");
    let listen = draft.listen.clone()?;
    if let Listen::Unix(file) = &listen {
        let ours = file == "/run" || is_within(file, "/run/berth");
        if ours || !is_within(file, "/run") {
            let message = format!("'{file}' is no place for a socket of a unit");
            let fault = Fault::error(SOCKET_PATH, origin.value(&path("listen")), message);
            faults.push(fault.help("write a path below /run, and not below /run/berth"));
        }
    } else {
        for key in ["mode", "owner"].into_iter().filter(|key| origin.spans.has(&path(key))) {
            let message = format!("'{key}' has no effect on socket '{name}'");
            let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.key(&path(key)), message);
            faults.push(fault.help("it belongs to sockets with `listen = \"unix:/path\"`"));
        }
    }
    let owner = draft.owner.as_deref().map_or(Some((0, 0)), parse_owner);
    if owner.is_none() {
        let message = "the node has no names of users";
        let fault = Fault::error(BAD_VALUE, origin.value(&path("owner")), message);
        faults.push(fault.help("write numbers, \"1000:1000\""));
    }
    Some(Socket { listen, mode: draft.mode.unwrap_or(MODE), owner: owner? })
}

/// `uid[:gid]`; the group is the user's number where there is none.
fn parse_owner(text: &str) -> Option<(u32, u32)> {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    Some((user.parse().ok()?, group.parse().ok()?))
}

/// The descriptor of `ready.when` comes after those of the sockets.
pub(super) fn check_numbers(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let Ready::Fd(number) = unit.ready else {
        return;
    };
    let name = usize::from(number).checked_sub(usize::from(LISTEN_FD));
    if let Some(name) = name.and_then(|at| unit.sockets.keys().nth(at)) {
        let message = format!("descriptor {number} is socket '{name}'");
        let first = usize::from(LISTEN_FD) + unit.sockets.len();
        let fault = Fault::error(SOCKET_NUMBER, origin.value("ready.when"), message);
        faults.push(fault.help(format!("write \"fd:{first}\", or \"notify\"")));
    }
}
