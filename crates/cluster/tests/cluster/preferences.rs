//! Preferences: who goes to the nodes that have what it prefers, and who does not.

use peripatos_abi::Pid;
use peripatos_cluster::journal::{Happening, Reason};
use peripatos_cluster::message::{Command, Description, Kin};
use peripatos_cluster::{Event, Label, Labels, Placement, Request, Response};

use crate::families::kin;
use crate::moves::{answer, migrate};
use crate::world::{World, description, id};

fn parsed(texts: &str) -> Vec<Label> {
    texts.split_whitespace().map(|text| text.parse().expect("a label")).collect()
}

/// Nodes with these labels.
fn world(labels: &[&str]) -> World {
    let of = |texts: &&str| Labels::new(parsed(texts)).expect("labels");
    World::labelled(labels.iter().map(of).collect())
}

/// A program that prefers nodes with these labels.
fn preferring(world: &mut World, at: usize, number: u64, prefer: &str) -> Pid {
    let plain = description(number, id(at));
    let placement = Placement { prefer: parsed(prefer), ..Placement::default() };
    let kin = kin(plain.pid, Pid::from_bits(0)).map(|kin| Kin { placement, ..kin });
    world.begin(at, Description { kin, ..plain })
}

fn command(world: &mut World, index: usize, command: Command) {
    let asked = world.ask(index, Request::Command { node: id(index), command });
    assert!(answer(world, index, asked).is_some());
}

#[test]
fn a_program_begins_where_most_of_what_it_prefers_is() {
    let mut world = world(&["", "gpu=yes", "gpu=yes zone=a"]);
    // All know each other's load.
    world.live(2);
    let both = preferring(&mut world, 0, 1, "gpu=yes zone=a");
    world.live(2);
    assert_eq!(world.place(both), Some(2));
    // The core there is taken: the next best, and then none that is better.
    let second = preferring(&mut world, 0, 2, "gpu=yes zone=a");
    world.live(2);
    assert_eq!(world.place(second), Some(1));
    let third = preferring(&mut world, 0, 3, "gpu=yes zone=a");
    world.live(40);
    let places = [both, second, third].map(|pid| world.place(pid));
    assert_eq!(places, [Some(2), Some(1), Some(0)]);
}

#[test]
fn a_program_begins_where_it_prefers_to_be_though_nothing_is_balanced_and_not_where_it_is_pinned() {
    for (balances, pinned, place) in [(true, false, 1), (false, false, 1), (true, true, 0)] {
        let mut world = world(&["", "gpu=yes"]);
        world.live(2);
        command(&mut world, 0, Command::Balance { on: balances });
        let pid = preferring(&mut world, 0, 1, "gpu=yes");
        if pinned {
            command(&mut world, 0, Command::Pin { pid });
        }
        world.live(30);
        assert_eq!(world.place(pid), Some(place), "{balances} {pinned}");
    }
}

#[test]
fn of_several_nodes_that_prefer_one_at_once_one_gets_it_and_nobody_goes_to_and_fro() {
    let mut world = world(&["", "", "", "", "", "", "gpu=yes"]);
    world.live(2);
    let pids: Vec<Pid> =
        (0..6).map(|at| preferring(&mut world, at, 1 + at as u64, "gpu=yes")).collect();
    let mut most = 0;
    for _ in 0..60 {
        world.live(1);
        most = most.max(world.host(6).running.len());
    }
    assert_eq!(most, 1, "there is one core");
    let here = |at: &usize| world.place(pids[*at]) == Some(*at);
    assert_eq!((0..6).filter(here).count(), 5);
}

#[test]
fn who_had_to_be_elsewhere_goes_where_it_prefers_to_be_when_there_is_room_and_stays() {
    let mut world = world(&["", "gpu=yes"]);
    world.live(2);
    let in_the_way = world.spawn(1, 10);
    command(&mut world, 1, Command::Pin { pid: in_the_way });
    world.live(3);
    let pid = preferring(&mut world, 0, 1, "gpu=yes");
    world.live(30);
    assert_eq!(world.place(pid), Some(0), "it would have to share a core");
    world.host(1).running.remove(&in_the_way);
    let end = peripatos_cluster::message::End::Exited(0);
    world.tell(1, Event::Ended { pid: in_the_way, end });
    world.live(30);
    assert_eq!(world.place(pid), Some(1));
    // A core that is a little faster is not worth it; one that need not be shared is.
    world.tell(0, Event::Speed(1_400));
    world.live(30);
    assert_eq!(world.place(pid), Some(1));
    let more: Vec<Pid> =
        (20..23).map(|number| preferring(&mut world, 1, number, "gpu=yes")).collect();
    world.live(60);
    let there = more.iter().filter(|pid| world.place(**pid) == Some(1)).count();
    let here = more.iter().filter(|pid| world.place(**pid) == Some(0)).count();
    assert!(here >= 1 && there + here == 3, "{here} of {more:?}");
}

#[test]
fn who_has_to_leave_goes_where_it_prefers_to_be() {
    for (prefer, place) in [("zone=b", 2), ("zone=a", 1)] {
        let mut world = world(&["", "zone=a", "zone=b"]);
        world.live(2);
        let pid = preferring(&mut world, 0, 1, prefer);
        world.live(20);
        assert_eq!(world.place(pid), Some(place));
        // Back, by hand, where it stays until the node is drained.
        migrate(&mut world, 0, place, pid, 0);
        world.live(2);
        assert_eq!(world.place(pid), Some(0));
        command(&mut world, 0, Command::Drain { on: true });
        world.live(3);
        assert_eq!(world.place(pid), Some(place));
    }
}

#[test]
fn it_is_told_that_a_process_moved_as_it_prefers_a_node() {
    let mut world = world(&["", "gpu=yes"]);
    world.live(2);
    let pid = preferring(&mut world, 0, 1, "gpu=yes");
    world.live(3);
    let asked = world.ask(0, Request::Events(Some(pid)));
    world.settle();
    let response = world.host(0).responses.remove(&asked);
    let Some(Response::Events { told, standing, .. }) = response else { panic!("no answer") };
    let [one] = told.as_slice() else { panic!("{told:?}") };
    let Happening::Moved { reason: Reason::Balance(weighed), .. } = &one.happening else {
        panic!("{told:?}");
    };
    assert_eq!((weighed.preference_us, weighed.gain_us), (1_000_000, 1_000_000));
    // And what speaks against the way back.
    let standing = standing.expect("its node says so");
    let [(node, Err(kept))] = standing.others.as_slice() else { panic!("{standing:?}") };
    assert_eq!(*node, id(0));
    assert!(format!("{kept:?}").contains("preference_us: -1000000"), "{kept:?}");
}
