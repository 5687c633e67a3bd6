//! Kinds of strings: what they are made of and what they are called.

use std::fmt;

use super::forms::{Form, Rule};
use crate::fault::clip;
use crate::finish::{parse_http, parse_status};
use crate::nearest::nearest;
use crate::path::{is_within, parse_absolute, parse_relative};
use crate::{Name, capability};

/// What a string has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Anything without NUL.
    Any,
    /// One line.
    Line,
    /// Anything without NUL; a number may stand without quotes.
    Value,
    /// http:, https: or the like.
    Url,
    /// An absolute path in a container or on the node, normalised.
    Path,
    /// An absolute path that may be a working directory: outside /proc.
    Workdir,
    /// A path below something else.
    Subpath,
    /// A block device: a path below /dev.
    Device,
    /// Name of an entry in a table.
    Entry,
    /// Name of a unit, be it an instance or not.
    Unit,
    /// Key of a label.
    Label,
    /// Name of an environment variable.
    EnvName,
    /// Name of a resource limit, lower case.
    Rlimit,
    /// Dotted name of a namespaced sysctl.
    Sysctl,
    /// Capability without CAP_.
    Capability,
    /// The same, or ALL.
    CapabilityOrAll,
    /// `uid[:gid]` or `name[:group]`.
    User,
    /// A group: id or name.
    Group,
    /// A host name of DNS labels.
    Hostname,
    /// What an HTTP check asks.
    CheckUrl,
    /// A header line of an HTTP request.
    Header,
    /// One HTTP status or two with a hyphen.
    StatusRange,
    /// Name of a network interface.
    Interface,
    /// Name of a kernel module.
    Module,
    /// A word of the kernel command line.
    KernelWord,
    /// One of the small forms.
    Form(&'static Form),
}

/// Why a text is not what it has to be.
pub(crate) struct TextFault {
    pub what: String,
    pub help: Option<String>,
}

/// Resources of setrlimit(2), lower case, without RLIMIT_.
pub(crate) const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Sysctls that have a value of their own in each IPC or network namespace. `user.*` waits for user namespaces.
const SYSCTL_PREFIXES: [&str; 5] = ["net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];

/// The longest value that is not a path or a name, bytes: MAX_ARG_STRLEN (binfmts.h).
const ANY_MAX: usize = 128 << 10;

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any | Self::Value => "a string",
            Self::Line => "a string of one line",
            Self::Url => "a URL",
            Self::Path | Self::Workdir => "an absolute path",
            Self::Subpath => "a relative path",
            Self::Device => "a path of a device such as \"/dev/vda\"",
            Self::Entry => "a name of a-z, 0-9 and '-'",
            Self::Unit => "a unit's name such as \"web\" or \"worker@a\"",
            Self::Label => "the key of a label",
            Self::EnvName => "the name of an environment variable",
            Self::Rlimit => "the name of a resource limit such as \"nofile\"",
            Self::Sysctl => "a sysctl such as \"net.core.somaxconn\"",
            Self::Capability => "a capability such as \"NET_ADMIN\"",
            Self::CapabilityOrAll => "a capability such as \"NET_ADMIN\", or \"ALL\"",
            Self::User => "a user such as \"1000\", \"1000:1000\" or \"www-data\"",
            Self::Group => "a group such as 1000 or \"audio\"",
            Self::Hostname => "a host name",
            Self::CheckUrl => "a URL such as \"http://:8080/healthz\"",
            Self::Header => "a header line such as \"Accept: text/plain\"",
            Self::StatusRange => "an HTTP status or a range such as \"200-399\"",
            Self::Interface => "the name of a network interface",
            Self::Module => "the name of a kernel module",
            Self::KernelWord => "one word of the kernel command line",
            Self::Form(form) => form.noun,
        })
    }
}

impl Text {
    /// Whether a number may be written without quotes.
    pub(crate) fn takes_numbers(self) -> bool {
        matches!(self, Self::Value | Self::User | Self::Group | Self::StatusRange)
    }

    /// The text in its normal form.
    pub(crate) fn parse(self, text: &str) -> Result<String, TextFault> {
        match self {
            Self::Path => parse_absolute(text).map_err(|why| self.fault(text, why)),
            Self::Subpath => parse_relative(text).map_err(|why| self.fault(text, why)),
            Self::Workdir => parse_absolute(text).map_err(|why| self.fault(text, why)).and_then(|path| {
                match is_within(&path, "/proc") {
                    true => Err(self.fault(text, "nothing can work inside /proc")),
                    false => Ok(path),
                }
            }),
            Self::Capability | Self::CapabilityOrAll => self.capability(text),
            Self::Rlimit => one_of(text, &RLIMITS, "resource limit"),
            Self::Form(Form { rule: Rule::Words(one, words), .. }) => one_of(text, words, one),
            Self::Form(Form { rule: Rule::Written { help, holds, .. }, .. }) => match holds(text) {
                true => Ok(text.to_owned()),
                false => Err(self.fault(text, help)),
            },
            _ => match self.why_not(text) {
                Some(why) => Err(self.fault(text, why)),
                None => Ok(text.to_owned()),
            },
        }
    }

    fn fault(self, text: &str, why: &str) -> TextFault {
        TextFault { what: format!("'{}' is not {self}", clip(text)), help: Some(why.to_owned()) }
    }

    fn capability(self, text: &str) -> Result<String, TextFault> {
        if text == "ALL" && self == Self::CapabilityOrAll {
            return Ok(text.to_owned());
        }
        if text == "ALL" {
            let help = "name the capabilities that are needed, or take security.profile = \"privileged\"";
            return Err(TextFault { what: "'ALL' cannot be added".to_owned(), help: Some(help.to_owned()) });
        }
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match short == text {
            false if capability::ALL.contains(&short) => Err(self.fault(text, &format!("write \"{short}\""))),
            _ => one_of(text, &capability::ALL, "capability"),
        }
    }

    /// The rule that is broken, if one is.
    fn why_not(self, text: &str) -> Option<&'static str> {
        let (holds, rule) = match self {
            Self::Any | Self::Value => {
                (text.len() <= ANY_MAX && !text.contains('\0'), "it holds NUL or has over 128 KiB")
            }
            Self::Line => (
                text.len() <= 1024 && !text.chars().any(char::is_control),
                "it is one line of at most 1024 bytes, without control characters",
            ),
            Self::Url => (is_url(text), "it is written as \"https://host/path\""),
            Self::Device => (
                parse_absolute(text).is_ok_and(|path| path == text)
                    && is_within(text, "/dev")
                    && text != "/dev",
                "it is a path below /dev",
            ),
            Self::Entry | Self::Unit => return self.why_no_name(text),
            Self::Label => (
                (1..=128).contains(&text.len()) && made_of(text, "._-/"),
                "1 to 128 of letters, digits, '.', '_', '-' and '/'",
            ),
            Self::EnvName => (
                made_of(text, "_.-") && !text.starts_with(|c: char| c.is_ascii_digit()) && text.len() <= 255,
                "letters, digits, '_', '.' and '-', no digit first",
            ),
            Self::Sysctl => (
                is_sysctl(text),
                "only net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.* belong to a container",
            ),
            Self::User => (is_user(text), "write an id or a name, and ':' and a group if it matters"),
            Self::Group => (is_account(text), "write an id or a name"),
            Self::Hostname => {
                (is_hostname(text), "at most 64 letters, digits, '-' and '.', no '-' at an end of a part")
            }
            Self::CheckUrl | Self::Header | Self::StatusRange => return self.why_not_http(text),
            Self::Interface => (
                (1..=15).contains(&text.len()) && made_of(text, "._-") && !matches!(text, "." | ".." | "lo"),
                "1 to 15 letters, digits, '.', '_' and '-'; not lo",
            ),
            Self::Module => {
                ((1..=55).contains(&text.len()) && made_of(text, "_-"), "letters, digits, '_' and '-'")
            }
            Self::KernelWord => (
                (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"'),
                "printable ASCII without blanks and quotes: one list entry a word",
            ),
            // Taken care of by parse.
            Self::Path
            | Self::Workdir
            | Self::Subpath
            | Self::Rlimit
            | Self::Form(_)
            | Self::Capability
            | Self::CapabilityOrAll => {
                return None;
            }
        };
        (!holds).then_some(rule)
    }
}

impl Text {
    /// The same for names.
    fn why_no_name(self, text: &str) -> Option<&'static str> {
        let (parsed, rule) = match self {
            Self::Unit => (
                Name::parse(text),
                "1 to 63 of a-z, 0-9 and '-', a letter or a digit first; an instance is \"NAME@INSTANCE\"",
            ),
            _ => (Name::parse_plain(text), "1 to 63 of a-z, 0-9 and '-', a letter or a digit first"),
        };
        parsed.is_err().then_some(rule)
    }

    /// The same for what HTTP checks need.
    fn why_not_http(self, text: &str) -> Option<&'static str> {
        let (holds, rule) = match self {
            Self::CheckUrl if text.starts_with("https:") => {
                (false, "TLS is not supported yet: check a port that speaks plain HTTP, or use `tcp`")
            }
            Self::CheckUrl => (
                parse_http(text).is_some(),
                "write \"http://:PORT/PATH\", or an IPv4 address of the container before the colon",
            ),
            Self::Header => (is_header(text), "write \"Name: value\" on one line, at most 1024 bytes"),
            _ => (parse_status(text).is_some(), "write \"200\" or \"200-399\", from 100 to 599"),
        };
        (!holds).then_some(rule)
    }
}

fn one_of(text: &str, all: &[&'static str], noun: &str) -> Result<String, TextFault> {
    if all.contains(&text) {
        return Ok(text.to_owned());
    }
    let help = nearest(text, all.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
    Err(TextFault { what: format!("unknown {noun} '{}'", clip(text)), help })
}

/// At least one character, all of them letters, digits or of the set.
fn made_of(text: &str, set: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || set.contains(c))
}

fn is_url(text: &str) -> bool {
    text.len() <= 2048
        && text.bytes().all(|b| b.is_ascii_graphic())
        && text.split_once(':').is_some_and(|(scheme, rest)| made_of(scheme, "+-.") && !rest.is_empty())
}

/// `Name: value`; Host and Connection are ours (RFC 9110, 5.1 and 5.5).
fn is_header(text: &str) -> bool {
    let Some((name, value)) = text.split_once(':') else {
        return false;
    };
    let ours = ["host", "connection", "content-length", "transfer-encoding"];
    text.len() <= 1024
        && made_of(name, "!#$%&'*+-.^_`|~")
        && !ours.contains(&name.to_ascii_lowercase().as_str())
        && value.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

fn is_sysctl(text: &str) -> bool {
    text.len() <= 128
        && text.split('.').all(|part| made_of(part, "_-"))
        && SYSCTL_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

fn is_user(text: &str) -> bool {
    match text.split_once(':') {
        Some((user, group)) => is_account(user) && is_account(group),
        None => is_account(text),
    }
}

/// An id below (uid_t) -1, or a name.
fn is_account(text: &str) -> bool {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<u32>().is_ok_and(|id| id != u32::MAX);
    }
    text.len() <= 256 && made_of(text, "._-") && !text.starts_with('-')
}

fn is_hostname(text: &str) -> bool {
    let label =
        |part: &str| part.len() <= 63 && made_of(part, "-") && !part.starts_with('-') && !part.ends_with('-');
    text.len() <= 64 && text.split('.').all(label)
}
