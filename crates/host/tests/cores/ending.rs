//! How processes end, and the cores.

use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use peripatos_engine::{ProcessError, TrapKind};
use peripatos_host::cores::{CoreEvent, Cores, NotHere, ProcessEnd};

use crate::support::{Guest, Node, Programs};

#[test]
fn processes_are_killed_wherever_they_are() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let waiting = node.spawn(&programs.waiting, 1);
    node.wait_until(waiting.pid, |sample| !sample.runnable);
    let counting = [2, 3].map(|number| node.spawn(&programs.counting, number));
    for guest in counting.iter().chain([&waiting]) {
        node.cores.kill(guest.pid).unwrap();
        let end = node.end(guest.pid);
        assert!(matches!(end, ProcessEnd::Killed), "{end:?}");
        assert_eq!(node.cores.kill(guest.pid), Err(NotHere(guest.pid)));
    }
    assert!(node.is_empty());
}

#[test]
fn a_kill_beats_a_freeze() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let [one, other] = [1, 2].map(|number| node.spawn(&programs.counting, number));
    node.wait_for_progress(one.pid);
    node.wait_for_progress(other.pid);
    for guest in [one, other] {
        node.cores.freeze(guest.pid).unwrap();
        let killed = node.cores.kill(guest.pid).is_ok();
        match node.event(guest.pid) {
            CoreEvent::Ended { end: ProcessEnd::Killed, .. } => assert!(killed),
            // The freeze was faster than the next line.
            CoreEvent::Stopped { .. } => assert!(!killed),
            event => panic!("{event:?}"),
        }
    }
    assert!(node.is_empty());
}

#[test]
fn a_trap_ends_only_its_process() {
    let programs = Programs::new();
    let mut node = Node::new(1);
    let mut guest = node.spawn(&programs.counting, 1);
    let trapping = node.spawn(&programs.trapping, 2);
    let end = node.end(trapping.pid);
    let unreachable = |error: &ProcessError| {
        matches!(error, ProcessError::Trap { kind: TrapKind::Unreachable, .. })
    };
    assert!(matches!(&end, ProcessEnd::Failed(error) if unreachable(error)), "{end:?}");
    node.wait_for_progress(guest.pid);
    guest.finish();
    node.exits(guest.pid);
    guest.check_count();
}

#[test]
fn dropping_the_cores_ends_all_processes() {
    let programs = Programs::new();
    let node = Node::new(2);
    let mut guests: Vec<_> = (1..=4).map(|n| node.spawn(&programs.counting, n)).collect();
    guests.push(node.spawn(&programs.waiting, 5));
    node.wait_until(guests[4].pid, |sample| !sample.runnable);
    guests[..4].iter().for_each(|guest| node.wait_for_progress(guest.pid));
    drop(node);
    for guest in &mut guests {
        // Ended before they could print; and nobody else holds their streams.
        assert_eq!(guest.output(), b"");
    }
}

#[test]
fn cores_without_processes_end() {
    drop(Node::new(3));
    assert!(Cores::start(0, |_| {}).is_err());
}

/// An event may put its process back, and drop the cores.
#[test]
fn events_may_call_the_cores() {
    let programs = Programs::new();
    let held: Arc<OnceLock<Weak<Cores>>> = Arc::default();
    let (sender, ended) = channel();
    let (owner_sender, owner) = channel::<Arc<Cores>>();
    let owner = std::sync::Mutex::new(owner);
    let seen = Arc::clone(&held);
    let cores = Cores::start(1, move |event| {
        let Some(cores) = seen.get().and_then(Weak::upgrade) else { return };
        match event {
            CoreEvent::Stopped { process, .. } => {
                let pid = process.pid();
                cores.run(process).unwrap();
                assert_eq!(cores.sample().len(), 1);
                cores.kill(pid).unwrap();
            }
            CoreEvent::Deadlock(circle) => panic!("{circle:?}"),
            CoreEvent::Ended { end, .. } => {
                drop(owner.lock().unwrap().recv().unwrap());
                // The last one is dropped here.
                assert_eq!(Arc::strong_count(&cores), 1);
                drop(cores);
                sender.send(end).unwrap();
            }
        }
    });
    let cores = Arc::new(cores.unwrap());
    held.set(Arc::downgrade(&cores)).unwrap();
    let (guest, process) = Guest::spawn(&programs.counting, 1);
    cores.run(process).unwrap();
    cores.freeze(guest.pid).unwrap();
    owner_sender.send(cores).unwrap();
    let end = ended.recv_timeout(Duration::from_secs(120)).unwrap();
    assert!(matches!(end, ProcessEnd::Killed), "{end:?}");
}
