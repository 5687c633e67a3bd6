//! crontab(5) without names: five fields, and the first minute that they name after some time.
//!
//! Times are those of a clock on the wall. When it is put forward, what lies in between is run at once; when it is put
//! back, what comes twice is run once. Where the hour is left open ("every ten minutes") neither is done: such a
//! schedule is meant by the clock that goes on, as in cron(8).

use super::zone::{Span, Zone};
use serde::Serialize;

use crate::time::civil_from_days;

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Longer than any lawful wait: 29 February of 2096 to that of 2104.
const HORIZON_DAYS: i64 = 9 * 366;

/// The five fields; bit N stands for the value N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// One of the two fields for days begins with `*`: then both have to hold, else one of them.
    both_days: bool,
}

const EVERY_HOUR: u64 = (1 << 24) - 1;

impl Cron {
    /// Reads `*/5 * * * *`. Lowest and highest value of each field as in crontab(5); 7 is Sunday, too.
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.split(' ').collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else { return None };
        let week = field(weekdays, 0, 7)?;
        Some(Self {
            minutes: field(minutes, 0, 59)?,
            hours: field(hours, 0, 23)?,
            days: field(days, 1, 31)?,
            months: field(months, 1, 12)?,
            weekdays: week & 0x7f | week >> 7,
            both_days: days.starts_with('*') || weekdays.starts_with('*'),
        })
    }

    /// Whether there is a time that it names.
    pub fn ever_fires(&self) -> bool {
        self.next_local(0).is_some()
    }

    /// The first second after `after` that it names, in seconds since 1970.
    pub fn next(&self, zone: &Zone, after: i64) -> Option<i64> {
        let mut span = zone.span(after)?;
        let mut local = (after + span.offset + 1).max(self.first_local(&span));
        // Two changes a year, and some that changed nothing.
        for _ in 0..64 {
            let found = self.next_local(local);
            let Some(end) = span.end else {
                return found.map(|local| local - span.offset);
            };
            if let Some(found) = found.filter(|found| found - span.offset < end) {
                return Some(found - span.offset);
            }
            let next = zone.span(end)?;
            // Local times that do not exist: from the end of this span to the beginning of the next.
            let is_skipped = |local: i64| local < end + next.offset;
            if self.hours != EVERY_HOUR && found.is_some_and(is_skipped) {
                return Some(end);
            }
            span = next;
            local = self.first_local(&span);
        }
        None
    }

    /// The first local time of a span that is not a second time what the span before had.
    fn first_local(&self, span: &Span) -> i64 {
        let Some((begin, before)) = span.begin else { return i64::MIN };
        let twice_until = if self.hours == EVERY_HOUR { span.offset } else { before };
        begin + span.offset.max(twice_until)
    }

    /// The first local second from `from` on that the fields name, as if there were no zones.
    fn next_local(&self, from: i64) -> Option<i64> {
        let from = from.max(0);
        let minute = (from + 59).div_euclid(60);
        let first = minute / 1440;
        (first..first + HORIZON_DAYS).find_map(|day| {
            let start = if day == first { minute % 1440 } else { 0 };
            self.has_day(day).then(|| self.next_of_day(start)).flatten().map(|found| day * DAY + found * 60)
        })
    }

    fn has_day(&self, day: i64) -> bool {
        let Ok(number) = u64::try_from(day) else { return false };
        let (_, month, of_month) = civil_from_days(number);
        // 1970-01-01 was a Thursday.
        let (by_month, by_week) = (has(self.days, of_month), has(self.weekdays, (number + 4) % 7));
        has(self.months, month) && if self.both_days { by_month && by_week } else { by_month || by_week }
    }

    /// The first minute of a day from `start` on.
    fn next_of_day(&self, start: i64) -> Option<i64> {
        let start = u64::try_from(start).ok()?;
        let hours = (start / 60..24).filter(|hour| has(self.hours, *hour));
        let found = hours.into_iter().find_map(|hour| {
            let least = if hour == start / 60 { start % 60 } else { 0 };
            (least..60).find(|minute| has(self.minutes, *minute)).map(|minute| hour * 60 + minute)
        })?;
        i64::try_from(found).ok()
    }
}

fn has(bits: u64, number: u64) -> bool {
    bits >> number & 1 == 1
}

/// The values of one field: `*`, numbers, ranges and steps, with `,` between them.
fn field(text: &str, min: u64, max: u64) -> Option<u64> {
    text.split(',').try_fold(0, |bits, part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step = step.map_or(Some(1), |step| number(step, 1, max))?;
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (min, max),
            Some((from, to)) => (number(from, min, max)?, number(to, min, max)?),
            // A step without an end goes on to the highest.
            None => (number(range, min, max)?, if part == range { number(range, min, max)? } else { max }),
        };
        let values = (from..=to).step_by(usize::try_from(step).ok()?);
        (from <= to).then(|| values.fold(bits, |bits, value| bits | 1 << value))
    })
}

fn number(text: &str, min: u64, max: u64) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && (min..=max).contains(number))
}
