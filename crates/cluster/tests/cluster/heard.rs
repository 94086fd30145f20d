//! What a node makes of what gossip says of others.

use peripatos_cluster::limits::CALL_HEARD_AFTER;
use peripatos_cluster::membership::Member;
use peripatos_cluster::{Event, Incarnation};

use crate::world::{Index, SILENT_AFTER, World, id, name};

fn member(index: Index, incarnation: Incarnation) -> Member {
    let address = format!("10.0.0.{index}:1").parse().expect("an address");
    Member::new(id(index), incarnation, address, &name(index)).expect("a member")
}

/// Two linked nodes; the first has heard that the second lives.
fn both() -> (World, Member) {
    let mut world = World::new(2);
    world.settle();
    let other = member(1, world.host(1).incarnation);
    world.tell(0, Event::MemberUp(other.clone()));
    (world, other)
}

#[test]
fn who_lives_is_not_silent_without_a_link() {
    let (mut world, other) = both();
    world.cut(0, 1);
    world.pass(5 * SILENT_AFTER);
    assert_eq!(world.host(0).silent, []);
    assert_eq!(world.host(1).silent, [id(0)], "it knows of the link alone");
    // When nothing speaks for it any more, it is told at once, and once.
    for _ in 0..3 {
        world.tell(0, Event::MemberDown(other.clone()));
        assert_eq!(world.host(0).silent, [id(1)]);
        world.pass(SILENT_AFTER);
    }
}

#[test]
fn who_has_a_link_is_not_silent_though_nothing_is_heard_of_it() {
    let (mut world, other) = both();
    world.tell(0, Event::MemberDown(other.clone()));
    world.pass(5 * SILENT_AFTER);
    assert_eq!(world.host(0).silent, []);
    // Then the link alone decides, as where there is no gossip.
    world.cut(0, 1);
    world.pass(SILENT_AFTER / 2);
    assert_eq!(world.host(0).silent, []);
    world.pass(SILENT_AFTER);
    assert_eq!(world.host(0).silent, [id(1)]);
    // That it is up again without a link brings nobody back, and the next link does.
    world.tell(0, Event::MemberUp(other));
    world.link(0, 1);
    world.settle();
    world.cut(0, 1);
    world.pass(5 * SILENT_AFTER);
    assert_eq!(world.host(0).silent, [id(1)]);
}

#[test]
fn another_os_process_of_a_node_does_not_speak_for_it() {
    let (mut world, other) = both();
    let next = member(1, Incarnation(other.incarnation().0 + 100));
    world.tell(0, Event::MemberUp(next.clone()));
    // That the old one is down says nothing of the new one, which is called.
    world.tell(0, Event::MemberDown(other));
    world.cut(0, 1);
    world.pass(2 * SILENT_AFTER);
    assert_eq!(world.host(0).silent, [id(1)]);
    assert_eq!(world.host(0).called, ["10.0.0.1:1"]);
}

#[test]
fn a_node_that_is_gone_is_not_spoken_for() {
    let (mut world, other) = both();
    world.cut(0, 1);
    world.tell(0, Event::Gone { node: id(1), incarnation: other.incarnation() });
    world.host(0).called.clear();
    world.pass(5 * CALL_HEARD_AFTER);
    assert!(world.host(0).called.is_empty(), "and not called");
}

/// Who is linked in time is not called; else the lesser calls first.
#[test]
fn who_is_heard_of_is_called_if_there_is_no_link_in_time() {
    let mut world = World::new(2);
    world.settle();
    let introduced = |world: &mut World, index: Index| {
        for (own, other) in [(0, index), (index, 0)] {
            let member = member(other, world.host(other).incarnation);
            world.tell(own, Event::MemberUp(member));
        }
    };
    introduced(&mut world, 1);
    world.pass(3 * CALL_HEARD_AFTER);
    assert!(world.host(0).called.is_empty() && world.host(1).called.is_empty());
    for index in [2, 3] {
        world.hosts.push(None);
        world.start(index);
        introduced(&mut world, index);
    }
    world.pass(CALL_HEARD_AFTER);
    assert_eq!(world.host(0).called, ["10.0.0.2:1", "10.0.0.3:1"]);
    assert!(world.host(2).called.is_empty() && world.host(3).called.is_empty());
    world.link(0, 2);
    world.settle();
    // Over the link it has heard of node 1.
    assert_eq!(world.host(2).called, ["10.0.0.1:1"]);
    world.pass(CALL_HEARD_AFTER);
    assert_eq!(world.host(2).called, ["10.0.0.1:1"]);
    assert_eq!(world.host(3).called, ["10.0.0.0:1"]);
    world.pass(3 * CALL_HEARD_AFTER);
    assert_eq!(world.host(0).called, ["10.0.0.2:1", "10.0.0.3:1"], "whoever calls goes on calling");
    // One that went down again before is not called.
    let gone = member(9, Incarnation(9));
    world.tell(0, Event::MemberUp(gone.clone()));
    world.tell(0, Event::MemberDown(gone));
    world.pass(3 * CALL_HEARD_AFTER);
    assert_eq!(world.host(0).called.len(), 2);
}

#[test]
fn names_count_as_long_as_their_node_lives() {
    // Without gossip a link alone says so.
    let mut world = World::new(2);
    world.settle();
    world.cut(0, 1);
    assert_eq!(world.host(0).nameless, [id(1)]);

    let (mut world, other) = both();
    world.host(0).nameless.clear();
    world.cut(0, 1);
    world.pass(5 * SILENT_AFTER);
    assert_eq!(world.host(0).nameless, []);
    world.tell(0, Event::MemberDown(other));
    assert_eq!(world.host(0).nameless, [id(1)]);

    // Nor do those of an OS process in whose place another one has come, or which is gone.
    let (mut world, other) = both();
    world.host(0).nameless.clear();
    world.cut(0, 1);
    let next = member(1, Incarnation(other.incarnation().0 + 100));
    world.tell(0, Event::MemberUp(next));
    assert_eq!(world.host(0).nameless, [id(1)]);
    let (mut world, other) = both();
    world.host(0).nameless.clear();
    world.cut(0, 1);
    world.tell(0, Event::Gone { node: id(1), incarnation: other.incarnation() });
    assert_eq!(world.host(0).nameless, [id(1)]);
}
