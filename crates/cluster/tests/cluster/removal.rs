//! Nodes that are removed for good: all hear of it, whoever was away too, and nobody takes them again.

use peripatos_cluster::limits::REMOVED_MAX;
use peripatos_cluster::message::{Answer, Command, End, Message};
use peripatos_cluster::{Event, NodeId, Request, Response};

use crate::moves::{answer, migrate};
use crate::world::{World, id, name};

fn remove(world: &mut World, asked: usize, node: NodeId) -> Answer {
    let command = Command::Remove { node };
    let request = world.ask(asked, Request::Command { node: id(asked), command });
    world.settle();
    answer(world, asked, request).expect("it answers at once")
}

fn knows(world: &mut World, index: usize) -> Vec<NodeId> {
    world.host(index).node.removed().iter().copied().collect()
}

/// The other nodes that it lists.
fn lists(world: &mut World, index: usize) -> Vec<NodeId> {
    let asked = world.ask(index, Request::Nodes);
    match world.host(index).responses.remove(&asked) {
        Some(Response::Nodes(rows)) => rows.into_iter().skip(1).map(|row| row.node).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_removed_node_is_gone_for_all_and_let_in_by_nobody() {
    let mut world = World::new(3);
    let pid = world.spawn(0, 1);
    migrate(&mut world, 0, 0, pid, 2);
    world.live(3);
    assert_eq!(world.place(pid), Some(2));

    assert_eq!(remove(&mut world, 1, id(2)), Answer::Done);
    assert!(world.host(2).removed_by.is_some(), "it hears it before its links are cut");
    for index in [0, 1] {
        assert_eq!(knows(&mut world, index), [id(2)]);
        assert_eq!(lists(&mut world, index), [id(1 - index)]);
    }
    world.live(40);
    assert_eq!(world.host(0).told, [(pid, End::Lost { node: name(2) })]);

    // With or without a new OS process.
    for restart in [false, true] {
        if restart {
            world.kill(2);
            world.start(2);
        }
        world.host(2).removed_by = None;
        world.link(0, 2);
        assert_eq!(world.host(2).removed_by, Some(id(0)));
        world.settle();
        assert_eq!(lists(&mut world, 0), [id(1)]);
    }
    assert_eq!(remove(&mut world, 0, id(2)), Answer::Done, "once more changes nothing");
}

#[test]
fn who_was_away_hears_it_from_whom_it_meets() {
    let mut world = World::new(4);
    // 2 has links with 1 only.
    for other in [0, 3] {
        world.cut(1, other);
        world.cut(2, other);
    }
    assert_eq!(remove(&mut world, 0, id(2)), Answer::Done);
    assert_eq!(knows(&mut world, 3), [id(2)]);
    assert_eq!(knows(&mut world, 1), []);
    world.link(3, 1);
    world.settle();
    assert_eq!(knows(&mut world, 1), [id(2)]);
    assert_eq!(lists(&mut world, 1), [id(0), id(3)]);
    assert_eq!(world.host(2).removed_by, Some(id(1)));
    // It has what it knew on disk.
    world.kill(1);
    world.start(1);
    world.link(1, 2);
    assert_eq!(lists(&mut world, 1), []);
}

#[test]
fn a_process_in_doubt_goes_on_when_its_target_is_removed() {
    let mut in_doubt = 0;
    for steps in 0..20 {
        let mut world = World::new(2);
        let pid = world.spawn(0, 1);
        let asked = migrate(&mut world, 0, 0, pid, 1);
        for _ in 0..steps {
            let _ = world.deliver(0, 1) | world.report(0) | world.deliver(1, 0) | world.report(1);
        }
        if answer(&mut world, 0, asked).is_some() {
            continue;
        }
        world.kill(1);
        world.settle();
        in_doubt += usize::from(world.place(pid).is_none());
        assert_eq!(remove(&mut world, 0, id(1)), Answer::Done);
        world.live(3);
        assert_eq!(world.place(pid), Some(0), "after {steps} steps");
    }
    assert!(in_doubt > 0, "at some step it is in doubt");
}

#[test]
fn what_cannot_be_is_refused() {
    let mut world = World::new(2);
    assert!(matches!(remove(&mut world, 0, id(0)), Answer::Refused(why) if why.contains("itself")));
    // One that it has never met.
    assert_eq!(remove(&mut world, 0, NodeId(99)), Answer::Done);
    assert_eq!(knows(&mut world, 1), [NodeId(99)]);

    let many =
        |count: usize| Message::Removed((0..count).map(|n| NodeId(1_000 + n as u128)).collect());
    world.tell(0, Event::Message { from: id(1), message: many(REMOVED_MAX + 1) });
    assert_eq!(knows(&mut world, 0), [NodeId(99)], "nothing of too long a word is believed");
    world.tell(0, Event::Message { from: id(1), message: many(REMOVED_MAX) });
    assert_eq!(knows(&mut world, 0).len(), REMOVED_MAX);
    let answer = remove(&mut world, 0, id(1));
    assert!(matches!(answer, Answer::Refused(why) if why.contains("no more can be")));
    assert_eq!(remove(&mut world, 0, NodeId(99)), Answer::Done, "it was before");
}
