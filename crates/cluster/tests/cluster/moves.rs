//! Single moves, and a cut or a death at each of their steps.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Answer, Command, End, Hold, Message, MoveCosts, RowState};
use peripatos_cluster::{Event, Labels, Request, RequestId, Response};

use crate::drains::asking;
use crate::world::{World, id, name};

pub(crate) fn migrate(
    world: &mut World,
    asked: usize,
    at: usize,
    pid: Pid,
    to: usize,
) -> RequestId {
    let command = Command::Migrate { pid, to: id(to), hold: Hold::UntilReleased };
    world.ask(asked, Request::Command { node: id(at), command })
}

pub(crate) fn answer(world: &mut World, node: usize, id: RequestId) -> Option<Answer> {
    match world.host(node).responses.get(&id) {
        Some(Response::Command(answer)) => Some(answer.clone()),
        _ => None,
    }
}

#[test]
fn a_process_moves_and_its_code_travels_once() {
    let mut world = World::new(2);
    let (first, second) = (world.spawn(0, 1), world.spawn(0, 4));
    for pid in [first, second] {
        // Asked of the other node, which passes it on.
        let asked = migrate(&mut world, 1, 0, pid, 1);
        world.settle();
        assert!(matches!(answer(&mut world, 1, asked), Some(Answer::Moved { .. })));
        assert_eq!(world.place(pid), Some(1));
    }
    assert_eq!(world.codes_sent, 1);
    let asked = world.ask(0, Request::Processes);
    world.settle();
    let Some(Response::Processes { processes, silent }) = world.host(0).responses.remove(&asked)
    else {
        panic!("no answer");
    };
    assert!(silent.is_empty());
    assert_eq!(
        processes.iter().map(|row| (row.process.pid, row.moves, row.pinned)).collect::<Vec<_>>(),
        [(first, 1, true), (second, 1, true)]
    );
    // Its end is told where it was started.
    world.host(1).running.remove(&first);
    world.tell(1, Event::Ended { pid: first, end: End::Exited(7) });
    world.settle();
    assert_eq!(world.host(0).told, [(first, End::Exited(7))]);
}

#[test]
fn a_process_brings_along_what_its_moves_have_taken() {
    let mut world = World::new(2);
    // It is not copied while it runs.
    world.memory_bytes = 64 << 10;
    let pid = world.spawn(0, 1);
    let mut freezes_us = Vec::new();
    for (at, to, step_ms) in [(0, 1, 9), (1, 0, 2)] {
        let asked = migrate(&mut world, at, at, pid, to);
        while answer(&mut world, at, asked).is_none() {
            let _ = world.deliver(at, to)
                || world.report(to)
                || world.deliver(to, at)
                || world.report(at);
            world.pass(Duration::from_millis(step_ms));
        }
        world.settle();
        let Some(Answer::Moved(cost)) = answer(&mut world, at, asked) else {
            panic!("it has not moved");
        };
        assert!(cost.total_us >= cost.freeze_us && cost.rounds == 0);
        freezes_us.push(cost.freeze_us);
    }
    assert!(freezes_us[0] > freezes_us[1] && freezes_us[1] > 0, "{freezes_us:?}");
    let asked = world.ask(0, Request::Processes);
    world.settle();
    let Some(Response::Processes { processes, .. }) = world.host(0).responses.remove(&asked) else {
        panic!("no answer");
    };
    let [row] = &processes[..] else { panic!("one process, not {processes:?}") };
    let costs = MoveCosts {
        moves: 2,
        freeze_us_last: freezes_us[1],
        freeze_us_max: freezes_us[0],
        rounds_last: 0,
        carried_bytes: 2,
    };
    assert_eq!((row.moves, row.costs), (2, costs));
}

#[test]
fn what_cannot_be_moved_is_refused() {
    let mut world = World::new(2);
    let pid = world.spawn(0, 1);
    let check = |world: &mut World, pid, to, expected: &str| {
        let asked = migrate(world, 0, 0, pid, to);
        world.settle();
        match answer(world, 0, asked) {
            Some(Answer::Refused(reason)) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{expected}: {other:?}"),
        }
    };
    check(&mut world, Pid::new(9, 9), 1, "does not run here");
    check(&mut world, pid, 0, "runs there already");
    check(&mut world, pid, 7, "cannot be reached");
    world.ask(1, Request::Command { node: id(1), command: Command::Drain { on: true } });
    check(&mut world, pid, 1, "being emptied");
    assert_eq!(world.place(pid), Some(0));
}

/// The next step of a move from node 0 to node 1: a message delivered, or a report made.
pub(crate) fn step(world: &mut World) {
    let _ = world.deliver(0, 1) || world.report(1) || world.deliver(1, 0) || world.report(0);
}

/// A process at node 0 whose origin is attached to that node.
fn of_origin(origin: usize) -> (World, Pid) {
    let mut world = World::new(3);
    let pid = world.spawn(origin, 1);
    world.settle();
    if origin != 0 {
        migrate(&mut world, origin, origin, pid, 0);
        world.settle();
    }
    assert_eq!(world.place(pid), Some(0));
    (world, pid)
}

/// Moves a process, and after so many steps does something.
/// Returns whether the move was over before.
fn disturbed(steps: usize, disturb: impl FnOnce(&mut World)) -> (World, Pid, bool) {
    let (mut world, pid) = of_origin(0);
    let asked = migrate(&mut world, 0, 0, pid, 1);
    (0..steps).for_each(|_| step(&mut world));
    let over = answer(&mut world, 0, asked).is_some();
    disturb(&mut world);
    (world, pid, over)
}

/// More steps than any undisturbed move takes.
const STEPS: usize = 20;

#[test]
fn a_link_cut_at_any_step_leaves_one_process() {
    let mut in_doubt = 0;
    for steps in 0..STEPS {
        let (mut world, pid, _) = disturbed(steps, |world| world.cut(0, 1));
        world.settle();
        if world.place(pid).is_none() {
            in_doubt += 1;
            assert!(world.host(0).frozen.contains(&pid), "it stands still at the source");
            let asked = world.ask(0, Request::Processes);
            world.live(30);
            let Some(Response::Processes { processes, .. }) =
                world.host(0).responses.remove(&asked)
            else {
                panic!("no answer");
            };
            assert_eq!(processes[0].state, RowState::InDoubt);
        }
        world.link(0, 1);
        world.live(3);
        assert!(world.place(pid).is_some(), "after {steps} steps it was lost");
    }
    assert!(in_doubt > 0, "some cut must fall behind the commit");
}

#[test]
fn a_target_killed_at_any_step_leaves_the_process_at_the_source() {
    // Restarted at once: before the source has reported what it was about to do.
    let cases = [(true, true), (true, false), (false, true)];
    for (steps, (settled, restart)) in (0..STEPS).flat_map(|steps| cases.map(|case| (steps, case)))
    {
        let (mut world, pid, over) = disturbed(steps, |world| world.kill(1));
        if settled {
            world.settle();
        }
        if over {
            continue;
        }
        if restart {
            world.start(1);
            world.link_all();
        } else {
            let command = Command::Forget { node: id(1), proof: None };
            world.ask(0, Request::Command { node: id(0), command });
        }
        world.live(3);
        assert_eq!(world.place(pid), Some(0), "after {steps} steps, restart {restart}");
    }
}

/// All nodes are told to forget one; a newcomer that never met it is not what stops that.
#[test]
fn who_has_never_met_a_node_forgets_it_gladly() {
    let mut world = World::new(2);
    world.kill(1);
    for node in [0, 2] {
        if node == 2 {
            world.link_newcomer();
        }
        // Others believe it of who has signed for it; hosts look at that.
        let proof = (node != 0).then(Box::default);
        let command = Command::Forget { node: id(1), proof };
        let asked = world.ask(0, Request::Command { node: id(node), command });
        world.settle();
        assert_eq!(answer(&mut world, 0, asked), Some(Answer::Done), "of node {node}");
    }
}

#[test]
fn a_source_killed_at_any_step_leaves_the_process_once_or_not_at_all() {
    let mut arrived = 0;
    for steps in 0..STEPS {
        // The origin is the third node.
        let (mut world, pid) = of_origin(2);
        migrate(&mut world, 0, 0, pid, 1);
        (0..steps).for_each(|_| step(&mut world));
        world.kill(0);
        world.start(0);
        world.link_all();
        world.live(40);
        let told = world.host(2).told.clone();
        match world.place(pid) {
            Some(place) => {
                arrived += 1;
                assert_eq!((place, told), (1, vec![]), "after {steps} steps");
            }
            None => assert!(
                matches!(&told[..], [(gone, End::Lost { .. })] if *gone == pid),
                "after {steps} steps whoever waited was told {told:?}"
            ),
        }
    }
    assert!(0 < arrived && arrived < STEPS);
}

/// Lets one node answer what node 2 has asked it.
fn answers(world: &mut World, node: usize) {
    while world.deliver(2, node) {}
    while world.deliver(node, 2) {}
}

#[test]
fn a_process_on_its_way_is_listed_once() {
    // One end of the move answers after so many steps, the other one after so many more.
    let moments = || (0..STEPS).flat_map(|steps| (0..STEPS - steps).map(move |more| (steps, more)));
    let check = |origin: usize, order: [usize; 2]| {
        for (steps, more) in moments() {
            let (mut world, pid) = of_origin(origin);
            migrate(&mut world, 0, 0, pid, 1);
            (0..steps).for_each(|_| step(&mut world));
            let asked = world.ask(2, Request::Processes);
            answers(&mut world, order[0]);
            (0..more).for_each(|_| step(&mut world));
            answers(&mut world, order[1]);
            let Some(Response::Processes { processes, .. }) = world.host(2).responses.get(&asked)
            else {
                panic!("no answer");
            };
            let listed: Vec<Pid> = processes.iter().map(|row| row.process.pid).collect();
            assert_eq!(listed, [pid], "origin {origin}, {order:?} after {steps} and {more} steps");
        }
    };
    for origin in 0..3 {
        check(origin, [0, 1]);
        check(origin, [1, 0]);
    }
}

#[test]
fn what_runs_at_a_node_that_does_not_answer_is_not_listed() {
    let (mut world, pid) = of_origin(2);
    for node in [0, 1] {
        world.cut(2, node);
    }
    let asked = world.ask(2, Request::Processes);
    let silent = vec![name(0), name(1)];
    assert_eq!(
        world.host(2).responses.get(&asked),
        Some(&Response::Processes { processes: vec![], silent })
    );
    assert_eq!(world.place(pid), Some(0));
}

#[test]
fn a_process_that_is_killed_on_its_way_ends_at_whichever_end_it_comes_to() {
    for (steps, cut) in (0..STEPS).flat_map(|steps| [(steps, false), (steps, true)]) {
        let (mut world, pid, over) = disturbed(steps, |_| {});
        if over {
            continue;
        }
        // Somebody who is not its origin.
        world.ask(0, Request::Command { node: id(0), command: Command::Kill { pid } });
        if cut {
            world.cut(0, 1);
            world.settle();
            world.link(0, 1);
        }
        world.live(3);
        assert_eq!(world.place(pid), None, "after {steps} steps, cut {cut}");
        assert_eq!(world.host(0).told, [(pid, End::Killed)], "after {steps} steps, cut {cut}");
    }
}

#[test]
fn a_late_word_of_an_earlier_place_changes_nothing() {
    let mut world = World::new(3);
    let pid = world.spawn(0, 1);
    for (at, to) in [(0, 1), (1, 2)] {
        migrate(&mut world, 0, at, pid, to);
        world.settle();
    }
    world.tell(0, Event::Message { from: id(1), message: Message::Arrived { pid, moves: 1 } });
    world.tell(0, Event::OriginKills(pid));
    world.settle();
    assert_eq!(world.place(pid), None, "it was ended where it runs");
}

#[test]
fn an_idle_node_pulls_and_four_settle_two_and_two() {
    let mut world = World::new(2);
    let pids: Vec<Pid> = (1..=4).map(|number| world.spawn(0, number)).collect();
    world.live(40);
    let there = |world: &World| pids.iter().filter(|pid| world.place(**pid) == Some(1)).count();
    assert_eq!(there(&world), 2);
    // They stay.
    let places: Vec<_> = pids.iter().map(|pid| world.place(*pid)).collect();
    world.live(50);
    assert_eq!(places, pids.iter().map(|pid| world.place(*pid)).collect::<Vec<_>>());
    // A drained node sends all away, and takes them again afterwards.
    world.ask(0, Request::Command { node: id(1), command: Command::Drain { on: true } });
    world.live(40);
    assert_eq!(there(&world), 0);
    world.ask(0, Request::Command { node: id(1), command: Command::Drain { on: false } });
    world.live(40);
    assert_eq!(there(&world), 2);
}

#[test]
fn a_node_that_has_nothing_to_give_does_not_keep_an_idle_one_from_others() {
    let labels = Labels::new(["gpu=yes".parse().unwrap()]).unwrap();
    let mut world = World::labelled(vec![labels, Labels::default(), Labels::default()]);
    // The most loaded node has only what may not run on the idle one.
    for number in 1..=6 {
        asking(&mut world, 0, number, "gpu=yes", "");
    }
    let others: Vec<Pid> = (11..=13).map(|number| world.spawn(1, number)).collect();
    world.live(20);
    let there = others.iter().filter(|pid| world.place(**pid) == Some(2));
    assert_eq!(there.count(), 1);
}

#[test]
fn what_somebody_has_put_somewhere_stays_until_it_is_released() {
    let mut world = World::new(2);
    let pids: Vec<Pid> = (1..=2).map(|number| world.spawn(0, number)).collect();
    world.live(1);
    world.pass(Duration::from_millis(1));
    for pid in &pids {
        if world.place(*pid) == Some(0) {
            migrate(&mut world, 0, 0, *pid, 1);
            world.settle();
        } else {
            // The balancer was quicker: it is held all the same once it is moved back and forth.
            for (at, to) in [(1, 0), (0, 1)] {
                migrate(&mut world, 0, at, *pid, to);
                world.settle();
            }
        }
    }
    world.live(60);
    assert!(pids.iter().all(|pid| world.place(*pid) == Some(1)), "both are held there");
    let command = Command::Unpin { pid: pids[0] };
    world.ask(0, Request::Command { node: id(1), command });
    world.live(40);
    assert_eq!(world.place(pids[0]), Some(0));
    assert_eq!(world.place(pids[1]), Some(1));
}

#[test]
fn an_origin_that_leaves_is_missed_where_its_process_runs() {
    let mut world = World::new(2);
    let (here, there) = (world.spawn(0, 1), world.spawn(0, 2));
    migrate(&mut world, 0, 0, there, 1);
    world.settle();
    for pid in [here, there] {
        world.tell(0, Event::OriginGone(pid));
    }
    world.settle();
    assert!(world.host(0).orphans.contains(&here));
    assert!(world.host(1).orphans.contains(&there));
}

/// Whoever comes to a node that has never met its origin's node has none there, either.
#[test]
fn an_origin_that_is_gone_is_gone_wherever_its_process_goes() {
    let mut world = World::new(3);
    let pid = world.spawn(0, 1);
    migrate(&mut world, 0, 0, pid, 1);
    world.settle();
    let incarnation = world.host(0).incarnation;
    world.kill(0);
    world.tell(1, Event::Gone { node: id(0), incarnation });
    assert!(world.host(1).orphans.contains(&pid));
    migrate(&mut world, 1, 1, pid, 2);
    world.settle();
    assert_eq!(world.place(pid), Some(2));
    assert!(world.host(2).orphans.contains(&pid));
}

/// A process has come, and its source does not know: the link broke behind the commit.
fn unheard(nodes: usize) -> (World, Pid) {
    let mut world = World::new(nodes);
    let pid = world.spawn(0, 1);
    migrate(&mut world, 0, 0, pid, 1);
    while world.place(pid) != Some(1) {
        let moved = world.deliver(0, 1) | world.report(0) | world.report(1);
        if !moved && world.place(pid) != Some(1) {
            assert!(world.deliver(1, 0), "it comes");
        }
    }
    world.cut(0, 1);
    (world, pid)
}

#[test]
fn a_process_does_not_move_on_before_its_source_has_heard_that_it_came() {
    let (mut world, pid) = unheard(3);
    let asked = migrate(&mut world, 1, 1, pid, 2);
    world.settle();
    assert!(matches!(answer(&mut world, 1, asked), Some(Answer::Refused(_))));
    // Its node is lost: the source's copy goes on, and no other one is anywhere.
    world.kill(1);
    world.start(1);
    world.link_all();
    world.settle();
    assert_eq!(world.place(pid), Some(0));
}

#[test]
fn what_has_become_of_a_move_is_not_kept_when_the_source_has_heard_it() {
    let (mut world, pid) = unheard(2);
    world.link(0, 1);
    world.settle();
    assert_eq!(world.place(pid), Some(1));
    // The source has heard it; its answer is lost.
    let (kept, mut again) = (world.host(1).node.kept(), unheard(2).0);
    assert_eq!(kept.committed, 0);
    again.link(0, 1);
    while again.host(0).node.kept().outgoing > 0 {
        assert!(again.deliver(0, 1) | again.deliver(1, 0));
    }
    again.cut(0, 1);
    assert_eq!(again.host(1).node.kept().committed, 1);
    again.link(0, 1);
    again.settle();
    assert_eq!(again.host(1).node.kept().committed, 0);
}
