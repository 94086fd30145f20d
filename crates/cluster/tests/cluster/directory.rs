//! The directory makes searches short, and is not needed for them.

use peripatos_abi::Pid;
use peripatos_cluster::Request;
use peripatos_cluster::limits::ENTRIES_MAX;
use peripatos_cluster::message::{Command, End, Entry, Hold, Message};
use peripatos_cluster::{Event, NodeId};

use crate::world::{Index, World, id};

const NODES: usize = 50;
/// Never had to do with any of them.
const ASKER: Index = 45;

/// Processes that were born at the first nodes, and are now each at a node of its own.
fn moved() -> (World, Vec<(Pid, Index)>) {
    let mut world = World::new(NODES);
    let pids: Vec<Pid> = (0..20).map(|index| world.spawn(index, index as u64)).collect();
    world.live(1);
    let mut places = Vec::new();
    for (index, pid) in pids.into_iter().enumerate() {
        let to = index + 20;
        let command = Command::Migrate { pid, to: id(to), hold: Hold::UntilReleased };
        world.ask(index, Request::Command { node: id(index), command });
        places.push((pid, to));
    }
    world.settle();
    // Their new nodes have told, and their old ones do not say any more that they are there.
    world.live(50);
    assert!(places.iter().all(|(pid, place)| world.place(*pid) == Some(*place)));
    (world, places)
}

/// How many messages it takes to find each of them.
#[track_caller]
fn look_ups(world: &mut World, asker: Index, places: &[(Pid, Index)], led: bool) -> Vec<usize> {
    let mut counts = Vec::new();
    for (pid, place) in places {
        let before = world.seek_messages;
        world.packet(asker, *pid, led);
        world.settle();
        assert_eq!(world.host(*place).brought.pop(), Some(*pid));
        counts.push(world.seek_messages - before);
    }
    counts
}

#[test]
fn of_fifty_nodes_two_are_asked_at_most() {
    let (mut world, places) = moved();
    let told = world.entry_messages;
    let counts = look_ups(&mut world, ASKER, &places, true);
    let all = look_ups(&mut world, ASKER, &places, false);
    println!("messages a look-up: {counts:?}, without a directory {all:?}");
    println!("messages to keepers, of 20 births and 20 moves: {told}");
    assert!(counts.iter().all(|count| *count <= 4), "{counts:?}");
    assert!(all.iter().all(|count| *count == 2 * (NODES - 1)), "{all:?}");
    // Each word once, of births and of moves.
    assert!(told <= 40, "{told}");
}

#[test]
fn who_has_lost_its_keeper_is_found_all_the_same() {
    let (mut world, places) = moved();
    let keeper = |world: &mut World, pid| world.host(ASKER).node.lead(pid);
    // A process whose keeper is another node than its own.
    let (pid, place, lost) = places
        .iter()
        .find_map(|(pid, place)| {
            let lead = keeper(&mut world, *pid).filter(|lead| *lead != id(*place));
            lead.map(|lead| (*pid, *place, lead.0 as Index))
        })
        .unwrap();
    world.kill(lost);
    assert_ne!(keeper(&mut world, pid), Some(id(lost)));
    // Nobody has been told anything yet.
    let counts = look_ups(&mut world, ASKER, &[(pid, place)], true);
    assert!(counts[0] >= 2 * (NODES - 2), "all that are left are asked: {counts:?}");
    // It is told who keeps it now.
    world.live(1);
    let counts = look_ups(&mut world, ASKER, &[(pid, place)], true);
    assert!(counts[0] <= 4, "{counts:?}");
}

#[test]
fn a_keeper_that_dies_while_it_is_asked_holds_nothing_up() {
    let (mut world, places) = moved();
    for (pid, place) in places {
        let Some(lead) = world.host(ASKER).node.lead(pid).filter(|lead| *lead != id(place)) else {
            continue;
        };
        world.packet(ASKER, pid, true);
        world.cut(ASKER, lead.0 as Index);
        world.settle();
        assert_eq!(world.host(place).brought, [pid]);
        return;
    }
    panic!("each is its own keeper's");
}

#[test]
fn a_newcomer_is_told_what_it_is_the_keeper_of() {
    let (mut world, places) = moved();
    let newcomers = [NODES, NODES + 1, NODES + 2];
    for newcomer in newcomers {
        world.hosts.push(None);
        world.start(newcomer);
    }
    let before = places.iter().map(|(pid, _)| world.host(ASKER).node.lead(*pid));
    let before: Vec<Option<NodeId>> = before.collect();
    world.link_all();
    world.live(1);
    let after = places.iter().map(|(pid, _)| world.host(ASKER).node.lead(*pid));
    let after: Vec<Option<NodeId>> = after.collect();
    let changed: Vec<_> = before.iter().zip(&after).filter(|(one, other)| one != other).collect();
    assert!(!changed.is_empty(), "the test is worth nothing");
    assert!(changed.iter().all(|(_, keeper)| keeper.is_some_and(|one| one.0 >= NODES as u128)));
    let counts = look_ups(&mut world, newcomers[0], &places, true);
    assert!(counts.iter().all(|count| *count <= 4), "{counts:?}");
}

#[test]
fn who_has_ended_is_answered_for_where_it_has_ended_and_all_are_asked_for_that() {
    let (mut world, places) = moved();
    let (pid, place) = places[0];
    world.host(place).running.remove(&pid);
    let now = world.now;
    world.host(place).strays.ended(now, pid);
    world.tell(place, Event::Ended { pid, end: End::Exited(0) });
    world.live(1);
    let before = world.seek_messages;
    world.packet(ASKER, pid, true);
    world.settle();
    // What it had answered before is known there.
    assert_eq!(world.host(place).refused, [pid]);
    assert!(world.host(ASKER).refused.is_empty());
    let count = world.seek_messages - before;
    // The keeper, which does not know it any more, and all. (Or all, if that is the asker.)
    assert!(count == 2 * NODES || count == 2 * (NODES - 1), "{count}");
}

#[test]
fn lies_of_where_processes_are_cost_questions_and_no_packets() {
    let (mut world, places) = moved();
    // It has all of them, it says, and after many moves.
    let liar = 48;
    let entries = places.iter().map(|(pid, _)| Entry { pid: *pid, moves: 1_000, here: true });
    let entries: Vec<Entry> = entries.collect();
    for index in 0..NODES {
        let message = Message::Entries(entries.clone());
        world.tell(index, Event::Message { from: id(liar), message });
    }
    let counts = look_ups(&mut world, ASKER, &places, true);
    assert!(counts.iter().any(|count| *count > NODES), "it was not believed: {counts:?}");
    // More than anybody may say at once.
    let flood = vec![entries[0]; ENTRIES_MAX + 1];
    world.tell(ASKER, Event::Message { from: id(liar), message: Message::Entries(flood) });
    assert!(world.host(ASKER).log.iter().any(|line| line.contains("too many")));
}
