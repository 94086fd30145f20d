//! Processes leave the cores frozen, and come back.

use peripatos_host::cores::{CoreEvent, NotHere};

use crate::support::{Guest, Node, Programs};

#[test]
fn a_running_process_is_handed_out_and_runs_on() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut guest = node.spawn(&programs.counting, 1);
    for _ in 0..3 {
        node.wait_for_progress(guest.pid);
        let process = node.freeze(guest.pid);
        assert!(node.is_empty());
        assert_eq!(node.cores.freeze(guest.pid), Err(NotHere(guest.pid)));
        node.cores.run(process).unwrap();
    }
    guest.finish();
    node.exits(guest.pid);
    guest.check_count();
}

/// With two that never wait on one core, one at least is queued whenever it is looked at.
#[test]
fn a_queued_process_is_handed_out_and_runs_on() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut guests = [1, 2, 3].map(|number| node.spawn(&programs.counting, number));
    let pids = guests.each_ref().map(|guest| guest.pid);
    pids.iter().for_each(|pid| node.wait_for_progress(*pid));
    // All at once: of the answers at most one comes from a process that was running.
    pids.iter().for_each(|pid| node.cores.freeze(*pid).unwrap());
    let processes = pids.map(|pid| match node.event(pid) {
        CoreEvent::Stopped { process, cpu, .. } => {
            assert!(!cpu.is_zero());
            process
        }
        event => panic!("{event:?}"),
    });
    assert!(node.is_empty());
    for process in processes {
        node.cores.run(process).unwrap();
    }
    for guest in &mut guests {
        node.wait_for_progress(guest.pid);
        guest.finish();
        node.exits(guest.pid);
        guest.check_count();
    }
}

/// Also one that has not run at all.
#[test]
fn a_new_process_is_handed_out() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut guest = node.spawn(&programs.counting, 1);
    let process = node.freeze(guest.pid);
    node.cores.run(guest.through_image(process)).unwrap();
    guest.finish();
    node.exits(guest.pid);
    guest.check_count();
}

#[test]
fn a_waiting_process_is_handed_out_and_runs_on() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut guest = node.spawn(&programs.waiting, 1);
    // On a core that is busy, too.
    let mut busy = node.spawn(&programs.counting, 2);
    for in_place in [true, false] {
        node.wait_until(guest.pid, |sample| !sample.runnable);
        let mut process = node.freeze(guest.pid);
        if !in_place {
            process = guest.through_image(process);
        }
        node.cores.run(process).unwrap();
    }
    guest.finish();
    node.exits(guest.pid);
    assert_eq!(guest.output(), b"!");
    busy.finish();
    node.exits(busy.pid);
    busy.check_count();
}

#[test]
fn a_process_goes_through_images_while_others_run() {
    const FREEZES: usize = 50;
    let programs = Programs::new();
    let mut node = Node::new(2);
    let mut others = [2, 3, 4].map(|number| node.spawn(&programs.counting, number));
    let mut guest = node.spawn(&programs.counting, 1);
    for _ in 0..FREEZES {
        let process = node.freeze(guest.pid);
        node.cores.run(guest.through_image(process)).unwrap();
    }
    assert_eq!(node.sample(guest.pid).memory_bytes, 3 << 16);
    guest.finish();
    node.exits(guest.pid);
    guest.check_count();
    for other in &mut others {
        node.wait_for_progress(other.pid);
        other.finish();
        node.exits(other.pid);
        other.check_count();
    }
}

/// Whoever asks, and how often: each accepted wish is answered once, by the same event.
#[test]
fn wishes_that_meet_have_one_answer() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut guest = node.spawn(&programs.counting, 1);
    node.wait_for_progress(guest.pid);
    let cores = &node.cores;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // All but the first may come too late.
            scope.spawn(|| cores.freeze(guest.pid).is_ok());
        }
    });
    let CoreEvent::Stopped { process, .. } = node.event(guest.pid) else { panic!() };
    assert!(node.is_empty());
    // A request that was left over does not stop it again.
    node.cores.run(process).unwrap();
    node.wait_for_progress(guest.pid);
    guest.finish();
    node.exits(guest.pid);
    guest.check_count();
}

#[test]
fn a_freeze_that_nobody_asked_for_is_passed_over() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let (mut guest, process) = Guest::spawn_frozen(&programs.counting_down, 1, Some(5_000));
    node.cores.run(process).unwrap();
    let mut other = node.spawn(&programs.counting, 2);
    node.wait_for_progress(guest.pid);
    node.wait_for_progress(other.pid);
    let process = node.freeze(guest.pid);
    node.cores.run(process).unwrap();
    for guest in [&mut guest, &mut other] {
        guest.finish();
        node.exits(guest.pid);
        guest.check_count();
    }
    assert!(node.is_empty());
}
