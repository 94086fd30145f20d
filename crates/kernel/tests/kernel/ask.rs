//! What hosts are asked, and ask on behalf of their processes.

use peripatos_abi::message::{MESSAGE_BYTES_MAX, Status};
use peripatos_kernel::{Form, Kernel, Moving, Place, Sent};

use crate::world::World;

#[test]
fn the_reply_is_the_hosts_even_if_the_process_moves() {
    let mut world = World::new(2);
    let (asker, server) = (world.add(0, Form::Fiber), world.add(0, Form::Fiber));
    let to = world.pid(server);
    let slot = world.body(asker).slot;
    world.kernels[0].ask(slot, to, b"what time is it?").expect("it may");
    assert!(world.kernels[0].is_asking(slot));
    assert_eq!(world.kernels[0].asked(slot), None);
    // The program has nothing to do with it.
    assert_eq!(world.send(asker, to, b"?"), Err(Status::NotNow));
    assert_eq!(world.receive(server, None, 100), Ok(16));
    world.carry(asker, 1);
    world.deliver_all();
    world.reply(server, b"late").expect("it waits");
    world.deliver_all();
    let slot = world.body(asker).slot;
    assert_eq!(world.wait(asker), Some(Err(Status::NotNow)));
    assert_eq!(world.kernels[1].asked(slot), Some(Ok(b"late".to_vec())));
    assert_eq!((world.kernels[1].asked(slot), world.kernels[1].is_asking(slot)), (None, false));
    assert_eq!(world.send(asker, to, b"?"), Ok(Sent::Waits));
}

#[test]
fn nobody_answers() {
    let mut world = World::new(1);
    let (asker, server) = (world.add(0, Form::Fiber), world.add(0, Form::Fiber));
    let (slot, own, to) = (world.body(asker).slot, world.pid(asker), world.pid(server));
    let kernel = &mut world.kernels[0];
    assert_eq!(kernel.ask(slot, own, b""), Err(Status::Deadlock));
    assert_eq!(kernel.ask(slot, to, &[0; MESSAGE_BYTES_MAX + 1]), Err(Status::TooLong));
    kernel.ask(slot, to, b"?").expect("it may");
    world.end(server);
    assert_eq!(world.kernels[0].asked(slot), Some(Err(Status::NoProcess)));
}

#[test]
fn a_reply_to_the_host_travels_in_an_image() {
    let mut world = World::new(1);
    let (asker, server) = (world.add(0, Form::Fiber), world.add(0, Form::Fiber));
    let (slot, to) = (world.body(asker).slot, world.pid(server));
    world.kernels[0].ask(slot, to, b"?").expect("it may");
    assert_eq!(world.receive(server, None, 100), Ok(1));
    world.reply(server, &[7; 60_000]).expect("it waits");
    let place = crate::world::place(9);
    let moving = world.kernels[0].extract(slot, place).expect("it is there").encode();
    // The process has no memory to speak of: the reply does not go there.
    let moving = Moving::decode(&moving, 0).expect("nothing is wrong with it");
    let slot = world.kernels[0].adopt(moving).expect("it is free");
    assert_eq!(world.kernels[0].asked(slot), Some(Ok(vec![7; 60_000])));
}

/// However the first send found its receiver, the next one goes straight there.
#[test]
fn whoever_was_found_is_not_looked_for_again() {
    for acknowledged in [false, true] {
        let mut world = World::new(2);
        let far = Place { node: 2, core: 1 };
        world.kernels[1] = Kernel::new(far, 0);
        let (client, server) = (world.add(0, Form::Fiber), world.add(1, Form::Fiber));
        let to = world.pid(server);
        assert_eq!(world.send(client, to, b"1"), Ok(Sent::Waits));
        world.collect_packets();
        let packet = world.packets.pop_front().expect("it is on its way");
        assert_eq!(packet.target, None);
        world.deliver(packet);
        if acknowledged {
            world.deliver_all();
        }
        assert_eq!(world.receive(server, None, 100), Ok(1));
        world.reply(server, b"one").expect("it waits");
        world.deliver_all();
        assert_eq!(world.wait(client), Some(Ok(3)));
        assert_eq!(world.send(client, to, b"2"), Ok(Sent::Waits));
        world.collect_packets();
        let packet = world.packets.pop_front().expect("it is on its way");
        assert_eq!(packet.target, Some(far), "acknowledged: {acknowledged}");
    }
}
