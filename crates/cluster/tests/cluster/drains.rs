//! Nodes that are emptied or cordoned, and labels.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Answer, Command, Description, Kin, Message, MigrationId};
use peripatos_cluster::{Event, Labels, Placement, Request, Response};

use crate::families::kin;
use crate::moves::{answer, migrate};
use crate::world::{World, description, id};

/// How many are on their way out of a node right after a look.
fn leaving(world: &mut World, index: usize) -> usize {
    world.pass(Duration::from_millis(100));
    let leaving = world.host(index).node.kept().outgoing;
    world.settle();
    leaving
}

#[test]
fn a_drained_node_is_empty_soon_and_carries_large_processes_one_by_one() {
    for (memory_bytes, at_once) in [(1 << 20, 32), (40 << 20, 1), (1 << 30, 1)] {
        let mut world = World::new(2);
        world.memory_bytes = memory_bytes;
        let pids: Vec<Pid> = (1..=100).map(|number| world.spawn(0, number)).collect();
        // They know each other's load, and what their processes have.
        world.settle();
        world.pass(Duration::ZERO);
        world.ask(0, Request::Command { node: id(0), command: Command::Drain { on: true } });
        assert_eq!(leaving(&mut world, 0), at_once);
        // Each that has gone makes room for the next one: that takes no look.
        world.live(2);
        assert!(pids.iter().all(|pid| world.place(*pid) == Some(1)));
    }
}

#[test]
fn who_is_refused_again_and_again_keeps_nobody_from_leaving() {
    let mut world = World::new(2);
    // Of these the other node has one of the same pid, and more of them than are sent at a time.
    let pids: Vec<Pid> = (1..=50).map(|number| world.spawn(0, number)).collect();
    let (refused, others) = pids.split_at(40);
    for number in 1..=refused.len() as u64 {
        world.begin(1, description(number, id(0)));
    }
    world.settle();
    world.pass(Duration::ZERO);
    world.ask(0, Request::Command { node: id(0), command: Command::Drain { on: true } });
    world.live(3);
    assert!(others.iter().all(|pid| world.place(*pid) == Some(1)));
    // They are tried again, but not ten times a second.
    world.live(50);
    let tried = world.offers[&refused[0]];
    assert!((4..=7).contains(&tried), "{tried} times");
    // The log has it once.
    let said = format!("{:#} stays here", refused[0]);
    let said = world.host(0).log.iter().filter(|line| line.starts_with(&said)).count();
    assert_eq!(said, 1);
}

#[test]
fn a_node_that_has_just_refused_one_is_asked_last() {
    for (refuses, goes_to) in [(false, 1), (true, 2)] {
        let mut world = World::new(3);
        world.settle();
        if refuses {
            let incarnation = world.host(0).incarnation;
            let migration = MigrationId { source: id(0), incarnation, number: 1_000 };
            let message = Message::Refused { migration, reason: "it is full".into() };
            world.tell(0, Event::Message { from: id(1), message });
        }
        let pid = world.spawn(0, 1);
        world.ask(0, Request::Command { node: id(0), command: Command::Drain { on: true } });
        world.live(1);
        assert_eq!(world.place(pid), Some(goes_to));
    }
}

#[test]
fn a_cordoned_node_takes_nothing_and_keeps_what_it_has() {
    let mut world = World::new(2);
    let pids: Vec<Pid> = (1..=4).map(|number| world.spawn(0, number)).collect();
    world.ask(0, Request::Command { node: id(1), command: Command::Cordon { on: true } });
    world.live(40);
    assert!(pids.iter().all(|pid| world.place(*pid) == Some(0)));
    // Not even by hand.
    let asked = migrate(&mut world, 0, 0, pids[0], 1);
    world.settle();
    assert!(matches!(answer(&mut world, 0, asked), Some(Answer::Refused(_))));
    world.ask(0, Request::Command { node: id(1), command: Command::Cordon { on: false } });
    world.live(40);
    let there = |world: &World| pids.iter().filter(|pid| world.place(**pid) == Some(1)).count();
    assert_eq!(there(&world), 2);
    world.ask(0, Request::Command { node: id(1), command: Command::Cordon { on: true } });
    world.live(40);
    assert_eq!(there(&world), 2);
}

#[test]
fn nothing_is_started_on_a_node_that_is_being_emptied() {
    let mut world = World::new(2);
    let may = |world: &mut World| world.host(0).node.may_start(Pid::new(1, 1));
    let command = |command| Request::Command { node: id(0), command };
    world.ask(0, command(Command::Cordon { on: true }));
    assert_eq!(may(&mut world), Ok(()));
    world.ask(0, command(Command::Drain { on: true }));
    let why = "node node0 is being emptied (peri drain --off node0)";
    assert_eq!(may(&mut world), Err(why.to_owned()));
    world.ask(0, command(Command::Drain { on: false }));
    assert_eq!(may(&mut world), Ok(()));
}

/// A process that asks for such nodes.
pub(crate) fn asking(world: &mut World, at: usize, number: u64, on: &str, not_on: &str) -> Pid {
    let plain = description(number, id(at));
    let labels = |text: &str| {
        let labels = text.split_whitespace().map(str::parse);
        labels.collect::<Result<_, _>>().expect("labels")
    };
    let placement = Placement { on: labels(on), not_on: labels(not_on), prefer: vec![] };
    let kin = kin(plain.pid, Pid::from_bits(0)).map(|kin| Kin { placement, ..kin });
    world.begin(at, Description { kin, ..plain })
}

#[test]
fn a_node_that_is_being_emptied_forgets_who_was_misplaced_there() {
    for drains in [false, true] {
        let mut world = World::new(2);
        world.ask(0, Request::Command { node: id(0), command: Command::Drain { on: drains } });
        let pid = asking(&mut world, 0, 1, "gpu=yes", "");
        assert_eq!(world.host(0).node.kept().misplaced, 1);
        let command = Command::Kill { pid };
        world.ask(0, Request::Command { node: id(0), command });
        world.live(2);
        assert_eq!(world.host(0).node.kept().misplaced, 0);
    }
}

/// How many processes of a node no other one takes, as node 0 says.
pub(crate) fn stuck(world: &mut World, index: usize) -> u32 {
    let asked = world.ask(0, Request::Nodes);
    let Some(Response::Nodes(nodes)) = world.host(0).responses.remove(&asked) else {
        panic!("it says which nodes there are");
    };
    let row = nodes.iter().find(|row| row.node == id(index));
    row.expect("the node is known").stuck
}

#[test]
fn who_asks_for_labels_goes_where_they_are_and_nowhere_else() {
    let labels = |texts: &[&str]| Labels::new(texts.iter().map(|text| text.parse().unwrap()));
    let nodes = [labels(&[]), labels(&["gpu=yes", "zone=a"]), labels(&["gpu=yes", "zone=b"])];
    let mut world = World::labelled(nodes.map(Result::unwrap).to_vec());
    world.settle();
    // It begins where it is started, and leaves at the next look, also to a node with more to do.
    let busy: Vec<Pid> = (1..=3).map(|number| world.spawn(1, number)).collect();
    for pid in busy {
        migrate(&mut world, 1, 1, pid, 1);
    }
    let one = asking(&mut world, 0, 10, "gpu=yes", "zone=b");
    let two = asking(&mut world, 0, 11, "gpu=yes", "zone=a");
    let stays = asking(&mut world, 0, 12, "", "gpu=yes");
    world.live(2);
    assert_eq!([one, two, stays].map(|pid| world.place(pid)), [Some(1), Some(2), Some(0)]);
    // Whoever is idle takes others.
    world.live(60);
    assert_eq!([one, two, stays].map(|pid| world.place(pid)), [Some(1), Some(2), Some(0)]);
    // Not even by hand, and not for a node that is being emptied.
    let asked = migrate(&mut world, 0, 1, one, 2);
    world.settle();
    let Some(Answer::Refused(why)) = answer(&mut world, 0, asked) else { panic!("it was moved") };
    assert!(why.contains("does not suit --on gpu=yes --not-on zone=b"), "{why}");
    world.ask(0, Request::Command { node: id(1), command: Command::Drain { on: true } });
    world.live(20);
    assert_eq!(world.place(one), Some(1), "there is no other such node");
    assert_eq!([0, 1, 2].map(|index| stuck(&mut world, index)), [0, 1, 0]);
    world.ask(0, Request::Command { node: id(1), command: Command::Drain { on: false } });
    world.live(1);
    assert_eq!(stuck(&mut world, 1), 0);
    // Nobody has it: a program that asks for it is not started.
    let node = &world.host(0).node;
    let placement =
        |text: &str| Placement { on: vec![text.parse().unwrap()], not_on: vec![], prefer: vec![] };
    assert_eq!(node.may_place(&placement("gpu=yes"), 0), Ok(()));
    let why = node.may_place(&placement("gpu=no"), 0).unwrap_err();
    assert!(why.contains("no node suits --on gpu=no"), "{why}");
    // Who has it takes nothing.
    for command in [Command::Drain { on: true }, Command::Cordon { on: true }] {
        let off = match command {
            Command::Drain { .. } => Command::Drain { on: false },
            _ => Command::Cordon { on: false },
        };
        for (command, may) in [(command, false), (off, true)] {
            for index in [1, 2] {
                world.ask(0, Request::Command { node: id(index), command: command.clone() });
            }
            world.live(2);
            let answer = world.host(0).node.may_place(&placement("gpu=yes"), 0);
            let why = "of the nodes that suit --on gpu=yes none takes processes now: node1, node2";
            assert_eq!(answer.is_ok(), may, "{command:?}");
            assert!(answer.is_ok() || answer.unwrap_err().contains(why), "{command:?}");
        }
    }
    // What is started on a cordoned node that suits runs there.
    world.ask(0, Request::Command { node: id(1), command: Command::Cordon { on: true } });
    world.live(2);
    assert_eq!(world.host(1).node.may_place(&placement("gpu=yes"), 0), Ok(()));
}
