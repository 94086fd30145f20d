//! The balance: what is moved for its sake, what is not, and what is said of that.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::journal::{Happening, Kept, Reason, Standing, Told};
use peripatos_cluster::message::Command;
use peripatos_cluster::{Event, Request, Response, Talks};

use crate::moves::{answer, migrate};
use crate::world::{World, id};

fn spawn(world: &mut World, index: usize, count: u64) -> Vec<Pid> {
    (1..=count).map(|number| world.spawn(index, 100 * index as u64 + number)).collect()
}

fn counts(world: &mut World) -> Vec<usize> {
    (0..world.hosts.len()).map(|index| world.host(index).running.len()).collect()
}

fn command(world: &mut World, index: usize, command: Command) {
    let asked = world.ask(index, Request::Command { node: id(index), command });
    assert!(answer(world, index, asked).is_some());
}

/// What the nodes say of a process, or of all.
fn events(world: &mut World, of: Option<Pid>) -> (Vec<Told>, Option<Box<Standing>>) {
    let asked = world.ask(1, Request::Events(of));
    world.settle();
    match world.host(1).responses.remove(&asked) {
        Some(Response::Events { told, standing, silent }) => {
            assert!(silent.is_empty());
            (told, standing)
        }
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn what_is_all_on_one_node_is_spread_in_a_moment() {
    let mut world = World::new(3);
    spawn(&mut world, 0, 60);
    world.live(8);
    let spread = counts(&mut world);
    assert!(spread.iter().all(|count| (19..=21).contains(count)), "{spread:?}");
    let moves = |world: &mut World| {
        let told = events(world, None).0;
        told.iter().filter(|one| matches!(one.happening, Happening::Moved { .. })).count()
    };
    // Each that had to has moved once; and nobody does any more.
    assert!((39..=41).contains(&moves(&mut world)));
    world.live(100);
    assert_eq!(counts(&mut world), spread);
    assert!((39..=41).contains(&moves(&mut world)));
}

#[test]
fn a_slower_node_gets_less() {
    let mut world = World::new(2);
    world.tell(1, Event::Speed(500));
    spawn(&mut world, 0, 30);
    world.live(30);
    let spread = counts(&mut world);
    assert!((19..=21).contains(&spread[0]), "{spread:?}");
    // It becomes as fast as the other one, for nobody else uses it any more.
    world.tell(1, Event::Speed(1_000));
    world.live(60);
    let spread = counts(&mut world);
    assert!((14..=16).contains(&spread[0]), "{spread:?}");
}

#[test]
fn a_lone_process_goes_to_a_much_faster_node_only() {
    for (speed, goes) in [(1_050, false), (2_000, true)] {
        let mut world = World::new(2);
        world.tell(1, Event::Speed(speed));
        let pid = world.spawn(0, 1);
        world.live(10);
        assert_eq!(world.place(pid) == Some(1), goes, "speed {speed}");
    }
}

#[test]
fn nothing_moves_while_balancing_is_off_or_for_who_is_pinned() {
    let mut world = World::new(2);
    let pids = spawn(&mut world, 0, 2);
    command(&mut world, 0, Command::Balance { on: false });
    world.live(20);
    assert_eq!(counts(&mut world), [2, 0]);
    // By hand it goes.
    let asked = migrate(&mut world, 0, 0, pids[0], 1);
    world.settle();
    assert!(answer(&mut world, 0, asked).is_some());
    assert_eq!(counts(&mut world), [1, 1]);

    let mut world = World::new(2);
    for pid in spawn(&mut world, 0, 2) {
        command(&mut world, 0, Command::Pin { pid });
    }
    world.live(20);
    assert_eq!(counts(&mut world), [2, 0]);
    let pid = *world.host(0).running.iter().next().unwrap();
    command(&mut world, 0, Command::Unpin { pid });
    world.live(20);
    assert_eq!(world.place(pid), Some(1));
}

#[test]
fn who_has_just_moved_rests_unless_somebody_wants_a_look_now() {
    let mut world = World::new(2);
    spawn(&mut world, 0, 2);
    world.live(3);
    assert_eq!(counts(&mut world), [1, 1]);
    // All that is on the second node has just come: it rests, though the first one is idle.
    let first = *world.host(0).running.iter().next().unwrap();
    migrate(&mut world, 0, 0, first, 1);
    world.settle();
    command(&mut world, 1, Command::Unpin { pid: first });
    world.host(1).running.remove(&first);
    world.tell(1, Event::Ended { pid: first, end: peripatos_cluster::message::End::Exited(0) });
    let more = spawn(&mut world, 1, 1);
    command(&mut world, 1, Command::Pin { pid: more[0] });
    world.live(3);
    assert_eq!(counts(&mut world), [0, 2]);
    for index in [0, 1] {
        command(&mut world, index, Command::BalanceNow);
    }
    world.live(3);
    assert_eq!(counts(&mut world), [1, 1]);
}

#[test]
fn a_move_and_its_terms_are_told() {
    let mut world = World::new(2);
    let pids = spawn(&mut world, 0, 2);
    world.live(5);
    let moved: Vec<Pid> = pids.iter().copied().filter(|pid| world.place(*pid) == Some(1)).collect();
    let (told, standing) = events(&mut world, Some(moved[0]));
    let [Told { at, to, happening: Happening::Moved { reason, .. }, .. }] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((*at, *to), (id(0), id(1)));
    let Reason::Balance(weighed) = reason else { panic!("{reason:?}") };
    // Two of which each has half a core lose two seconds each second: four less two.
    assert!((1_900_000..=2_000_000).contains(&weighed.gain_us), "{weighed:?}");
    assert_eq!(weighed.giving.to_string(), "2.0 on 1 core of 1.00");
    let standing = standing.expect("it runs");
    assert_eq!(standing.node, id(1));
    // To go back would be no better.
    assert!(matches!(standing.others.as_slice(), [(_, Err(Kept::Balanced(_)))]), "{standing:?}");
}

#[test]
fn who_asks_in_vain_is_told_of() {
    let mut world = World::new(2);
    // A move of so much takes longer than the process may be expected to go on.
    world.memory_bytes = 64 << 30;
    let pids = spawn(&mut world, 0, 2);
    world.pass(Duration::from_millis(200));
    world.live(30);
    assert_eq!(counts(&mut world), [2, 0]);
    let told = events(&mut world, None).0;
    let [Told { pid, to, happening: Happening::Kept { why, times }, .. }] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert!(pids.contains(pid) && *to == id(1) && *times > 1);
    assert!(matches!(why, Kept::Dear(weighed) if weighed.price_us > weighed.goes_on_us), "{why:?}");
}

/// It calls that one ten thousand times a second, as its node counts.
fn calls(world: &mut World, pid: Pid, whom: Pid) {
    let calls = world.now.0.as_millis() as u64 * 10;
    let (own, other) = (world.place(pid), world.place(whom));
    let talks = match other {
        Some(at) if own != other => {
            Talks { away: calls, away_node: Some(id(at)), ..Talks::default() }
        }
        _ => Talks { near: calls, partner: Some(whom), ..Talks::default() },
    };
    world.talks.insert(pid, talks);
}

fn live_and_call(world: &mut World, looks: usize, pairs: &[(Pid, Pid)]) {
    for _ in 0..looks {
        pairs.iter().for_each(|(pid, whom)| calls(world, *pid, *whom));
        world.live(1);
    }
}

#[test]
fn who_calls_another_node_all_the_time_goes_there_and_nobody_goes_to_and_fro() {
    for both in [false, true] {
        let mut world = World::new(2);
        let (caller, called) = (world.spawn(0, 1), world.spawn(1, 2));
        let mut pairs = vec![(caller, called)];
        pairs.extend(both.then_some((called, caller)));
        live_and_call(&mut world, 20, &pairs);
        let place = world.place(caller);
        assert_eq!(place, world.place(called), "both: {both}");
        live_and_call(&mut world, 40, &pairs);
        assert_eq!([world.place(caller), world.place(called)], [place, place]);
        let (told, _) = events(&mut world, None);
        let moves = told.iter().filter(|one| matches!(one.happening, Happening::Moved { .. }));
        assert_eq!(moves.count(), 1, "{told:?}");
    }
}

#[test]
fn a_server_of_many_is_not_dragged_about() {
    let mut world = World::new(3);
    let server = world.spawn(0, 1);
    let clients: Vec<Pid> = (1..=2).map(|index| world.spawn(index, 10 + index as u64)).collect();
    let pairs: Vec<(Pid, Pid)> = clients.iter().map(|client| (*client, server)).collect();
    live_and_call(&mut world, 30, &pairs);
    assert_eq!(world.place(server), Some(0));
    assert!(clients.iter().all(|client| world.place(*client) == Some(0)));
}

#[test]
fn those_who_call_each_other_go_together_to_an_idle_node() {
    let mut world = World::new(1);
    let pids = spawn(&mut world, 0, 8);
    let pairs: Vec<(Pid, Pid)> = pids.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    live_and_call(&mut world, 20, &pairs);
    world.link_newcomer();
    live_and_call(&mut world, 30, &pairs);
    assert_eq!(counts(&mut world), [4, 4]);
    for (one, other) in &pairs {
        assert_eq!(world.place(*one), world.place(*other));
    }
}

#[test]
fn a_node_takes_no_more_than_it_has_memory_for() {
    let mut world = World::new(2);
    world.memory_bytes = 40 << 20;
    let pids = spawn(&mut world, 0, 10);
    for _ in 0..30 {
        // There was some for two, and what is kept free.
        let used = 40 * counts(&mut world)[1] as u64;
        world.tell(1, Event::MemoryFree((64 + 2 * 40 + 10 - used) << 20));
        world.live(1);
    }
    assert_eq!(counts(&mut world), [8, 2]);
    let told = events(&mut world, None).0;
    let kept =
        told.iter().any(|one| matches!(one.happening, Happening::Kept { why: Kept::NoMemory, .. }));
    assert!(kept, "{told:?}");
    // By hand neither.
    let here = pids.iter().copied().find(|pid| world.place(*pid) == Some(0)).unwrap();
    let asked = migrate(&mut world, 0, 0, here, 1);
    world.settle();
    let refused = format!("{:?}", answer(&mut world, 0, asked));
    assert!(refused.contains("MB left"), "{refused}");
    assert_eq!(world.place(here), Some(0));
}
