//! Monitors and links: who watches is told once, whoever has moved meanwhile.

use peripatos_abi::message::{Envelope, Kind, Status, WATCHES_MAX};
use peripatos_abi::{EndReason, Pid};
use peripatos_kernel::{Body, Form, Outcome, Packet};

use crate::world::{ENVELOPE, Id, World};

const TRAPPED: EndReason = EndReason::Trapped;

/// What a process received: the end of that one, and how.
fn ended(world: &mut World, id: Id) -> (Pid, Option<EndReason>) {
    let bytes = &world.body(id).memory[ENVELOPE as usize..][..Envelope::BYTES];
    assert_eq!(bytes[24..28], [0; 4]);
    assert_eq!(bytes[28..], (Kind::Ended as u32).to_le_bytes());
    let (pid, reason) = Envelope::sender(bytes.first_chunk().expect("it is as long"));
    (pid, EndReason::from_bits(reason))
}

/// All ways in which two processes can be placed and moved before the second one ends.
fn each_way(check: impl Fn(World, Id, Id)) {
    for moves in 0..27 {
        let mut world = World::new(3);
        let one = world.add(0, Form::Fiber);
        let two = world.add(moves % 3, Form::Fiber);
        world.moves = [(one, moves / 3 % 3), (two, moves / 9)].into();
        check(world, one, two);
    }
}

#[test]
fn who_monitors_is_told_once() {
    each_way(|mut world, watcher, watched| {
        let (core, slot, of) = (0, world.body(watcher).slot, world.pid(watched));
        assert_eq!(world.kernels[core].monitor(slot, of), Ok(()));
        assert_eq!(world.kernels[core].monitor(slot, of), Ok(()));
        world.make_moves();
        world.deliver_all();
        world.end_with(watched, TRAPPED.to_bits());
        world.deliver_all();
        assert_eq!(world.receive(watcher, None, 0), Ok(0));
        assert_eq!(ended(&mut world, watcher), (of, Some(TRAPPED)));
        assert_eq!(world.receive(watcher, None, 0), Err(Status::Wait));
    });
}

#[test]
fn who_has_thought_better_of_it_is_not_told() {
    each_way(|mut world, watcher, watched| {
        let of = world.pid(watched);
        for (unwatch, moved) in [(true, false), (false, true)] {
            let (core, slot) = (world.body(watcher).core, world.body(watcher).slot);
            world.kernels[core].link(slot, of).expect("it may");
            world.kernels[core].monitor(slot, of).expect("it may");
            if moved {
                world.make_moves();
            }
            let (core, slot) = (world.body(watcher).core, world.body(watcher).slot);
            if unwatch || moved {
                world.kernels[core].unmonitor(slot, of).expect("it is here");
                world.kernels[core].unlink(slot, of).expect("it is here");
            }
            world.deliver_all();
        }
        world.end_with(watched, TRAPPED.to_bits());
        world.deliver_all();
        assert_eq!(world.receive(watcher, None, 0), Err(Status::Wait));
        world.woken();
        assert_eq!(world.killed, []);
    });
}

#[test]
fn who_is_linked_ends_too() {
    for (reason, first) in
        [(TRAPPED, true), (TRAPPED, false), (EndReason::Exited(0), true), (EndReason::Killed, true)]
    {
        each_way(|mut world, one, two| {
            let (slot, of) = (world.body(one).slot, world.pid(two));
            assert_eq!(world.kernels[0].link(slot, of), Ok(()));
            world.make_moves();
            world.deliver_all();
            let (ends, other) = if first { (one, two) } else { (two, one) };
            world.end_with(ends, reason.to_bits());
            world.deliver_all();
            world.woken();
            let killed = if reason == EndReason::Exited(0) { vec![] } else { vec![other] };
            let killed: Vec<Pid> = killed.into_iter().map(|id| world.pid(id)).collect();
            assert_eq!(world.killed, killed);
            // It holds no more.
            world.end(other);
            world.deliver_all();
        });
    }
}

/// Whom it is linked with comes to where it is, has not heard of the link, and stays when it goes on.
#[test]
fn a_link_is_not_undone_as_its_word_was_lost_and_the_two_met_meanwhile() {
    let mut world = World::new(3);
    let [one, two, third] = [0, 1, 1].map(|core| world.add(core, Form::Fiber));
    // It is tied to somebody already.
    let (slot, of) = (world.body(two).slot, world.pid(third));
    assert_eq!(world.kernels[1].monitor(slot, of), Ok(()));
    let (slot, of) = (world.body(one).slot, world.pid(two));
    assert_eq!(world.kernels[0].link(slot, of), Ok(()));
    world.collect_packets();
    world.packets.clear();
    world.carry(two, 0);
    world.carry(one, 2);
    world.deliver_all();
    world.end_with(two, TRAPPED.to_bits());
    world.deliver_all();
    world.woken();
    assert_eq!(world.killed, [world.pid(one)]);
}

/// Takes the words that are on their way out of a world, those of links.
fn take_words(world: &mut World) -> Vec<Packet> {
    world.collect_packets();
    let words = std::mem::take(&mut world.packets).into_iter();
    words.filter(|one| matches!(one.body, Body::Watch { .. } | Body::Unwatch { .. })).collect()
}

/// One has undone a link, and the word of that comes when the other one has made another: it had not heard of any, or of that.
#[test]
fn a_link_stands_though_the_word_that_an_earlier_one_was_undone_comes_late() {
    for (heard, reordered) in [(false, false), (false, true), (true, false)] {
        let mut world = World::new(2);
        let [one, two] = [0, 1].map(|core| world.add(core, Form::Fiber));
        let pids = [one, two].map(|id| world.pid(id));
        let slots = [one, two].map(|id| world.body(id).slot);
        assert_eq!(world.kernels[0].link(slots[0], pids[1]), Ok(()));
        let made = take_words(&mut world);
        if heard {
            made.iter().for_each(|word| world.deliver(word.clone()));
            world.collect_packets();
            world.packets.clear();
        }
        assert_eq!(world.kernels[0].unlink(slots[0], pids[1]), Ok(()));
        let undone = take_words(&mut world);
        assert!(!made.is_empty() && !undone.is_empty());
        if reordered {
            undone.iter().chain(&made).for_each(|word| world.deliver(word.clone()));
            world.collect_packets();
            world.packets.clear();
        }
        assert_eq!(world.kernels[1].link(slots[1], pids[0]), Ok(()));
        world.deliver_all();
        undone.iter().for_each(|word| world.deliver(word.clone()));
        world.deliver_all();
        world.end_with(one, TRAPPED.to_bits());
        world.deliver_all();
        world.woken();
        assert_eq!(world.killed, [pids[1]], "heard: {heard}, reordered: {reordered}");
    }
}

/// It is said anew, and that the first word was heard comes when the second one has not been.
#[test]
fn who_makes_a_link_twice_is_linked_all_the_time() {
    let mut world = World::new(2);
    let [one, two] = [0, 1].map(|core| world.add(core, Form::Fiber));
    let (slot, of) = (world.body(one).slot, world.pid(two));
    assert_eq!(world.kernels[0].link(slot, of), Ok(()));
    take_words(&mut world).into_iter().for_each(|word| world.deliver(word));
    world.collect_packets();
    let got: Vec<Packet> = world.packets.drain(..).collect();
    assert_eq!(world.kernels[0].link(slot, of), Ok(()));
    take_words(&mut world);
    got.into_iter().for_each(|word| world.deliver(word));
    world.deliver_all();
    world.end_with(one, TRAPPED.to_bits());
    world.deliver_all();
    world.woken();
    assert_eq!(world.killed, [of]);
}

#[test]
fn the_dead_are_told_of_at_once_and_before_messages() {
    let mut world = World::new(1);
    let [watcher, other] = [0; 2].map(|core| world.add(core, Form::Fiber));
    let nobody = Pid::new(77, 77);
    let slot = world.body(watcher).slot;
    world.send(other, world.pid(watcher), b"message").expect("it waits");
    world.kernels[0].monitor(slot, nobody).expect("it may");
    world.deliver_all();
    assert_eq!(world.receive(watcher, Some(world.pid(other)), 100), Ok(7));
    assert_eq!(world.receive(watcher, Some(nobody), 100), Ok(0));
    assert_eq!(ended(&mut world, watcher), (nobody, Some(EndReason::NoProcess)));
    // One that waits already goes on.
    let of = world.pid(other);
    world.kernels[0].monitor(slot, of).expect("it may");
    assert_eq!(world.receive(watcher, None, 0), Err(Status::Wait));
    world.end(other);
    assert_eq!(world.woken(), [(world.pid(watcher), false)]);
    assert_eq!(world.wait(watcher), Some(Ok(0)));
    assert_eq!(ended(&mut world, watcher), (of, Some(EndReason::Exited(0))));
}

#[test]
fn a_handler_is_called_with_the_word() {
    let mut world = World::new(1);
    let handler = world.add(0, Form::Handler);
    let other = world.add(0, Form::Fiber);
    let (slot, of) = (world.body(handler).slot, world.pid(other));
    world.kernels[0].monitor(slot, of).expect("it may");
    world.end_with(other, TRAPPED.to_bits());
    assert_eq!(world.woken(), [(world.pid(handler), true)]);
    let called = world.kernels[0].next_call(slot, &mut [0; 64]).expect("there is a word");
    assert_eq!((called.from, called.kind), (of, Kind::Ended));
    assert_eq!(called.transaction, TRAPPED.to_bits());
    world.kernels[0].finish_call(slot, Outcome::Replied(b"?"));
    assert_eq!(world.kernels[0].next_call(slot, &mut [0; 64]), None);
    assert!(world.kernels[0].is_quiet());
}

#[test]
fn a_parent_ends_its_children_and_nobody_elses() {
    for core in 0..2 {
        let mut world = World::new(2);
        let [parent, stranger] = [0; 2].map(|core| world.add(core, Form::Fiber));
        let child = world.add_child(core, Form::Fiber, parent);
        let pid = world.pid(child);
        let [parent, stranger] = [parent, stranger].map(|id| world.body(id).slot);
        let refused = world.kernels[0].end(stranger, pid);
        assert_eq!(refused, if core == 0 { Err(Status::NotPermitted) } else { Ok(()) });
        world.deliver_all();
        world.woken();
        assert_eq!(world.killed, []);
        world.carry(child, 1);
        assert_eq!(world.kernels[0].end(parent, pid), Ok(()));
        world.deliver_all();
        world.woken();
        assert_eq!(world.killed, [pid]);
    }
}

#[test]
fn watches_have_a_limit() {
    let mut world = World::new(1);
    let watcher = world.add(0, Form::Fiber);
    let slot = world.body(watcher).slot;
    for number in 0..WATCHES_MAX as u64 {
        world.kernels[0].monitor(slot, Pid::new(9, number)).expect("there is room");
    }
    assert_eq!(world.kernels[0].monitor(slot, Pid::new(9, 1 << 40)), Err(Status::TooMany));
    // They have all ended: the words take the room until they are received.
    world.deliver_all();
    assert_eq!(world.kernels[0].monitor(slot, Pid::new(9, 1 << 40)), Err(Status::TooMany));
    assert_eq!(world.receive(watcher, None, 0), Ok(0));
    assert_eq!(world.kernels[0].monitor(slot, Pid::new(9, 1 << 40)), Ok(()));
}
