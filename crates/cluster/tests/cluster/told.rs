//! What people are told: how processes do, and that they were waiting for each other.

use peripatos_abi::Pid;
use peripatos_cluster::message::{Doing, Message, ProcessRow};
use peripatos_cluster::{Event, Request, Response};

use crate::families::{child, root};
use crate::world::{SILENT_AFTER, World, id};

/// A list, as node 0 gives it.
fn list(world: &mut World) -> (Vec<ProcessRow>, Vec<String>) {
    let asked = world.ask(0, Request::Processes);
    // Longer than cores are waited for.
    world.live(10);
    match world.host(0).responses.remove(&asked) {
        Some(Response::Processes { processes, silent }) => (processes, silent),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_says_what_each_process_does_as_far_as_its_cores_have_said() {
    let mut world = World::new(2);
    let root = root(&mut world);
    child(&mut world, 1, 2, &root);
    world.settle();
    for is_silent in [false, true] {
        world.host(1).is_silent = is_silent;
        let (processes, silent) = list(&mut world);
        assert!(silent.is_empty(), "{silent:?}");
        let doing: Vec<Option<Doing>> = processes.iter().map(|row| row.doing).collect();
        assert_eq!(doing, [Some(Doing::Ready), (!is_silent).then_some(Doing::Ready)]);
    }
}

#[test]
fn a_circle_is_told_to_the_origin_and_to_the_log_with_names() {
    let mut world = World::new(2);
    let root = root(&mut world);
    let other = child(&mut world, 1, 2, &root);
    world.settle();
    let circle = vec![other, root.pid];
    world.tell(1, Event::Deadlock { circle, len: 2 });
    world.settle();
    let name = |pid: Pid| format!("{} {pid:#}", root.command[0]);
    let text =
        format!("deadlock: {} sends to {} sends to {}", name(other), name(root.pid), name(other));
    assert_eq!(world.host(0).deadlocks, [(other, text)]);
    // The one on node 0 is a stranger to node 1.
    let logged = format!("{} sends to process {:#} sends", name(other), root.pid);
    assert!(world.host(1).log.iter().any(|line| line.contains(&logged)));
}

#[test]
fn a_circle_that_cannot_be_is_not_told() {
    let mut world = World::new(2);
    let root = root(&mut world);
    for (count, len) in [(17, 17), (3, 2)] {
        let message = Message::Deadlock { circle: vec![root.pid; count], len };
        world.tell(0, Event::Message { from: id(1), message });
        world.settle();
    }
    // And one of others.
    let message = Message::Deadlock { circle: vec![Pid::new(99, 9); 2], len: 2 };
    world.tell(0, Event::Message { from: id(1), message });
    assert!(world.host(0).deadlocks.is_empty());
}

#[test]
fn who_waits_is_told_of_a_silent_node_once_and_not_of_a_short_break() {
    let mut world = World::new(3);
    world.settle();
    world.cut(0, 1);
    world.pass(SILENT_AFTER / 2);
    world.link(0, 1);
    world.settle();
    world.pass(2 * SILENT_AFTER);
    assert_eq!(world.host(0).silent, []);
    world.cut(0, 1);
    world.pass(SILENT_AFTER / 2);
    assert_eq!(world.host(0).silent, []);
    for _ in 0..5 {
        world.pass(SILENT_AFTER / 2);
        assert_eq!(world.host(0).silent, [id(1)]);
        assert_eq!(world.host(1).silent, [id(0)]);
    }
    assert_eq!(world.host(2).silent, [], "it has links to both");
    // It is back, and falls silent again.
    world.link(0, 1);
    world.settle();
    world.cut(0, 1);
    world.pass(SILENT_AFTER);
    assert_eq!(world.host(0).silent, [id(1), id(1)]);
}
