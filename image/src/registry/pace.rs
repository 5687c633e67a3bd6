//! When to try again, and how fast to read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest that a registry may make us wait between two attempts.
const LONGEST: Duration = Duration::from_secs(60);

/// The wait before attempt `number` (1 is the second one), unless the registry says how long.
pub fn wait(number: u32, after: Option<Duration>) -> Duration {
    let doubled = Duration::from_millis(250).saturating_mul(1 << number.min(6));
    after.unwrap_or(doubled).min(LONGEST)
}

/// Sleeps, unless everything is given up; tells whether it is.
pub fn pause(time: Duration, stop: &AtomicBool) -> bool {
    let end = Instant::now() + time;
    while !stop.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
    true
}

/// Bytes a second that several threads share.
#[derive(Debug)]
pub struct Throttle {
    rate: Option<u64>,
    /// When all that was taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Throttle {
    /// None is no limit.
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), paid: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may be taken; tells whether everything is given up.
    pub fn take(&self, bytes: usize, stop: &AtomicBool) -> bool {
        let Some(rate) = self.rate else { return stop.load(Ordering::Relaxed) };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            *paid = (*paid).max(Instant::now()) + cost;
            *paid
        };
        pause(until.saturating_duration_since(Instant::now()), stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        assert_eq!(wait(1, None), Duration::from_millis(500));
        assert_eq!(wait(50, None), Duration::from_secs(16));
        assert_eq!(wait(1, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(wait(1, Some(Duration::from_secs(86_400))), LONGEST);
    }

    #[test]
    fn the_rate_holds() {
        let (throttle, stop) = (Throttle::new(Some(100_000)), AtomicBool::new(false));
        let start = Instant::now();
        for _ in 0..4 {
            assert!(!throttle.take(10_000, &stop));
        }
        assert!(start.elapsed() >= Duration::from_millis(390), "{:?}", start.elapsed());
        stop.store(true, Ordering::Relaxed);
        assert!(throttle.take(1 << 30, &stop));
    }
}
