//! A process that is nothing but its host: what it hears and answers.

use peripatos_abi::Pid;
use peripatos_abi::message::{Envelope, Kind, Status};
use peripatos_kernel::{Form, Sent};

use crate::world::{Id, World};

fn hear(world: &mut World, server: Id) -> Option<(Envelope, Vec<u8>)> {
    let (core, slot) = (world.body(server).core, world.body(server).slot);
    world.kernels[core].hear(slot)
}

fn answer(world: &mut World, server: Id, to: &Envelope, message: &[u8]) -> Result<(), Status> {
    let (core, slot) = (world.body(server).core, world.body(server).slot);
    world.kernels[core].answer(slot, to, message)
}

/// Of senders here and elsewhere, before it waits and while it does, in the order that it likes.
#[test]
fn a_host_holds_several_messages() {
    let mut world = World::new(2);
    let server = world.add(0, Form::Fiber);
    let clients: Vec<Id> = (0..4).map(|id| world.add(id % 2, Form::Fiber)).collect();
    let to = world.pid(server);
    for client in &clients[..2] {
        assert_eq!(world.send(*client, to, &[*client as u8]), Ok(Sent::Waits));
    }
    world.deliver_all();
    let mut heard: Vec<_> = std::iter::from_fn(|| hear(&mut world, server)).collect();
    for client in &clients[2..] {
        assert_eq!(world.send(*client, to, &[*client as u8]), Ok(Sent::Waits));
        world.deliver_all();
        assert!(world.woken().contains(&(to, false)));
        heard.extend(hear(&mut world, server));
        assert_eq!(hear(&mut world, server), None);
    }
    for (envelope, message) in heard.iter().rev() {
        assert_eq!((envelope.kind, envelope.len), (Kind::Message, 1));
        assert_eq!(answer(&mut world, server, envelope, &[message[0] + 10]), Ok(()));
        assert_eq!(answer(&mut world, server, envelope, b""), Err(Status::NotWaiting));
    }
    world.deliver_all();
    for client in clients {
        assert_eq!(world.wait(client), Some(Ok(1)));
        assert_eq!(world.answer(client, 1), [client as u8 + 10]);
    }
}

#[test]
fn what_is_forwarded_to_a_host_is_its_senders() {
    for cores in [[0, 0, 0], [0, 1, 2], [1, 0, 0], [0, 0, 1]] {
        let mut world = World::new(3);
        let [server, middle, client] = cores.map(|core| world.add(core, Form::Fiber));
        let (to, through) = (world.pid(server), world.pid(middle));
        assert_eq!(hear(&mut world, server), None);
        world.send(client, through, b"open").expect("it may");
        world.deliver_all();
        assert_eq!(world.receive(middle, None, 100), Ok(4));
        world.forward(middle, to, b"open").expect("it waits");
        world.deliver_all();
        let (envelope, message) = hear(&mut world, server).expect("it has come");
        assert_eq!((envelope.from, message.as_slice()), (world.pid(client), &b"open"[..]));
        answer(&mut world, server, &envelope, b"done").expect("it waits");
        world.deliver_all();
        assert_eq!(world.wait(client), Some(Ok(4)));
    }
}

#[test]
fn a_host_hears_of_ends_and_its_own_is_told() {
    let mut world = World::new(2);
    let (server, client) = (world.add(0, Form::Fiber), world.add(1, Form::Fiber));
    let (slot, to, of) = (world.body(server).slot, world.pid(server), world.pid(client));
    world.kernels[0].monitor(slot, of).expect("it may");
    assert_eq!(hear(&mut world, server), None);
    world.deliver_all();
    world.end(client);
    world.deliver_all();
    let (envelope, _) = hear(&mut world, server).expect("it is told");
    assert_eq!((envelope.kind, envelope.from), (Kind::Ended, of));
    let (waits, late) = (world.add(1, Form::Fiber), world.add(0, Form::Fiber));
    world.send(waits, to, b"?").expect("it may");
    world.deliver_all();
    assert!(hear(&mut world, server).is_some());
    world.send(late, to, b"?").expect("it may");
    world.end(server);
    world.deliver_all();
    for client in [waits, late] {
        assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
    }
    assert_eq!(world.kernels[0].hear(slot), None);
    let nobody = Envelope { from: Pid::new(8, 8), transaction: 1, len: 0, kind: Kind::Message };
    assert_eq!(world.kernels[0].answer(slot, &nobody, b""), Err(Status::NoProcess));
}
