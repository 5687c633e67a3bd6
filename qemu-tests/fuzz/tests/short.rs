//! The short form of every fuzz target.

use std::time::{Duration, Instant};

use berth_fuzz::{Mutator, TARGETS};

/// At most this long for each.
const TIME: Duration = Duration::from_secs(3);
const INPUTS: usize = 20_000;

#[test]
fn no_target_has_a_finding_near_its_seeds() {
    for target in TARGETS {
        let (start, mut mutator) = (Instant::now(), Mutator::new(0x5eed));
        target.seeds.iter().for_each(|seed| (target.run)(seed.as_bytes()));
        let mut count = 0;
        while count < INPUTS && start.elapsed() < TIME {
            let input = mutator.mutate(target.seeds);
            let text = String::from_utf8_lossy(&input).into_owned();
            if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
                panic!("{}: input {count} has a finding:\n{text}", target.name);
            }
            count += 1;
        }
        assert!(count > 100, "{}: only {count} inputs in {TIME:?}", target.name);
    }
}
