//! What a unit is given: from where it comes, whether it is there, whether it has changed, and what becomes of it.
//!
//! Values come in as [`Given`] from whoever can read them; versions of them, which say nothing of the values, lie in
//! [`Facts`](crate::observed::Facts). So a plan and a record hold no secret.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use crate::Name;
use crate::envfile;
use crate::launch::Outside;
use crate::observed::Facts;
use crate::private::Private;
use crate::spec::{
    ConfigSource, Content, Declared, Delivery, EnvInfo, Placed, SecretSource, SecretUse, Unit,
};
use crate::template::{Hole, render};
use crate::wire::net::fnv;

/// The longest file that is given, bytes.
pub const FILE_MAX: usize = 256 << 10;

/// Where a value is on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Set by `berth secret set`.
    Node(Name),
    /// A file of the node.
    File(String),
    /// The same with a secret in it: an empty one has none.
    SecretFile(String),
}

impl Source {
    /// Its file, where it is one that has a path of its own.
    pub fn file(&self) -> Option<&str> {
        match self {
            Self::Node(_) => None,
            Self::File(path) | Self::SecretFile(path) => Some(path),
        }
    }

    /// Whether nothing at all is a value of it. A secret that is being written begins as nothing.
    pub fn may_be_empty(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Something from outside of its file that a unit is started with. Display is its name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input<'d> {
    what: &'static str,
    name: &'d str,
    origin: Origin<'d>,
    required: bool,
    /// As declared: another one is another value.
    version: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin<'d> {
    Node(Source),
    /// It stands in the set.
    Text(&'d str),
    /// What was to be there is not declared, which no set that was checked has.
    Nowhere,
}

impl fmt::Display for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.what, self.name)
    }
}

impl<'d> Input<'d> {
    fn file(what: &'static str, path: &'d str) -> Self {
        let origin = Origin::Node(Source::File(path.to_owned()));
        Self { what, name: path, origin, required: true, version: 0 }
    }

    fn secret(declared: &'d Declared, used: &'d SecretUse) -> Self {
        let declared = declared.secrets.get(&used.source);
        let origin = declared.map_or(Origin::Nowhere, |secret| {
            Origin::Node(match &secret.source {
                SecretSource::Node => Source::Node(used.source.clone()),
                SecretSource::File(path) => Source::SecretFile(path.clone()),
            })
        });
        let version = declared.map_or(0, |secret| secret.version);
        Self { what: "secret", name: used.source.as_str(), origin, required: true, version }
    }

    /// Nothing where the unit itself says what is in it: that is part of the unit.
    fn config(declared: &'d Declared, source: &'d ConfigSource) -> Option<Self> {
        match source {
            ConfigSource::Own { content: Content::Text(_), .. } => None,
            ConfigSource::Own { content: Content::File(path), .. } => Some(Self::file("file", path)),
            ConfigSource::Unit(unit) => {
                let config = declared.configs.get(unit);
                let origin = match config.map(|config| &config.content) {
                    Some(Content::Text(text)) => Origin::Text(text),
                    Some(Content::File(path)) => Origin::Node(Source::File(path.clone())),
                    None => Origin::Nowhere,
                };
                let version = config.map_or(0, |config| u32::from(config.template));
                Some(Self { what: "config", name: unit.as_str(), origin, required: true, version })
            }
        }
    }

    /// Where it is on the node, if it is there at all.
    pub fn source(&self) -> Option<&Source> {
        if let Origin::Node(source) = &self.origin { Some(source) } else { None }
    }

    /// Tells its present value from others; nothing while it is not there.
    fn seen(&self, facts: &Facts) -> Option<u64> {
        let seen = match &self.origin {
            Origin::Text(text) => fnv(&[text]),
            Origin::Node(source) => *facts.supplies.get(source)?,
            Origin::Nowhere => return None,
        };
        Some(seen ^ u64::from(self.version).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// What a unit that has to have it waits for, in words.
    fn awaited(&self) -> String {
        match &self.origin {
            Origin::Node(Source::Node(name)) => {
                format!("waits for {self}: set it with 'berth secret set {name}'")
            }
            Origin::Node(Source::SecretFile(path) | Source::File(path)) if path != self.name => {
                format!("waits for {self}: '{path}'")
            }
            _ => format!("waits for {self}"),
        }
    }
}

/// Everything that a unit is started with, from outside of its file.
pub fn inputs<'d>(declared: &'d Declared, unit: &'d Unit) -> Vec<Input<'d>> {
    let supplies = &unit.supplies;
    let files = supplies.env_files.iter();
    let files = files.map(|file| Input { required: file.required, ..Input::file("env file", &file.path) });
    let secrets = supplies.secrets.values().map(|used| Input::secret(declared, used));
    let configs = supplies.configs.values().filter_map(|used| Input::config(declared, &used.source));
    files.chain(secrets).chain(configs).collect()
}

/// Everything of the node that somebody is given: what the supervisor watches.
pub fn sources(declared: &Declared) -> BTreeSet<Source> {
    let units = declared.units.values();
    units.flat_map(|unit| inputs(declared, unit)).filter_map(|input| input.source().cloned()).collect()
}

/// Versions of all that is there, for [`crate::observed::Run::supplies`].
pub fn versions(declared: &Declared, unit: &Unit, facts: &Facts) -> BTreeMap<String, u64> {
    let there = |input: &Input<'_>| Some((input.to_string(), input.seen(facts)?));
    inputs(declared, unit).iter().filter_map(there).collect()
}

/// The first thing that a start waits for, in words.
pub fn missing(declared: &Declared, unit: &Unit, facts: &Facts) -> Option<String> {
    let missing = |input: &&Input<'_>| input.required && input.seen(facts).is_none();
    inputs(declared, unit).iter().find(missing).map(Input::awaited)
}

/// Something that a run was not started with as it is there now. What has gone is no change: the run has it.
pub fn changed(
    declared: &Declared,
    unit: &Unit,
    facts: &Facts,
    with: &BTreeMap<String, u64>,
) -> Option<String> {
    let now = versions(declared, unit, facts);
    now.into_iter().find(|(what, version)| with.get(what) != Some(version)).map(|(what, _)| what)
}

/// Something that a unit is given and that is declared in another way in another set. What it says itself of it is
/// no part of this: see [`crate::change`].
pub fn redeclared(old: &Declared, new: &Declared, (was, is): (&Unit, &Unit)) -> Option<String> {
    let before = inputs(old, was);
    let differs = |input: &&Input<'_>| {
        let known = before.iter().find(|known| (known.what, known.name) == (input.what, input.name));
        known.is_some_and(|known| known != *input)
    };
    inputs(new, is).iter().find(differs).map(ToString::to_string)
}

/// What the node has for a start.
#[derive(Debug, Default)]
pub struct Given {
    /// What is in each source that is there.
    pub values: BTreeMap<Source, Private>,
    /// The unit's first address.
    pub ip: Option<Ipv4Addr>,
    /// The node's host name.
    pub node: String,
    /// Variables of the node.
    pub variables: BTreeMap<String, String>,
    /// Digest of the unit's image; a service has none.
    pub image_digest: Option<String>,
}

/// A file to lay into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    /// Where, and whose.
    pub place: Placed,
    /// What is in it.
    pub contents: Private,
}

/// Why something cannot be given to a unit. It never says a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SupplyError {
    /// It is gone since the start was planned.
    #[error("{0} is no longer there")]
    Gone(String),
    /// A file of variables.
    #[error("cannot take variables from '{path}': {why}")]
    EnvFile {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A secret that is to be a variable.
    #[error("secret '{0}' cannot be a variable: it is not text, or holds NUL")]
    NotText(Name),
    /// A template.
    #[error("cannot fill configs.{entry} in: {why}")]
    Template {
        /// The entry of `[configs]`.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Whether everything that a start has to have was found, for it may have gone since the start was planned.
pub fn check_given(declared: &Declared, unit: &Unit, given: &Given) -> Result<(), SupplyError> {
    let is_gone = |input: &&Input<'_>| {
        let source = input.source().filter(|_| input.required);
        source.is_some_and(|source| !given.values.contains_key(source))
    };
    match inputs(declared, unit).iter().find(is_gone) {
        Some(input) => Err(SupplyError::Gone(input.to_string())),
        None => Ok(()),
    }
}

/// The unit without those secrets and configurations that are not there.
pub fn with_what_is_there(declared: &Declared, unit: &Unit, given: &Given) -> Unit {
    let mut unit = unit.clone();
    unit.supplies.secrets.retain(|_, used| secret(declared, used, given).is_some());
    unit.supplies.configs.retain(|_, used| {
        let content = match &used.source {
            ConfigSource::Own { content, .. } => Some(content),
            ConfigSource::Unit(name) => declared.configs.get(name).map(|config| &config.content),
        };
        content.is_some_and(|content| match content {
            Content::Text(_) => true,
            Content::File(path) => given.values.contains_key(&Source::File(path.clone())),
        })
    });
    unit
}

/// The variables that a unit has from outside of its file and its image. What is not there is left out: a program that
/// is run beside it has to do without.
pub fn outside(declared: &Declared, unit: &Unit, given: &Given) -> Result<Outside, SupplyError> {
    let mut outside = Outside { node: of_node(unit, given), ..Outside::default() };
    for file in &unit.supplies.env_files {
        let Some(value) = given.values.get(&Source::File(file.path.clone())) else { continue };
        outside.files.extend(env_file(&file.path, value)?);
    }
    for used in unit.supplies.secrets.values() {
        if let (Delivery::Env(variable), Some(value)) = (&used.delivery, secret(declared, used, given)) {
            let line = value.line().ok_or_else(|| SupplyError::NotText(used.source.clone()))?;
            outside.over.push((variable.clone(), line.to_owned()));
        }
    }
    for info in &unit.supplies.env_info {
        outside.over.extend(match info {
            EnvInfo::Ip => given.ip.map(|ip| ("BERTH_IP".to_owned(), ip.to_string())),
            EnvInfo::Node => Some(("BERTH_NODE".to_owned(), given.node.clone())),
            EnvInfo::ImageDigest => {
                given.image_digest.clone().map(|digest| ("BERTH_IMAGE_DIGEST".to_owned(), digest))
            }
        });
    }
    Ok(outside)
}

/// Variables by which programs are told of a proxy, in either case (curl(1), "ENVIRONMENT").
const PROXY: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];

/// The variables of the node that a unit has.
fn of_node(unit: &Unit, given: &Given) -> Vec<(String, String)> {
    let is_proxy = |name: &str| PROXY.contains(&name.to_ascii_lowercase().as_str());
    let supplies = &unit.supplies;
    let wants = |name: &str| supplies.env_from_node.contains(name) || supplies.env_proxy && is_proxy(name);
    let had = given.variables.iter().filter(|(name, _)| wants(name));
    had.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn env_file(path: &str, value: &Private) -> Result<Vec<(String, String)>, SupplyError> {
    let fault = |why: String| SupplyError::EnvFile { path: path.to_owned(), why };
    if value.bytes().len() > envfile::FILE_MAX {
        return Err(fault(format!("it has more than {} bytes", envfile::FILE_MAX)));
    }
    let text = std::str::from_utf8(value.bytes()).map_err(|_| fault("it is not UTF-8".to_owned()))?;
    envfile::parse(text).map_err(|error| fault(error.to_string()))
}

fn secret<'g>(declared: &Declared, used: &SecretUse, given: &'g Given) -> Option<&'g Private> {
    given.values.get(Input::secret(declared, used).source()?)
}

/// The files that a unit with these variables is given.
pub fn files(
    declared: &Declared,
    unit: &Unit,
    env: &[(String, String)],
    given: &Given,
) -> Result<Vec<Laid>, SupplyError> {
    let mut files = Vec::new();
    for used in unit.supplies.secrets.values() {
        let Delivery::File(place) = &used.delivery else { continue };
        let gone = || SupplyError::Gone(Input::secret(declared, used).to_string());
        let contents = secret(declared, used, given).ok_or_else(gone)?.clone();
        files.push(Laid { place: place.clone(), contents });
    }
    for (entry, used) in &unit.supplies.configs {
        let (content, template) = match &used.source {
            ConfigSource::Own { content, template } => (content, *template),
            ConfigSource::Unit(name) => match declared.configs.get(name) {
                Some(config) => (&config.content, config.template),
                None => return Err(SupplyError::Gone(format!("config '{name}'"))),
            },
        };
        let contents = match content {
            Content::Text(text) => Private::from(text.clone()),
            Content::File(path) => {
                let value = given.values.get(&Source::File(path.clone()));
                value.ok_or_else(|| SupplyError::Gone(format!("'{path}'")))?.clone()
            }
        };
        let fault = |why: String| SupplyError::Template { entry: entry.clone(), why };
        let contents = match template {
            false => contents,
            true => {
                let text = std::str::from_utf8(contents.bytes());
                let text = text.map_err(|_| fault("it is not UTF-8".to_owned()))?;
                let value = |hole: Hole<'_>| fill(hole, (declared, unit), env, given);
                render(text, value).map_err(|error| fault(error.to_string()))?
            }
        };
        files.push(Laid { place: used.place.clone(), contents });
    }
    Ok(files)
}

fn fill<'v>(
    hole: Hole<'_>,
    (declared, unit): (&Declared, &'v Unit),
    env: &'v [(String, String)],
    given: &'v Given,
) -> Option<Cow<'v, str>> {
    match hole {
        Hole::Unit => Some(unit.name.as_str().into()),
        Hole::Node => Some(given.node.as_str().into()),
        Hole::Ip => given.ip.map(|ip| ip.to_string().into()),
        Hole::Env(name) => {
            env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str().into())
        }
        Hole::Secret(entry) => {
            let used = unit.supplies.secrets.get(entry)?;
            secret(declared, used, given)?.line().map(Cow::from)
        }
    }
}

#[cfg(test)]
mod tests;
