//! What the messages of a program may take while they wait.

use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_kernel::limits::{WATCH_BYTES, WATCHES_FREE_MAX};
use peripatos_kernel::{Budget, FREE_BYTES_MAX, Form};

use crate::world::{Id, World};

const LONG: usize = 10_000;

/// Senders of a program that may have two long messages waiting, and somebody else's servers, one on each core.
fn flood(senders: usize) -> (World, Arc<Budget>, Vec<Id>, [Id; 2]) {
    let mut world = World::new(2);
    let budget = Budget::new(2 * LONG as u64);
    let senders: Vec<Id> = (0..senders).map(|_| world.add(0, Form::Fiber)).collect();
    for sender in &senders {
        let slot = world.body(*sender).slot;
        world.kernels[0].set_budget(slot, &budget);
    }
    let servers = [0, 1].map(|core| world.add(core, Form::Fiber));
    (world, budget, senders, servers)
}

#[test]
fn what_waits_is_bounded_until_it_is_taken_or_answered() {
    for core in [0, 1] {
        let (mut world, budget, senders, servers) = flood(3);
        let (server, message) = (servers[core], vec![7; LONG]);
        let to = world.pid(server);
        for sender in &senders[..2] {
            assert!(world.send(*sender, to, &message).is_ok());
        }
        assert_eq!(budget.bytes(), 2 * LONG as u64);
        assert_eq!(world.send(senders[2], to, &message), Err(Status::Full));
        assert_eq!(budget.bytes(), 2 * LONG as u64);
        // Short ones go all the same.
        assert!(world.send(senders[2], to, &message[..FREE_BYTES_MAX]).is_ok());
        world.deliver_all();
        assert_eq!(world.receive(server, None, 65_536), Ok(LONG as u32));
        // Of what was taken on another core nobody tells the sender's.
        assert_eq!(budget.bytes(), if core == 0 { LONG } else { 2 * LONG } as u64);
        world.reply(server, b"").unwrap();
        world.deliver_all();
        assert_eq!(world.wait(senders[0]), Some(Ok(0)));
        assert_eq!(budget.bytes(), LONG as u64);
        world.end(senders[1]);
        assert_eq!(budget.bytes(), 0);
    }
}

#[test]
fn who_waits_for_it_gets_it_for_nothing() {
    let (mut world, budget, senders, servers) = flood(1);
    let to = world.pid(servers[0]);
    assert_eq!(world.receive(servers[0], None, 65_536), Err(Status::Wait));
    assert!(world.send(senders[0], to, &[7; 60_000]).is_ok());
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn it_is_given_back_when_a_send_fails_and_when_its_sender_moves() {
    let (mut world, budget, senders, servers) = flood(2);
    let to = world.pid(servers[0]);
    assert!(world.send(senders[0], to, &[7; LONG]).is_ok());
    world.end(servers[0]);
    assert_eq!((world.wait(senders[0]), budget.bytes()), (Some(Err(Status::NoProcess)), 0));
    let to = world.pid(servers[1]);
    assert!(world.send(senders[1], to, &[7; LONG]).is_ok());
    assert_eq!(budget.bytes(), LONG as u64);
    world.carry(senders[1], 1);
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn many_watches_are_charged_and_given_back_with_their_process() {
    let mut world = World::new(1);
    let watcher = world.add(0, Form::Fiber);
    let slot = world.body(watcher).slot;
    // Ten more than cost nothing.
    let budget = Budget::new(10 * WATCH_BYTES);
    world.kernels[0].set_budget(slot, &budget);
    let mut number = 0..;
    let mut monitor = |world: &mut World| {
        let pid = Pid::new(9, number.next().unwrap());
        world.kernels[0].monitor(slot, pid)
    };
    for _ in 0..WATCHES_FREE_MAX {
        monitor(&mut world).unwrap();
    }
    assert_eq!(budget.bytes(), 0);
    for _ in 0..10 {
        monitor(&mut world).unwrap();
    }
    assert_eq!(monitor(&mut world), Err(Status::TooMany));
    assert_eq!(budget.bytes(), 10 * WATCH_BYTES);
    // All have ended; a word that is received makes room.
    world.deliver_all();
    assert_eq!(world.receive(watcher, None, 0), Ok(0));
    assert_eq!(monitor(&mut world), Ok(()));
    assert_eq!(monitor(&mut world), Err(Status::TooMany));
    world.end(watcher);
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn a_send_to_a_group_is_charged_for_each_member() {
    let (mut world, budget, senders, servers) = flood(1);
    let others = [0; 3].map(|core| world.add(core, Form::Fiber));
    let members: Vec<_> = servers.iter().chain(&others).map(|id| world.pid(*id)).collect();
    world.send_all(senders[0], &members, &[7; LONG], true).unwrap();
    assert_eq!(budget.bytes(), 2 * LONG as u64);
}
