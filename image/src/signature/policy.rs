//! What has to be signed by whom: a TOML file of the user's, and the judgement by it.
//!
//! ```toml
//! schema = 1
//! default = "refuse"                       # images that no table names; "accept" without this line
//!
//! [images."registry.example.com/shop"]     # a registry or a repository, and all below it
//! keys = ["shop.pub"]                      # cosign's public keys: files beside this one, or PEM text
//! tag = "bound"                            # the signature has to name the tag, too; "free" without this line
//!
//! [images."registry.example.com/shop/demo"]
//! unsigned = "accept"                      # or "refuse": none of it, signed or not
//!
//! [bundles]
//! keys = ["RWQ..."]                        # minisign's public keys, as lines or as files
//! ```
//!
//! The longest matching table decides alone.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use berth_units::Reference;
use serde::Deserialize;

use super::cosign::{self, Claim, Signature};
use super::gather::name_of;
use super::minisign;
use crate::digest::Digest;

/// Longest policy file, bytes.
pub const MAX_POLICY: u64 = 1 << 20;
/// Most keys of a table.
const MAX_KEYS: usize = 64;

/// Why a file is not a policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, or a key or word that is none.
    #[error("line {line}: {message}")]
    Toml {
        /// From 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A newer version of the rules.
    #[error("the policy has schema {0}, and this berth knows schema 1")]
    Schema(u64),
    /// A table that cannot match any image.
    #[error("'{0}' is no registry and no repository: 'registry.example.com/shop' is one")]
    Scope(String),
    /// A table that says nothing, or two things.
    #[error("images.\"{0}\" has either keys or unsigned = \"accept\" or \"refuse\"")]
    Rule(String),
    /// Too many.
    #[error("'{0}' has more than {MAX_KEYS} keys")]
    ManyKeys(String),
    /// A file of a key that cannot be read.
    #[error("cannot read the key '{0}'")]
    Read(String, #[source] io::Error),
    /// A key for images that is none.
    #[error("the key '{0}' cannot be used")]
    Cosign(String, #[source] cosign::KeyError),
    /// A key for bundles that is none.
    #[error("the key '{0}' cannot be used")]
    Minisign(String, #[source] minisign::MinisignError),
}

/// Which signatures are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    default: Unsigned,
    images: BTreeMap<String, Rule>,
    bundles: Vec<minisign::PublicKey>,
}

/// What becomes of what has no signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unsigned {
    /// It is taken.
    #[default]
    Accept,
    /// It is not.
    Refuse,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Unsigned(Unsigned),
    Signed { keys: Vec<cosign::PublicKey>, bound: bool },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tag {
    #[default]
    Free,
    Bound,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: u64,
    #[serde(default)]
    default: Unsigned,
    #[serde(default)]
    images: BTreeMap<String, WrittenRule>,
    #[serde(default)]
    bundles: WrittenBundles,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    #[serde(default)]
    keys: Vec<String>,
    tag: Option<Tag>,
    unsigned: Option<Unsigned>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBundles {
    keys: Vec<String>,
}

/// An image may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// No signature is asked for.
    Unchecked,
    /// Signed by the key of that fingerprint.
    Signed(String),
}

/// An image may not be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image '{image}' is refused: {why}")]
pub struct Refused {
    /// Which.
    pub image: String,
    /// The reason.
    pub why: Why,
}

/// Why an image may not be run. Later ones are nearer to a good signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No table of the policy names it.
    Unlisted,
    /// The policy refuses whatever is there.
    Listed(String),
    /// It has no signature.
    Unsigned,
    /// No signature is by a trusted key over the bytes that came with it.
    OtherKey,
    /// Signed, but what is signed is not a claim.
    Malformed(&'static str),
    /// The signature is for another repository: which.
    OtherImage(String),
    /// The signature is for another manifest: which.
    OtherDigest(Digest),
    /// The signature is for another tag: which.
    OtherTag(String),
    /// The signature names no tag, and the policy wants one.
    NoTag,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlisted => f.write_str("the policy does not name it, and its default is to refuse"),
            Self::Listed(scope) => write!(f, "the policy refuses all of '{scope}'"),
            Self::Unsigned => f.write_str("it is not signed"),
            Self::OtherKey => f.write_str("no trusted key has signed it"),
            Self::Malformed(what) => write!(f, "what is signed is no claim: {what}"),
            Self::OtherImage(name) => write!(f, "its signature is for '{}'", short(name)),
            Self::OtherDigest(digest) => write!(f, "its signature is for another manifest, {digest}"),
            Self::OtherTag(tag) => write!(f, "its signature is for the tag '{}'", short(tag)),
            Self::NoTag => f.write_str("its signature names no tag, and the policy wants the tag signed"),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

impl Policy {
    /// Parses a policy; `read` reads a key's file.
    pub fn parse(text: &str, read: &mut dyn FnMut(&str) -> io::Result<String>) -> Result<Self, PolicyError> {
        let written: Written = toml::from_str(text).map_err(|error| at(text, &error))?;
        if written.schema != 1 {
            return Err(PolicyError::Schema(written.schema));
        }
        let mut images = BTreeMap::new();
        for (scope, rule) in written.images {
            let rule = rule.check(&scope, read)?;
            images.insert(scope, rule);
        }
        if written.bundles.keys.len() > MAX_KEYS {
            return Err(PolicyError::ManyKeys("bundles".to_owned()));
        }
        let bundles =
            written.bundles.keys.iter().map(|key| bundle_key(key, read)).collect::<Result<_, _>>()?;
        Ok(Self { default: written.default, images, bundles })
    }

    /// The keys that bundles are signed with; with none, bundles need no signature.
    pub fn bundle_keys(&self) -> &[minisign::PublicKey] {
        &self.bundles
    }

    /// Whether [`Self::judge`] looks at signatures of that image, so that they have to be gathered.
    pub fn needs_signatures(&self, reference: &Reference) -> bool {
        matches!(self.rule(&name_of(reference)), Some((_, Rule::Signed { .. })))
    }

    /// Whether an image may be run: `digest` is that of the manifest or index that its reference leads to.
    pub fn judge(
        &self,
        reference: &Reference,
        digest: &Digest,
        signatures: &[Signature],
    ) -> Result<Accepted, Refused> {
        let refused = |why| Err(Refused { image: reference.familiar(), why });
        let (scope, rule) = match self.rule(&name_of(reference)) {
            Some(found) => found,
            None if self.default == Unsigned::Accept => return Ok(Accepted::Unchecked),
            None => return refused(Why::Unlisted),
        };
        let (keys, bound) = match rule {
            Rule::Unsigned(Unsigned::Accept) => return Ok(Accepted::Unchecked),
            Rule::Unsigned(Unsigned::Refuse) => return refused(Why::Listed(scope.to_owned())),
            Rule::Signed { keys, bound } => (keys, *bound),
        };
        let mut nearest = Why::Unsigned;
        for signature in signatures {
            let Some(key) = keys.iter().find(|key| key.has_signed(signature)) else {
                nearest = nearest.max(Why::OtherKey);
                continue;
            };
            match check(&signature.payload, reference, digest, bound) {
                Ok(()) => return Ok(Accepted::Signed(key.fingerprint())),
                Err(why) => nearest = nearest.max(why),
            }
        }
        refused(nearest)
    }

    /// The longest table that holds a name.
    fn rule(&self, name: &str) -> Option<(&str, &Rule)> {
        let mut scope = name;
        loop {
            if let Some((scope, rule)) = self.images.get_key_value(scope) {
                return Some((scope, rule));
            }
            scope = scope.rsplit_once('/')?.0;
        }
    }
}

impl WrittenRule {
    fn check(
        self,
        scope: &str,
        read: &mut dyn FnMut(&str) -> io::Result<String>,
    ) -> Result<Rule, PolicyError> {
        if !is_scope(scope) {
            return Err(PolicyError::Scope(short(scope)));
        }
        if self.keys.len() > MAX_KEYS {
            return Err(PolicyError::ManyKeys(short(scope)));
        }
        match self.unsigned {
            Some(unsigned) if self.keys.is_empty() && self.tag.is_none() => {
                return Ok(Rule::Unsigned(unsigned));
            }
            None if !self.keys.is_empty() => {}
            _ => return Err(PolicyError::Rule(short(scope))),
        }
        let mut keys = Vec::new();
        for key in self.keys {
            let is_text = key.trim_start().starts_with("-----BEGIN");
            let text = if is_text { Ok(key.clone()) } else { read(&key) };
            let text = text.map_err(|error| PolicyError::Read(short(&key), error))?;
            let parsed = cosign::PublicKey::parse(&text);
            keys.push(parsed.map_err(|error| PolicyError::Cosign(short(&key), error))?);
        }
        Ok(Rule::Signed { keys, bound: self.tag == Some(Tag::Bound) })
    }
}

fn at(text: &str, error: &toml::de::Error) -> PolicyError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    PolicyError::Toml { line: before.matches('\n').count() + 1, message: short(error.message()) }
}

/// A key as its line, or as its file.
fn bundle_key(
    key: &str,
    read: &mut dyn FnMut(&str) -> io::Result<String>,
) -> Result<minisign::PublicKey, PolicyError> {
    if let Ok(parsed) = minisign::PublicKey::parse(key) {
        return Ok(parsed);
    }
    let text = read(key).map_err(|error| PolicyError::Read(short(key), error))?;
    minisign::PublicKey::parse(&text).map_err(|error| PolicyError::Minisign(short(key), error))
}

/// A registry, or a repository in one, in the normal form: what cannot match would protect nothing.
fn is_scope(scope: &str) -> bool {
    let registry = scope.split('/').next().unwrap_or_default();
    let image = if scope.contains('/') { scope.to_owned() } else { format!("{scope}/x") };
    let is_host = registry.contains(['.', ':']) || registry == "localhost";
    is_host && Reference::parse(&image).is_ok_and(|reference| name_of(&reference) == image)
}

/// What a trusted key has signed: is it about this image?
fn check(payload: &[u8], reference: &Reference, digest: &Digest, bound: bool) -> Result<(), Why> {
    let claim = Claim::parse(payload).map_err(Why::Malformed)?;
    let other = || Why::OtherImage(claim.name.clone());
    let named = Reference::parse(&claim.name).map_err(|_| other())?;
    if name_of(&named) != name_of(reference) {
        return Err(other());
    }
    if claim.digest != *digest || named.digest().is_some_and(|named| named != digest.to_string()) {
        return Err(Why::OtherDigest(claim.digest));
    }
    // A name without a tag is parsed as one with the tag `latest`.
    let has_tag = claim.name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match (named.tag().filter(|_| has_tag), reference.tag()) {
        (Some(signed), Some(wanted)) if signed != wanted => Err(Why::OtherTag(signed.to_owned())),
        (None, Some(_)) if bound => Err(Why::NoTag),
        _ => Ok(()),
    }
}
