//! Each row of the table of a boot.

use super::*;

const ENDS: [LastEnd; 6] = [
    LastEnd::First,
    LastEnd::Asked,
    LastEnd::Power,
    LastEnd::Panic,
    LastEnd::Watchdog,
    LastEnd::SupervisorLost,
];

/// Revision 5 on trial has an OS of its own, 42; the good one has 41.
fn on_new_os() -> Head {
    let mut head = on_trial();
    head.slot = Some(Slot { good_seq: 41, trying_seq: Some(42), next_seq: 43 });
    head
}

fn slots(running: u64, images: &[(u64, Counter)]) -> Slots {
    Slots { running: Some(running), images: images.iter().copied().collect() }
}

fn boots(decision: &Decision) -> u64 {
    decision.head.trial.as_ref().map_or(0, |trial| trial.boots)
}

#[test]
fn the_good_os_runs_what_is_good_and_blesses_itself() {
    let mut head = Head { good: 4, last: 4, ..Head::default() };
    head.slot = Some(Slot { good_seq: 41, trying_seq: None, next_seq: 42 });
    for (counter, deed) in
        [(Counter::Blessed, None), (Counter::Counting, Some(SlotDeed::Bless(41))), (Counter::Exhausted, None)]
    {
        for last in ENDS {
            let decision = boot_decision(&head, &slots(41, &[(41, counter)]), last, "at");
            assert_eq!((decision.run, decision.slot), (Run::Revision(4), deed), "{counter:?} {last:?}");
            assert_eq!(decision.head, head);
        }
    }
}

#[test]
fn a_node_without_slots_runs_the_good_one() {
    for last in ENDS {
        let head = Head { good: 4, ..Head::default() };
        let decision = boot_decision(&head, &Slots::default(), last, "at");
        assert_eq!((decision.run, decision.slot, &decision.head), (Run::Revision(4), None, &head));
    }
}

#[test]
fn the_new_os_goes_on_with_its_trial_and_is_rearmed_when_nobody_is_to_blame() {
    let seen = slots(42, &[(41, Counter::Blessed), (42, Counter::Counting)]);
    for (last, deed) in [
        (LastEnd::Asked, Some(SlotDeed::Rearm(42))),
        (LastEnd::Power, Some(SlotDeed::Rearm(42))),
        (LastEnd::Panic, None),
        (LastEnd::Watchdog, None),
        (LastEnd::SupervisorLost, None),
    ] {
        let decision = boot_decision(&on_new_os(), &seen, last, "at");
        assert_eq!((decision.run, decision.slot, boots(&decision)), (Run::Revision(5), deed, 1), "{last:?}");
    }
    let mut head = on_new_os();
    head.trial.as_mut().unwrap().boots = BOOTS_MAX;
    let decision = boot_decision(&head, &seen, LastEnd::Power, "at");
    assert_eq!((decision.slot, decision.head.good), (Some(SlotDeed::GiveWay(42)), 4));
    assert!(decision.head.is_bad("five").is_some());
}

#[test]
fn after_the_commit_the_new_os_blesses_itself() {
    let mut head = on_new_os();
    head.commit();
    let seen = slots(42, &[(41, Counter::Blessed), (42, Counter::Counting)]);
    let decision = boot_decision(&head, &seen, LastEnd::Power, "at");
    assert_eq!((decision.run, decision.slot), (Run::Revision(5), Some(SlotDeed::Bless(42))));
}

#[test]
fn the_old_os_finishes_the_arming_or_drops_what_is_late() {
    let seen = slots(41, &[(41, Counter::Blessed)]);
    let decision = boot_decision(&on_new_os(), &seen, LastEnd::Power, "at");
    assert_eq!((decision.slot, boots(&decision)), (Some(SlotDeed::Arm(42)), 1));
    assert!(decision.slot.unwrap().reboots() && decision.head.trying == Some(5));
    // Done already, as far as the name goes: the boot loader takes it.
    let armed = slots(41, &[(41, Counter::Blessed), (42, Counter::Counting)]);
    assert_eq!(boot_decision(&on_new_os(), &armed, LastEnd::Power, "at").slot, Some(SlotDeed::Enter(42)));
    let mut late = on_new_os();
    late.trial.as_mut().unwrap().spent = 300;
    let decision = boot_decision(&late, &seen, LastEnd::Power, "at");
    assert_eq!((decision.slot, decision.run, decision.head.trying), (None, Run::Revision(4), None));
    assert!(decision.head.bad.is_empty(), "it was never tried");
    assert_eq!(decision.head.slot.unwrap().trying_seq, None);
    let mut often = on_new_os();
    often.trial.as_mut().unwrap().boots = BOOTS_MAX;
    assert!(boot_decision(&often, &armed, LastEnd::Power, "at").head.is_bad("five").is_some());
}

#[test]
fn the_old_os_learns_that_the_new_one_did_not_come_up() {
    let seen = slots(41, &[(41, Counter::Blessed), (42, Counter::Exhausted)]);
    for last in ENDS {
        let decision = boot_decision(&on_new_os(), &seen, last, "at");
        assert_eq!((decision.run, decision.slot), (Run::Revision(4), None), "{last:?}");
        assert_eq!(decision.failed, Some(Reason::DidNotComeUp(3)));
        assert_eq!(decision.head.is_bad("five").unwrap().reason, "did-not-come-up in 3 boots");
    }
}

#[test]
fn a_trial_without_another_os_is_counted_and_ended_by_a_panic() {
    let mut same = on_trial();
    same.slot = Some(Slot { good_seq: 41, trying_seq: None, next_seq: 42 });
    for (head, seen) in [(on_trial(), Slots::default()), (same, slots(41, &[(41, Counter::Blessed)]))] {
        for (last, failed) in [
            (LastEnd::Asked, None),
            (LastEnd::Power, None),
            (LastEnd::Panic, Some(Reason::Panic)),
            (LastEnd::Watchdog, Some(Reason::Watchdog)),
            (LastEnd::SupervisorLost, Some(Reason::SupervisorLost)),
        ] {
            let decision = boot_decision(&head, &seen, last, "at");
            let run = if failed.is_some() { 4 } else { 5 };
            assert_eq!(decision.run, Run::Revision(run), "{last:?}");
            assert_eq!(decision.head.is_bad("five").is_some(), failed.is_some());
            assert_eq!(decision.failed, failed);
        }
    }
}

#[test]
fn a_trial_goes_through_ten_boots_and_no_more() {
    let mut head = on_trial();
    for boot in 1..=BOOTS_MAX {
        let decision = boot_decision(&head, &Slots::default(), LastEnd::Power, "at");
        assert_eq!((boots(&decision), decision.run), (boot, Run::Revision(5)));
        head = decision.head;
    }
    let decision = boot_decision(&head, &Slots::default(), LastEnd::Power, "at");
    assert_eq!((decision.run, decision.failed), (Run::Revision(4), Some(Reason::DidNotComeUp(11))));
}

#[test]
fn an_os_that_was_left_over_gives_way_to_the_good_one_if_there_is_one() {
    let decision =
        |images: &[(u64, Counter)]| boot_decision(&on_new_os(), &slots(40, images), LastEnd::Power, "at");
    for good in [Counter::Blessed, Counter::Counting] {
        assert_eq!(decision(&[(40, Counter::Blessed), (41, good)]).slot, Some(SlotDeed::GiveWay(40)));
    }
    for images in [&[(40, Counter::Blessed)][..], &[(40, Counter::Blessed), (41, Counter::Exhausted)]] {
        let decision = decision(images);
        assert_eq!((decision.slot, decision.run), (None, Run::Newest));
    }
}
