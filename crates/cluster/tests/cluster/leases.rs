//! Nodes whose leases in etcd have expired: they are gone, and stay so.

use peripatos_cluster::membership::Member;
use peripatos_cluster::message::End;
use peripatos_cluster::{Event, Incarnation};

use crate::moves::{answer, migrate};
use crate::world::{Index, SILENT_AFTER, World, id, name};

fn expires(world: &mut World, at: Index, node: Index, incarnation: Incarnation) {
    world.tell(at, Event::LeaseExpired { node: id(node), incarnation });
}

#[test]
fn etcd_is_asked_of_those_that_are_silent() {
    let mut world = World::new(2);
    world.settle();
    let incarnation = world.host(1).incarnation;
    let address = "10.0.0.1:1".parse().expect("an address");
    let member = Member::new(id(1), incarnation, address, &name(1)).expect("a member");
    let silent = |world: &mut World| world.host(0).node.silent();
    assert_eq!(silent(&mut world), []);
    world.tell(0, Event::MemberUp(member.clone()));
    world.cut(0, 1);
    world.pass(5 * SILENT_AFTER);
    assert_eq!(silent(&mut world), [], "gossip says that it lives");
    world.tell(0, Event::MemberDown(member.clone()));
    assert_eq!(silent(&mut world), [(id(1), incarnation)]);
    world.link(0, 1);
    world.settle();
    assert_eq!(silent(&mut world), []);
    world.cut(0, 1);
    assert_eq!(silent(&mut world), [], "nobody was told yet");
    world.pass(2 * SILENT_AFTER);
    assert_eq!(silent(&mut world), [(id(1), incarnation)]);

    expires(&mut world, 0, 1, incarnation);
    assert_eq!(silent(&mut world), [], "nothing more is to be known");
    assert!(world.host(0).node.is_expired(id(1), incarnation));
    // Whatever it says, it is not taken for alive any more.
    world.tell(0, Event::MemberUp(member));
    world.host(0).called.clear();
    world.pass(10 * SILENT_AFTER);
    assert!(world.host(0).called.is_empty());
    assert!(!world.host(0).node.is_expired(id(1), Incarnation(incarnation.0 + 1)));
}

#[test]
fn what_ran_there_is_lost_and_its_origin_is_told_once() {
    let mut world = World::new(3);
    let pid = world.spawn(0, 1);
    migrate(&mut world, 0, 0, pid, 2);
    world.live(3);
    assert_eq!(world.place(pid), Some(2));
    let incarnation = world.host(2).incarnation;
    world.kill(2);
    world.pass(3 * SILENT_AFTER);
    world.live(20);
    assert_eq!(world.host(0).told, [], "it is only silent");
    for _ in 0..2 {
        for at in [0, 1] {
            expires(&mut world, at, 2, incarnation);
        }
        world.live(40);
        assert_eq!(world.host(0).told, [(pid, End::Lost { node: name(2) })]);
    }
    // It comes back as another OS process.
    world.start(2);
    world.link_all();
    world.settle();
    migrate(&mut world, 1, 1, pid, 2);
    assert_eq!(world.host(2).node.silent(), []);
}

#[test]
fn what_is_in_doubt_goes_on_when_its_targets_lease_has_expired() {
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
        let incarnation = world.host(1).incarnation;
        world.kill(1);
        world.settle();
        world.pass(3 * SILENT_AFTER);
        in_doubt += usize::from(world.place(pid).is_none());
        expires(&mut world, 0, 1, incarnation);
        world.live(3);
        assert_eq!(world.place(pid), Some(0), "after {steps} steps");
    }
    assert!(in_doubt > 0, "at some step it is in doubt");
}
