//! One target under libFuzzer: which one, BERTH_FUZZ says.
#![no_main]

use std::sync::LazyLock;

use berth_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("BERTH_FUZZ").unwrap_or_default();
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| {
        eprintln!("berth-fuzz: set BERTH_FUZZ to one of {}", names.join(", "));
        std::process::abort()
    })
});

libfuzzer_sys::fuzz_target!(
    init: write_seeds(),
    |bytes: &[u8]| (TARGET.run)(bytes)
);

/// Puts the seeds into the corpus before it is read.
fn write_seeds() {
    let Some(corpus) = std::env::var_os("BERTH_FUZZ_CORPUS") else { return };
    for (number, seed) in TARGET.seeds.iter().enumerate() {
        if let Err(error) = std::fs::write(std::path::Path::new(&corpus).join(format!("seed-{number}")), seed)
        {
            eprintln!("berth-fuzz: cannot write a seed: {error}");
        }
    }
}
