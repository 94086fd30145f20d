//! Where many end or move at a time what is looked at grows with their number, and not with its square. Counted, not timed.

use peripatos_abi::EndReason;
use peripatos_abi::message::Status;
use peripatos_kernel::{Form, State};

use crate::world::{Id, World, place};

/// So many servers, each of which has a message of its own client, and one more in its queue.
fn crowd(count: usize) -> (World, Vec<Id>, Vec<[Id; 2]>) {
    let mut world = World::small(2);
    let servers: Vec<Id> = (0..count).map(|_| world.add(0, Form::Fiber)).collect();
    let clients: Vec<[Id; 2]> =
        (0..count).map(|_| [(); 2].map(|()| world.add(0, Form::Fiber))).collect();
    for (server, clients) in servers.iter().zip(&clients) {
        let to = world.pid(*server);
        for client in clients {
            world.send(*client, to, b"hello").expect("nothing is in the way");
        }
        world.receive(*server, None, 100).expect("there is one");
    }
    (world, servers, clients)
}

#[test]
fn who_waits_for_one_that_ends_is_found_without_looking_at_all() {
    const COUNT: usize = 2_000;
    let (mut world, servers, clients) = crowd(COUNT);
    let before = world.kernels[0].looks();
    for server in servers {
        world.end(server);
    }
    let looks = world.kernels[0].looks() - before;
    assert!(looks <= 4 * COUNT as u64, "{looks} looks at processes, of {COUNT} that end");
    for client in clients.into_iter().flatten() {
        assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
    }
}

#[test]
fn who_waits_for_one_that_moves_is_found_without_looking_at_all() {
    const COUNT: usize = 2_000;
    let (mut world, servers, clients) = crowd(COUNT);
    let before = world.kernels[0].looks();
    for server in &servers {
        let slot = world.body(*server).slot;
        let moving = world.kernels[0].extract(slot, place(1)).expect("it is here");
        let slot = world.kernels[1].adopt(moving).expect("it was not there");
        let body = world.body(*server);
        (body.core, body.slot) = (1, slot);
    }
    let looks = world.kernels[0].looks() - before;
    assert!(looks <= 4 * COUNT as u64, "{looks} looks at processes, of {COUNT} that move");
    world.deliver_all();
    for server in servers {
        world.end(server);
    }
    world.deliver_all();
    for client in clients.into_iter().flatten() {
        assert_eq!(world.wait(client), Some(Err(Status::NoProcess)));
    }
}

/// Of a server that lives long, and whose clients end or are answered, nothing piles up; and who waits is still known.
#[test]
fn a_server_forgets_who_waits_no_more() {
    const ROUNDS: u64 = 10_000;
    let mut world = World::small(1);
    let server = world.add(0, Form::Fiber);
    let waits = world.add(0, Form::Fiber);
    let to = world.pid(server);
    world.send(waits, to, b"and wait").expect("nothing is in the way");
    world.receive(server, None, 100).expect("there is one");
    let client = world.add(0, Form::Fiber);
    for _ in 0..ROUNDS {
        world.send(client, to, b"hello").expect("nothing is in the way");
        world.receive(server, None, 100).expect("there is one");
        world.reply(server, b"").expect("it waits");
        assert_eq!(world.wait(client), Some(Ok(0)));
    }
    let looks = world.kernels[0].looks();
    assert!(looks <= 2 * ROUNDS, "{looks} looks in {ROUNDS} rounds");
    world.end(server);
    assert!(world.kernels[0].looks() - looks <= 64);
    assert_eq!(world.wait(waits), Some(Err(Status::NoProcess)));
    assert_eq!(world.wait(client), Some(Err(Status::NotNow)));
    let slot = world.body(client).slot;
    assert_eq!(world.kernels[0].state(slot), Some(State::Ready));
    world.kernels[0].remove(slot, EndReason::NORMAL);
}
