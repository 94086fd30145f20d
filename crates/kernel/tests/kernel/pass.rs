//! Messages that are passed: taken out of the memory of a sender that stands in its send.

use peripatos_abi::message::{PID_BYTES, Status};
use peripatos_kernel::{Form, Sent, Woken};

use crate::world::{ENVELOPE, Id, World};

const ROOM: u32 = 65_536;

/// A client, and a server that waits for messages of up to so many bytes, of anybody.
fn waiting(room: u32) -> (World, Id, Id) {
    let mut world = World::new(2);
    let (client, server) = (world.add(0, Form::Fiber), world.add(0, Form::Fiber));
    assert_eq!(world.receive(server, None, room), Err(Status::Wait));
    (world, client, server)
}

fn pass(world: &mut World, client: Id, server: Id, message: &[u8], room: u32) {
    let (to, slot) = (world.pid(server), world.body(server).slot);
    assert_eq!(world.send_or_pass(client, to, message, room), Ok(Sent::Pass(slot)));
}

#[test]
fn message_and_reply_go_from_memory_to_memory() {
    for len in [0, 5, 100, 65_536] {
        let (mut world, client, server) = waiting(ROOM);
        let message: Vec<u8> = (0..len).map(|at| at as u8).collect();
        pass(&mut world, client, server, &message, ROOM);
        assert_eq!(world.wait(server), None, "not without the sender's memory");
        assert_eq!(world.take_passed(server, client), Some(Ok(len)));
        assert_eq!(world.message(server, len), message);
        let reply: Vec<u8> = message.iter().map(|byte| !byte).collect();
        assert_eq!(world.reply_beneath(server, client, &reply), Some(()));
        assert_eq!(world.reply_beneath(server, client, &reply), None, "it has one");
        assert_eq!(world.end_pass(server, client), Some(len));
        assert!(world.kernels[0].is_quiet(), "nobody is to be woken");
        assert_eq!(world.answer(client, len), reply);
        assert_eq!(world.wait(client), Some(Err(Status::NotNow)));
    }
}

#[test]
fn what_is_not_taken_is_kept() {
    let (mut world, client, server) = waiting(100);
    pass(&mut world, client, server, b"later", ROOM);
    assert_eq!(world.end_pass(server, client), None);
    let slot = world.body(server).slot;
    assert_eq!(world.kernels[0].next_woken(), Some(Woken::Process(slot)));
    assert_eq!(world.take_passed(server, client), None, "it lies here by now");
    // Also on another core.
    world.carry(server, 1);
    world.deliver_all();
    assert_eq!(world.wait(server), Some(Ok(5)));
    assert_eq!(world.message(server, 5), b"later");
    assert_eq!(world.reply(server, b"well"), Ok(()));
    world.deliver_all();
    assert_eq!(world.wait(client), Some(Ok(4)));
}

#[test]
fn who_replies_to_what_it_has_not_taken_finds_it_later() {
    let (mut world, client, server) = waiting(100);
    pass(&mut world, client, server, b"first", ROOM);
    assert_eq!(world.take_passed(server, client), Some(Ok(5)));
    assert_eq!(world.reply_beneath(server, client, b"!"), Some(()));
    assert_eq!(world.end_pass(server, client), Some(1));
    assert_eq!(world.receive(server, None, 100), Err(Status::Wait));
    pass(&mut world, client, server, b"second", ROOM);
    // It makes up the envelope of the next one: sends are counted.
    world.body(server).memory[ENVELOPE as usize + PID_BYTES] += 1;
    assert_eq!(world.reply_beneath(server, client, b"?!"), Some(()));
    assert_eq!(world.end_pass(server, client), None);
    assert_eq!(world.wait(client), Some(Ok(2)));
    assert_eq!(world.wait(server), Some(Ok(6)));
    assert_eq!(world.message(server, 6), b"second");
}

#[test]
fn only_who_has_passed_it_is_asked_for_it() {
    let (mut world, client, server) = waiting(100);
    let other = world.add(0, Form::Fiber);
    pass(&mut world, client, server, b"mine", ROOM);
    assert_eq!(world.take_passed(server, other), None);
    assert_eq!(world.take_passed(other, client), None);
    assert_eq!(world.take_passed(server, client), Some(Ok(4)));
    assert_eq!(world.reply_beneath(server, other, b"?"), None);
    assert_eq!(world.reply_beneath(other, client, b"?"), None);
    assert_eq!(world.reply_beneath(server, client, b"!"), Some(()));
}

#[test]
fn a_reply_that_has_no_room_is_the_ordinary_ones_business() {
    let (mut world, client, server) = waiting(100);
    pass(&mut world, client, server, b"?", 3);
    assert_eq!(world.take_passed(server, client), Some(Ok(1)));
    assert_eq!(world.reply_beneath(server, client, b"four"), None);
    assert_eq!(world.reply(server, b"four"), Ok(()));
    assert_eq!(world.wait(client), Some(Err(Status::TooLong)));
}

#[test]
fn nothing_is_passed_to_who_does_not_wait_for_it() {
    let mut world = World::new(1);
    let [client, server, other] = [(); 3].map(|()| world.add(0, Form::Fiber));
    let to = world.pid(server);
    assert_eq!(world.send_or_pass(client, to, b"early", ROOM), Ok(Sent::Waits));
    assert_eq!(world.receive(server, None, 100), Ok(5));
    // Of another one only, or of anybody with too little room.
    let client_pid = world.pid(client);
    assert_eq!(world.receive(server, Some(client_pid), 100), Err(Status::Wait));
    assert_eq!(world.send_or_pass(other, to, b"other", ROOM), Ok(Sent::Waits));
    let (mut world, client, server) = waiting(3);
    let to = world.pid(server);
    assert_eq!(world.send_or_pass(client, to, b"four", ROOM), Ok(Sent::Waits));
    assert_eq!(world.wait(server), Some(Err(Status::TooLong)));
}

#[test]
fn who_ends_before_it_replies_is_told_of() {
    let (mut world, client, server) = waiting(100);
    pass(&mut world, client, server, b"?", ROOM);
    assert_eq!(world.take_passed(server, client), Some(Ok(1)));
    assert_eq!(world.end_pass(server, client), None);
    world.end(server);
    assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
}
