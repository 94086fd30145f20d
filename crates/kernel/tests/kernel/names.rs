//! A process is told that it has lost a name, as it is of a message.

use peripatos_abi::Pid;
use peripatos_abi::message::{Envelope, Kind, NAMES_MAX, Status};
use peripatos_kernel::{Form, Outcome};

use crate::world::{ENVELOPE, Id, MESSAGE, World};

const OWNER: Pid = Pid::new(1, 9);

/// What a process received: who has the name, and the name's length.
fn told(world: &mut World, id: Id) -> (Pid, u32) {
    let bytes = &world.body(id).memory[ENVELOPE as usize..][..Envelope::BYTES];
    assert_eq!(bytes[28..], (Kind::NameLost as u32).to_le_bytes());
    let len = u32::from_le_bytes(bytes[24..28].try_into().expect("four bytes"));
    (Envelope::sender(bytes.first_chunk().expect("it is as long")).0, len)
}

#[test]
fn who_waits_or_comes_to_it_receives_the_name() {
    for waits in [true, false] {
        let mut world = World::new(1);
        let id = world.add(0, Form::Fiber);
        let slot = world.body(id).slot;
        if waits {
            assert_eq!(world.receive(id, None, 64), Err(Status::Wait));
        }
        assert!(world.kernels[0].name_lost(slot, b"n1", OWNER));
        let received = if waits {
            assert_eq!(world.woken(), [(world.pid(id), false)]);
            world.wait(id).expect("it is there")
        } else {
            assert_eq!(world.kernels[0].names_lost(slot), 1);
            world.receive(id, None, 64)
        };
        assert_eq!(received, Ok(2));
        assert_eq!(told(&mut world, id), (OWNER, 2));
        assert_eq!(world.body(id).memory[MESSAGE as usize..][..2], *b"n1");
        assert_eq!(world.receive(id, None, 64), Err(Status::Wait));
    }
}

#[test]
fn who_receives_from_one_alone_is_told_later() {
    let mut world = World::new(1);
    let [id, other] = [0; 2].map(|core| world.add(core, Form::Fiber));
    let (slot, from) = (world.body(id).slot, world.pid(other));
    assert_eq!(world.receive(id, Some(from), 64), Err(Status::Wait));
    assert!(world.kernels[0].name_lost(slot, b"n", OWNER));
    assert_eq!(world.woken(), []);
    assert!(world.kernels[0].time_out(slot));
    assert_eq!(world.wait(id), Some(Err(Status::TimedOut)));
    // Without room the word stays.
    assert_eq!(world.receive(id, None, 0), Err(Status::TooLong));
    assert_eq!(told(&mut world, id), (OWNER, 1));
    assert_eq!(world.receive(id, None, 64), Ok(1));
}

#[test]
fn it_goes_with_the_process() {
    let mut world = World::new(2);
    let id = world.add(0, Form::Fiber);
    let slot = world.body(id).slot;
    assert!(world.kernels[0].name_lost(slot, b"n", OWNER));
    world.carry(id, 1);
    assert_eq!(world.receive(id, None, 64), Ok(1));
    assert_eq!(told(&mut world, id), (OWNER, 1));
}

#[test]
fn a_handler_is_called_with_the_word() {
    let mut world = World::new(1);
    let handler = world.add(0, Form::Handler);
    let slot = world.body(handler).slot;
    let kernel = &mut world.kernels[0];
    assert!(kernel.name_lost(slot, b"name", OWNER) && kernel.name_lost(slot, b"n", OWNER));
    let mut buffer = [0; 64];
    let called = kernel.next_call(slot, &mut buffer).expect("there is a word");
    assert_eq!((called.from, called.kind, called.len), (OWNER, Kind::NameLost, 4));
    assert_eq!(buffer[..4], *b"name");
    kernel.finish_call(slot, Outcome::Replied(b"?"));
    // Without room it is told that it has lost one.
    kernel.set_room(slot, 0);
    let called = kernel.next_call(slot, &mut buffer).expect("there is another one");
    assert_eq!((called.kind, called.len), (Kind::NameLost, 0));
    kernel.finish_call(slot, Outcome::Replied(b""));
    assert_eq!(kernel.next_call(slot, &mut buffer), None);
}

#[test]
fn such_words_have_a_limit() {
    let mut world = World::new(1);
    let id = world.add(0, Form::Fiber);
    let slot = world.body(id).slot;
    let kernel = &mut world.kernels[0];
    assert!((0..NAMES_MAX).all(|_| kernel.name_lost(slot, b"n", OWNER)));
    assert!(!kernel.name_lost(slot, b"n", OWNER));
}
