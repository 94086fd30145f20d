//! Nodes that are removed for good: all hear of it, whoever was away too, and nobody takes them again.

use peripatos_cluster::limits::REMOVED_MAX;
use peripatos_cluster::message::{Answer, Command, End, Message};
use peripatos_cluster::{Event, NodeId, Proof, Removal, Request, Response};

use crate::moves::{answer, migrate};
use crate::world::{World, id, name};

/// By the token of this number. Hosts look at proofs; here they are only told apart.
fn removal(node: NodeId, token: u8) -> Removal {
    Removal { node, proof: Proof { authority: [token; 32], ..Proof::default() } }
}

fn remove(world: &mut World, asked: usize, node: NodeId) -> Answer {
    let request = world.ask(asked, Request::Remove(removal(node, 1)));
    world.settle();
    answer(world, asked, request).expect("it answers at once")
}

fn knows(world: &mut World, index: usize) -> Vec<NodeId> {
    world.host(index).node.removed().keys().copied().collect()
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

    let many = |count: usize| {
        let nodes = (0..count).map(|n| NodeId(1_000 + n as u128));
        Message::Removed(nodes.map(|node| removal(node, 1)).collect())
    };
    world.tell(0, Event::Message { from: id(1), message: many(REMOVED_MAX + 1) });
    assert_eq!(knows(&mut world, 0), [NodeId(99)], "nothing of too long a word is believed");
    world.tell(0, Event::Message { from: id(1), message: many(REMOVED_MAX) });
    assert_eq!(knows(&mut world, 0).len(), REMOVED_MAX);
    let answer = remove(&mut world, 0, id(1));
    assert!(matches!(answer, Answer::Refused(why) if why.contains("no more can be")));
    assert_eq!(remove(&mut world, 0, NodeId(99)), Answer::Done, "it was before");
}

/// Nobody but the operator's own node signs; what another one asks for is not done.
#[test]
fn no_node_has_another_one_remove_a_third() {
    let mut world = World::new(3);
    for (asked, at) in [(0, 1), (1, 1)] {
        let command = Command::Remove { node: id(2) };
        let request = world.ask(asked, Request::Command { node: id(at), command });
        world.settle();
        let answer = answer(&mut world, asked, request).expect("it answers");
        assert!(matches!(answer, Answer::Refused(why) if why.contains("has the token")));
    }
    world.tell(
        0,
        Event::Message {
            from: id(1),
            message: Message::Command { request: 7, command: Command::Remove { node: id(2) } },
        },
    );
    assert_eq!(knows(&mut world, 0), []);
}

#[test]
fn what_is_signed_by_a_new_token_takes_the_place_of_what_was_before() {
    let mut world = World::new(3);
    assert_eq!(remove(&mut world, 0, NodeId(99)), Answer::Done);
    let proof = |world: &mut World, at| world.host(at).node.removed()[&NodeId(99)].authority[0];
    world.tell(0, Event::SignedAnew(vec![removal(NodeId(99), 2)]));
    world.settle();
    for at in 0..3 {
        assert_eq!(proof(&mut world, at), 2);
        assert_eq!(world.kept_removed[&at][&NodeId(99)].authority[0], 2, "it is on disk");
    }
}
