//! A send to several at once: everybody gets it once, and who sends hears the first reply, or all.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_kernel::{Form, State};

use crate::world::{Id, REPLY, World};

/// A sender and so many members, on so many cores in turn.
fn company(cores: usize, members: usize) -> (World, Id, Vec<Id>) {
    let mut world = World::new(cores);
    let sender = world.add(0, Form::Fiber);
    let members = (0..members).map(|at| world.add((at + 1) % cores, Form::Fiber)).collect();
    (world, sender, members)
}

fn pids(world: &World, ids: &[Id]) -> Vec<Pid> {
    ids.iter().map(|id| world.pid(*id)).collect()
}

/// The replies of all, as the sender finds them.
fn records(world: &mut World, sender: Id, len: u32) -> Vec<(Pid, Result<Vec<u8>, i32>)> {
    let bytes = world.body(sender).memory[REPLY as usize..][..len as usize].to_vec();
    let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
    while let Some((head, tail)) = rest.split_at_checked(20) {
        let pid = Pid::from_bits(u128::from_le_bytes(head[..16].try_into().expect("16 bytes")));
        let code = i32::from_le_bytes(head[16..].try_into().expect("4 bytes"));
        let len = usize::try_from(code).unwrap_or(0);
        found.push((pid, if code < 0 { Err(code) } else { Ok(tail[..len].to_vec()) }));
        rest = &tail[len.next_multiple_of(4)..];
    }
    assert!(rest.is_empty());
    found
}

fn settle(world: &mut World) {
    loop {
        world.deliver_all();
        world.woken();
        world.collect_packets();
        if world.packets.is_empty() {
            return;
        }
    }
}

#[test]
fn all_replies_come() {
    for cores in [1, 2, 3] {
        for moves in [false, true] {
            let (mut world, sender, members) = company(cores, 5);
            let mut to = pids(&world, &members);
            let nobody = Pid::new(77, 77);
            to.push(nobody);
            to.push(world.pid(sender));
            world.send_all(sender, &to, b"to all", true).expect("nothing is in the way");
            assert_eq!(world.wait(sender), None);
            settle(&mut world);
            if moves {
                world.carry(sender, cores - 1);
            }
            for (at, member) in members.iter().enumerate() {
                settle(&mut world);
                assert_eq!(world.receive(*member, Some(world.pid(sender)), 100), Ok(6));
                assert_eq!(world.message(*member, 6), b"to all");
                assert_eq!(world.sender(*member).0, world.pid(sender), "it is nobody else's");
                assert_eq!(world.wait(sender), None);
                if moves {
                    world.carry(sender, at % cores);
                    world.carry(*member, (at + 1) % cores);
                    settle(&mut world);
                }
                if at == 3 {
                    world.end(*member);
                } else {
                    world.reply(*member, &vec![at as u8; at]).expect("it waits");
                    assert_eq!(world.reply(*member, b"again"), Err(Status::NotWaiting));
                }
            }
            settle(&mut world);
            let len = world.wait(sender).expect("all have replied").expect("there is room");
            let gone = Err(Status::NoProcess.code());
            let expected =
                [Ok(vec![]), Ok(vec![1]), Ok(vec![2; 2]), gone.clone(), Ok(vec![4; 4]), gone];
            let expected: Vec<_> = to.iter().copied().zip(expected).collect();
            assert_eq!(records(&mut world, sender, len), expected);
            assert_eq!(world.kernels.iter().map(peripatos_kernel::Kernel::len).sum::<usize>(), 5);
        }
    }
}

#[test]
fn the_first_reply_counts_and_all_have_the_message() {
    for cores in [1, 2] {
        let (mut world, sender, members) = company(cores, 3);
        let to = pids(&world, &members);
        for round in 0..3 {
            world.send_all(sender, &to, b"who?", false).expect("nothing is in the way");
            settle(&mut world);
            assert_eq!(world.receive(members[round], None, 100), Ok(4));
            world.reply(members[round], b"I!").expect("it waits");
            settle(&mut world);
            assert_eq!(world.wait(sender), Some(Ok(2)));
            assert_eq!(world.answer(sender, 2), b"I!");
            world.carry(sender, round % cores);
            // The others reply to nobody who cares.
            for member in members.iter().filter(|member| **member != members[round]) {
                assert_eq!(world.receive(*member, None, 100), Ok(4));
                world.reply(*member, b"I, too").expect("it can");
            }
            settle(&mut world);
            assert_eq!(world.wait(sender), Some(Err(Status::NotNow)));
        }
        assert_eq!(world.kernels.iter().map(peripatos_kernel::Kernel::len).sum::<usize>(), 4);
        // If nobody replies, that is told.
        world.send_all(sender, &to, b"who?", false).expect("nothing is in the way");
        settle(&mut world);
        members.iter().for_each(|member| world.end(*member));
        settle(&mut world);
        assert_eq!(world.wait(sender), Some(Err(Status::NoProcess)));
        assert_eq!(world.send_all(sender, &[], b"", true), Err(Status::NoName));
    }
}

#[test]
fn a_reply_without_room_is_lost_alone() {
    let (mut world, sender, members) = company(1, 2);
    let to = pids(&world, &members);
    world.send_all(sender, &to, b"long, please", true).expect("nothing is in the way");
    for member in members {
        world.receive(member, None, 100).expect("it is there");
        world.reply(member, &[7; 40_000]).expect("it waits");
    }
    settle(&mut world);
    let len = world.wait(sender).expect("all have replied").expect("there is room for one");
    let expected = [(to[0], Ok(vec![7; 40_000])), (to[1], Err(Status::TooLong.code()))];
    assert_eq!(records(&mut world, sender, len), expected);
    let many: Vec<Pid> = (0..1_024).map(|number| Pid::new(1_000 + number, number)).collect();
    world.send_all(sender, &many, b"who is there?", true).expect("there is room for 20 bytes each");
    settle(&mut world);
    assert_eq!(world.wait(sender), Some(Ok(1_024 * 20)));
    let more: Vec<Pid> = (0..1_025).map(|number| Pid::new(1_000 + number, number)).collect();
    assert_eq!(world.send_all(sender, &more, b"", true), Err(Status::TooMany));
}

#[test]
fn a_message_to_all_is_handed_on_by_one() {
    for cores in [1, 2] {
        let (mut world, sender, members) = company(cores, 2);
        let other = world.add(0, Form::Fiber);
        let to = pids(&world, &members);
        world.send_all(sender, &to, b"for you", true).expect("nothing is in the way");
        settle(&mut world);
        for member in &members {
            world.receive(*member, None, 100).expect("it is there");
            world.forward(*member, world.pid(other), b"for him").expect("it waits");
            settle(&mut world);
        }
        for _ in &members {
            world.receive(other, None, 100).expect("it is there");
            world.reply(other, b"yes").expect("it waits");
        }
        settle(&mut world);
        let len = world.wait(sender).expect("all have replied").expect("there is room");
        let expected: Vec<_> = to.into_iter().map(|pid| (pid, Ok(b"yes".to_vec()))).collect();
        assert_eq!(records(&mut world, sender, len), expected);
    }
}

#[test]
fn circles_are_found() {
    let (mut world, sender, members) = company(1, 2);
    let to = pids(&world, &members);
    // One waits for the sender already.
    world.send(members[0], world.pid(sender), b"I was first").expect("nothing is in the way");
    world.send_all(sender, &to, b"to all", true).expect("nothing is in the way");
    settle(&mut world);
    // The other one wants to ask back.
    assert_eq!(world.receive(members[1], None, 100), Ok(6));
    assert_eq!(world.send(members[1], world.pid(sender), b"why?"), Err(Status::Deadlock));
    let slot = world.body(sender).slot;
    let state = world.kernels[0].state(slot);
    assert_eq!(state, Some(State::ReplyBlocked(to[1])));
    world.reply(members[1], b"so").expect("it waits");
    settle(&mut world);
    let len = world.wait(sender).expect("all have replied").expect("there is room");
    let expected = [(to[0], Err(Status::Deadlock.code())), (to[1], Ok(b"so".to_vec()))];
    assert_eq!(records(&mut world, sender, len), expected);
}

#[test]
fn a_sender_that_ends_is_not_missed() {
    for cores in [1, 2] {
        let (mut world, sender, members) = company(cores, 4);
        let to = pids(&world, &members);
        world.send_all(sender, &to, b"farewell", true).expect("nothing is in the way");
        settle(&mut world);
        world.receive(members[0], None, 100).expect("it is there");
        world.end(sender);
        settle(&mut world);
        // One on another core need not hear of it.
        let replied = world.reply(members[0], b"?");
        assert!(replied == Err(Status::NotWaiting) || cores > 1);
        settle(&mut world);
        assert_eq!(world.kernels.iter().map(peripatos_kernel::Kernel::len).sum::<usize>(), 4);
    }
}
