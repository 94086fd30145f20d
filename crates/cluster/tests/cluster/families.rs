//! Processes that others have spawned, wherever they run.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::message::{Command, Description, End, Hold, Kin, Message};
use peripatos_cluster::{Event, Placement, Request};

use crate::world::{Index, World, description, id, name};

pub(crate) fn kin(root: Pid, parent: Pid) -> Option<Kin> {
    let programs = vec![("fork".to_owned(), [9; 32])];
    let name_prefix = String::new();
    let devices = None;
    Some(Kin {
        root,
        parent,
        programs,
        processes_max: 100,
        messages_bytes_max: 1_000,
        cpu_permille_max: Some(500),
        name_prefix,
        placement: Placement::default(),
        devices,
        device_process: Pid::from_bits(0),
        handler: false,
    })
}

/// A child that is a handler, which has begun at that node.
fn handler(world: &mut World, at: Index, number: u64, root: &Description) -> Pid {
    let plain = description(number, id(0));
    let kin = kin(root.pid, root.pid).map(|kin| Kin { handler: true, ..kin });
    let process = Description { kin, ..plain };
    world.host(at).running.insert(process.pid);
    world.tell(at, Event::Born(process.clone()));
    process.pid
}

/// A root of node 0, and its description.
pub(crate) fn root(world: &mut World) -> Description {
    let plain = description(1, id(0));
    let process = Description { kin: kin(plain.pid, Pid::from_bits(0)), ..plain };
    world.host(0).codes.extend([process.code, [9; 32]]);
    world.host(0).running.insert(process.pid);
    world.tell(0, Event::Started(process.clone()));
    process
}

/// A child that has begun at that node.
pub(crate) fn child(world: &mut World, at: Index, number: u64, root: &Description) -> Pid {
    let plain = description(number, id(0));
    let process = Description { kin: kin(root.pid, root.pid), ..plain };
    world.host(at).running.insert(process.pid);
    world.tell(at, Event::Born(process.clone()));
    process.pid
}

fn migrate(world: &mut World, at: Index, pid: Pid, to: Index) {
    let command = Command::Migrate { pid, to: id(to), hold: Hold::UntilReleased };
    world.ask(0, Request::Command { node: id(at), command });
    world.settle();
}

fn exit(world: &mut World, at: Index, pid: Pid) {
    assert!(world.host(at).running.remove(&pid), "{pid} runs there");
    world.tell(at, Event::Ended { pid, end: End::Exited(0) });
    world.settle();
}

#[test]
fn a_family_ends_with_its_root_wherever_it_is() {
    let mut world = World::new(3);
    let root = root(&mut world);
    migrate(&mut world, 0, root.pid, 1);
    assert_eq!(world.place(root.pid), Some(1));
    // All programs that it may spawn have come along.
    assert!(world.host(1).codes.contains(&[9; 32]));
    let children = [child(&mut world, 0, 2, &root), child(&mut world, 1, 3, &root)];
    world.settle();
    migrate(&mut world, 1, children[1], 2);
    for child in children {
        assert_eq!(world.host(0).adopted.get(&child), Some(&root.pid), "its origin is known");
    }
    // One that ends by itself is told of, and changes nothing for the others.
    let third = child(&mut world, 2, 4, &root);
    world.settle();
    exit(&mut world, 2, third);
    assert_eq!(world.host(0).told, [(third, End::Exited(0))]);
    exit(&mut world, 1, root.pid);
    let ended: Vec<Pid> = world.host(0).told.iter().map(|(pid, _)| *pid).collect();
    assert!(children.iter().all(|child| ended.contains(child)), "{ended:?}");
    assert!(children.iter().all(|child| world.place(*child).is_none()));
}

/// A command gives its program up, which is on a node behind a cut, and goes.
#[test]
fn who_is_given_up_behind_a_cut_ends_when_its_node_is_back() {
    for alone in [false, true] {
        let mut world = World::new(3);
        let pid = if alone { world.spawn(0, 7) } else { root(&mut world).pid };
        migrate(&mut world, 0, pid, 1);
        let mut children = Vec::new();
        if !alone {
            let plain = description(1, id(0));
            let root = Description { kin: kin(pid, Pid::from_bits(0)), ..plain };
            children = vec![child(&mut world, 0, 2, &root), child(&mut world, 2, 3, &root)];
            world.settle();
        }
        world.cut(0, 1);
        world.tell(0, Event::OriginKills(pid));
        world.tell(0, Event::OriginGone(pid));
        world.settle();
        // Those that can be reached do not wait for the root's end.
        assert!(children.iter().all(|child| world.place(*child).is_none()), "alone: {alone}");
        assert_eq!(world.place(pid), Some(1), "alone: {alone}");
        world.link(0, 1);
        world.settle();
        assert_eq!(world.place(pid), None, "alone: {alone}");
    }
}

#[test]
fn handlers_move_as_others_do_and_a_node_with_them_can_be_emptied() {
    let mut world = World::new(2);
    let root = root(&mut world);
    world.host(1).codes.extend([root.code, [9; 32]]);
    let handlers = [2, 3].map(|number| handler(&mut world, 0, number, &root));
    world.settle();
    migrate(&mut world, 0, handlers[0], 1);
    assert_eq!(world.place(handlers[0]), Some(1));
    // By hand, and by whoever empties a node.
    migrate(&mut world, 1, handlers[0], 0);
    world.ask(0, Request::Command { node: id(0), command: Command::Drain { on: true } });
    for _ in 0..10 {
        // One at a time.
        world.settle();
        world.pass(Duration::from_millis(200));
    }
    world.settle();
    for pid in [root.pid, handlers[0], handlers[1]] {
        assert_eq!(world.place(pid), Some(1), "{pid}");
    }
    exit(&mut world, 1, root.pid);
    assert!(handlers.iter().all(|handler| world.place(*handler).is_none()));
}

#[test]
fn a_child_that_is_born_into_a_family_that_is_over_is_ended() {
    let mut world = World::new(2);
    let root = root(&mut world);
    exit(&mut world, 0, root.pid);
    let late = child(&mut world, 1, 2, &root);
    world.settle();
    assert_eq!(world.place(late), None);
    assert!(world.host(0).adopted.is_empty());
}

#[test]
fn a_family_whose_origin_has_gone_still_ends_with_its_root() {
    let mut world = World::new(2);
    let root = root(&mut world);
    let child = child(&mut world, 1, 2, &root);
    world.settle();
    world.tell(0, Event::OriginGone(root.pid));
    world.tell(0, Event::OriginGone(child));
    world.settle();
    assert!(world.host(1).orphans.contains(&child), "it is told");
    assert_eq!(world.place(child), Some(1), "and goes on");
    exit(&mut world, 0, root.pid);
    assert_eq!(world.place(child), None);
}

#[test]
fn a_family_ends_if_the_node_of_its_origin_is_gone_for_good() {
    let mut world = World::new(2);
    let root = root(&mut world);
    let incarnation = world.host(0).incarnation;
    let child = child(&mut world, 1, 2, &root);
    let alone = description(3, id(0));
    world.host(0).running.insert(alone.pid);
    world.host(0).codes.insert(alone.code);
    world.tell(0, Event::Started(alone.clone()));
    world.settle();
    migrate(&mut world, 0, alone.pid, 1);
    world.kill(0);
    world.live(30);
    assert_eq!(world.place(child), Some(1), "silence is not death");
    world.tell(1, Event::Gone { node: id(0), incarnation });
    world.settle();
    assert_eq!(world.place(child), None);
    // One that talks to nobody goes on without its origin.
    assert_eq!(world.place(alone.pid), Some(1));
    assert!(world.host(1).orphans.contains(&alone.pid));
}

#[test]
fn nobody_else_s_process_can_be_called_a_child() {
    let mut world = World::new(2);
    let root = root(&mut world);
    let child = child(&mut world, 0, 2, &root);
    world.settle();
    let lie = Description { kin: kin(root.pid, root.pid), ..description(2, id(0)) };
    world.tell(0, Event::Message { from: id(1), message: Message::Born(lie) });
    world.settle();
    // It is still known to run here.
    world.tell(0, Event::OriginKills(child));
    world.settle();
    assert_eq!(world.place(child), None);
}

#[test]
fn a_birth_that_a_broken_link_has_swallowed_is_told_again() {
    let mut world = World::new(2);
    let root = root(&mut world);
    let child = child(&mut world, 1, 2, &root);
    world.cut(0, 1);
    world.settle();
    assert!(world.host(0).adopted.is_empty(), "it was on its way");
    world.link(0, 1);
    world.settle();
    assert_eq!(world.host(0).adopted.get(&child), Some(&root.pid));
    exit(&mut world, 0, root.pid);
    assert_eq!(world.place(child), None, "it ends with its root");
    // And what comes late of one that is over begins nothing.
    let plain = description(2, id(0));
    let late = Description { kin: kin(root.pid, root.pid), ..plain };
    world.tell(0, Event::Message { from: id(1), message: Message::Born(late) });
    assert_eq!(world.host(0).adopted.len(), 1);
}

/// The node that has just sent it on is gone, and where it went to cannot say so: it counts as lost, and lives.
#[test]
fn who_was_taken_for_lost_still_ends_with_its_family() {
    for root_ends_first in [false, true] {
        let mut world = World::new(3);
        let root = root(&mut world);
        let child = child(&mut world, 1, 2, &root);
        world.host(2).codes.extend([root.code, [9; 32]]);
        world.settle();
        world.cut(0, 2);
        world.settle();
        migrate(&mut world, 1, child, 2);
        assert_eq!(world.place(child), Some(2));
        let incarnation = world.host(1).incarnation;
        world.kill(1);
        for node in [0, 2] {
            world.tell(node, Event::Gone { node: id(1), incarnation });
        }
        world.live(30);
        assert_eq!(world.host(0).told, [(child, End::Lost { node: name(1) })]);
        if root_ends_first {
            exit(&mut world, 0, root.pid);
        }
        world.link(0, 2);
        world.settle();
        if !root_ends_first {
            assert_eq!(world.place(child), Some(2), "silence is not death");
            assert!(world.host(2).orphans.contains(&child), "its origin has heard that it is lost");
            exit(&mut world, 0, root.pid);
        }
        assert_eq!(world.place(child), None, "root ends first: {root_ends_first}");
        let told = world.host(0).told.iter().map(|(pid, _)| *pid);
        let mut told: Vec<Pid> = told.collect();
        told.sort_unstable();
        assert_eq!(told, [root.pid, child], "each once");
    }
}

/// The same of one that is alone, or the first of a family, and was to end before it was lost.
#[test]
fn who_was_to_end_when_it_was_taken_for_lost_ends_when_it_shows_up() {
    let mut world = World::new(3);
    let pid = world.spawn(1, 7);
    world.settle();
    migrate(&mut world, 1, pid, 0);
    world.cut(1, 2);
    world.settle();
    migrate(&mut world, 0, pid, 2);
    assert_eq!(world.place(pid), Some(2));
    world.tell(1, Event::OriginKills(pid));
    let incarnation = world.host(0).incarnation;
    world.kill(0);
    world.tell(1, Event::Gone { node: id(0), incarnation });
    world.live(30);
    assert_eq!(world.host(1).told, [(pid, End::Lost { node: name(0) })]);
    world.link(1, 2);
    world.settle();
    assert_eq!(world.place(pid), None);
}
