//! Revisions: a bad one is taken back whole, a trial goes on over power cuts, and what is kept can be returned to.

use std::time::{Duration, Instant};

use berth_qemu_tests::appliance::{Appliance, probe_unit};
use berth_qemu_tests::control::Said;
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::{History, NodeStatus, RevisionState};

use crate::lab::Lab;

/// Keys of the unit that may do anything to the node.
const KEEPER: &str = "[security]\nprofile = \"privileged\"\n[update]\nhealthy_for = \"1s\"\n\
    [mounts.data]\nbind = \"/data\"\ntarget = \"/node-data\"\nread_only = false\n\
    [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n";
const NAMES: [&str; 4] = ["keeper", "web", "db", "queue"];
/// `update.deadline` of the units.
const DEADLINE: Duration = Duration::from_secs(20);

/// A set in which three units bear a number, so that a mixture would show; `db` runs these words.
fn set(number: u32, db: &[&str], healthy_for: &str) -> Vec<(&'static str, String)> {
    let keys = format!(
        "[update]\nhealthy_for = \"{healthy_for}\"\ndeadline = \"{}s\"\n[env]\nNUMBER = \"{number}\"\n\
         [pids]\nmax = {}\n",
        DEADLINE.as_secs(),
        1000 + number
    );
    vec![
        ("keeper", probe_unit(&["sleep"], KEEPER)),
        ("web", probe_unit(&["sleep"], &keys)),
        ("db", probe_unit(db, &keys)),
        ("queue", probe_unit(&["sleep"], &keys)),
    ]
}

fn good(number: u32) -> Vec<(&'static str, String)> {
    set(number, &["sleep"], "1s")
}

fn boot(lab: &mut Lab) -> Outcome<Vm> {
    let appliance = lab.appliance()?;
    for (name, text) in good(0) {
        appliance.unit(name, &text)?;
    }
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&NAMES)?;
    Ok(vm)
}

fn apply(vm: &Vm, words: &[&str], units: &[(&'static str, String)]) -> Outcome<Said> {
    let dir = vm.dir().join("set");
    drop(std::fs::remove_dir_all(&dir));
    let set = Appliance::new(&dir)?;
    for (name, text) in units {
        set.unit(name, text)?;
    }
    let path = set.dir().display().to_string();
    vm.berth(&[&["apply"], words, &[&path]].concat(), b"")
}

fn node(vm: &Vm) -> Outcome<NodeStatus> {
    Ok(vm.status()?.node)
}

fn history(vm: &Vm) -> Outcome<History> {
    Ok(serde_json::from_str(&vm.berth(&["history", "--json"], b"")?.ok()?)?)
}

/// The number that all three units bear; none while they differ.
fn number(vm: &Vm) -> Outcome<Option<u32>> {
    let mut found = Vec::new();
    for unit in ["web", "db", "queue"] {
        let text = vm.probe("keeper", &["read", &format!("/cgroup/units/{unit}/pids.max")])?;
        found.push(text.trim().parse::<u32>()?.checked_sub(1000));
    }
    found.dedup();
    Ok(if let [Some(number)] = found.as_slice() { Some(*number) } else { None })
}

fn wait_number(vm: &mut Vm, number_wanted: u32) -> Outcome {
    vm.wait_for(&format!("set {number_wanted}"), SOON, |vm| {
        Ok((number(vm)? == Some(number_wanted)).then_some(()))
    })
}

pub fn bad_revision_is_taken_back_whole(lab: &mut Lab) -> Outcome {
    let mut vm = boot(lab)?;
    let keeper = vm.pid("keeper")?;
    let said = apply(&vm, &["-q"], &good(1))?;
    ensure_eq!((said.code, said.stdout.as_str()), (0, ""));
    ensure_eq!((node(&vm)?.revision, number(&vm)?), (1, Some(1)));

    // One of three cannot run: all three go back, together and in time; who was not changed has the same process.
    let bad = set(2, &["exit", "3"], "1s");
    let start = Instant::now();
    let said = apply(&vm, &[], &bad)?;
    let took = start.elapsed();
    ensure!(said.code == 4 && said.stderr.contains("deadline db: "), "apply: {said:?}");
    ensure!(took < DEADLINE + Duration::from_secs(20), "it took {took:?}");
    wait_number(&mut vm, 1)?;
    vm.wait_ready(&NAMES)?;
    ensure_eq!((node(&vm)?.revision, vm.pid("keeper")?), (1, keeper));
    let failed = node(&vm)?.failed.ok_or("the status does not say it")?;
    ensure_eq!((failed.revision, failed.returned_to), (2, 1));
    let all = history(&vm)?.revisions;
    let states: Vec<_> = all.iter().map(|one| (one.revision, one.state, one.in_force)).collect();
    let expect =
        [(2, RevisionState::Bad, false), (1, RevisionState::Good, true), (0, RevisionState::Good, false)];
    ensure_eq!(states, expect);

    refused_until_somebody_insists(&mut vm, &bad)?;
    earlier_ones_come_back(&mut vm)?;
    ensure_eq!(vm.pid("keeper")?, keeper);
    vm.power_off()
}

/// What has failed is not tried again; a trial can be ended by hand, and that speaks against nobody.
fn refused_until_somebody_insists(vm: &mut Vm, bad: &[(&'static str, String)]) -> Outcome {
    let said = apply(vm, &[], bad)?;
    ensure!(said.code == 4 && said.stderr.contains("has failed before, as revision 2"), "apply: {said:?}");
    ensure_eq!(node(vm)?.revision, 1);
    apply(vm, &["--again", "--no-wait", "-q"], bad)?.ok()?;
    vm.wait_for("the trial", SOON, |vm| Ok(node(vm)?.trial))?;
    ensure_eq!(node(vm)?.revision, 3);
    let said = vm.berth(&["status"], b"")?.ok()?;
    ensure!(said.contains("revision 3 on trial, healthy"), "status: {said}");
    let said = vm.berth(&["rollback"], b"")?.ok()?;
    ensure!(said.ends_with("good     revision 1\n"), "rollback: {said}");
    wait_number(vm, 1)
}

fn earlier_ones_come_back(vm: &mut Vm) -> Outcome {
    for number in 4..=5 {
        apply(vm, &["-q"], &good(number))?.ok()?;
    }
    vm.berth(&["pin", "1"], b"")?.ok()?;
    let said = vm.berth(&["rollback", "1", "--dry-run"], b"")?.ok()?;
    ensure!(said.contains("nothing was changed") && number(vm)? == Some(5), "rollback: {said}");
    let current = node(vm)?.revision;
    vm.berth(&["rollback", "-q"], b"")?.ok()?;
    wait_number(vm, 4)?;
    vm.berth(&["rollback", "-q", &current.to_string()], b"")?.ok()?;
    wait_number(vm, 5)?;
    // More than are kept: the pinned one is still there.
    for number in 10..17 {
        apply(vm, &["-q"], &good(number))?.ok()?;
    }
    let all = history(vm)?.revisions;
    ensure!(all.iter().any(|one| one.revision == 1 && one.pinned), "revision 1 is gone: {all:?}");
    ensure!(all.iter().filter(|one| one.kept).count() <= 8, "nothing was removed: {all:?}");
    vm.berth(&["rollback", "-q", "1"], b"")?.ok()?;
    wait_number(vm, 1)?;
    let said = vm.berth(&["reset"], b"")?.ok()?;
    ensure!(said.contains("revision 0"), "reset: {said}");
    wait_number(vm, 0)?;
    ensure_eq!((node(vm)?.revision, node(vm)?.source.as_str()), (0, "factory"));
    let said = vm.berth(&["rollback", "99"], b"")?;
    ensure!(said.code == 4 && said.stderr.contains("no revision 99"), "{said:?}");
    Ok(())
}

pub fn trials_go_on_over_power_cuts(lab: &mut Lab) -> Outcome {
    let mut vm = boot(lab)?;
    apply(&vm, &["--no-wait", "-q"], &set(1, &["sleep"], "19s"))?.ok()?;
    vm.wait_for("the trial", SOON, |vm| Ok(node(vm)?.trial))?;
    vm.cut_power()?;
    vm.start_again()?;
    vm.wait_ready(&NAMES)?;
    let now = node(&vm)?;
    ensure_eq!((now.revision, now.trial.map(|trial| trial.boots)), (1, Some(1)));
    wait_number(&mut vm, 1)?;
    // It ends the trial, and says so before the units are changed back.
    vm.berth(&["rollback", "-q"], b"")?.ok()?;
    wait_number(&mut vm, 0)?;
    cut_in_the_middle(&mut vm, lab.times(3, 60))?;
    vm.berth(&["reset", "--volumes"], b"")?.ok()?;
    vm.wait_for("the factory's units", SOON, |vm| Ok((node(vm)?.revision == 0).then_some(())))?;
    wait_number(&mut vm, 0)?;
    vm.power_off()
}

/// The power goes while a set is applied, tried or found good: a little later each time.
fn cut_in_the_middle(vm: &mut Vm, times: u32) -> Outcome {
    let mut old = number(vm)?.ok_or("no set")?;
    for round in 1..=times {
        let new = 100 + round;
        let running: &Vm = vm;
        std::thread::scope(|scope| {
            let applying = scope.spawn(|| apply(running, &["--no-wait"], &good(new)).is_ok());
            std::thread::sleep(Duration::from_millis(u64::from(400 + round * 977 % 5000)));
            let pulled = running.pull_plug();
            drop(applying.join());
            pulled
        })?;
        vm.wait_end(SOON)?;
        vm.start_again()?;
        vm.wait_ready(&NAMES)?;
        let found = vm.wait_for("a whole set", SOON, |vm| {
            let status = node(vm)?;
            ensure!(status.fault.is_none(), "the set is refused: {:?}", status.fault);
            number(vm)
        })?;
        ensure!(found == old || found == new, "set {found}, neither {old} nor {new}");
        vm.wait_for("the end of the trial", SOON, |vm| Ok(node(vm)?.trial.is_none().then_some(())))?;
        let settled = number(vm)?;
        ensure_eq!(settled, Some(found));
        ensure!(
            history(vm)?.revisions.iter().all(|one| one.state != RevisionState::Bad),
            "one was found bad"
        );
        old = found;
    }
    Ok(())
}
