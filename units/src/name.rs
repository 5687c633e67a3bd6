//! Unit names: parsed once, valid for ever.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: one DNS label (RFC 1035, section 2.3.4).
pub const NAME_MAX: usize = 63;

/// A unit's name: `[a-z0-9][a-z0-9-]{0,62}`, thus also a DNS label, a cgroup and a file name.
///
/// An instance of a template is called `BASE@INSTANCE`, each part of that pattern and both together at most
/// [`NAME_MAX`] bytes: a cgroup and a file name still, and with `-` in place of `@` a DNS label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("a name cannot be empty")]
    Empty,
    /// More than [`NAME_MAX`] bytes.
    #[error("a name has at most {NAME_MAX} characters")]
    TooLong,
    /// A character outside the pattern, or `-` at the start.
    #[error("a name is made of a-z, 0-9 and '-', and begins with a letter or a digit; found '{0}'")]
    BadCharacter(char),
}

impl Name {
    /// Parses the name of a unit, be it an instance or not; the error says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some((base, instance)) = text.split_once('@') else { return Self::parse_plain(text) };
        Self::instance_of(&Self::parse_plain(base)?, &Self::parse_plain(instance)?)
    }

    /// The name of a template's instance.
    pub fn instance_of(base: &Self, instance: &Self) -> Result<Self, NameError> {
        let text = format!("{base}@{instance}");
        if text.len() > NAME_MAX { Err(NameError::TooLong) } else { Ok(Self(text)) }
    }

    /// Parses a name that no instance can have: of a volume, a network, a template.
    pub fn parse_plain(text: &str) -> Result<Self, NameError> {
        let first = text.chars().next().ok_or(NameError::Empty)?;
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        if first == '-' {
            return Err(NameError::BadCharacter('-'));
        }
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            Some(bad) => Err(NameError::BadCharacter(bad)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// What stands before and behind the `@` of an instance's name.
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.0.split_once('@')
    }

    /// The name as a DNS label, and so as a host name.
    pub fn label(&self) -> String {
        self.0.replace('@', "-")
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "web", "web-2", "0day", &"x".repeat(63)] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "Web", "a_b", "a.b", "ä", "a/b", &"x".repeat(64)] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn instances_have_two_parts() {
        let long = format!("a@{}", "x".repeat(61));
        for good in ["a@b", "worker@eth-0", &long] {
            assert!(Name::parse(good).is_ok() && Name::parse_plain(good).is_err(), "{good}");
        }
        for bad in ["a@", "@a", "a@b@c", "a@-b", "-a@b", "a@B", &format!("{long}x")] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
        let name = Name::parse("worker@a").unwrap();
        assert_eq!((name.parts(), name.label().as_str()), (Some(("worker", "a")), "worker-a"));
        assert_eq!(Name::parse("worker").unwrap().parts(), None);
    }
}
