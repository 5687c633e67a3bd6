//! How many lines a unit may still write: so many in each stretch of time.

use std::time::Instant;

use berth_units::spec::Rate;

/// What was written in the present stretch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter(Option<(Instant, u64)>);

impl Meter {
    /// Lines that may still be written at that moment.
    pub fn left(&self, rate: Option<Rate>, now: Instant) -> u64 {
        let Some(rate) = rate else { return u64::MAX };
        let written = self.0.filter(|(began, _)| now < *began + rate.per).map_or(0, |(_, written)| written);
        u64::from(rate.count).saturating_sub(written)
    }

    /// Counts lines that were written at that moment.
    pub fn spend(&mut self, rate: Option<Rate>, lines: u64, now: Instant) {
        let Some(rate) = rate else { return };
        match &mut self.0 {
            Some((began, written)) if now < *began + rate.per => *written += lines,
            stretch => *stretch = Some((now, lines)),
        }
    }

    /// When the present stretch is over.
    pub fn end(&self, rate: Option<Rate>) -> Option<Instant> {
        self.0.zip(rate).map(|((began, _), rate)| began + rate.per)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_stretch_has_its_lines() {
        let (rate, start) = (Rate::parse("10/s"), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let mut meter = Meter::default();
        assert_eq!((meter.left(rate, at(0)), meter.end(rate)), (10, None));
        meter.spend(rate, 7, at(0));
        assert_eq!((meter.left(rate, at(999)), meter.end(rate)), (3, Some(at(1000))));
        meter.spend(rate, 3, at(999));
        assert_eq!((meter.left(rate, at(999)), meter.left(rate, at(1000))), (0, 10));
        meter.spend(rate, 1, at(1500));
        assert_eq!((meter.left(rate, at(2400)), meter.left(rate, at(2500))), (9, 10));
        assert_eq!(meter.left(None, at(0)), u64::MAX);
    }
}
