//! Quantities with their units in the type: bytes, processors, times; and how files write them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An amount of memory or disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Amount {
    /// No limit: the kernel's own word `max`.
    Max,
    /// Bytes.
    Bytes(u64),
    /// Hundredths of the node's memory, 1 to 100.
    Percent(u8),
}

/// Processor time per time, in thousandths of one processor: `1.5` is 1500.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MilliCpus(pub u32);

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}")]
pub struct QuantityError {
    text: String,
    what: &'static str,
    /// How to write it.
    pub help: String,
}

fn fault(text: &str, what: &'static str, help: impl Into<String>) -> QuantityError {
    QuantityError { text: text.to_owned(), what, help: help.into() }
}

/// Leading digits and the rest; `None` without digits or beyond 64 bits.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

/// Bytes of `4096`, `512M` or `512MiB`: K, M, G and T are powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, QuantityError> {
    const WHAT: &str = "a size";
    const FORM: &str = "write a whole number and K, M, G or T, such as \"512M\"";
    let (number, unit) = split_number(text).ok_or_else(|| fault(text, WHAT, FORM))?;
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => {
            let upper = unit.to_ascii_uppercase();
            let help = match upper.trim_end_matches("IB").trim_end_matches('B') {
                letter @ ("K" | "M" | "G" | "T") => {
                    format!("write \"{number}{letter}\", which is a power of 1024")
                }
                _ => FORM.to_owned(),
            };
            return Err(fault(text, WHAT, help));
        }
    };
    number.checked_mul(1 << shift).ok_or_else(|| fault(text, WHAT, "it is beyond 64 bits"))
}

/// A size, `max`, or `25%` of the node's memory.
pub fn parse_amount(text: &str) -> Result<Amount, QuantityError> {
    if text == "max" {
        return Ok(Amount::Max);
    }
    let Some(percent) = text.strip_suffix('%') else {
        return parse_size(text).map(Amount::Bytes);
    };
    match percent.parse() {
        Ok(percent @ 1..=100) => Ok(Amount::Percent(percent)),
        _ => Err(fault(text, "a part of the node's memory", "write a whole number from \"1%\" to \"100%\"")),
    }
}

/// `30s`, `1m30s`, `500ms`, `2h`, `1d`: each unit once, largest first.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    const UNITS: [(&str, u64); 6] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1000),
        ("us", 1),
    ];
    const FORM: &str = "write numbers with d, h, m, s, ms or us, largest first, such as \"1m30s\"";
    let wrong = || fault(text, "a length of time", FORM);
    let (mut rest, mut micros, mut next) = (text, 0_u64, 0);
    while !rest.is_empty() || next == 0 {
        let (number, after) = split_number(rest).ok_or_else(wrong)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters).ok_or_else(wrong)?;
        if unit.is_empty() && next == 0 {
            return Err(fault(
                text,
                "a length of time",
                format!("write its unit: \"{number}s\" or \"{number}ms\""),
            ));
        }
        let at =
            UNITS.iter().position(|(name, _)| *name == unit).filter(|at| *at >= next).ok_or_else(wrong)?;
        let scale = UNITS.get(at).map_or(0, |(_, scale)| *scale);
        micros = number.checked_mul(scale).and_then(|part| micros.checked_add(part)).ok_or_else(wrong)?;
        (rest, next) = (after, at + 1);
    }
    Ok(Duration::from_micros(micros))
}

/// Thousandths of a decimal number with at most three decimals: 1500 of `1.5`.
fn parse_thousandths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
        return None;
    }
    let thousandths: u32 = format!("{decimals:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(thousandths)
}

/// `1.5` processors: 0.01 to 1024, three decimals at most.
pub fn parse_cpus(text: &str) -> Result<MilliCpus, QuantityError> {
    parse_thousandths(text).filter(|milli| (10..=1_024_000).contains(milli)).map(MilliCpus).ok_or_else(|| {
        fault(text, "a number of processors", "write a number from 0.01 to 1024, such as \"1.5\"")
    })
}

/// Thousandths of a factor from 1 to 100.
pub fn parse_factor(text: &str) -> Result<u32, QuantityError> {
    parse_thousandths(text)
        .filter(|milli| (1000..=100_000).contains(milli))
        .ok_or_else(|| fault(text, "a factor", "write a number from 1 to 100, such as 2.0"))
}

/// Thousandths of a part of one: 100 of `0.1`.
pub fn parse_ratio(text: &str) -> Result<u32, QuantityError> {
    parse_thousandths(text)
        .filter(|milli| *milli <= 1000)
        .ok_or_else(|| fault(text, "a part of one", "write a number from 0 to 1, such as 0.1"))
}

/// A file mode in octal: `0640`.
pub fn parse_mode(text: &str) -> Result<u32, QuantityError> {
    let octal = (3..=5).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    octal
        .then(|| u32::from_str_radix(text, 8).ok())
        .flatten()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| fault(text, "a file mode", "write it in octal, such as \"0640\""))
}

/// Soft and hard limit of `1024:65536`, `1024` or `unlimited`; [`u64::MAX`] is unlimited.
pub fn parse_limits(text: &str) -> Result<(u64, u64), QuantityError> {
    const WHAT: &str = "a pair of limits";
    let one = |part: &str| match part {
        "unlimited" => Some(u64::MAX),
        _ => split_number(part).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number),
    };
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let (Some(soft), Some(hard)) = (one(soft), one(hard)) else {
        return Err(fault(text, WHAT, "write \"SOFT:HARD\", one number for both, or \"unlimited\""));
    };
    if soft > hard {
        return Err(fault(text, WHAT, "the soft limit comes first and is not above the hard one"));
    }
    Ok((soft, hard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("512M", Some(512 << 20)),
            ("512MiB", Some(512 << 20)),
            ("2G", Some(2 << 30)),
            ("1T", Some(1 << 40)),
            ("16777215T", Some(16_777_215 << 40)),
            ("16777216T", None),
            ("512MB", None),
            ("512m", None),
            ("1.5G", None),
            ("-1", None),
            ("M", None),
            ("", None),
            ("5 M", None),
            ("max", None),
        ] {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
        assert_eq!(parse_size("512mb").unwrap_err().help, "write \"512M\", which is a power of 1024");
        assert_eq!(parse_amount("max"), Ok(Amount::Max));
        assert_eq!(parse_amount("25%"), Ok(Amount::Percent(25)));
        assert_eq!(parse_amount("1K"), Ok(Amount::Bytes(1024)));
        for bad in ["0%", "101%", "%", "2.5%"] {
            assert!(parse_amount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        for (text, micros) in [
            ("30s", Some(30_000_000)),
            ("1m30s", Some(90_000_000)),
            ("500ms", Some(500_000)),
            ("1d2h", Some(93_600_000_000)),
            ("0s", Some(0)),
            ("30s1m", None),
            ("1s1s", None),
            ("30", None),
            ("1m30", None),
            ("s", None),
            ("", None),
            ("1.5s", None),
            ("99999999999999d", None),
            ("1ä", None),
        ] {
            assert_eq!(parse_duration(text).ok().map(|d| d.as_micros()), micros, "{text}");
        }
        assert_eq!(parse_duration("30").unwrap_err().help, "write its unit: \"30s\" or \"30ms\"");
    }

    #[test]
    fn decimals_modes_limits() {
        for (text, milli) in [
            ("1.5", Some(1500)),
            ("2", Some(2000)),
            ("0.01", Some(10)),
            ("0.001", None),
            ("1.", None),
            ("1500m", None),
            (".5", None),
            ("nan", None),
            ("1.2345", None),
            ("1025", None),
        ] {
            assert_eq!(parse_cpus(text).ok(), milli.map(MilliCpus), "{text}");
        }
        assert_eq!((parse_factor("2.0"), parse_factor("0.5").is_err()), (Ok(2000), true));
        assert_eq!((parse_ratio("0.1"), parse_ratio("1.1").is_err()), (Ok(100), true));
        for (text, mode) in [
            ("0640", Some(0o640)),
            ("755", Some(0o755)),
            ("01777", Some(0o1777)),
            ("0888", None),
            ("7", None),
            ("77777", None),
        ] {
            assert_eq!(parse_mode(text).ok(), mode, "{text}");
        }
        for (text, pair) in [
            ("1024:65536", Some((1024, 65536))),
            ("1024", Some((1024, 1024))),
            ("unlimited", Some((u64::MAX, u64::MAX))),
            ("1:unlimited", Some((1, u64::MAX))),
            ("2:1", None),
            (":1", None),
            ("1K", None),
        ] {
            assert_eq!(parse_limits(text).ok(), pair, "{text}");
        }
    }
}
