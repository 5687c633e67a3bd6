//! Image references in the normal form that Docker and Podman compare by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An image reference: `registry/repository[:tag][@digest]`.
///
/// `shop/web` means `docker.io/shop/web:latest`, `nginx` means `docker.io/library/nginx:latest`
/// (distribution reference grammar; the first part is a registry when it holds `.` or `:` or is `localhost`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is not a [`Reference`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an image reference: {what}")]
pub struct ReferenceError {
    text: String,
    what: &'static str,
}

impl Reference {
    /// Parses and normalises.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let fault = |what| ReferenceError { text: text.to_owned(), what };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let last_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name.rfind(':').filter(|at| *at >= last_slash) {
            Some(at) => (name.get(..at).unwrap_or(""), name.get(at + 1..)),
            None => (name, None),
        };
        let (registry, repository) = split_registry(name);
        if !repository.split('/').all(is_component) {
            return Err(fault("a repository is made of a-z, 0-9, '.', '_', '-' and '/'"));
        }
        if !is_registry(&registry) {
            return Err(fault("its registry is not a host name"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fault("a tag has 1 to 128 letters, digits, '.', '_', '-'"));
        }
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(fault("a digest is 'sha256:' and 64 lower-case hex digits"));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry, repository, tag, digest: digest.map(str::to_owned) })
    }

    /// `host[:port]` of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; a pinned reference may have none.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The same image, pinned to a manifest: `sha256:HEX`.
    pub fn pinned(&self, digest: &str) -> Result<Self, ReferenceError> {
        if !is_digest(digest) {
            return Err(ReferenceError {
                text: digest.to_owned(),
                what: "a digest is 'sha256:' and 64 lower-case hex digits",
            });
        }
        Ok(Self { digest: Some(digest.to_owned()), ..self.clone() })
    }

    /// The digest, where the reference is pinned.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// As a person would write it: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        short.strip_prefix("library/").unwrap_or(short).to_owned()
    }
}

fn split_registry(name: &str) -> (String, String) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
            (host(first), rest.to_owned())
        }
        Some(_) => ("docker.io".to_owned(), name.to_owned()),
        None => ("docker.io".to_owned(), format!("library/{name}")),
    }
}

/// One way to write a host, as what is said of it by its name has to hold for it by any other.
fn host(text: &str) -> String {
    match text.to_ascii_lowercase() {
        // The same registry: the first as old configurations name it, the second as it is spoken to.
        alias if alias == "index.docker.io" || alias == "registry-1.docker.io" => "docker.io".to_owned(),
        host => host,
    }
}

/// `host[:port]`, the host a name or a bracketed IPv6 address.
fn is_registry(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}

fn is_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    part.bytes().all(|b| alphanumeric(b) || b"._-".contains(&b))
        && part.bytes().next().is_some_and(alphanumeric)
        && part.bytes().next_back().is_some_and(alphanumeric)
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Whether a text is `sha256:` and 64 lower-case hex digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;
    fn try_from(text: String) -> Result<Self, ReferenceError> {
        Self::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, normal: &str) {
        assert_eq!(Reference::parse(text).map(|r| r.to_string()), Ok(normal.to_owned()));
    }

    #[test]
    fn normal_form() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        check("nginx", "docker.io/library/nginx:latest");
        check("shop/web:1", "docker.io/shop/web:1");
        check("docker.io/shop/web:1", "docker.io/shop/web:1");
        check("index.docker.io/shop/web:1", "docker.io/shop/web:1");
        check("Registry-1.Docker.IO/shop/web:1", "docker.io/shop/web:1");
        check("Reg.Example.com:5000/a/b:2.1-RC", "reg.example.com:5000/a/b:2.1-RC");
        check("localhost/web", "localhost/web:latest");
        check("reg.example.com:5000/a/b:2.1", "reg.example.com:5000/a/b:2.1");
        check(&format!("a@{digest}"), &format!("docker.io/library/a@{digest}"));
        check(&format!("a:1@{digest}"), &format!("docker.io/library/a:1@{digest}"));
    }

    #[test]
    fn faults() {
        for bad in ["", ":1", "A/b", "a//b", "a:", "a:-x", "a@sha256:00", "a@md5:1", "../x", "a b", "h.x/"] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }
}
