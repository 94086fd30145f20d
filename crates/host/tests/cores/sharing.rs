//! Who runs where, and for how long.

use peripatos_host::cores::Refusal;

use crate::support::{Guest, Node, Programs};

/// The output is right, and both have run although neither ever waits.
#[test]
fn two_on_one_core_share_it() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut guests = [1, 2].map(|number| node.spawn(&programs.counting, number));
    for _ in 0..5 {
        for guest in &guests {
            node.wait_for_progress(guest.pid);
        }
    }
    let samples = node.cores.sample();
    assert_eq!(samples.len(), 2);
    for sample in samples {
        assert!(sample.runnable && sample.core == 0 && sample.memory_bytes == 3 << 16);
    }
    for guest in &mut guests {
        guest.finish();
        node.exits(guest.pid);
        guest.check_count();
    }
    assert!(node.is_empty());
}

#[test]
fn four_on_two_cores_end_with_the_right_output() {
    let programs = Programs::new();
    let mut node = Node::new(2);
    let mut guests = [1, 2, 3, 4].map(|number| node.spawn(&programs.counting, number));
    for guest in &guests {
        node.wait_for_progress(guest.pid);
    }
    for guest in &mut guests {
        guest.finish();
    }
    for guest in &mut guests {
        node.exits(guest.pid);
        guest.check_count();
    }
    assert!(node.is_empty());
}

/// Of three, two are on one core. When the third has left its own, one of them goes there.
#[test]
fn an_idle_core_takes_over_a_queued_process() {
    let programs = Programs::new();
    let mut node = Node::new(2);
    let spawn = |number| node.spawn(&programs.counting, number);
    let mut guests: Vec<_> = (1..=3).map(spawn).collect();
    guests.iter().for_each(|guest| node.wait_for_progress(guest.pid));
    let cores = node.wait_for(|samples| {
        let cores: Vec<_> = samples.iter().map(|sample| sample.core).collect();
        (cores.iter().sum::<usize>() % 3 != 0).then_some(cores)
    });
    let alone = (0..3).find(|one| cores.iter().filter(|core| **core == cores[*one]).count() == 1);
    // Samples are ordered by pid, as the guests are.
    let mut alone = guests.remove(alone.unwrap());
    alone.finish();
    node.exits(alone.pid);
    alone.check_count();
    node.wait_for(|samples| (samples[0].core != samples[1].core).then_some(()));
    for guest in &mut guests {
        guest.finish();
        node.exits(guest.pid);
        guest.check_count();
    }
}

#[test]
fn a_process_that_waits_uses_no_cpu() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut waiting = node.spawn(&programs.waiting, 1);
    node.wait_until(waiting.pid, |sample| !sample.runnable);
    let before = node.sample(waiting.pid);
    let mut counting = node.spawn(&programs.counting, 2);
    node.wait_for_progress(counting.pid);
    assert_eq!(node.sample(waiting.pid), before);
    // It gets its turn although the other one never waits.
    waiting.finish();
    node.exits(waiting.pid);
    assert_eq!(waiting.output(), b"!");
    counting.finish();
    node.exits(counting.pid);
    counting.check_count();
}

#[test]
fn a_pid_runs_once() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut guest = node.spawn(&programs.waiting, 1);
    let (_, other) = Guest::spawn(&programs.waiting, 1);
    let error = node.cores.run(other).unwrap_err();
    assert_eq!(error.refusal, Refusal::Duplicate);
    assert_eq!(error.to_string(), "p1 cannot run here: a process of this pid runs here already");
    guest.finish();
    node.exits(guest.pid);
    // The name is free again.
    node.cores.run(*error.process).unwrap();
}

#[test]
fn plain_code_is_refused() {
    let programs = Programs::new();
    let node = Node::new(1);
    let (_guest, process) = Guest::spawn(&programs.counting_plain, 1);
    assert_eq!(node.cores.run(process).unwrap_err().refusal, Refusal::Plain);
    assert!(node.is_empty());
}
