//! The two clocks: one to measure by, one to show to people.

use berth_units::observed::Moment;
use berth_units::time::rfc3339;
use rustix::time::{ClockId, clock_gettime};

/// Now, by CLOCK_BOOTTIME.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let micros = time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000);
    Moment(u64::try_from(micros).unwrap_or(0))
}

/// Now, by the clock on the wall, seconds since 1970.
pub fn wall() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}

/// The same in microseconds.
pub fn wall_micros() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    u64::try_from(time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000)).unwrap_or(0)
}

/// Now, and by how many microseconds the clock on the wall is ahead of it.
pub fn ahead() -> (Moment, i64) {
    let now = now();
    let wall = clock_gettime(ClockId::Realtime);
    let wall = wall.tv_sec.saturating_mul(1_000_000).saturating_add(wall.tv_nsec / 1000);
    (now, wall.saturating_sub(i64::try_from(now.0).unwrap_or(i64::MAX)))
}

/// A moment as RFC 3339, by what the clock on the wall says now.
pub fn wall_text(moment: Moment) -> String {
    let now = now();
    let seconds = match moment >= now {
        true => wall().saturating_add(moment.since(now).as_secs()),
        false => wall().saturating_sub(now.since(moment).as_secs()),
    };
    rfc3339(seconds)
}
