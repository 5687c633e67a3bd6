//! Secrets and configuration: those of a unit, and the files that declare them.

use std::collections::BTreeMap;

use crate::Name;
use crate::codes::{
    CONFIG_SOURCE, FILE_TWICE, KEY_WITHOUT_EFFECT, MOUNT_TARGET, SECRET_ON_DISK, SECRET_PATH, SUPPLY_PATH,
};
use crate::fault::{Fault, Place};
use crate::keys::{ConfigDraft, ConfigUseDraft, SecretDraft, SecretUseDraft};
use crate::path::is_within;
use crate::resolve::Origin;
use crate::spec::{
    Config, ConfigSource, ConfigUse, Content, Delivery, OnChange, Placed, Secret, SecretSource, SecretUse,
    Unit,
};
use crate::volumes::{Own, VOLUMES_DIR};

/// Where secrets are when a unit does not say.
const SECRETS_DIR: &str = "/run/secrets";
/// What no file can be laid on: the kernel's own, and what the runtime makes.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

type Uses<'d> = (&'d BTreeMap<String, SecretUseDraft>, &'d BTreeMap<String, ConfigUseDraft>);

/// What a unit is given. Parts with faults are left out.
pub(super) fn finish(
    unit: &mut Unit,
    (secrets, configs): Uses<'_>,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) {
    for (name, draft) in secrets {
        if let Some(secret) = secret_use(name, draft, origin, faults) {
            unit.supplies.secrets.insert(name.clone(), secret);
        }
    }
    for (name, draft) in configs {
        if let Some(config) = config_use(name, draft, origin, faults) {
            unit.supplies.configs.insert(name.clone(), config);
        }
    }
    for file in &unit.supplies.env_files {
        faults.extend(bad_path(&file.path, origin.value("env_files")));
    }
}

/// What is to be reloaded has a way to be told, and can be changed.
pub(super) fn check_reload(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    if unit.supplies.on_change != OnChange::Reload {
        return;
    }
    let mut refuse = |message: String, help: &str| {
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.value("on_change"), message);
        faults.push(fault.help(help.to_owned()));
    };
    if unit.reload.is_none() && !origin.spans.has("reload") {
        refuse("the unit has no way to reload".to_owned(), "add [reload] signal = \"SIGHUP\", or exec");
    }
    let variable = |(name, used): (&String, &SecretUse)| {
        matches!(used.delivery, Delivery::Env(_)).then(|| format!("secrets.{name}.env"))
    };
    let files = (!unit.supplies.env_files.is_empty()).then(|| "env_files".to_owned());
    let fixed = files.or_else(|| unit.supplies.secrets.iter().find_map(variable));
    if let Some(key) = fixed {
        let message = format!("'{key}' makes variables, and those of a process that runs stay as they are");
        refuse(message, "have a file of it, or on_change = \"restart\"");
    }
}

fn secret_use(
    name: &str,
    draft: &SecretUseDraft,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> Option<SecretUse> {
    let path = |key: &str| format!("secrets.{name}.{key}");
    // A source with a flaw of its own has been reported.
    let own = || Name::parse(name).ok().filter(|_| !origin.spans.has(&path("source")));
    let source = draft.source.clone().or_else(own)?;
    let Some(variable) = &draft.env else {
        let target = draft.target.clone().unwrap_or_else(|| format!("{SECRETS_DIR}/{name}"));
        let (uid, gid) = (draft.uid, draft.gid);
        let place = Placed { target, mode: draft.mode.unwrap_or(0o400), uid, gid };
        return Some(SecretUse { source, delivery: Delivery::File(place) });
    };
    for key in ["target", "mode", "uid", "gid"].into_iter().filter(|key| origin.spans.has(&path(key))) {
        let message = format!("'{key}' has no effect on secret '{name}', which is a variable");
        let fault = Fault::error(KEY_WITHOUT_EFFECT, origin.key(&path(key)), message);
        faults.push(fault.help("take it out, or take out `env` to have a file"));
    }
    Some(SecretUse { source, delivery: Delivery::Env(variable.clone()) })
}

fn config_use(
    name: &str,
    draft: &ConfigUseDraft,
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> Option<ConfigUse> {
    let table = format!("configs.{name}");
    let source = match &draft.source {
        Some(unit) if draft.content.is_none() && draft.file.is_none() => {
            if draft.template {
                let place = origin.key(&format!("{table}.template"));
                let message = format!("'template' has no effect on configuration '{name}'");
                let fault = Fault::error(KEY_WITHOUT_EFFECT, place, message);
                faults.push(fault.help(format!("set it in {unit}.toml")));
            }
            ConfigSource::Unit(unit.clone())
        }
        other => {
            let sources = (&draft.content, &draft.file, other.is_some());
            let content = content(&table, sources, origin, faults)?;
            ConfigSource::Own { content, template: draft.template }
        }
    };
    let (uid, gid) = (Some(draft.uid.unwrap_or(0)), Some(draft.gid.unwrap_or(0)));
    let place = Placed { target: draft.target.clone()?, mode: draft.mode.unwrap_or(0o444), uid, gid };
    Some(ConfigUse { source, place })
}

/// The one of the two, or none and the fault. `table` is empty in a file of kind config.
fn content(
    table: &str,
    (text, file, source): (&Option<String>, &Option<String>, bool),
    origin: &Origin,
    faults: &mut Vec<Fault>,
) -> Option<Content> {
    let path = |key: &str| if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
    match (text, file, source) {
        (Some(text), None, false) => Some(Content::Text(text.clone())),
        (None, Some(file), false) => {
            faults.extend(bad_path(file, origin.value(&path("file"))));
            Some(Content::File(file.clone()))
        }
        _ => {
            let set: Vec<_> = ["source", "content", "file"]
                .into_iter()
                .filter(|key| origin.spans.has(&path(key)))
                .collect();
            let (place, message) = match set.as_slice() {
                [] if table.is_empty() => (origin.value("kind"), "the config has no content".to_owned()),
                [] => (origin.key(table), "the configuration has no content".to_owned()),
                // A flaw of its own has been reported.
                [_] => return None,
                [.., last] => (origin.key(&path(last)), format!("more than one source: {}", set.join(", "))),
            };
            let which =
                if table.is_empty() { "`content` or `file`" } else { "`source`, `content` or `file`" };
            faults.push(Fault::error(CONFIG_SOURCE, place, message).help(format!("set one of {which}")));
            None
        }
    }
}

/// A file of the node that it is not safe or not possible to give.
fn bad_path(path: &str, place: Place) -> Option<Fault> {
    let why = if is_within(path, VOLUMES_DIR) {
        "lies in a volume, where a unit can change it"
    } else if is_within(path, "/proc") || is_within(path, "/sys") {
        "is the kernel's, and nobody tells when it changes"
    } else {
        return None;
    };
    let help = "put the file elsewhere on the node";
    Some(Fault::error(SUPPLY_PATH, place, format!("'{path}' {why}")).help(help))
}

/// Every file of a unit has a place of its own.
pub(super) fn check_targets(unit: &Unit, origin: &Origin, faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (name, mount) in &unit.mounts {
        seen.insert(mount.target.clone(), format!("mounts.{name}"));
    }
    for own in Own::ALL {
        seen.extend(own.target(unit).map(|target| (target.clone(), own.key().to_owned())));
    }
    let secrets = unit.supplies.secrets.iter().filter_map(|(name, secret)| match &secret.delivery {
        Delivery::File(place) => Some((format!("secrets.{name}"), place)),
        Delivery::Env(_) => None,
    });
    let configs =
        unit.supplies.configs.iter().map(|(name, config)| (format!("configs.{name}"), &config.place));
    for (table, Placed { target, .. }) in configs.chain(secrets) {
        let place = origin.value(&format!("{table}.target"));
        if target == "/" || KERNELS.iter().any(|tree| is_within(target, tree)) {
            let message = format!("no file can be laid on '{target}'");
            let fault = Fault::error(MOUNT_TARGET, place.clone(), message);
            faults.push(fault.help("the runtime makes it for every container"));
        }
        if let Some(first) = seen.insert(target.clone(), table.clone()) {
            let message = format!("'{table}' and '{first}' have the same target '{target}'");
            let other = origin.value(&format!("{first}.target"));
            faults.push(Fault::error(FILE_TWICE, place, message).related(other, "the other one"));
        }
    }
}

/// A file of kind config.
pub(crate) fn config(draft: ConfigDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Option<Config> {
    let ConfigDraft { content: text, file, template, labels } = draft;
    let content = content("", (&text, &file, false), origin, faults)?;
    Some(Config { content, template, labels })
}

/// A file of kind secret.
pub(crate) fn secret(draft: SecretDraft, origin: &Origin, faults: &mut Vec<Fault>) -> Option<Secret> {
    let SecretDraft { is_file, is_node, path, version, allow, labels } = draft;
    let source = match path {
        Some(path) if is_file => {
            faults.extend(bad_path(&path, origin.value("path")));
            if is_within(&path, "/data") && !is_within(&path, VOLUMES_DIR) {
                let message = format!("'{path}' lies on the disk in clear");
                let fault = Fault::warning(SECRET_ON_DISK, origin.value("path"), message);
                faults.push(fault.help("use source = \"node\" and `berth secret set`, or a file in RAM"));
            }
            SecretSource::File(path)
        }
        Some(_) if is_node => {
            let fault = Fault::error(SECRET_PATH, origin.key("path"), "a secret of source node has no file");
            faults.push(fault.help("take it out, or write source = \"file\""));
            return None;
        }
        None if is_file && !origin.spans.has("path") => {
            let fault = Fault::error(SECRET_PATH, origin.value("source"), "source file needs a path");
            faults.push(fault.help("write path = \"/run/berth/credentials/NAME\""));
            return None;
        }
        None if is_node => SecretSource::Node,
        _ => return None,
    };
    Some(Secret { source, version, allow, labels })
}
