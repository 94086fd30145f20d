//! What the messages of a program may take while they wait.

use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_kernel::limits::{ERRANDS_SHARE_MAX, WATCH_BYTES, WATCHES_FREE_MAX, WORDS_MAX};
use peripatos_kernel::{Budget, FREE_BYTES_MAX, Form, Place};

use crate::world::{Id, World, place};

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

/// A process that says this to others until it may not, and how often it could.
fn says(
    world: &mut World,
    id: Id,
    mut say: impl FnMut(&mut World, Id) -> Result<(), Status>,
) -> u64 {
    let mut said = 0;
    loop {
        match say(world, id) {
            Ok(()) => said += 1,
            Err(status) => {
                assert_eq!(status, Status::Full);
                return said;
            }
        }
        assert!(said <= WORDS_MAX, "nothing stops it");
    }
}

/// Processes of two programs, and one on another core.
fn two_programs(cores: usize) -> (World, [Id; 2], [Arc<Budget>; 2], Id) {
    let mut world = World::new(cores);
    let budgets = [(); 2].map(|()| Budget::new(1 << 30));
    let ids = [0; 2].map(|core| world.add(core, Form::Fiber));
    for (id, budget) in ids.iter().zip(&budgets) {
        let slot = world.body(*id).slot;
        world.kernels[0].set_budget(slot, budget);
    }
    let other = world.add(cores - 1, Form::Fiber);
    (world, ids, budgets, other)
}

#[test]
fn words_on_their_way_to_another_core_are_bounded_until_they_are_taken_in() {
    let (mut world, [one, other], [budget, others], to) = two_programs(2);
    let to = world.pid(to);
    // It is known where that one is.
    world.kernels[0].routes().set(to, place(1));
    let notify = |world: &mut World, id| world.try_notify(id, to, 1);
    assert_eq!(says(&mut world, one, notify), WORDS_MAX);
    assert_eq!(budget.words(), WORDS_MAX);
    // Nobody else is refused, and whoever is may go on when some were heard.
    assert_eq!(notify(&mut world, other), Ok(()));
    world.deliver_all();
    assert_eq!((budget.words(), others.words()), (0, 0));
    // To watch and not to, again and again, is no way round it.
    let watch = |world: &mut World, id: Id| {
        let slot = world.body(id).slot;
        world.kernels[0].monitor(slot, to)?;
        world.kernels[0].unmonitor(slot, to)
    };
    assert_eq!(says(&mut world, one, watch), WORDS_MAX / 2);
    world.deliver_all();
    assert_eq!(budget.words(), 0);
    assert!(world.kernels.iter().all(|kernel| kernel.kept().errands == 0));
}

#[test]
fn one_program_does_not_take_all_errands_of_a_core() {
    let (mut world, [one, other], [budget, _], to) = two_programs(1);
    // Of one that is on another node, or nowhere.
    let away = Pid::new(999, 999);
    let notify = |world: &mut World, id| world.try_notify(id, away, 1);
    world.kernels[0].routes().set(away, Place { node: 2, core: 0 });
    assert_eq!(says(&mut world, one, notify), ERRANDS_SHARE_MAX);
    assert_eq!(notify(&mut world, other), Ok(()));
    assert_eq!(world.kernels[0].kept().errands as u64, ERRANDS_SHARE_MAX + 1);
    // To those who are here it says what it wants.
    assert_eq!(world.try_notify(one, world.pid(to), 1), Ok(()));
    // They are given up in time, and given back.
    for second in 1..120 {
        world.kernels[0].tick(second * 1_000_000_000);
        while world.kernels[0].next_packet().is_some() {}
    }
    assert_eq!((world.kernels[0].kept().errands, budget.words()), (0, 0));
    assert_eq!(notify(&mut world, one), Ok(()));
}

#[test]
fn a_send_to_a_group_is_charged_for_each_member() {
    let (mut world, budget, senders, servers) = flood(1);
    let others = [0; 3].map(|core| world.add(core, Form::Fiber));
    let members: Vec<_> = servers.iter().chain(&others).map(|id| world.pid(*id)).collect();
    world.send_all(senders[0], &members, &[7; LONG], true).unwrap();
    assert_eq!(budget.bytes(), 2 * LONG as u64);
}
