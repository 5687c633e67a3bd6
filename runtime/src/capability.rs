//! Sets of capabilities, as capabilities(7) names them.

use berth_units::capability::ALL as NAMES;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of capabilities; serialised as a list of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Every capability that this version knows.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// The set of those names, upper case, without CAP_.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, CapabilityError> {
        names.into_iter().try_fold(Self::NONE, |set, name| Ok(set.union(Self::parse_one(name)?)))
    }

    fn parse_one(name: &str) -> Result<Self, CapabilityError> {
        let bit = NAMES.iter().position(|known| *known == name);
        bit.map(|bit| Self(1 << bit)).ok_or_else(|| CapabilityError { name: name.to_owned() })
    }

    /// Everything that is in one of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// One bit per capability, by its number.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The names, in the order of their numbers.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| name)
    }
}

/// A name that is no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no capability is named '{name}'")]
pub struct CapabilityError {
    name: String,
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::parse(names.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use berth_units::capability::BASELINE;

    use super::*;

    #[test]
    fn names_round_trip() {
        let set = Capabilities::parse(["CHOWN", "BPF"]).unwrap();
        assert_eq!(set.bits(), 1 | 1 << 39);
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["CHOWN","BPF"]"#);
        assert_eq!(serde_json::from_str::<Capabilities>(r#"["CHOWN","BPF"]"#).unwrap(), set);
        assert_eq!(Capabilities::ALL.names().count(), 41);
    }

    #[test]
    fn unknown_names_are_named() {
        for name in ["chown", "CAP_CHOWN", "ALL", ""] {
            assert_eq!(Capabilities::parse([name]), Err(CapabilityError { name: name.to_owned() }));
        }
    }

    #[test]
    fn arithmetic() {
        let two = Capabilities::parse(["KILL", "MKNOD"]).unwrap();
        let one = Capabilities::parse(["KILL"]).unwrap();
        assert_eq!(two.minus(one).union(one), two);
        assert_eq!(Capabilities::parse(BASELINE).unwrap().names().count(), 11);
    }
}
