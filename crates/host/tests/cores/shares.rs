//! A family keeps to its share of the CPUs, though cores are idle, and stays within reach while it is held.

use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_host::cores::ProcessEnd;
use peripatos_host::talk::Share;

use crate::support::{Guest, Node, Programs};

/// One in a hundred of a CPU.
fn small() -> Option<Arc<Share>> {
    Some(Share::new(10))
}

fn start(node: &mut Node, programs: &Programs, number: u64, share: Option<Arc<Share>>) -> Guest {
    let (guest, process) = Guest::spawn(&programs.counting, number);
    node.cores.run_within(process, None, share).unwrap();
    guest
}

/// It never waits: it is its share that keeps it from running.
fn wait_until_held(node: &Node, pid: Pid) {
    node.wait_until(pid, |sample| !sample.runnable);
}

#[test]
fn one_that_never_waits_is_held_though_the_cores_are_idle_and_ends_well() {
    let programs = Programs::new();
    for cores in [1, 2] {
        let mut node = Node::new(cores);
        let mut guest = start(&mut node, &programs, 1, small());
        for _ in 0..3 {
            wait_until_held(&node, guest.pid);
            // Its time comes again.
            let used = node.sample(guest.pid).cpu;
            node.wait_until(guest.pid, |sample| sample.cpu > used);
        }
        guest.finish();
        node.exits(guest.pid);
        guest.check_count();
    }
}

#[test]
fn the_processes_of_a_family_have_one_share_together_and_others_have_the_rest() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let share = small();
    let mut held = [1, 2, 3].map(|number| start(&mut node, &programs, number, share.clone()));
    let mut free = start(&mut node, &programs, 4, None);
    let used = |node: &Node, guest: &Guest| node.sample(guest.pid).cpu;
    // Long enough for what a slice is longer than it should be.
    node.wait_until(free.pid, |sample| sample.cpu.as_millis() > 500);
    let all: std::time::Duration = held.iter().map(|guest| used(&node, guest)).sum();
    assert!(all * 3 < used(&node, &free), "{all:?} of {:?}", used(&node, &free));
    for guest in held.iter_mut().chain([&mut free]) {
        guest.finish();
        node.exits(guest.pid);
        guest.check_count();
    }
}

#[test]
fn one_that_is_held_can_be_frozen_and_killed_at_once() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let guest = start(&mut node, &programs, 1, small());
    for _ in 0..3 {
        wait_until_held(&node, guest.pid);
        let process = node.freeze(guest.pid);
        node.cores.run_within(process, None, small()).unwrap();
    }
    wait_until_held(&node, guest.pid);
    node.cores.kill(guest.pid).unwrap();
    let end = node.end(guest.pid);
    assert!(matches!(end, ProcessEnd::Killed), "{end:?}");
}
