//! How long to wait before the supervisor is started again: never for ever.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Who lived this long has not failed to start.
const SETTLED: Duration = Duration::from_secs(10);

/// 0, 100 ms, doubling to 5 s; anew after a life of 10 s.
#[derive(Debug, Default)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The wait after a life of that length.
    pub fn after(&mut self, lived: Duration) -> Duration {
        if lived >= SETTLED {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = (wait * 2).clamp(FIRST, LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_start_anew() {
        let mut backoff = Backoff::default();
        let mut millis = |lived| backoff.after(Duration::from_secs(lived)).as_millis();
        let waits: Vec<_> = (0..9).map(|_| millis(0)).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!((millis(10), millis(9)), (0, 100));
    }
}
