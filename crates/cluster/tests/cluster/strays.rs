//! Packets whose way is not known, and who has the process that they are for.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Sighting, Sought};
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
    for node in [ONE, TWO] {
        assert!(strays.linked(node).is_empty());
    }
    strays
}

fn take(strays: &mut Strays<u32>, now: u64) -> Vec<Step<u32>> {
    let mut steps = Vec::new();
    strays.take(at(now), pid(), 5, None, nowhere, &mut steps);
    steps
}

/// That node answers the latest question.
fn says(strays: &mut Strays<u32>, now: u64, from: NodeId, sighting: Sighting) -> Vec<Step<u32>> {
    // Answers to other questions come to nothing.
    let mut steps = Vec::new();
    for question in 0..20 {
        let sought = Sought { pid: pid(), question, sighting };
        strays.found(at(now), from, sought, nowhere, &mut steps);
        if !steps.is_empty() {
            break;
        }
    }
    steps
}

/// All are asked.
fn all(question: u64) -> [Step<u32>; 2] {
    [ONE, TWO].map(|node| Step::Ask(node, pid(), question))
}

#[test]
fn all_are_asked_and_who_has_it_gets_the_packet() {
    let mut strays = strays();
    assert_eq!(take(&mut strays, 0), all(1));
    assert!(says(&mut strays, 0, ONE, Sighting::NotHere).is_empty(), "the other one may have it");
    assert_eq!(says(&mut strays, 0, TWO, Sighting::Here), [Step::SendOn(TWO, 5)]);
    assert!(strays.is_empty());
}

#[test]
fn nobody_has_it_only_if_everybody_said_so() {
    let mut steps = Vec::new();
    let mut strays_of_all = strays();
    take(&mut strays_of_all, 0);
    assert!(says(&mut strays_of_all, 0, ONE, Sighting::NotHere).is_empty());
    // When all are asked a hint leads nowhere.
    let nobody = says(&mut strays_of_all, 0, TWO, Sighting::Perhaps(ONE));
    assert_eq!(nobody, [Step::Nobody(5)]);
    // One is cut off; one was heard of, and there is no link to it yet; one says nothing in time.
    let mut cut = strays();
    cut.unlinked(at(0), TWO, nowhere, &mut steps);
    let mut unmet = strays();
    unmet.heard_of(at(0), NodeId(3));
    let mut silent = strays();
    for strays in [&mut cut, &mut unmet, &mut silent] {
        take(strays, 0);
        steps.extend(says(strays, 0, ONE, Sighting::NotHere));
    }
    cut.tick(at(3), nowhere, &mut steps);
    silent.tick(at(3), nowhere, &mut steps);
    steps.extend(says(&mut unmet, 1, TWO, Sighting::NotHere));
    assert!(steps.is_empty(), "its kernel says it again: {steps:?}");
    assert!(cut.is_empty() && unmet.is_empty() && silent.is_empty());
    // Not for ever.
    assert!(unmet.is_doubtful(at(29)) && !unmet.is_doubtful(at(31)));
    cut.node_gone(TWO);
    assert!(!cut.is_doubtful(at(0)));
}

/// Its link broke, it ended, and it has started again: those who have told of it know this one, and it is not met yet.
#[test]
fn who_has_started_again_and_was_not_met_may_have_it() {
    let mut strays = strays();
    strays.unlinked(at(0), TWO, nowhere, &mut Vec::new());
    strays.heard_of(at(1), TWO);
    strays.heard_of(at(40), TWO);
    strays.node_gone(TWO);
    take(&mut strays, 41);
    assert_eq!(says(&mut strays, 41, ONE, Sighting::NotHere), []);
    assert!(strays.is_empty(), "its kernel says it again");
    assert!(strays.is_doubtful(at(69)) && !strays.is_doubtful(at(71)));
    take(&mut strays, 72);
    assert_eq!(says(&mut strays, 72, ONE, Sighting::NotHere), [Step::Nobody(5)]);
}

/// Who should know is asked alone first.
fn led() -> Strays<u32> {
    let (mut strays, mut steps) = (strays(), Vec::new());
    strays.take(at(0), pid(), 5, Some(ONE), nowhere, &mut steps);
    assert_eq!(steps, [Step::Ask(ONE, pid(), 1)]);
    strays
}

#[test]
fn who_should_know_is_asked_alone_and_so_is_whom_it_names() {
    assert_eq!(says(&mut led(), 0, ONE, Sighting::Here), [Step::SendOn(ONE, 5)]);
    let mut strays = led();
    // No packet is sent on a mere hint.
    assert_eq!(says(&mut strays, 0, ONE, Sighting::Perhaps(TWO)), [Step::Ask(TWO, pid(), 2)]);
    assert_eq!(says(&mut strays, 0, TWO, Sighting::Here), [Step::SendOn(TWO, 5)]);
    assert!(strays.is_empty());
}

#[test]
fn what_hints_do_not_find_all_are_asked_for() {
    assert_eq!(says(&mut led(), 0, ONE, Sighting::NotHere), all(2));
    // It names a node that nobody is linked with.
    assert_eq!(says(&mut led(), 0, ONE, Sighting::Perhaps(NodeId(3))), all(2));
    // It names one that names it: words of the past go in circles.
    let mut strays = led();
    says(&mut strays, 0, ONE, Sighting::Perhaps(TWO));
    assert_eq!(says(&mut strays, 0, TWO, Sighting::Perhaps(ONE)), all(3));
    // Only the question to all ends the search, and what was said before it does not count.
    assert!(says(&mut strays, 0, ONE, Sighting::NotHere).is_empty());
    assert_eq!(says(&mut strays, 0, TWO, Sighting::NotHere), [Step::Nobody(5)]);
}

#[test]
fn who_is_asked_alone_and_says_nothing_holds_nothing_up() {
    let (mut strays, mut steps) = (led(), Vec::new());
    strays.tick(at(1), nowhere, &mut steps);
    assert_eq!(steps, all(2));
    // That it was silent before is no doubt, if it answers now. What it was late with is not what it is asked now.
    let late = Sought { pid: pid(), question: 1, sighting: Sighting::NotHere };
    steps.clear();
    strays.found(at(1), ONE, late, nowhere, &mut steps);
    assert!(says(&mut strays, 1, TWO, Sighting::NotHere).is_empty() && steps.is_empty());
    assert_eq!(says(&mut strays, 1, ONE, Sighting::NotHere), [Step::Nobody(5)]);
    // It is cut off: it may have it.
    let (mut strays, mut steps) = (led(), Vec::new());
    strays.unlinked(at(0), ONE, nowhere, &mut steps);
    assert_eq!(steps, [Step::Ask(TWO, pid(), 2)]);
    assert!(says(&mut strays, 0, TWO, Sighting::NotHere).is_empty() && strays.is_empty());
}

#[test]
fn what_stands_still_keeps_its_packets_and_they_follow_it() {
    let mut strays = strays();
    strays.stands_still(pid());
    assert_eq!(strays.has(at(0), ONE, pid()), Some(true));
    assert!(take(&mut strays, 0).is_empty());
    assert_eq!(strays.went(at(1), pid(), TWO), [5]);
    assert_eq!(take(&mut strays, 1), [Step::SendOn(TWO, 5)]);
    // Where it has gone they may have said a moment ago that they do not have it.
    assert_eq!(strays.has(at(1), ONE, pid()), Some(true));
    // Seed 4247: who had it and looks for it would get its own packets back.
    assert_eq!(strays.has(at(1), TWO, pid()), None);
    assert_eq!(strays.has(at(9), ONE, pid()), Some(false));
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
    // Its packets are answered here.
    assert_eq!(strays.has(at(2), ONE, pid()), Some(true));
    assert_eq!(strays.has(at(70), ONE, pid()), Some(false));
    assert_eq!(take(&mut strays, 2), [Step::Nobody(5)]);
    // It has left for a node that is gone.
    strays.comes(at(3), pid());
    strays.went(at(3), pid(), TWO);
    strays.node_gone(TWO);
    assert_eq!(strays.has(at(3), ONE, pid()), Some(false));
    assert_eq!(take(&mut strays, 3), all(1));
}

#[test]
fn who_has_just_left_over_a_link_that_broke_is_not_denied() {
    let mut strays = strays();
    strays.stands_still(pid());
    strays.went(at(0), pid(), TWO);
    strays.unlinked(at(0), TWO, nowhere, &mut Vec::new());
    // Seed 1453: where it has gone they had denied it before it came; here they must not after it went.
    assert_eq!(strays.has(at(1), ONE, pid()), None);
    // Seed 2108: nor is it looked for, since where it has come from they say that they have it, and send its packets here.
    assert!(take(&mut strays, 1).is_empty() && strays.is_empty());
    assert_eq!(take(&mut strays, 9), [Step::Ask(ONE, pid(), 1)]);
    assert_eq!(strays.has(at(9), ONE, pid()), Some(false));
}
