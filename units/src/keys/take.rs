//! What values a key takes, and where they go: kind and typed setter in one, so that they cannot disagree.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::text::Text;
use super::{Effect, value};
use crate::codes::UNSUPPORTED_KEY;
use crate::diagnostic::Code;
use crate::human;
use crate::quantity::{Amount, MilliCpus};
use crate::spec::{Ipv4Net, Ready};
use crate::{Name, Reference};

/// Puts a value into a draft; the text is the name of the table's entry where the path has a `*`.
pub(crate) type Set<T, V> = fn(&mut T, &str, V);

/// Values of a key and where they go. Bounds are inclusive.
pub(crate) enum Take<T: 'static> {
    /// Looked at before the schema is known: `schema` and `kind`.
    Header(&'static str),
    Bool(Set<T, bool>),
    Int(i64, i64, Set<T, i64>),
    Factor(Set<T, u32>),
    /// A part of one, in thousandths.
    Ratio(Set<T, u32>),
    Text(Text, Set<T, String>),
    List(Text, Set<T, Vec<String>>),
    Ints(i64, i64, Set<T, Vec<i64>>),
    Words(&'static [Word<T>]),
    /// A port; ranges of ports are planned.
    Port(Set<T, i64>),
    /// Paths of files, and whether each has to exist.
    Files(Set<T, Vec<(String, bool)>>),
    /// How ids of a user namespace are laid out.
    Userns(Set<T, ()>),
    Duration(Duration, Duration, Set<T, Duration>),
    Size(u64, u64, Set<T, u64>),
    Amount(Set<T, Amount>),
    Cpus(Set<T, MilliCpus>),
    Mode(Set<T, u32>),
    Signal(Set<T, i32>),
    Limits(Set<T, (u64, u64)>),
    Reference(Set<T, Reference>),
    Name(Set<T, Name>),
    Ipv4(Set<T, Ipv4Addr>),
    Ipv4List(Set<T, Vec<Ipv4Addr>>),
    /// An address with a prefix length.
    Ipv4Net(Set<T, Ipv4Net>),
    /// The same with no host bits set.
    Subnet(Set<T, Ipv4Net>),
    Ready(Set<T, Ready>),
}

/// One of the words that a key takes. The setter of one that ends in `:NAME` is given that name.
pub(crate) struct Word<T: 'static> {
    pub word: &'static str,
    pub doc: &'static str,
    pub effect: Effect,
    pub set: fn(&mut T, &str),
}

/// One of the words that a key takes, as data. A word that ends in `:NAME` stands for all names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// As it is written.
    pub word: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Whether this version carries it out.
    pub effect: Effect,
}

impl Choice {
    fn of<T>(word: &Word<T>) -> Self {
        Self { word: word.word, doc: word.doc, effect: word.effect }
    }
}

/// Why a value is not taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Flaw {
    /// Of another TOML type: which.
    Type(&'static str),
    /// Of the right type.
    Value { code: Code, what: String, help: Option<String> },
}

impl Flaw {
    /// Nothing is wrong with the value, but it is not carried out yet.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(self, Self::Value { code: UNSUPPORTED_KEY, .. })
    }
}

/// Every flaw of a value with its place.
pub(crate) type Flaws = Vec<(Range<usize>, Flaw)>;

impl<T> Take<T> {
    /// Reads the value and puts it into the draft, unless it has flaws.
    pub(crate) fn apply(&self, draft: &mut T, at: &str, value: &Spanned<DeValue<'_>>) -> Flaws {
        let plain = value.get_ref();
        let result = match self {
            Self::Header(_) => Ok(()),
            Self::Bool(set) => value::bool(plain).map(|v| set(draft, at, v)),
            Self::Int(min, max, set) => value::int(plain, *min, *max).map(|v| set(draft, at, v)),
            Self::Factor(set) => value::factor(plain).map(|v| set(draft, at, v)),
            Self::Ratio(set) => value::ratio(plain).map(|v| set(draft, at, v)),
            Self::Port(set) => value::port(plain).map(|v| set(draft, at, v)),
            Self::Text(text, set) => value::text(plain, *text).map(|v| set(draft, at, v)),
            Self::Words(words) => {
                value::word(plain, words).map(|(word, name)| (word.set)(draft, name.unwrap_or(at)))
            }
            Self::Duration(min, max, set) => value::duration(plain, *min, *max).map(|v| set(draft, at, v)),
            Self::Size(min, max, set) => value::size(plain, *min, *max).map(|v| set(draft, at, v)),
            Self::Amount(set) => value::amount(plain).map(|v| set(draft, at, v)),
            Self::Cpus(set) => value::cpus(plain).map(|v| set(draft, at, v)),
            Self::Mode(set) => value::mode(plain).map(|v| set(draft, at, v)),
            Self::Signal(set) => value::signal(plain).map(|v| set(draft, at, v)),
            Self::Limits(set) => value::limits(plain).map(|v| set(draft, at, v)),
            Self::Reference(set) => value::reference(plain).map(|v| set(draft, at, v)),
            Self::Name(set) => value::name(plain).map(|v| set(draft, at, v)),
            Self::Ipv4(set) => value::ipv4(plain).map(|v| set(draft, at, v)),
            Self::Ipv4Net(set) => value::ipv4_net(plain).map(|v| set(draft, at, v)),
            Self::Subnet(set) => value::subnet(plain).map(|v| set(draft, at, v)),
            Self::Ready(set) => value::ready(plain).map(|v| set(draft, at, v)),
            Self::List(text, set) => {
                return put(value::list(value, |item| value::text(item, *text)), |v| set(draft, at, v));
            }
            Self::Ints(min, max, set) => {
                return put(value::list(value, |item| value::int(item, *min, *max)), |v| set(draft, at, v));
            }
            Self::Ipv4List(set) => return put(value::list(value, value::ipv4), |v| set(draft, at, v)),
            Self::Files(set) => return put(value::list(value, value::file), |v| set(draft, at, v)),
            Self::Userns(set) => return put(value::userns(value), |v| set(draft, at, v)),
        };
        result.err().map(|flaw| (value.span(), flaw)).into_iter().collect()
    }

    /// The values as data.
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Header(word) => Shape::Header(word),
            Self::Bool(_) => Shape::Bool,
            Self::Int(min, max, _) => Shape::Int { min: *min, max: *max },
            Self::Factor(_) => Shape::Factor,
            Self::Ratio(_) => Shape::Ratio,
            Self::Ints(min, max, _) => Shape::Ints { min: *min, max: *max },
            Self::Port(_) => Shape::Port,
            Self::Files(_) => Shape::Files,
            Self::Userns(_) => Shape::Userns,
            Self::Text(text, _) => Shape::Text(*text),
            Self::List(text, _) => Shape::List(*text),
            Self::Words(words) => Shape::Words(words.iter().map(Choice::of).collect()),
            Self::Duration(min, max, _) => Shape::Duration { min: *min, max: *max },
            Self::Size(min, max, _) => Shape::Size { min: *min, max: *max },
            Self::Amount(_) => Shape::Amount,
            Self::Cpus(_) => Shape::Cpus,
            Self::Mode(_) => Shape::Mode,
            Self::Signal(_) => Shape::Signal,
            Self::Limits(_) => Shape::Limits,
            Self::Reference(_) => Shape::Reference,
            Self::Name(_) => Shape::Name,
            Self::Ipv4(_) => Shape::Ipv4,
            Self::Ipv4List(_) => Shape::Ipv4List,
            Self::Ipv4Net(_) | Self::Subnet(_) => Shape::Ipv4Net,
            Self::Ready(_) => Shape::Ready,
        }
    }
}

/// Puts a value where it belongs, unless it has flaws.
fn put<V>(read: Result<V, Flaws>, set: impl FnOnce(V)) -> Flaws {
    match read {
        Ok(value) => set(value),
        Err(flaws) => return flaws,
    }
    Flaws::new()
}

/// What values a key takes. Its Display completes "this key takes ...".
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// `schema` and `kind`: one fixed form.
    Header(&'static str),
    /// true or false.
    Bool,
    /// A whole number.
    Int {
        /// Lowest.
        min: i64,
        /// Highest.
        max: i64,
    },
    /// A number from 1 to 100 with three decimals at most.
    Factor,
    /// A number from 0 to 1 with three decimals at most.
    Ratio,
    /// A string.
    Text(Text),
    /// A list of strings.
    List(Text),
    /// A list of whole numbers.
    Ints {
        /// Lowest.
        min: i64,
        /// Highest.
        max: i64,
    },
    /// A port number, or a range of them.
    Port,
    /// `env_files`.
    Files,
    /// `security.userns`.
    Userns,
    /// One of these words, each with its meaning.
    Words(Vec<Choice>),
    /// A length of time.
    Duration {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// Bytes.
    Size {
        /// Lowest.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// Bytes, `max` or per cent of the node's memory.
    Amount,
    /// A number of processors.
    Cpus,
    /// A file mode.
    Mode,
    /// A signal.
    Signal,
    /// Soft and hard limit.
    Limits,
    /// An image reference.
    Reference,
    /// A name of a unit, volume or network.
    Name,
    /// An IPv4 address.
    Ipv4,
    /// A list of them.
    Ipv4List,
    /// An IPv4 address with a prefix length.
    Ipv4Net,
    /// `ready.when`.
    Ready,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fixed = match self {
            Self::Header(word) => return f.write_str(word),
            Self::Int { min, max: i64::MAX } => return write!(f, "a whole number from {min}"),
            Self::Int { min, max } => return write!(f, "a whole number from {min} to {max}"),
            Self::Text(text) => return write!(f, "{text}"),
            Self::List(text) => return write!(f, "a list, each entry {text}"),
            Self::Words(words) => {
                let words: Vec<_> = words.iter().map(|choice| format!("\"{}\"", choice.word)).collect();
                return f.write_str(&words.join(" or "));
            }
            Self::Duration { min, .. } if min.is_zero() => "a length of time such as \"1m30s\"",
            Self::Duration { min, max } => {
                let (min, max) = (human::duration(*min), human::duration(*max));
                return write!(f, "a length of time from \"{min}\" to \"{max}\"");
            }
            Self::Ints { min, max } => {
                return write!(f, "a list of whole numbers from {min} to {max}");
            }
            Self::Ratio => "a number from 0 to 1 such as 0.1",
            Self::Port => "a port from 1 to 65535",
            Self::Files => "a list of { path = \"/path\", required = true }",
            Self::Userns => "\"auto\", \"host\" or { uid = [\"0:100000:65536\"], gid = [...] }",
            Self::Bool => "true or false",
            Self::Factor => "a number from 1 to 100 such as 2.0",
            Self::Size { .. } => "a size such as \"512M\"",
            Self::Amount => "a size such as \"512M\", \"25%\" of the node's memory, or \"max\"",
            Self::Cpus => "a number of processors such as \"1.5\"",
            Self::Mode => "an octal mode in quotes such as \"0640\"",
            Self::Signal => "a signal such as \"SIGTERM\"",
            Self::Limits => "\"SOFT:HARD\", one number for both, or \"unlimited\"",
            Self::Reference => "an image reference such as \"shop/web:1.4\"",
            Self::Name => "a name of a-z, 0-9 and '-'",
            Self::Ipv4 => "an IPv4 address such as \"10.89.0.7\"",
            Self::Ipv4List => "a list of IPv4 addresses",
            Self::Ipv4Net => "an IPv4 address with a prefix length such as \"10.89.0.0/24\"",
            Self::Ready => "\"exec\", \"notify\", \"fd:N\", \"check:NAME\" or \"log:PATTERN\"",
        };
        f.write_str(fixed)
    }
}
