//! What a sender lends is read and written while it waits, wherever both are.

use peripatos_abi::message::{LEASE_READ, LEASE_WRITE, MESSAGE_BYTES_MAX, Status};
use peripatos_kernel::{AccessKind, Body, Form, State};

use crate::world::{Id, World};

const BOTH: u32 = LEASE_READ | LEASE_WRITE;
/// Where what is lent lies, and how long it is.
const LENT: u32 = 136_000;
const LEN: u32 = 3_000;

/// A client that has lent so, and waits, and a server that has its message; on one core or on two.
fn lent(cores: usize, rights: u32) -> (World, Id, Id) {
    let mut world = World::new(cores);
    let client = world.add(0, Form::Fiber);
    let server = world.add(cores - 1, Form::Fiber);
    for (at, byte) in world.body(client).memory[LENT as usize..].iter_mut().enumerate() {
        *byte = at as u8;
    }
    if rights != 0 {
        world.lend(client, (LENT, LEN), rights).expect("nothing is in the way");
    }
    world.send(client, world.pid(server), b"take it").expect("nothing is in the way");
    world.deliver_all();
    world.receive(server, None, 100).expect("nothing is in the way");
    (world, client, server)
}

/// What comes of the server's operation when the client is polled as it is woken.
fn settled(world: &mut World, client: Id, server: Id) -> Result<u32, Status> {
    world.deliver_all();
    if world.woken().contains(&(world.pid(client), false)) {
        assert_eq!(world.wait(client), None, "it waits for the reply");
    }
    world.deliver_all();
    world.wait(server).expect("it is done")
}

#[test]
fn what_was_lent_is_read_and_written() {
    for cores in [1, 2] {
        let (mut world, client, server) = lent(cores, BOTH);
        world.measure_lease(server).unwrap();
        assert_eq!(settled(&mut world, client, server), Ok(LEN));
        for (offset, len, there) in [(0, 3, 3), (5, 100, 100), (2_990, 100, 10), (LEN, 5, 0)] {
            world.read_lease(server, offset, len).unwrap();
            assert_eq!(settled(&mut world, client, server), Ok(there));
            let expected: Vec<u8> = (offset..offset + there).map(|at| at as u8).collect();
            assert_eq!(world.message(server, there), expected);
        }
        world.read_lease(server, u32::MAX, 65_536).unwrap();
        assert_eq!(settled(&mut world, client, server), Ok(0));
        for (offset, there) in [(7, 4), (2_998, 2), (LEN + 1, 0)] {
            world.write_lease(server, offset, b"word").unwrap();
            assert_eq!(settled(&mut world, client, server), Ok(there));
        }
        let memory = &world.body(client).memory[LENT as usize..];
        assert_eq!(&memory[5..12], [5, 6, b'w', b'o', b'r', b'd', 11]);
        let end = (LEN - 2) as usize;
        assert_eq!(&memory[end..end + 4], [b'w', b'o', LEN as u8, (LEN + 1) as u8]);
        world.reply(server, b"done").unwrap();
        world.deliver_all();
        assert_eq!(world.wait(client), Some(Ok(4)));
        // It was lent with that message only.
        world.read_lease(server, 0, 1).unwrap();
        assert_eq!(settled_alone(&mut world, server), Err(Status::NotWaiting));
        world.send(client, world.pid(server), b"another").unwrap();
        world.deliver_all();
        world.receive(server, None, 100).unwrap();
        world.read_lease(server, 0, 1).unwrap();
        assert_eq!(settled(&mut world, client, server), Err(Status::NotPermitted));
    }
}

#[test]
fn what_lies_beneath_is_read_and_written_at_once() {
    let (mut world, client, server) = lent(1, LEASE_READ);
    let read = (AccessKind::Read, 2_990);
    assert_eq!(world.access_beneath(server, client, read, 100), Some(Ok(10)));
    let expected: Vec<u8> = (2_990_u32..LEN).map(|at| at as u8).collect();
    assert_eq!(world.message(server, 10), expected);
    assert_eq!(world.access_beneath(server, client, (AccessKind::Measure, 0), 0), Some(Ok(LEN)));
    let write = (AccessKind::Write, 0);
    let refused = Some(Err(Status::NotPermitted));
    assert_eq!(world.access_beneath(server, client, write, 4), refused);
    // Whoever else is beneath, or calls: not like this.
    let other = world.add(0, Form::Fiber);
    assert_eq!(world.access_beneath(server, other, read, 100), None);
    assert_eq!(world.access_beneath(server, client, read, MESSAGE_BYTES_MAX as u32 + 1), None);
    world.reply(server, b"done").unwrap();
    let over = Some(Err(Status::NotWaiting));
    assert_eq!(world.access_beneath(server, client, read, 100), over);
    world.read_lease(server, 0, 1).unwrap();
    assert_eq!(world.access_beneath(server, client, read, 100), None, "it waits");

    let (mut world, client, server) = lent(1, LEASE_WRITE);
    let at = LENT as usize;
    let before = world.body(client).memory[at..].to_vec();
    assert_eq!(world.access_beneath(server, client, (AccessKind::Write, LEN - 2), 4), Some(Ok(2)));
    let (memory, end) = (&world.body(client).memory[at..], LEN as usize);
    assert_eq!(&memory[end - 2..end], b"ta", "of the message, which lies there");
    assert_eq!((&memory[..end - 2], &memory[end..]), (&before[..end - 2], &before[end..]));
}

/// The same, of one that is answered without its lender.
fn settled_alone(world: &mut World, server: Id) -> Result<u32, Status> {
    world.deliver_all();
    world.wait(server).expect("it is done")
}

#[test]
fn only_what_was_allowed() {
    for cores in [1, 2] {
        for (rights, read, written) in [
            (0, Err(Status::NotPermitted), Err(Status::NotPermitted)),
            (LEASE_READ, Ok(2), Err(Status::NotPermitted)),
            (LEASE_WRITE, Err(Status::NotPermitted), Ok(2)),
        ] {
            let (mut world, client, server) = lent(cores, rights);
            world.read_lease(server, 0, 2).unwrap();
            assert_eq!(settled(&mut world, client, server), read);
            world.write_lease(server, 0, b"no").unwrap();
            assert_eq!(settled(&mut world, client, server), written);
            world.measure_lease(server).unwrap();
            let size = if rights == 0 { Err(Status::NotPermitted) } else { Ok(LEN) };
            assert_eq!(settled(&mut world, client, server), size);
        }
        // Who does not have the message gets nothing, though it knows the envelope.
        let (mut world, client, server) = lent(cores, BOTH);
        let thief = world.add(0, Form::Fiber);
        let (from, transaction) = world.sender(server);
        let envelope = peripatos_abi::message::Envelope {
            from,
            transaction,
            len: 0,
            kind: peripatos_abi::message::Kind::Message,
        };
        world.keep(thief, envelope);
        world.read_lease(thief, 0, 2).unwrap();
        assert_eq!(settled(&mut world, client, thief), Err(Status::NotWaiting));
    }
}

#[test]
fn what_cannot_be_is_told_at_once() {
    let mut world = World::new(1);
    let [client, server] = [(); 2].map(|()| world.add(0, Form::Fiber));
    assert_eq!(world.lend(client, (LENT, 1 << 20), BOTH), Err(Status::BadAddress));
    assert_eq!(world.lend(client, (LENT, LEN), 0), Err(Status::NotPermitted));
    assert_eq!(world.lend(client, (LENT, LEN), 4), Err(Status::NotPermitted));
    // A send that fails at once takes its lease along.
    world.lend(client, (LENT, LEN), BOTH).unwrap();
    assert_eq!(world.send(client, world.pid(client), b""), Err(Status::Deadlock));
    world.send(client, world.pid(server), b"nothing lent").unwrap();
    assert_eq!(world.lend(client, (LENT, LEN), BOTH), Err(Status::NotNow));
    world.receive(server, None, 100).unwrap();
    assert_eq!(world.read_lease(server, 0, MESSAGE_BYTES_MAX as u32 + 1), Err(Status::TooLong));
    world.read_lease(server, 0, 1).unwrap();
    assert_eq!(world.read_lease(server, 0, 1), Err(Status::NotNow));
    assert_eq!(world.wait(server), Some(Err(Status::NotPermitted)));
}

#[test]
fn both_may_go_elsewhere_in_the_middle() {
    // Who moves after which step: the operation is on its way, has come, is done.
    for step in 0..3 {
        for (client_to, server_to) in [(1, 2), (2, 2), (1, 0), (0, 1), (2, 0), (0, 0)] {
            for cores in [1, 2] {
                let (mut world, client, server) = lent(cores, BOTH);
                while world.kernels.len() < 3 {
                    let core = world.kernels.len();
                    world.kernels.push(peripatos_kernel::Kernel::new(crate::world::place(core), 0));
                }
                world.write_lease(server, 1, b"new").unwrap();
                if step > 0 {
                    world.deliver_all();
                }
                if step > 1 {
                    assert_eq!(world.wait(client), None);
                }
                world.carry(client, client_to);
                world.carry(server, server_to);
                let case = (step, client_to, server_to, cores);
                world.deliver_all();
                // It is polled where it goes on.
                assert_eq!(world.wait(client), None, "{case:?}");
                world.deliver_all();
                assert_eq!(world.wait(server), Some(Ok(3)), "{case:?}");
                assert_eq!(&world.body(client).memory[LENT as usize..][..5], b"\0new\x04");
                world.read_lease(server, 0, 4).unwrap();
                world.deliver_all();
                assert_eq!(world.wait(client), None, "{case:?}");
                world.deliver_all();
                assert_eq!(world.wait(server), Some(Ok(4)), "{case:?}");
                assert_eq!(world.message(server, 4), b"\0new");
                world.reply(server, b"done").unwrap();
                world.deliver_all();
                assert_eq!(world.wait(client), Some(Ok(4)), "{case:?}");
            }
        }
    }
}

#[test]
fn whoever_waits_is_told_of_an_end() {
    for cores in [1, 2] {
        for come in [false, true] {
            let (mut world, client, server) = lent(cores, BOTH);
            world.read_lease(server, 0, 5).unwrap();
            if come {
                world.deliver_all();
            }
            world.end(client);
            assert_eq!(settled_alone(&mut world, server), Err(Status::NoProcess));

            let (mut world, client, server) = lent(cores, BOTH);
            world.read_lease(server, 0, 5).unwrap();
            if come {
                world.deliver_all();
            }
            world.end(server);
            world.deliver_all();
            assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
            // And nothing is left of it.
            let other = world.add(0, Form::Fiber);
            world.send(client, world.pid(other), b"next").unwrap();
            assert_eq!(world.wait(client), None);
        }
    }
}

#[test]
fn a_lender_is_no_link_of_a_circle() {
    for cores in [1, 2] {
        let (mut world, client, server) = lent(cores, BOTH);
        world.read_lease(server, 0, 5).unwrap();
        world.deliver_all();
        // The lender waits for the server, and the server for the lender: whoever asks either of them waits in vain for
        // nobody.
        for to in [client, server] {
            let other = world.add(0, Form::Fiber);
            world.send(other, world.pid(to), b"you, too").unwrap();
            world.deliver_all();
        }
        for kernel in &mut world.kernels {
            for second in 1..5 {
                kernel.tick(second * 1_000_000_000);
            }
        }
        assert_eq!(settled(&mut world, client, server), Ok(5));
        let (core, slot) = (world.body(client).core, world.body(client).slot);
        let to = world.pid(server);
        assert_eq!(world.kernels[core].state(slot), Some(State::ReplyBlocked(to)));
    }
}

/// Over a link that loses and repeats, each write is made once.
#[test]
fn lost_and_repeated_operations_are_done_once() {
    use peripatos_kernel::{Kernel, Place};
    for lost in 0..4 {
        let (mut world, client, server) = (World::new(2), 0, 1);
        for (node, kernel) in (1..).zip(&mut world.kernels) {
            *kernel = Kernel::new(Place { node, core: (node - 1) as u32 }, 0);
        }
        world.add(0, Form::Fiber);
        world.add(1, Form::Fiber);
        world.lend(client, (LENT, LEN), BOTH).unwrap();
        world.send(client, world.pid(server), b"take it").unwrap();
        world.deliver_all();
        world.receive(server, None, 100).unwrap();
        world.write_lease(server, 0, b"first").unwrap();
        let (mut now, mut count, mut done) = (0, 0, None);
        while done.is_none() {
            now += 100_000_000;
            for kernel in &mut world.kernels {
                kernel.tick(now);
            }
            world.collect_packets();
            while let Some(packet) = world.packets.pop_front() {
                count += 1;
                if count % 4 != lost {
                    world.deliver(packet.clone());
                    world.deliver(packet);
                }
                world.collect_packets();
            }
            world.woken();
            assert_eq!(world.wait(client), None);
            let mark = &mut world.body(client).memory[LENT as usize];
            assert!(*mark != b'f' || done.is_none());
            // Should it be written again, that is seen.
            if *mark == b'f' {
                *mark = b'#';
            }
            done = world.wait(server);
            assert!(now < 14_000_000_000, "{lost}");
        }
        assert_eq!(done, Some(Ok(5)), "{lost}");
        for _ in 0..5 {
            world.deliver_all();
            assert_eq!(world.wait(client), None);
        }
        assert_eq!(&world.body(client).memory[LENT as usize..][..5], b"#irst", "{lost}");
    }
}

/// Its host asks something on its behalf, or it reads what others lend, before it sends: these are sends, too.
#[test]
fn what_is_lent_with_the_next_send_is_not_lent_with_another() {
    for fails in [false, true] {
        let mut world = World::new(1);
        let [client, server, devices] = [0; 3].map(|core| world.add(core, Form::Fiber));
        world.lend(client, (LENT, LEN), BOTH).unwrap();
        let (slot, of) = (world.body(client).slot, world.pid(devices));
        if fails {
            world.end(devices);
            world.kernels[0].ask(slot, of, b"?").unwrap();
            world.deliver_all();
            assert_eq!(world.kernels[0].asked(slot), Some(Err(Status::NoProcess)));
        } else {
            world.kernels[0].ask(slot, of, b"?").unwrap();
            world.receive(devices, None, 100).unwrap();
            world.measure_lease(devices).unwrap();
            assert_eq!(settled_alone(&mut world, devices), Err(Status::NotPermitted));
            world.reply(devices, b"!").unwrap();
            assert_eq!(world.kernels[0].asked(slot), Some(Ok(b"!".to_vec())));
        }
        // Somebody's lease, which the client is to read.
        let lender = world.add(0, Form::Fiber);
        world.lend(lender, (LENT, 7), BOTH).unwrap();
        world.send(lender, world.pid(client), b"?").unwrap();
        world.receive(client, None, 100).unwrap();
        world.measure_lease(client).unwrap();
        assert_eq!(settled(&mut world, lender, client), Ok(7));
        world.send(client, world.pid(server), b"take it").unwrap();
        world.receive(server, None, 100).unwrap();
        world.measure_lease(server).unwrap();
        assert_eq!(settled(&mut world, client, server), Ok(LEN));
    }
}

/// Who has handed a message on wants something of what was lent with it, which comes first; then whoever has the message now wants something.
#[test]
fn who_has_handed_it_on_is_told_when_another_one_has_it() {
    let (mut world, client, server) = lent(2, BOTH);
    let other = world.add(0, Form::Fiber);
    world.forward(server, world.pid(other), b"take it").expect("nothing is in the way");
    world.read_lease(server, 0, 2).expect("nothing is in the way");
    world.collect_packets();
    let access = world.packets.pop_back().expect("it has left");
    assert!(matches!(access.body, Body::Access { .. }));
    world.kernels[0].arrived(access);
    world.deliver_all();
    world.receive(other, None, 100).expect("there is one");
    world.read_lease(other, 0, 2).expect("nothing is in the way");
    assert_eq!(settled(&mut world, client, other), Ok(2));
    assert_eq!(world.wait(server), Some(Err(Status::NotWaiting)));
}
