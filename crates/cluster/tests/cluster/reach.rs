//! Nodes without a link are called when something is for them, and what clients ask waits for the link.

use std::collections::BTreeSet;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::limits::{ASKING_MAX, CALL_AGAIN, REACH_WAIT_MAX, REACHING_MAX};
use peripatos_cluster::membership::Member;
use peripatos_cluster::message::{Answer, Command, Hold};
use peripatos_cluster::{Event, Incarnation, NodeId, Request, RequestId, Response};

use crate::world::{World, id, name};

/// So many nodes, of which the first has no link to the second, and the gossip of which says that that one lives.
fn apart(count: usize) -> (World, Member) {
    let mut world = World::new(count);
    world.settle();
    let address = "10.0.0.1:1".parse().expect("an address");
    let other = Member::new(id(1), world.host(1).incarnation, address, &name(1));
    let other = other.expect("a member");
    world.tell(0, Event::MemberUp(other.clone()));
    world.cut(0, 1);
    world.host(0).called.clear();
    (world, other)
}

fn cordon(world: &mut World) -> RequestId {
    world.ask(0, Request::Command { node: id(1), command: Command::Cordon { on: true } })
}

fn is_cordoned(world: &mut World) -> bool {
    let asked = world.ask(1, Request::Nodes);
    let Some(Response::Nodes(rows)) = world.host(1).responses.remove(&asked) else {
        panic!("it says nothing");
    };
    rows.iter().any(|row| row.own && row.cordoned)
}

#[track_caller]
fn answer(world: &mut World, of: RequestId) -> Option<Answer> {
    match world.host(0).responses.remove(&of)? {
        Response::Command(answer) => Some(answer),
        other => panic!("{other:?}"),
    }
}

fn unreached() -> Option<Answer> {
    Some(Answer::Refused(format!("node {} cannot be reached", name(1))))
}

/// Of thousands that have no link as many are called as may be at a time, and the others as those come or cannot be reached: nobody is called silent
/// who was not called.
#[test]
fn more_are_listed_than_can_be_called_at_a_time() {
    const COUNT: u64 = 3_000;
    let (mut world, _) = apart(2);
    for number in 2..=COUNT {
        let address = format!("10.1.{}.{}:1", number / 250, number % 250 + 1);
        let member = Member::new(
            NodeId(1_000_000 + u128::from(number)),
            Incarnation(number),
            address.parse().expect("an address"),
            &format!("far{number}"),
        );
        world.tell(0, Event::MemberUp(member.expect("a member")));
    }
    world.host(0).called.clear();
    let asked = world.ask(0, Request::Processes);
    // Those beside it were called just before.
    assert!((ASKING_MAX - 4..=ASKING_MAX).contains(&world.host(0).called.len()));
    // A command has its place all the while.
    let cordoned = cordon(&mut world);
    world.link(0, 1);
    world.settle();
    assert_eq!(answer(&mut world, cordoned), Some(Answer::Done));
    assert!(!world.host(0).responses.contains_key(&asked));
    for _ in 0..COUNT as usize / ASKING_MAX + 1 {
        world.pass(REACH_WAIT_MAX + Duration::from_millis(1));
    }
    let called: BTreeSet<String> = world.host(0).called.iter().cloned().collect();
    assert!(called.len() + 4 >= COUNT as usize, "each was called: {}", called.len());
    let Some(Response::Processes { silent, .. }) = world.host(0).responses.remove(&asked) else {
        panic!("it says nothing");
    };
    assert_eq!(silent.len(), COUNT as usize - 1, "all but the one that has come");
}

#[test]
fn a_command_waits_for_a_link_and_is_done_once() {
    let (mut world, _) = apart(2);
    let asked = [cordon(&mut world), cordon(&mut world)];
    assert_eq!(world.host(0).called, ["10.0.0.1:1"], "called once for both");
    world.pass(REACH_WAIT_MAX / 2);
    assert_eq!(asked.map(|of| answer(&mut world, of)), [None, None]);
    world.link(0, 1);
    world.settle();
    assert_eq!(asked.map(|of| answer(&mut world, of)), [Some(Answer::Done), Some(Answer::Done)]);
    assert!(is_cordoned(&mut world));
    // It is not done again with the next link.
    world.tell(
        1,
        Event::Request {
            id: RequestId(u64::MAX),
            request: Request::Command { node: id(1), command: Command::Cordon { on: false } },
        },
    );
    world.cut(0, 1);
    world.link(0, 1);
    world.settle();
    assert!(!is_cordoned(&mut world));
}

#[test]
fn without_a_link_in_time_nothing_is_done() {
    let (mut world, _) = apart(2);
    let asked = cordon(&mut world);
    world.pass(REACH_WAIT_MAX + Duration::from_millis(1));
    assert_eq!(answer(&mut world, asked), unreached());
    world.link(0, 1);
    world.settle();
    assert!(!is_cordoned(&mut world));
}

#[test]
fn when_gossip_takes_its_word_back_nobody_waits_any_more() {
    let (mut world, other) = apart(2);
    let asked = cordon(&mut world);
    world.tell(0, Event::MemberDown(other));
    assert_eq!(answer(&mut world, asked), unreached());
    // And who is not known to live is not called.
    world.host(0).called.clear();
    let asked = cordon(&mut world);
    assert_eq!(answer(&mut world, asked), unreached());
    assert!(world.host(0).called.is_empty());
}

#[test]
fn a_list_waits_for_who_is_called_and_names_who_does_not_come() {
    for comes in [true, false] {
        let (mut world, _) = apart(3);
        let pid = world.spawn(1, 7);
        let asked = world.ask(0, Request::Processes);
        world.settle();
        assert!(!world.host(0).responses.contains_key(&asked));
        if comes {
            world.link(0, 1);
            world.settle();
        } else {
            world.pass(REACH_WAIT_MAX + Duration::from_millis(1));
        }
        let Some(Response::Processes { processes, silent }) =
            world.host(0).responses.remove(&asked)
        else {
            panic!("no list");
        };
        let listed: Vec<Pid> = processes.iter().map(|row| row.process.pid).collect();
        let expected = if comes { (vec![pid], vec![]) } else { (vec![], vec![name(1)]) };
        assert_eq!((listed, silent), expected);
    }
}

#[test]
fn a_process_is_moved_when_its_target_is_reached() {
    for comes in [true, false] {
        let (mut world, _) = apart(2);
        let pid = world.spawn(0, 7);
        let command = Command::Migrate { pid, to: id(1), hold: Hold::UntilReleased };
        let asked = world.ask(0, Request::Command { node: id(0), command });
        if comes {
            world.link(0, 1);
            world.settle();
            assert_eq!(world.place(pid), Some(1));
            assert!(
                matches!(answer(&mut world, asked), Some(answer) if answer != unreached().unwrap())
            );
        } else {
            world.pass(REACH_WAIT_MAX + Duration::from_millis(1));
            assert_eq!(answer(&mut world, asked), unreached());
            assert_eq!(world.place(pid), Some(0));
        }
    }
}

#[test]
fn what_waits_has_a_limit() {
    let (mut world, _) = apart(2);
    for _ in 0..REACHING_MAX {
        let asked = cordon(&mut world);
        assert_eq!(answer(&mut world, asked), None);
    }
    let asked = cordon(&mut world);
    assert_eq!(answer(&mut world, asked), unreached());
}

#[test]
fn who_is_wanted_is_called_now_and_then() {
    let (mut world, _) = apart(2);
    for _ in 0..3 {
        world.tell(0, Event::Wanted(id(1)));
    }
    assert_eq!(world.host(0).called.len(), 1);
    world.now = world.now + CALL_AGAIN;
    world.tell(0, Event::Wanted(id(1)));
    assert_eq!(world.host(0).called.len(), 2);
    // Who is linked is not, nor is one that nobody knows.
    world.link(0, 1);
    world.settle();
    world.host(0).called.clear();
    world.now = world.now + CALL_AGAIN;
    for node in [1, 9] {
        world.tell(0, Event::Wanted(id(node)));
    }
    assert!(world.host(0).called.is_empty());
}
