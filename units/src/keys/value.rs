//! From a TOML value to a value of ours.

use std::net::Ipv4Addr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::Effect;
use super::forms::ID_MAP;
use super::take::{Flaw, Flaws, Word};
use super::text::Text;
use crate::codes::{BAD_VALUE, OUT_OF_RANGE, UNKNOWN_WORD, UNSUPPORTED_KEY};
use crate::fault::clip;
use crate::nearest::nearest;
use crate::pattern::Pattern;
use crate::quantity::{
    Amount, MilliCpus, QuantityError, parse_amount, parse_cpus, parse_duration, parse_factor, parse_limits,
    parse_mode, parse_ratio, parse_size,
};
use crate::signal::parse_signal;
use crate::spec::{Ipv4Net, Ready};
use crate::{Name, Reference, human};

type Read<V> = Result<V, Flaw>;

impl From<QuantityError> for Flaw {
    fn from(error: QuantityError) -> Self {
        bad(error.to_string(), error.help)
    }
}

fn bad(what: impl Into<String>, help: impl Into<String>) -> Flaw {
    Flaw::Value { code: BAD_VALUE, what: what.into(), help: Some(help.into()) }
}

fn beyond(what: String) -> Flaw {
    Flaw::Value { code: OUT_OF_RANGE, what, help: None }
}

fn string<'v>(value: &'v DeValue<'_>) -> Read<&'v str> {
    value.as_str().ok_or_else(|| wrong(value))
}

/// A string as it is, or a number as it would be written in quotes.
fn string_or_number(value: &DeValue<'_>) -> Read<String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(_) => integer(value).map(|number| number.to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        _ => Err(wrong(value)),
    }
}

fn integer(value: &DeValue<'_>) -> Read<i64> {
    let number = value.as_integer().ok_or_else(|| wrong(value))?;
    i64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| beyond(format!("{number} is beyond 64 bits")))
}

pub(super) fn bool(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| wrong(value))
}

pub(super) fn int(value: &DeValue<'_>, min: i64, max: i64) -> Read<i64> {
    match integer(value)? {
        number if number < min => Err(beyond(format!("{number} is below the lowest, {min}"))),
        number if number > max => Err(beyond(format!("{number} is above the highest, {max}"))),
        number => Ok(number),
    }
}

pub(super) fn factor(value: &DeValue<'_>) -> Read<u32> {
    match value {
        DeValue::Integer(_) | DeValue::Float(_) => Ok(parse_factor(&string_or_number(value)?)?),
        _ => Err(wrong(value)),
    }
}

pub(super) fn ratio(value: &DeValue<'_>) -> Read<u32> {
    match value {
        DeValue::Integer(_) | DeValue::Float(_) => Ok(parse_ratio(&string_or_number(value)?)?),
        _ => Err(wrong(value)),
    }
}

/// A port number. `"9000-9010"` is a good range, but nothing publishes it yet.
pub(super) fn port(value: &DeValue<'_>) -> Read<i64> {
    let DeValue::String(range) = value else { return int(value, 1, 65_535) };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && !text.starts_with('+'));
    match range.split_once('-').map(|(from, to)| (number(from), number(to))) {
        Some((Some(from), Some(to))) if from <= to => Err(unsupported(range)),
        _ => Err(bad(
            format!("'{}' is not a range of ports", clip(range)),
            "write a port as a number, or a range such as \"9000-9010\"",
        )),
    }
}

/// `{ path = "/path", required = true }`.
pub(super) fn file(value: &DeValue<'_>) -> Read<(String, bool)> {
    let table = value.as_table().ok_or_else(|| wrong(value))?;
    let mut file = (None, true);
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "path" => file.0 = Some(text(value.get_ref(), Text::Path)?),
            "required" => file.1 = bool(value.get_ref())?,
            other => return Err(bad(format!("unknown key '{}'", clip(other)), "write path and required")),
        }
    }
    let path = file.0.ok_or_else(|| bad("key 'path' is missing", "write { path = \"/path\" }"))?;
    Ok((path, file.1))
}

/// A word, or maps of ids; nothing keeps them yet.
pub(super) fn userns(value: &Spanned<DeValue<'_>>) -> Result<(), Flaws> {
    let flaw = |what: String| {
        let help = "write \"auto\", \"host\" or { uid = [\"0:100000:65536\"], gid = [\"0:100000:65536\"] }";
        vec![(value.span(), bad(what, help))]
    };
    let table = match value.get_ref() {
        DeValue::Table(table) => table,
        DeValue::String(word) if matches!(word.as_ref(), "auto" | "host") => return Ok(()),
        DeValue::String(word) => return Err(flaw(format!("unknown word '{}'", clip(word)))),
        other => return Err(vec![(value.span(), wrong(other))]),
    };
    if let Some((key, _)) = table.iter().find(|(key, _)| !matches!(key.get_ref().as_ref(), "uid" | "gid")) {
        return Err(flaw(format!("unknown key '{}'", clip(key.get_ref()))));
    }
    for kind in ["uid", "gid"] {
        let Some(maps) = table.get(kind) else { return Err(flaw(format!("key '{kind}' is missing"))) };
        list(maps, |item| text(item, Text::Form(&ID_MAP)))?;
    }
    Ok(())
}

pub(super) fn text(value: &DeValue<'_>, kind: Text) -> Read<String> {
    let text = match value {
        DeValue::Integer(_) if kind.takes_numbers() => &string_or_number(value)?,
        _ => string(value)?,
    };
    kind.parse(text).map_err(|fault| Flaw::Value { code: BAD_VALUE, what: fault.what, help: fault.help })
}

/// One of the words, and the name in it where it is one that stands for all names.
pub(super) fn word<'w, 't, T>(
    value: &'t DeValue<'_>,
    words: &'w [Word<T>],
) -> Read<(&'w Word<T>, Option<&'t str>)> {
    let text = string(value)?;
    let found = words.iter().find(|word| is_word(word.word, text)).ok_or_else(|| {
        let all: Vec<_> = words.iter().map(|word| word.word).collect();
        let help = match nearest(text, all.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("write one of \"{}\"", all.join("\", \"")),
        };
        Flaw::Value { code: UNKNOWN_WORD, what: format!("unknown word '{}'", clip(text)), help: Some(help) }
    })?;
    match found.effect {
        Effect::Now => Ok((found, found.word.strip_suffix("NAME").and_then(|word| text.strip_prefix(word)))),
        Effect::Planned => Err(unsupported(text)),
    }
}

/// `unit:NAME` stands for that word with every name.
fn is_word(word: &str, text: &str) -> bool {
    match word.strip_suffix("NAME") {
        Some(prefix) => text.strip_prefix(prefix).is_some_and(|name| Name::parse(name).is_ok()),
        None => word == text,
    }
}

fn unsupported(text: &str) -> Flaw {
    let help = "take another; this version of berth would not carry it out";
    let what = format!("'{}' is not supported yet", clip(text));
    Flaw::Value { code: UNSUPPORTED_KEY, what, help: Some(help.to_owned()) }
}

pub(super) fn duration(value: &DeValue<'_>, min: Duration, max: Duration) -> Read<Duration> {
    let text = match value {
        DeValue::Integer(number) => {
            return Err(bad(
                format!("{number} has no unit of time"),
                format!("write it with its unit in quotes: \"{number}s\" or \"{number}ms\""),
            ));
        }
        _ => string(value)?,
    };
    match parse_duration(text)? {
        span if span < min => {
            Err(beyond(format!("'{text}' is below the shortest, {}", human::duration(min))))
        }
        span if span > max => Err(beyond(format!("'{text}' is above the longest, {}", human::duration(max)))),
        span => Ok(span),
    }
}

pub(super) fn size(value: &DeValue<'_>, min: u64, max: u64) -> Read<u64> {
    match bytes(value, parse_size)? {
        size if size < min => {
            Err(beyond(format!("{} is below the lowest, {}", human::size(size), human::size(min))))
        }
        size if size > max => {
            Err(beyond(format!("{} is above the highest, {}", human::size(size), human::size(max))))
        }
        size => Ok(size),
    }
}

pub(super) fn amount(value: &DeValue<'_>) -> Read<Amount> {
    bytes(value, parse_amount)
}

fn bytes<V>(value: &DeValue<'_>, parse: fn(&str) -> Result<V, QuantityError>) -> Read<V> {
    match value {
        DeValue::Integer(_) | DeValue::String(_) => Ok(parse(&string_or_number(value)?)?),
        _ => Err(wrong(value)),
    }
}

pub(super) fn cpus(value: &DeValue<'_>) -> Read<MilliCpus> {
    Ok(parse_cpus(&string_or_number(value)?)?)
}

pub(super) fn mode(value: &DeValue<'_>) -> Read<u32> {
    match value {
        DeValue::Integer(number) => Err(bad(
            format!("the mode {number} is not in quotes"),
            "write it in octal and in quotes, such as \"0640\"",
        )),
        _ => Ok(parse_mode(string(value)?)?),
    }
}

pub(super) fn signal(value: &DeValue<'_>) -> Read<i32> {
    let text = match value {
        DeValue::Integer(_) | DeValue::String(_) => string_or_number(value)?,
        _ => return Err(wrong(value)),
    };
    parse_signal(&text).ok_or_else(|| {
        bad(
            format!("'{}' is not a signal", clip(&text)),
            "write a name such as \"SIGTERM\" or \"SIGRTMIN+3\"",
        )
    })
}

pub(super) fn limits(value: &DeValue<'_>) -> Read<(u64, u64)> {
    match value {
        DeValue::Integer(_) | DeValue::String(_) => Ok(parse_limits(&string_or_number(value)?)?),
        _ => Err(wrong(value)),
    }
}

pub(super) fn reference(value: &DeValue<'_>) -> Read<Reference> {
    let text = string(value)?;
    Reference::parse(text)
        .map_err(|error| bad(error.to_string(), "write it as docker does, such as \"shop/web:1.4\""))
}

pub(super) fn name(value: &DeValue<'_>) -> Read<Name> {
    let text = string(value)?;
    Name::parse_plain(text).map_err(|error| Flaw::Value {
        code: BAD_VALUE,
        what: format!("'{}' is not a name", clip(text)),
        help: Some(error.to_string()),
    })
}

pub(super) fn ipv4(value: &DeValue<'_>) -> Read<Ipv4Addr> {
    let text = string(value)?;
    text.parse()
        .map_err(|_| bad(format!("'{}' is not an IPv4 address", clip(text)), "write it as \"10.89.0.7\""))
}

pub(super) fn ipv4_net(value: &DeValue<'_>) -> Read<Ipv4Net> {
    let text = string(value)?;
    let parts = text.split_once('/').and_then(|(address, prefix)| {
        let plain = prefix.bytes().all(|b| b.is_ascii_digit());
        Some((address.parse().ok()?, prefix.parse().ok().filter(|prefix| plain && *prefix <= 32)?))
    });
    let (address, prefix) = parts.ok_or_else(|| {
        let what = format!("'{}' is not an IPv4 address with a prefix length", clip(text));
        bad(what, "write it as \"10.89.0.0/24\"")
    })?;
    Ok(Ipv4Net { address, prefix })
}

pub(super) fn subnet(value: &DeValue<'_>) -> Read<Ipv4Net> {
    let net = ipv4_net(value)?;
    if !(8..=30).contains(&net.prefix) {
        return Err(beyond(format!("a subnet of prefix length {} cannot be; 8 to 30 can", net.prefix)));
    }
    if net.network() != net.address {
        let (address, prefix) = (net.network(), net.prefix);
        return Err(bad(
            format!("{} is an address inside a subnet, not the subnet", net.address),
            format!("write \"{address}/{prefix}\""),
        ));
    }
    if address_is_special(net.address) {
        return Err(bad(
            format!("{} cannot be the subnet of a network", net.address),
            "take one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
        ));
    }
    Ok(net)
}

fn address_is_special(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_multicast()
        || address.is_link_local()
        || matches!(address.octets(), [0 | 240.., ..])
}

/// `exec`, `notify`, `fd:N`, `check:NAME` or `log:PATTERN`. 0 to 2 are the container's standard streams.
pub(super) fn ready(value: &DeValue<'_>) -> Read<Ready> {
    let text = string(value)?;
    match text.strip_prefix("fd:") {
        None if text == "exec" => Ok(Ready::Exec),
        None if text == "notify" => Ok(Ready::Notify),
        Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => match number.parse() {
            Ok(fd @ 3..) => Ok(Ready::Fd(fd)),
            _ => Err(beyond(format!("'{text}' is not a descriptor from 3 to 255"))),
        },
        None if text.strip_prefix("check:").is_some_and(|name| Name::parse_plain(name).is_ok()) => {
            Ok(Ready::Check(text.trim_start_matches("check:").to_owned()))
        }
        None if let Some(pattern) = text.strip_prefix("log:") => match Pattern::parse(pattern) {
            Ok(_) => Ok(Ready::Log(pattern.to_owned())),
            Err(why) => Err(bad(format!("'{}' is no pattern", clip(pattern)), &why)),
        },
        _ => Err(bad(
            format!("'{}' is no way to tell that a unit is ready", clip(text)),
            "write \"exec\", \"notify\", \"fd:3\", \"check:NAME\" or \"log:PATTERN\"",
        )),
    }
}

/// Every entry of an array, or every flaw.
pub(super) fn list<V>(
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&DeValue<'_>) -> Read<V>,
) -> Result<Vec<V>, Flaws> {
    let items = value.get_ref().as_array().ok_or_else(|| vec![(value.span(), wrong(value.get_ref()))])?;
    let mut values = Vec::new();
    let mut flaws = Flaws::new();
    for item in items.iter() {
        match read(item.get_ref()) {
            Ok(value) => values.push(value),
            Err(flaw) => flaws.push((item.span(), flaw)),
        }
    }
    if flaws.is_empty() { Ok(values) } else { Err(flaws) }
}

fn wrong(value: &DeValue<'_>) -> Flaw {
    Flaw::Type(describe(value))
}

/// The type of a value in a user's words.
pub(crate) fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
