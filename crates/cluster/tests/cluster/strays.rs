//! Packets whose way is not known, and who has the process that they are for.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::{NodeId, Step, Strays, Time};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

fn pid() -> Pid {
    Pid::new(7, 7)
}

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(seconds))
}

fn nowhere(_: Pid) -> bool {
    false
}

/// Linked with both.
fn strays() -> Strays<u32> {
    let mut strays = Strays::default();
    strays.linked(ONE);
    strays.linked(TWO);
    strays
}

fn take(strays: &mut Strays<u32>, now: u64) -> Vec<Step<u32>> {
    let mut steps = Vec::new();
    strays.take(at(now), pid(), 5, nowhere, &mut steps);
    steps
}

#[test]
fn all_are_asked_and_who_has_it_gets_the_packet() {
    let mut strays = strays();
    assert_eq!(take(&mut strays, 0), [Step::Ask(ONE, pid()), Step::Ask(TWO, pid())]);
    let mut steps = Vec::new();
    strays.found(at(0), ONE, pid(), false, nowhere, &mut steps);
    assert!(steps.is_empty(), "the other one may have it");
    strays.found(at(0), TWO, pid(), true, nowhere, &mut steps);
    assert_eq!(steps, [Step::SendOn(TWO, 5)]);
    assert!(strays.is_empty());
}

#[test]
fn nobody_has_it_only_if_everybody_said_so() {
    let mut steps = Vec::new();
    let mut all = strays();
    take(&mut all, 0);
    for node in [ONE, TWO] {
        all.found(at(0), node, pid(), false, nowhere, &mut steps);
    }
    assert_eq!(steps, [Step::Nobody(5)]);
    // One is cut off; one was heard of, and there is no link to it yet; one says nothing in time.
    let mut cut = strays();
    cut.unlinked(at(0), TWO, nowhere, &mut steps);
    let mut unmet = strays();
    unmet.heard_of(at(0), NodeId(3));
    let mut silent = strays();
    for strays in [&mut cut, &mut unmet, &mut silent] {
        steps.clear();
        take(strays, 0);
        strays.found(at(0), ONE, pid(), false, nowhere, &mut steps);
    }
    cut.tick(at(3), nowhere, &mut steps);
    silent.tick(at(3), nowhere, &mut steps);
    unmet.found(at(1), TWO, pid(), false, nowhere, &mut steps);
    assert!(steps.is_empty(), "its kernel says it again: {steps:?}");
    assert!(cut.is_empty() && unmet.is_empty() && silent.is_empty());
    // Not for ever.
    assert!(unmet.is_doubtful(at(29)) && !unmet.is_doubtful(at(31)));
    cut.node_gone(TWO);
    assert!(!cut.is_doubtful(at(0)));
}

#[test]
fn what_stands_still_keeps_its_packets_and_they_follow_it() {
    let mut strays = strays();
    strays.stands_still(pid());
    assert!(strays.has(at(0), pid()));
    assert!(take(&mut strays, 0).is_empty());
    assert_eq!(strays.went(at(1), pid(), TWO), [5]);
    assert_eq!(take(&mut strays, 1), [Step::SendOn(TWO, 5)]);
    // Where it has gone they may have said a moment ago that they do not have it.
    assert!(strays.has(at(1), pid()) && !strays.has(at(9), pid()));
    // What is too old is lost.
    strays.stands_still(pid());
    take(&mut strays, 10);
    assert!(strays.comes(at(30), pid()).is_empty());
}

#[test]
fn nobody_is_sent_in_circles() {
    // It has left, has come back and has ended here.
    let mut strays = strays();
    strays.stands_still(pid());
    strays.went(at(0), pid(), TWO);
    strays.comes(at(1), pid());
    strays.ended(at(2), pid());
    assert!(!strays.has(at(2), pid()));
    assert_eq!(take(&mut strays, 2), [Step::Nobody(5)]);
    // It has left for a node that is gone.
    strays.comes(at(3), pid());
    strays.went(at(3), pid(), TWO);
    strays.node_gone(TWO);
    assert!(!strays.has(at(3), pid()));
    assert_eq!(take(&mut strays, 3), [Step::Ask(ONE, pid()), Step::Ask(TWO, pid())]);
}
