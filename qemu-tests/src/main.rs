//! Runs scenarios: `berth-qemu-tests [--list | --all | --soak | --bench] [NAME]...`; a NAME may be a part of one.
//!
//! They run one after another: a node has two processors, and so has the usual machine. Scenarios next to each other
//! in the list share a booted node where that is honest.

mod bench;
mod lab;
mod scenarios;

use std::process::ExitCode;
use std::time::Instant;

use berth_qemu_tests::{Outcome, artefacts};

use crate::lab::Lab;
use crate::scenarios::{SCENARIOS, Scenario};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("berth-qemu-tests: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[String]) -> Outcome<bool> {
    artefacts::enter_workspace()?;
    let (flags, names): (Vec<&str>, Vec<&str>) =
        words.iter().map(String::as_str).partition(|w| w.starts_with('-'));
    let long = flags.contains(&"--soak");
    match flags.as_slice() {
        ["--list"] => {
            SCENARIOS.iter().for_each(|scenario| println!("{:<34} {}", scenario.name, scenario.shows));
            Ok(true)
        }
        ["--bench"] => bench::run(&names).map(|()| true),
        [] | ["--all"] | ["--soak"] => run_scenarios(&chosen(&names)?, long),
        _ => Err("usage: berth-qemu-tests [--list | --all | --soak | --bench] [NAME]...".into()),
    }
}

/// Scenarios whose name contains one of the words; all when there is none.
fn chosen(names: &[&str]) -> Outcome<Vec<&'static Scenario>> {
    let wanted =
        |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| scenario.name.contains(name));
    let chosen: Vec<_> = SCENARIOS.iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err(format!("there is no scenario '{}'; --list shows them", names.join(" ")).into());
    }
    Ok(chosen)
}

/// Whether all passed.
fn run_scenarios(chosen: &[&Scenario], long: bool) -> Outcome<bool> {
    let mut lab = Lab::new(long);
    let mut failed = 0;
    for scenario in chosen {
        let start = Instant::now();
        lab.begin(scenario.name);
        let outcome = (scenario.run)(&mut lab);
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("ok      {seconds:6.1} s  {}", scenario.name),
            Err(error) => {
                failed += 1;
                println!("FAILED  {seconds:6.1} s  {}\n        {error}", scenario.name);
                lab.keep_artefacts();
            }
        }
    }
    println!("\nscenarios: {} of {} in this run", chosen.len(), SCENARIOS.len());
    println!("{} passed, {failed} failed", chosen.len() - failed);
    Ok(failed == 0)
}
