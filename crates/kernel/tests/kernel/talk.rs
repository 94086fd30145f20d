//! Send, receive, reply between processes of one kernel and of two.

use peripatos_abi::Pid;
use peripatos_abi::message::{Envelope, Kind, MESSAGE_BYTES_MAX, Status};
use peripatos_kernel::{Form, Packet, Place, Sent, State};

use crate::world::{Id, World, place};

/// A client and a server, on one core or on two.
fn pair(cores: usize) -> (World, Id, Id) {
    let mut world = World::new(cores);
    let client = world.add(0, Form::Fiber);
    let server = world.add(cores - 1, Form::Fiber);
    (world, client, server)
}

fn state(world: &mut World, id: Id) -> State {
    let (core, slot) = (world.body(id).core, world.body(id).slot);
    world.kernels[core].state(slot).expect("it lives")
}

/// The client sends; the server takes it, before or after; it replies.
#[test]
fn a_message_is_replied_to() {
    for cores in [1, 2] {
        for server_first in [true, false] {
            for len in [0, 32, 5_000, MESSAGE_BYTES_MAX] {
                let (mut world, client, server) = pair(cores);
                let question: Vec<u8> = (0..len).map(|at| at as u8).collect();
                let to = world.pid(server);
                if server_first {
                    assert_eq!(world.receive(server, None, 65_536), Err(Status::Wait));
                    assert_eq!(world.wait(server), None);
                    assert_eq!(state(&mut world, server), State::ReceiveBlocked);
                }
                assert_eq!(world.send(client, to, &question), Ok(Sent::Waits));
                assert_eq!(world.wait(client), None);
                world.deliver_all();
                let got = if server_first {
                    assert_eq!(world.woken(), [(to, false)]);
                    world.wait(server).unwrap()
                } else {
                    world.receive(server, None, 65_536)
                };
                assert_eq!(got, Ok(len as u32));
                assert!(world.message(server, len as u32) == question);
                assert_eq!(world.sender(server), (world.pid(client), 1));
                assert_eq!(state(&mut world, client), State::ReplyBlocked(to));
                world.reply(server, b"answer").unwrap();
                assert_eq!(world.reply(server, b"again"), Err(Status::NotWaiting));
                world.deliver_all();
                assert_eq!(world.woken(), [(world.pid(client), false)]);
                assert_eq!(world.wait(client), Some(Ok(6)));
                assert_eq!(world.answer(client, 6), b"answer");
                assert_eq!(world.wait(client), Some(Err(Status::NotNow)));
            }
        }
    }
}

#[test]
fn one_can_be_received_from_alone() {
    let mut world = World::new(1);
    let [server, one, two] = [(); 3].map(|()| world.add(0, Form::Fiber));
    let to = world.pid(server);
    let (first, second) = (world.pid(one), world.pid(two));
    assert_eq!(world.receive(server, Some(second), 100), Err(Status::Wait));
    world.send(one, to, b"one").unwrap();
    assert_eq!(world.wait(server), None);
    world.send(two, to, b"two").unwrap();
    assert_eq!(world.wait(server), Some(Ok(3)));
    assert_eq!(world.sender(server).0, second);
    assert_eq!(world.receive(server, None, 100), Ok(3));
    assert_eq!(world.sender(server).0, first);
}

#[test]
fn what_does_not_fit_stays_or_is_told() {
    let (mut world, client, server) = pair(1);
    let to = world.pid(server);
    let long = vec![0; MESSAGE_BYTES_MAX + 1];
    assert_eq!(world.send(client, to, &long), Err(Status::TooLong));
    world.send_with(client, to, b"12345", 3).unwrap();
    assert_eq!(world.receive(server, None, 4), Err(Status::TooLong));
    assert_eq!(world.receive(server, None, 5), Ok(5));
    world.reply(server, b"1234").unwrap();
    assert_eq!(world.wait(client), Some(Err(Status::TooLong)));
    // A receiver that waits with too little room is passed by, and finds it when it asks again.
    assert_eq!(world.receive(server, None, 2), Err(Status::Wait));
    world.send(client, to, b"123").unwrap();
    assert_eq!(world.wait(server), Some(Err(Status::TooLong)));
    assert_eq!(world.receive(server, None, 3), Ok(3));
}

#[test]
fn who_waits_for_the_dead_is_told() {
    for cores in [1, 2] {
        for received in [true, false] {
            let (mut world, client, server) = pair(cores);
            let to = world.pid(server);
            world.send(client, to, b"?").unwrap();
            world.deliver_all();
            if received {
                world.receive(server, None, 10).unwrap();
            }
            world.end(server);
            world.deliver_all();
            assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
            // It looks the same as one who never was.
            for nobody in [to, Pid::new(99, 99)] {
                world.send(client, nobody, b"?").unwrap();
                world.deliver_all();
                assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
            }
        }
    }
}

#[test]
fn a_reply_to_the_dead_is_refused() {
    let (mut world, client, server) = pair(1);
    let to = world.pid(server);
    world.send(client, to, b"?").unwrap();
    world.receive(server, None, 10).unwrap();
    world.end(client);
    assert_eq!(world.reply(server, b"!"), Err(Status::NotWaiting));
}

#[test]
fn circles_are_found() {
    let mut world = World::new(1);
    let ids = [(); 3].map(|()| world.add(0, Form::Fiber));
    let pids = ids.map(|id| world.pid(id));
    assert_eq!(world.send(ids[0], pids[0], b""), Err(Status::Deadlock));
    world.send(ids[0], pids[1], b"").unwrap();
    world.send(ids[1], pids[2], b"").unwrap();
    assert_eq!(world.send(ids[2], pids[0], b""), Err(Status::Deadlock));
    // The one who was refused can make good for it.
    world.receive(ids[2], None, 10).unwrap();
    world.reply(ids[2], b"").unwrap();
    assert_eq!(world.wait(ids[1]), Some(Ok(0)));
}

#[test]
fn a_message_is_handed_on() {
    let mut world = World::new(1);
    let [client, front, back] = [(); 3].map(|()| world.add(0, Form::Fiber));
    let (to, behind) = (world.pid(front), world.pid(back));
    world.send(client, to, b"question").unwrap();
    world.receive(front, None, 100).unwrap();
    let next = Some(world.body(back).slot);
    assert_eq!(world.forward(front, behind, b"changed"), Ok(next), "it is here");
    assert_eq!(world.reply(front, b""), Err(Status::NotWaiting));
    assert_eq!(world.receive(back, None, 100), Ok(7));
    assert_eq!(world.sender(back), (world.pid(client), 1));
    world.end(front);
    world.reply(back, b"done").unwrap();
    assert_eq!(world.wait(client), Some(Ok(4)));
}

/// Who has sent is who sends it again: to hand it on is a call to another core, wherever the next one is.
#[test]
fn what_came_from_another_core_is_handed_on_there() {
    let mut world = World::new(2);
    let [client, front, back] = [0, 1, 1].map(|core| world.add(core, Form::Fiber));
    let (to, behind) = (world.pid(front), world.pid(back));
    world.send(client, to, b"question").unwrap();
    world.deliver_all();
    world.receive(front, None, 100).unwrap();
    assert_eq!(world.forward(front, behind, b"changed"), Ok(None));
    world.collect_packets();
    let calls = world.packets.iter().filter(|packet| packet.body.is_call()).count();
    assert_eq!(calls, 1);
    world.deliver_all();
    assert_eq!(world.receive(back, None, 100), Ok(7));
    world.reply(back, b"done").unwrap();
    world.collect_packets();
    assert!(!world.packets.iter().any(|packet| packet.body.is_call()), "a reply is none");
    world.deliver_all();
    assert_eq!(world.wait(client), Some(Ok(4)));
}

#[test]
fn bits_are_gathered_and_come_first() {
    for cores in [1, 2] {
        let (mut world, one, two) = pair(cores);
        let to = world.pid(two);
        world.notify(one, to, 0b001);
        world.notify(one, to, 0b100);
        world.send(one, to, b"m").unwrap();
        world.deliver_all();
        assert_eq!(world.receive(two, None, 10), Ok(0));
        assert_eq!(world.sender(two), (Pid::from_bits(0), 0b101));
        assert_eq!(world.receive(two, None, 10), Ok(1));
        world.reply(two, b"").unwrap();
        assert_eq!(world.receive(two, None, 10), Err(Status::Wait));
        world.deliver_all();
        world.wait(one).unwrap().unwrap();
        world.notify(one, to, 2);
        world.deliver_all();
        assert_eq!(world.wait(two), Some(Ok(0)));
    }
}

#[test]
fn a_packet_that_comes_twice_acts_once() {
    let (mut world, client, server) = pair(2);
    let to = world.pid(server);
    world.send(client, to, b"?").unwrap();
    world.collect_packets();
    let sent = world.packets.pop_front().unwrap();
    for _ in 0..3 {
        world.deliver(sent.clone());
    }
    assert_eq!(world.receive(server, None, 10), Ok(1));
    assert_eq!(world.receive(server, None, 10), Err(Status::Wait));
    world.reply(server, b"!").unwrap();
    world.collect_packets();
    // Before it the kernel has said twice that it has the message.
    let reply = world.packets.pop_back().unwrap();
    world.packets.clear();
    // The reply is lost; the question comes again, and is answered again.
    world.deliver(sent);
    world.collect_packets();
    assert_eq!(world.packets.pop_front(), Some(reply.clone()));
    world.deliver(reply.clone());
    assert_eq!(world.wait(client), Some(Ok(1)));
    world.deliver(reply);
    assert_eq!(world.wait(client), Some(Err(Status::NotNow)));
}

/// The host knows on which core the server is. Nobody need say that the message has come, or ask after it.
#[test]
fn a_message_that_is_aimed_takes_two_packets() {
    for aims in [true, false] {
        let (mut world, client, server) = pair(2);
        world.aims = aims;
        let to = world.pid(server);
        world.send(client, to, b"?").unwrap();
        world.collect_packets();
        assert_eq!(world.packets[0].target, aims.then(|| place(1)));
        let sent = world.packets.pop_front().unwrap();
        world.deliver(sent);
        world.collect_packets();
        assert_eq!(world.packets.len(), usize::from(!aims), "the kernel says that it has come");
        world.deliver_all();
        assert_eq!(world.receive(server, None, 10), Ok(1));
        // Long after it would have been said again.
        world.kernels[0].tick(10_000_000_000);
        world.collect_packets();
        assert!(world.packets.is_empty());
        world.reply(server, b"!").unwrap();
        world.collect_packets();
        assert_eq!(world.packets.len(), 1);
        world.deliver_all();
        assert_eq!(world.wait(client), Some(Ok(1)));
    }
}

/// It goes after whoever has gone on meanwhile, is aimed at no other kernel but of this node, and only the first time.
#[test]
fn a_message_that_is_aimed_finds_whoever_goes_on() {
    let mut world = World::new(3);
    world.aims = true;
    let (client, server) = (world.add(0, Form::Fiber), world.add(1, Form::Fiber));
    let to = world.pid(server);
    world.send(client, to, b"?").unwrap();
    world.collect_packets();
    world.carry(server, 2);
    world.deliver_all();
    assert_eq!(world.receive(server, None, 10), Ok(1));
    world.reply(server, b"!").unwrap();
    world.deliver_all();
    assert_eq!(world.wait(client), Some(Ok(1)));

    world.send(client, world.pid(server), b"?").unwrap();
    let mut packet = world.kernels[0].next_packet().unwrap();
    packet.target = None;
    let elsewhere = Place { node: 2, core: 1 };
    world.kernels[0].aim(&mut packet, |_| Some(elsewhere));
    assert_eq!(packet.target, None);
    world.kernels[1].aim(&mut packet, |_| panic!("it is not from there"));
}

#[test]
fn pointers_out_of_the_memory_are_refused() {
    let (mut world, client, server) = pair(1);
    let (slot, kernel) = (world.body(client).slot, 0);
    let memory = vec![0_u8; 1000];
    let far = memory.len() as u32;
    let mut check = |to, message, reply| {
        world.kernels[kernel].send(slot, &memory, to, message, reply).unwrap_err()
    };
    assert_eq!(check(far - 15, (0, 0), (0, 0)), Status::BadAddress);
    assert_eq!(check(u32::MAX, (0, 0), (0, 0)), Status::BadAddress);
    assert_eq!(check(0, (far, 1), (0, 0)), Status::BadAddress);
    assert_eq!(check(0, (u32::MAX, 2), (0, 0)), Status::BadAddress);
    assert_eq!(check(0, (0, 0), (1, far)), Status::BadAddress);
    assert_eq!(world.receive(server, None, 140_000), Err(Status::BadAddress));
}

/// What a server has answered outlives it: the answer is lost, the server ends, and the client asks again.
#[test]
fn an_answer_is_given_again_when_its_server_has_ended() {
    for moves in [false, true] {
        let mut world = World::new(3);
        let (client, server) = (world.add(0, Form::Fiber), world.add(1, Form::Fiber));
        assert_eq!(world.receive(server, None, 64), Err(Status::Wait));
        let to = world.pid(server);
        world.send(client, to, b"?").unwrap();
        world.collect_packets();
        let again = Packet { target: None, ..world.packets.front().unwrap().clone() };
        world.deliver_all();
        assert_eq!(world.wait(server), Some(Ok(1)));
        world.reply(server, b"!").unwrap();
        world.collect_packets();
        world.packets.clear();
        if moves {
            world.carry(server, 2);
            world.collect_packets();
            world.packets.clear();
        }
        world.end(server);
        let unknown = world.kernels[0].nobody(again.clone(), false);
        assert_eq!(unknown, Some(again.clone()), "another kernel may know");
        world.deliver(again.clone());
        world.deliver_all();
        assert_eq!(world.wait(client), Some(Ok(1)));
        assert_eq!(world.answer(client, 1), b"!");
        // Of another send nothing is known, but that there is nobody any more.
        world.send(client, to, b"?").unwrap();
        world.deliver_all();
        assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
    }
}

/// What goes with a process to another kernel is counted, and goes.
#[test]
fn who_is_sent_to_by_many_has_them_with_him() {
    let mut world = World::new(3);
    let server = world.add(0, Form::Fiber);
    let luggage = |world: &mut World| {
        let slot = world.body(server).slot;
        (world.kernels[0].luggage(slot), world.kernels[0].is_waited_for(slot))
    };
    assert_eq!(luggage(&mut world), (0, false));
    let to = world.pid(server);
    let clients: Vec<Id> = (0..20).map(|number| world.add(number % 2, Form::Fiber)).collect();
    for client in &clients {
        world.send(*client, to, b"?").unwrap();
    }
    world.deliver_all();
    // All wait in its queue, and ten of them are another kernel's.
    assert_eq!(luggage(&mut world), (30, true));
    let stranger = world.add(1, Form::Fiber);
    let (slot, other) = (world.body(stranger).slot, world.add(1, Form::Fiber));
    assert_eq!(world.kernels[1].luggage(slot), 0, "of others it has nothing");
    world.carry(server, 2);
    world.deliver_all();
    for _ in &clients {
        assert_eq!(world.receive(server, None, 64), Ok(1));
        world.reply(server, b"!").unwrap();
        world.deliver_all();
    }
    assert!(clients.iter().all(|client| world.wait(*client) == Some(Ok(1))));
    world.carry(other, 2);
}

/// A server makes up the envelope of a message that waits for it, from another core or its own. If it could reply to that, its kernel would
/// count one who waits for it less, and tell nobody when it ends.
#[test]
fn nobody_replies_to_what_it_has_not_received() {
    for (far, moves) in [(0, false), (1, false), (1, true)] {
        let mut world = World::new(3);
        let server = world.add(0, Form::Fiber);
        let (queued, served) = (world.add(far, Form::Fiber), world.add(0, Form::Fiber));
        let to = world.pid(server);
        world.send(queued, to, b"waits").unwrap();
        world.deliver_all();
        world.send(served, to, b"is taken").unwrap();
        assert_eq!(world.receive(server, Some(world.pid(served)), 64), Ok(8));
        let core = if moves { 2 } else { 0 };
        if moves {
            world.carry(server, core);
            world.deliver_all();
        }
        let (from, transaction) = (world.pid(queued), 1);
        world.keep(server, Envelope { from, transaction, len: 5, kind: Kind::Message });
        assert_eq!(world.reply(server, b"lie"), Err(Status::NotWaiting));
        world.end(server);
        world.deliver_all();
        for client in [queued, served] {
            assert_eq!(world.wait(client), Some(Err(Status::NoProcess)), "{far} {moves}");
        }
    }
}
