//! Nodes that are too many to know each other's loads: these are spread all the same, by promises.

use peripatos_cluster::membership::Member;
use peripatos_cluster::{Datagram, Event};

use crate::world::{World, id, name};

/// Room for samples in a datagram.
const ROOM: usize = 500;

/// All hear by gossip that all live.
fn all_live(world: &mut World) {
    for of in 0..world.hosts.len() {
        let address = format!("10.0.0.{of}:1").parse().expect("an address");
        let incarnation = world.host(of).incarnation;
        let member = Member::new(id(of), incarnation, address, &name(of)).expect("a member");
        for at in (0..world.hosts.len()).filter(|at| *at != of) {
            world.tell(at, Event::MemberUp(member.clone()));
        }
    }
}

/// Time passes, and each tells the next one, and then the one after that, what it has heard of loads.
fn live(world: &mut World, ticks: usize) {
    let count = world.hosts.len();
    for tick in 0..ticks {
        for from in 0..count {
            let now = world.now;
            let samples = world.host(from).node.samples(now, ROOM);
            let bytes = Datagram::of_membership(&samples, &[]);
            let Ok(Datagram::Membership { heard, .. }) = Datagram::read(&bytes) else { panic!() };
            let to = (from + 1 + tick % (count - 1)) % count;
            world.tell(to, Event::Loads { from: id(from), heard });
        }
        world.live(1);
    }
}

fn counts(world: &mut World) -> Vec<usize> {
    (0..world.hosts.len()).map(|index| world.host(index).running.len()).collect()
}

#[test]
fn what_is_all_on_one_node_is_spread_and_few_move_twice() {
    let mut world = World::of_many(6);
    all_live(&mut world);
    (0..60).for_each(|number| {
        world.spawn(0, number);
    });
    live(&mut world, 120);
    let spread = counts(&mut world);
    assert!(spread.iter().all(|count| (9..=11).contains(count)), "{spread:?}");
    let moves: usize = world.offers.values().sum();
    // Fifty have to; with so few nodes one or the other moves before all is settled.
    assert!((49..=55).contains(&moves), "{moves} moves");
    live(&mut world, 100);
    assert_eq!(counts(&mut world), spread, "nothing more is moved");
}

#[test]
fn who_has_promised_is_called_where_there_is_no_link() {
    let mut world = World::of_many(2);
    all_live(&mut world);
    (0..6).for_each(|number| {
        world.spawn(0, number);
    });
    world.cut(0, 1);
    live(&mut world, 30);
    assert!(world.host(1).called.iter().any(|address| address == "10.0.0.0:1"));
    assert_eq!(counts(&mut world), [6, 0]);
    world.link(0, 1);
    live(&mut world, 30);
    assert_eq!(counts(&mut world), [3, 3]);
}

#[test]
fn who_is_not_known_to_live_is_not_listened_to() {
    let mut world = World::of_many(2);
    (0..6).for_each(|number| {
        world.spawn(0, number);
    });
    live(&mut world, 60);
    assert_eq!(counts(&mut world), [6, 0]);
}

#[test]
fn a_node_that_is_emptied_calls_one_that_takes_what_it_has() {
    let mut world = World::of_many(2);
    all_live(&mut world);
    world.spawn(0, 1);
    world.cut(0, 1);
    live(&mut world, 5);
    let command = peripatos_cluster::message::Command::Drain { on: true };
    world.ask(0, peripatos_cluster::Request::Command { node: id(0), command });
    live(&mut world, 5);
    assert!(world.host(0).called.iter().any(|address| address == "10.0.0.1:1"));
    world.link(0, 1);
    live(&mut world, 20);
    assert_eq!(counts(&mut world), [0, 1]);
}
