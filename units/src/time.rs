//! Times as people and machines write them: RFC 3339, always UTC.

/// RFC 3339 with microseconds, e.g. `2026-11-20T16:50:58.000123Z`, of a time in microseconds since 1970.
///
/// The civil date is computed from the day number in the proleptic Gregorian calendar, counting years from March
/// so that the leap day comes last.
pub fn rfc3339_micros(unix_micros: u64) -> String {
    let (seconds, micros) = (unix_micros / 1_000_000, unix_micros % 1_000_000);
    let text = rfc3339(seconds);
    format!("{}.{micros:06}Z", text.trim_end_matches('Z'))
}

/// RFC 3339 with whole seconds, e.g. `2026-11-20T16:50:58Z`, of a time in seconds since 1970.
pub fn rfc3339(unix_seconds: u64) -> String {
    let (days, second_of_day) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds since 1970 of a time as [`rfc3339`] writes it; none where it is none, or lies before.
pub fn seconds(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_second()).ok()
}

/// Year, month 1 to 12 and day 1 to 31 of a day counted from 1970-01-01.
pub(crate) fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // Day 0 of the shifted calendar is 0000-03-01; an era is 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (since, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_193_458, "2026-11-20T16:50:58Z"),
        ] {
            assert_eq!(rfc3339(since), text);
            assert_eq!(seconds(text), Some(since));
        }
        assert_eq!(seconds("yesterday"), None);
        assert_eq!(rfc3339_micros(1_000_007), "1970-01-01T00:00:01.000007Z");
    }
}
