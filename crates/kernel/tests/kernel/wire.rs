//! What travels: kernel state in images, packets over links. What is damaged is refused, or harmless.

use peripatos_abi::message::{MESSAGE_BYTES_MAX, Status};
use peripatos_kernel::{Answer, Body, Bytes, DecodeError, Form, Moving, Packet, PacketError, Toll};

use crate::world::{Id, MEMORY_BYTES, World, place};

/// The state of a process that has a message waiting, another one taken, and a send of its own under way.
fn busy() -> Vec<u8> {
    let mut world = World::new(2);
    let ids: Vec<Id> = (0..5).map(|id| world.add(usize::from(id > 3), Form::Fiber)).collect();
    let to = world.pid(ids[0]);
    for (id, text) in [(1, "first"), (2, "second"), (4, "from afar")] {
        world.send(ids[id], to, text.as_bytes()).expect("it waits");
    }
    world.deliver_all();
    world.receive(ids[0], None, 100).expect("there is one");
    world.send(ids[0], world.pid(ids[3]), b"and this").expect("it waits");
    let slot = world.body(ids[0]).slot;
    world.kernels[0].extract(slot, place(1)).expect("it is there").encode()
}

/// That of one that has lent something, from which is to be read; and of one that has sent to a group.
fn lending_and_gathering() -> [Vec<u8>; 2] {
    let mut world = World::new(2);
    let ids: Vec<Id> = (0..5).map(|id| world.add(usize::from(id > 3), Form::Fiber)).collect();
    world.lend(ids[0], (136_000, 3_000), 3).expect("it lies in its memory");
    world.send(ids[0], world.pid(ids[1]), b"take it").expect("it waits");
    world.receive(ids[1], None, 100).expect("there is one");
    world.write_lease(ids[1], 5, b"there").expect("it waits");
    let to: Vec<_> = ids.iter().map(|id| world.pid(*id)).collect();
    world.send_all(ids[2], &to, b"to all", true).expect("it waits");
    world.deliver_all();
    world.receive(ids[4], None, 100).expect("there is one");
    world.reply(ids[4], b"a reply").expect("it waits");
    world.deliver_all();
    world.woken();
    [0, 2].map(|id| {
        let slot = world.body(ids[id]).slot;
        world.kernels[0].extract(slot, place(1)).expect("it is there").encode()
    })
}

#[test]
fn state_is_what_it_was() {
    for bytes in lending_and_gathering() {
        assert_eq!(Moving::decode(&bytes, MEMORY_BYTES).map(|moving| moving.encode()), Ok(bytes));
    }
    let [lending, gathering] = lending_and_gathering();
    for (bytes, memory_len) in [(lending, 138_000), (gathering, 130_000)] {
        // What it lends, or where replies go, lies there no more.
        Moving::decode(&bytes, memory_len).unwrap_err();
    }
    let bytes = busy();
    let moving = Moving::decode(&bytes, MEMORY_BYTES).unwrap();
    assert_eq!(moving.encode(), bytes);
    let smaller = Moving::decode(&bytes, 70_000).unwrap_err();
    assert_eq!(smaller, DecodeError::OutOfMemory);
}

#[test]
fn damaged_state_is_refused_or_whole() {
    for bytes in lending_and_gathering().into_iter().chain([busy()]) {
        damage(&bytes);
    }
}

fn damage(bytes: &[u8]) {
    for len in 0..bytes.len() {
        Moving::decode(&bytes[..len], MEMORY_BYTES).expect_err("it is cut short");
    }
    let mut read = 0;
    for at in 0..bytes.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= flip;
            let Ok(moving) = Moving::decode(&bytes, MEMORY_BYTES) else { continue };
            read += 1;
            // Whatever it says, it can be lived with.
            let mut world = World::new(1);
            if let Some(slot) = world.kernels[0].adopt(moving) {
                let mut memory = vec![0; MEMORY_BYTES];
                let _ = world.kernels[0].next_woken();
                let _ = world.kernels[0].wait(slot, &mut memory);
                let _ = world.kernels[0].receive(slot, &mut memory, 0, (1024, 65_536), 32);
                world.kernels[0].remove(slot, 0);
            }
        }
    }
    assert!(read > 0);
}

#[test]
fn packets_keep_to_the_limits() {
    let packet = |len: usize| Packet {
        source: place(0),
        target: None,
        from: World::new(1).pid(0),
        to: World::new(1).pid(1),
        moved: 0,
        relays: 0,
        body: Body::Send { transaction: 1, hop: 0, message: Bytes::from(vec![7; len].as_slice()) },
        toll: Toll::default(),
    };
    assert_eq!(packet(MESSAGE_BYTES_MAX).check(), Ok(()));
    let long = packet(MESSAGE_BYTES_MAX + 1);
    assert_eq!(long.check(), Err(PacketError::TooLong(MESSAGE_BYTES_MAX + 1)));
    let body = Body::Reply { transaction: 3, hop: 0, answer: Answer::Failed(Status::Full) };
    let reply = Packet { body, ..packet(0) };
    for packet in [reply, long] {
        let bytes = postcard::to_stdvec(&packet).unwrap();
        assert_eq!(postcard::from_bytes::<Packet>(&bytes), Ok(packet));
    }
}
