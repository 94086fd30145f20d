//! Handlers: called on the sender's stack where that can be, later where not.

use peripatos_abi::message::{Envelope, Kind, MESSAGE_BYTES_MAX, Status};
use peripatos_kernel::{Form, Outcome, Sent, Slot, State};

use crate::world::{Id, World};

fn called(sent: Result<Sent, Status>) -> Slot {
    match sent {
        Ok(Sent::Call(called)) => called,
        other => panic!("{other:?}"),
    }
}

fn next(world: &mut World, id: Id) -> Option<(Slot, Vec<u8>)> {
    let (core, slot) = (world.body(id).core, world.body(id).slot);
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let envelope = world.kernels[core].next_call(slot, &mut buffer)?;
    buffer.truncate(envelope.len as usize);
    Some((slot, buffer))
}

fn pair() -> (World, Id, Id) {
    let mut world = World::new(1);
    let client = world.add(0, Form::Fiber);
    let server = world.add(0, Form::Handler);
    (world, client, server)
}

#[test]
fn a_call_is_answered_at_once() {
    let (mut world, client, server) = pair();
    let to = world.pid(server);
    for number in 1..4 {
        let called = called(world.send(client, to, b"?"));
        let slot = world.body(server).slot;
        assert_eq!(called, slot);
        let envelope = world.kernels[0].envelope(slot, 1);
        assert_eq!((envelope.from, envelope.transaction), (world.pid(client), number));
        assert_eq!(world.kernels[0].state(slot), Some(State::Ready));
        assert_eq!(world.end_call(client, called, Outcome::Replied(b"yes")), Ok(3));
        assert_eq!(world.answer(client, 3), b"yes");
        assert_eq!(world.kernels[0].state(slot), Some(State::ReceiveBlocked));
        assert_eq!(world.wait(client), Some(Err(Status::NotNow)));
    }
}

#[test]
fn one_that_serves_is_called_later() {
    let (mut world, client, server) = pair();
    let other = world.add(0, Form::Fiber);
    let to = world.pid(server);
    let first = called(world.send(client, to, b"first"));
    assert_eq!(world.end_call(client, first, Outcome::Parked), Err(Status::Wait));
    assert_eq!(world.send(other, to, b"second"), Ok(Sent::Waits));
    assert_eq!(world.woken(), []);
    assert!(next(&mut world, server).is_none(), "it serves");
    let slot = world.body(server).slot;
    world.kernels[0].resumed(slot, Outcome::Replied(b"late"));
    assert_eq!(world.woken(), [(world.pid(client), false), (to, true)]);
    assert_eq!(world.wait(client), Some(Ok(4)));
    let (second, message) = next(&mut world, server).unwrap();
    assert_eq!(message, b"second");
    world.kernels[0].finish_call(second, Outcome::Replied(b"2"));
    assert_eq!(world.wait(other), Some(Ok(1)));
    // Free again: on the stack.
    called(world.send(client, to, b"third"));
}

#[test]
fn one_that_ends_takes_nobody_along() {
    let (mut world, client, server) = pair();
    let other = world.add(0, Form::Fiber);
    let to = world.pid(server);
    let first = called(world.send(client, to, b"?"));
    // Meanwhile somebody else sends, as a call in the call would.
    assert_eq!(world.send(other, to, b"?"), Ok(Sent::Waits));
    assert_eq!(world.end_call(client, first, Outcome::Ended), Err(Status::NoProcess));
    world.end(server);
    assert_eq!(world.wait(other), Some(Err(Status::NoProcess)));
    assert_eq!(world.wait(client), Some(Err(Status::NotNow)));
}

#[test]
fn one_that_ends_parked_tells_its_caller() {
    let (mut world, client, server) = pair();
    let to = world.pid(server);
    let call = called(world.send(client, to, b"?"));
    let _ = world.end_call(client, call, Outcome::Parked);
    world.end(server);
    assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
}

#[test]
fn calls_are_nested_so_deep_and_no_deeper() {
    let mut world = World::new(1);
    let client = world.add(0, Form::Fiber);
    let servers: Vec<Id> = (0..10).map(|_| world.add(0, Form::Handler)).collect();
    let mut stack = Vec::new();
    let mut from = client;
    let deepest = loop {
        let to = world.pid(servers[stack.len()]);
        match world.send(from, to, b"?") {
            Ok(Sent::Call(called)) => {
                let sender = from;
                from = servers[stack.len()];
                stack.push((sender, called));
            }
            other => break other,
        }
    };
    assert_eq!((stack.len(), deepest), (8, Ok(Sent::Waits)));
    // The one that is too deep is called from elsewhere; those above it are parked, last in first out.
    for (sender, called) in stack.iter().rev() {
        assert_eq!(world.end_call(*sender, *called, Outcome::Parked), Err(Status::Wait));
    }
    let (last, _) = next(&mut world, servers[8]).unwrap();
    world.kernels[0].finish_call(last, Outcome::Replied(b"!"));
    for server in servers[..8].iter().rev() {
        assert_eq!(world.wait(*server), Some(Ok(1)));
        let slot = world.body(*server).slot;
        world.kernels[0].resumed(slot, Outcome::Replied(b"!"));
    }
    assert_eq!(world.wait(client), Some(Ok(1)));
}

#[test]
fn a_caller_is_not_called_back() {
    let (mut world, client, server) = pair();
    let (to, back) = (world.pid(server), world.pid(client));
    let _call = called(world.send(client, to, b"?"));
    assert_eq!(world.send(server, back, b"?"), Err(Status::Deadlock));
    assert_eq!(world.send(server, to, b"?"), Err(Status::Deadlock));
}

#[test]
fn a_call_from_another_core_is_made_here() {
    let mut world = World::new(2);
    let client = world.add(0, Form::Fiber);
    let server = world.add(1, Form::Handler);
    let to = world.pid(server);
    assert_eq!(world.send(client, to, b"far"), Ok(Sent::Waits));
    world.deliver_all();
    assert_eq!(world.woken(), [(to, true)]);
    let (call, message) = next(&mut world, server).unwrap();
    assert_eq!(message, b"far");
    world.kernels[1].finish_call(call, Outcome::Replied(b"near"));
    world.deliver_all();
    assert_eq!(world.wait(client), Some(Ok(4)));
    assert_eq!(world.answer(client, 4), b"near");
}

#[test]
fn a_handler_that_replies_later_is_free_meanwhile() {
    let (mut world, client, server) = pair();
    let (other, to) = (world.add(0, Form::Fiber), world.pid(server));
    let first = called(world.send(client, to, b"1"));
    assert_eq!(world.end_call(client, first, Outcome::Later), Err(Status::Wait));
    let second = called(world.send(other, to, b"2"));
    assert_eq!(world.end_call(other, second, Outcome::Replied(b"at once")), Ok(7));
    assert_eq!(world.wait(client), None);
    let envelope =
        Envelope { from: world.pid(client), transaction: 1, len: 1, kind: Kind::Message };
    world.keep(server, envelope);
    world.reply(server, b"late").expect("it waits");
    assert_eq!(world.wait(client), Some(Ok(4)));
    assert_eq!(world.reply(server, b"again"), Err(Status::NotWaiting));
    // One that ends in debt: whoever waits is told.
    let third = called(world.send(client, to, b"3"));
    assert_eq!(world.end_call(client, third, Outcome::Later), Err(Status::Wait));
    world.end(server);
    assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
}

/// A handler owes one client a reply while it serves others: who is owed is neither forgotten when the handler moves nor when
/// it ends.
#[test]
fn who_is_owed_a_reply_is_not_forgotten_over_others() {
    for ends in [false, true] {
        let mut world = World::new(3);
        let (owed, far) = (world.add(0, Form::Fiber), world.add(1, Form::Fiber));
        let handler = world.add(0, Form::Handler);
        let to = world.pid(handler);
        let slots = (world.body(owed).slot, world.body(handler).slot);
        assert!(matches!(world.send(owed, to, b"?"), Ok(Sent::Call { .. })));
        let later = world.kernels[0].end_call(slots.0, slots.1, Outcome::Later, &mut []);
        assert_eq!(later, Err(Status::Wait));
        // Another one's call, from another core, is answered in between.
        world.send(far, to, b"?").unwrap();
        world.deliver_all();
        world.kernels[0].next_call(slots.1, &mut [0; 64]).expect("its message");
        world.kernels[0].finish_call(slots.1, Outcome::Replied(b"!"));
        world.deliver_all();
        assert_eq!(world.wait(far), Some(Ok(1)));
        assert!(world.kernels[0].is_waited_for(slots.1));
        if ends {
            world.end(handler);
            assert_eq!(world.wait(owed), Some(Err(Status::NoProcess)));
            continue;
        }
        world.carry(handler, 2);
        world.deliver_all();
        let (from, transaction) = (world.pid(owed), 1);
        world.keep(handler, Envelope { from, transaction, len: 1, kind: Kind::Message });
        world.reply(handler, b"!").unwrap();
        world.deliver_all();
        assert_eq!(world.wait(owed), Some(Ok(1)));
    }
}
