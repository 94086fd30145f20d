//! Nodes of a cluster that is too large for links with everybody.

use std::collections::BTreeSet;

use peripatos_abi::Pid;
use peripatos_cluster::limits::{LINK_IDLE, LINKS_LOOK, NEWS_IDLE, NEWS_LATE};
use peripatos_cluster::membership::Member;
use peripatos_cluster::message::{Answer, Command, Hold};
use peripatos_cluster::{Event, Label, Placement, Request, Response};

use crate::world::{Index, World, id, name};

const NODES: usize = 12;
/// Ticks until everybody has what it needs.
const SETTLED: usize = 30;

fn member(world: &mut World, index: Index) -> Member {
    let address = format!("10.0.0.{index}:1").parse().expect("an address");
    let incarnation = world.host(index).incarnation;
    Member::new(id(index), incarnation, address, &name(index)).expect("a member")
}

/// So many nodes that know each other by gossip alone, and make links on need.
fn sparse() -> World {
    let mut world = World::new(0);
    world.links_kept = 0;
    for index in 0..NODES {
        world.hosts.push(None);
        world.start(index);
    }
    let members: Vec<Member> = (0..NODES).map(|index| member(&mut world, index)).collect();
    for index in 0..NODES {
        for (other, member) in members.iter().enumerate().filter(|(other, _)| *other != index) {
            world.host(index).strays.lives(id(other));
            world.tell(index, Event::MemberUp(member.clone()));
        }
    }
    // Who hears of one after the other takes each for its neighbour.
    world.connects = true;
    world.live(SETTLED);
    (0..NODES).for_each(|index| world.host(index).nameless.clear());
    world
}

fn beside(index: Index) -> BTreeSet<Index> {
    BTreeSet::from([(index + 1) % NODES, (index + NODES - 1) % NODES])
}

fn has_few_links(world: &World) -> bool {
    (0..NODES).all(|index| world.linked(index) == beside(index))
}

/// Until all that live have heard of a new token the one before has to be accepted: where not all have links, that takes time.
#[test]
fn how_long_it_takes_to_tell_all_is_known() {
    let mut world = sparse();
    let told_within = |world: &mut World, index| world.host(index).node.told_within();
    // All but those beside it are called at one look.
    assert_eq!(told_within(&mut world, 0), Some(NEWS_LATE + LINKS_LOOK));
    let command = Command::Cordon { on: true };
    for other in 1..NODES {
        world.ask(0, Request::Command { node: id(other), command: command.clone() });
        world.settle();
    }
    assert_eq!(world.linked(0).len(), NODES - 1);
    assert_eq!(told_within(&mut world, 0), None);
    let mut few = World::new(2);
    few.settle();
    assert_eq!(told_within(&mut few, 0), None);
}

/// Time in which a link that nobody needs is closed.
fn idle(world: &mut World) {
    world.live(LINK_IDLE.as_millis() as usize / 100 + SETTLED);
}

#[test]
fn a_node_has_links_with_those_beside_it_and_others_on_need() {
    let mut world = sparse();
    assert!(has_few_links(&world));
    // A command has a link made.
    let command = Command::Cordon { on: true };
    let asked = world.ask(0, Request::Command { node: id(6), command });
    world.settle();
    assert_eq!(world.host(0).responses.remove(&asked), Some(Response::Command(Answer::Done)));
    assert!(world.linked(0).contains(&6));
    // It is closed when nothing has gone over it for long, and nobody takes that for silence.
    world.live(LINK_IDLE.as_millis() as usize / 100 - SETTLED);
    assert!(world.linked(0).contains(&6));
    idle(&mut world);
    assert!(has_few_links(&world));
    for index in 0..NODES {
        assert!(world.host(index).silent.is_empty() && world.host(index).nameless.is_empty());
    }
    // All are asked where something runs, each over its link or by a call.
    let pid = world.spawn(7, 7);
    let asked = world.ask(0, Request::Processes);
    world.live(SETTLED);
    let Some(Response::Processes { processes, silent }) = world.host(0).responses.remove(&asked)
    else {
        panic!("no list");
    };
    assert_eq!(processes.iter().map(|row| row.process.pid).collect::<Vec<_>>(), [pid]);
    assert!(silent.is_empty());
    let asked = world.ask(0, Request::Nodes);
    let Some(Response::Nodes(rows)) = world.host(0).responses.remove(&asked) else { panic!() };
    assert!(rows.len() == NODES && rows.iter().all(|row| row.reachable));
}

#[test]
fn all_agree_who_keeps_what_and_no_search_needs_a_link() {
    let mut world = sparse();
    for number in 0..100 {
        let pid = Pid::new(number, number);
        let keepers: BTreeSet<_> =
            (0..NODES).filter_map(|index| world.host(index).node.lead(pid)).collect();
        assert_eq!(keepers.len(), 1, "the keeper itself has no lead: {keepers:?}");
    }
    let pids: Vec<Pid> = (0..NODES as u64).map(|number| world.spawn(6, number)).collect();
    world.live(1);
    assert!(has_few_links(&world), "keepers are told in datagrams");
    for pid in pids {
        let before = world.seek_messages;
        world.packet(0, pid, true);
        world.settle();
        assert_eq!(world.host(6).brought.pop(), Some(pid));
        assert!(world.seek_messages - before <= 4, "its keeper and its node are asked");
    }
    // The packets had a link made. Of a process that there is not all say so, and none is linked for that.
    let linked = world.linked(0);
    assert!(linked.contains(&6));
    world.packet(0, Pid::new(1_000, 1), true);
    world.settle();
    assert_eq!(world.host(0).refused, [Pid::new(1_000, 1)]);
    assert_eq!(world.linked(0), linked);
}

#[test]
fn who_dies_without_a_link_is_silent_when_gossip_says_so() {
    for met in [false, true] {
        let mut world = sparse();
        if met {
            world.link(0, 6);
            world.settle();
            idle(&mut world);
        }
        assert!(has_few_links(&world));
        let dead = member(&mut world, 6);
        world.hosts[6] = None;
        world.live(SETTLED);
        assert!(world.host(0).silent.is_empty());
        world.tell(0, Event::MemberDown(dead));
        assert_eq!(world.host(0).silent, [id(6)]);
        world.live(SETTLED);
        assert_eq!(world.host(0).silent, [id(6)], "once");
    }
}

#[test]
fn what_everybody_is_to_hear_has_links_made_for_a_moment() {
    let mut world = sparse();
    world.host(0).called.clear();
    world.tell(0, Event::News { tells: true });
    world.live(SETTLED);
    // On a link the host says what it has to say.
    let called: BTreeSet<String> = world.host(0).called.iter().cloned().collect();
    assert_eq!(called.len(), NODES - 3);
    world.live(NEWS_IDLE.as_millis() as usize / 100);
    assert!(has_few_links(&world));
    // So does a newcomer hear it, and one that has started again.
    world.start(6);
    let again = member(&mut world, 6);
    world.host(0).called.clear();
    world.tell(0, Event::MemberUp(again));
    world.live(SETTLED);
    assert_eq!(world.host(0).called, ["10.0.0.6:1"]);
}

#[test]
fn what_is_said_while_a_link_is_about_to_be_closed_is_said_on_the_next_one() {
    let mut world = sparse();
    world.link(0, 6);
    world.settle();
    // The question is on its way.
    world.pass(LINK_IDLE);
    let pid = world.spawn(0, 3);
    let hold = Hold::UntilReleased;
    let commands = [
        (id(6), Command::Cordon { on: false }),
        (id(0), Command::Migrate { pid, to: id(6), hold }),
    ];
    let asked = commands.map(|(node, command)| world.ask(0, Request::Command { node, command }));
    world.live(SETTLED);
    let answers = asked.map(|of| world.host(0).responses.remove(&of));
    assert_eq!(answers[0], Some(Response::Command(Answer::Done)));
    assert!(matches!(answers[1], Some(Response::Command(Answer::Moved(_)))), "{answers:?}");
    assert_eq!(world.place(pid), Some(6));
}

#[test]
fn a_program_may_suit_a_node_that_nobody_has_met() {
    let world = &mut sparse();
    let label: Label = "gpu=yes".parse().expect("a label");
    let asks = Placement { on: vec![label], ..Placement::default() };
    assert_eq!(world.host(0).node.may_place(&asks, 0), Ok(()));
    for index in 1..NODES {
        world.link(0, index);
    }
    assert!(world.host(0).node.may_place(&asks, 0).is_err(), "all were met");
}
