//! Nodes that leave in order, and say so: all come to know it, whoever was away too, and they come back as newcomers.

use peripatos_cluster::limits::LEFT_MAX;
use peripatos_cluster::message::{Command, End, Message};
use peripatos_cluster::{Departure, Event, Incarnation, NodeId, OwnProof, Request, Response};

use crate::families::{child, root};
use crate::moves::migrate;
use crate::world::{World, id};

/// The other nodes that it lists.
fn lists(world: &mut World, index: usize) -> Vec<NodeId> {
    let asked = world.ask(index, Request::Nodes);
    match world.host(index).responses.remove(&asked) {
        Some(Response::Nodes(rows)) => rows.into_iter().skip(1).map(|row| row.node).collect(),
        other => panic!("{other:?}"),
    }
}

/// Hosts look at proofs.
fn departure(node: NodeId, incarnation: Incarnation) -> Departure {
    Departure { node, incarnation, proof: OwnProof::default() }
}

/// It ends in order. What it says is on the links, which break when the first so many have heard it.
fn leave(world: &mut World, index: usize, hear: usize) {
    let farewell =
        world.host(index).node.farewell(OwnProof::default()).expect("nothing is left there");
    for other in (0..world.hosts.len()).filter(|other| *other != index).take(hear) {
        world.send(index, id(other), farewell.clone());
        while world.deliver(index, other) {}
    }
    world.kill(index);
}

#[test]
fn who_has_left_is_not_listed_and_comes_back() {
    for hear in [3, 1] {
        let mut world = World::new(4);
        leave(&mut world, 3, hear);
        world.settle();
        for index in 0..3 {
            assert!(!lists(&mut world, index).contains(&id(3)), "{hear} hear it");
        }
        world.start(3);
        world.link_all();
        world.settle();
        assert_eq!(lists(&mut world, 0), [id(1), id(2), id(3)]);
        // Old news are of no consequence, and this time it dies.
        world.cut(0, 1);
        world.link(0, 1);
        world.kill(3);
        world.live(3);
        assert_eq!(lists(&mut world, 0), [id(1), id(2), id(3)]);
    }
}

#[test]
fn who_was_away_hears_it_from_whom_it_meets() {
    let mut world = World::new(3);
    world.cut(0, 1);
    world.cut(0, 2);
    leave(&mut world, 2, 3);
    world.live(3);
    assert_eq!(lists(&mut world, 1), [id(0)]);
    assert_eq!(lists(&mut world, 0), [id(1), id(2)]);
    // And after it was there and has left again, too.
    world.start(2);
    world.link(1, 2);
    leave(&mut world, 2, 3);
    world.link(0, 1);
    world.settle();
    assert_eq!(lists(&mut world, 0), [id(1)]);
}

#[test]
fn it_says_so_only_if_nothing_is_left() {
    let says = |world: &mut World, index| world.host(index).node.leaves_nothing();
    let mut world = World::new(3);
    let pid = world.spawn(0, 1);
    assert!(!says(&mut world, 0) && says(&mut world, 1));
    migrate(&mut world, 0, 0, pid, 1);
    let mut was_in_debt = false;
    for _ in 0..30 {
        let moved = world.deliver(0, 1) | world.report(0) | world.deliver(1, 0) | world.report(1);
        let there = world.place(pid) == Some(1);
        assert!(!there || !says(&mut world, 1));
        if there {
            // It has ended before its source has heard that it came.
            world.host(1).running.remove(&pid);
            let end = End::Exited(0);
            world.tell(1, Event::Ended { pid, end });
            was_in_debt = !says(&mut world, 1);
        }
        if !moved {
            break;
        }
    }
    assert!(was_in_debt);
    world.live(3);
    assert!(says(&mut world, 1), "all have heard of all");
}

#[test]
fn what_was_started_there_ends_and_who_is_in_doubt_goes_on() {
    // A family whose root's origin is attached to 0.
    let mut world = World::new(3);
    let root = root(&mut world);
    migrate(&mut world, 0, 0, root.pid, 1);
    world.live(3);
    let child = child(&mut world, 1, 7, &root);
    world.live(3);
    let command = Command::Drain { on: true };
    world.ask(0, Request::Command { node: id(0), command });
    world.live(10);
    assert!(world.place(root.pid).is_some() && world.place(child).is_some());
    leave(&mut world, 0, 1);
    world.live(3);
    assert_eq!((world.place(root.pid), world.place(child)), (None, None));
    assert!(world.host(1).node.leaves_nothing(), "nobody is to hear of their ends any more");

    let mut in_doubt = 0;
    for steps in 0..20 {
        let mut world = World::new(3);
        let pid = world.spawn(0, 1);
        migrate(&mut world, 0, 0, pid, 1);
        for _ in 0..steps {
            let _ = world.deliver(0, 1) | world.report(0) | world.deliver(1, 0) | world.report(1);
        }
        world.cut(0, 1);
        if world.place(pid).is_some() || !world.host(1).node.leaves_nothing() {
            continue;
        }
        in_doubt += 1;
        // 2 hears it, and tells 0.
        leave(&mut world, 1, 3);
        world.live(3);
        assert_eq!(world.place(pid), Some(0), "after {steps} steps");
    }
    assert!(in_doubt > 0, "at some step it is in doubt");
}

#[test]
fn who_speaks_has_not_left() {
    let mut world = World::new(3);
    let lie = |world: &World, of: usize| {
        let incarnation = world.hosts[of].as_ref().unwrap().incarnation;
        Message::Left(vec![departure(id(of), incarnation)])
    };
    // It hears of others, and of itself.
    for of in [1, 2] {
        let lie = lie(&world, of);
        world.send(0, id(1), lie);
    }
    world.settle();
    assert_eq!(lists(&mut world, 1), [id(0), id(2)]);
    world.live(3);
    world.cut(1, 2);
    world.live(3);
    assert_eq!(lists(&mut world, 1), [id(0), id(2)]);
    // There is an end to what is believed at a time, and to what is kept.
    let many =
        |count: usize| (0..count).map(|n| departure(NodeId(1_000 + n as u128), Incarnation(1)));
    world.send(0, id(1), Message::Left(many(LEFT_MAX + 1).collect()));
    world.settle();
    assert!(world.host(1).log.iter().any(|line| line.contains("too many")));
    for _ in 0..2 {
        world.send(0, id(1), Message::Left(many(LEFT_MAX).collect()));
        world.settle();
    }
    let command = Command::Drain { on: true };
    world.ask(1, Request::Command { node: id(1), command });
    world.settle();
    assert!(world.host(1).node.leaves_nothing());
}
