//! A send to several at once: everybody gets it once, and who sends hears the first reply, or all.

use peripatos_abi::message::Status;
use peripatos_abi::{EndReason, Pid};
use peripatos_kernel::{Form, Kernel, Place, State};

use crate::random::Random;
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

/// Who has replied to a group's message, and wants something of what was lent with it: that it was sent by somebody in its sender's stead who
/// is over by then is told. The packet went round between kernel and host, for the sender is where its packets go.
#[test]
fn what_is_for_one_in_its_stead_who_is_over_is_answered() {
    for cores in [1, 2] {
        let (mut world, sender, members) = company(cores, 1);
        let to = pids(&world, &members);
        world.send_all(sender, &to, b"to all", true).expect("nothing is in the way");
        settle(&mut world);
        world.receive(members[0], None, 100).expect("there is one");
        world.reply(members[0], b"").expect("it waits");
        settle(&mut world);
        assert!(matches!(world.wait(sender), Some(Ok(_))));
        world.read_lease(members[0], 0, 1).expect("nothing is in the way");
        let mut packets = 0;
        // A host finds the sender, and so its kernel.
        for (id, to) in [(members[0], sender), (sender, members[0])].repeat(4) {
            world.collect_packets();
            let (from, at) = (world.body(id).core, world.body(to).core);
            for packet in std::mem::take(&mut world.packets) {
                assert_eq!(packet.source.core as usize, from, "{packet:?}");
                packets += 1;
                world.kernels[at].arrived(packet);
            }
        }
        assert_eq!(world.wait(members[0]), Some(Err(Status::NoProcess)), "of {cores}");
        assert!(packets <= 3, "{packets} packets");
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
            assert_eq!(world.kernels.iter().map(Kernel::len).sum::<usize>(), 5);
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
        assert_eq!(world.kernels.iter().map(Kernel::len).sum::<usize>(), 4);
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
        assert_eq!(world.kernels.iter().map(Kernel::len).sum::<usize>(), 4);
    }
}

/// Over links that lose, repeat and reorder, while all of them move, each member gets each message once, and each reply
/// comes.
#[test]
fn bad_links_and_moves_do_no_harm() {
    for seed in 1..100 {
        let mut random = Random::new(seed);
        let mut world = World { kernels: (0..3).map(node).collect(), ..World::new(3) };
        let sender = world.add(0, Form::Fiber);
        let members: Vec<Id> = (0..4).map(|at| world.add(at % 3, Form::Fiber)).collect();
        let to = pids(&world, &members);
        let (mut now, mut got) = (0, vec![0; members.len()]);
        for round in 1..=3_u8 {
            let all = round != 2;
            world.send_all(sender, &to, &[round], all).expect("nothing is in the way");
            let answered = loop {
                step(&mut world, &mut random, &mut now, &members, &mut got);
                if let Some(answered) = world.wait(sender) {
                    break answered;
                }
                assert!(now < 3_600_000_000_000, "seed {seed}: it hears nothing");
            };
            let len = answered.expect("there is room");
            if all {
                let expected: Vec<_> =
                    (0..).zip(&to).map(|(at, pid)| (*pid, Ok(vec![at]))).collect();
                assert_eq!(records(&mut world, sender, len), expected, "seed {seed}");
            }
        }
        // What nobody waits for is still on its way.
        for _ in 0..400 {
            step(&mut world, &mut random, &mut now, &members, &mut got);
        }
        assert_eq!(got, [3; 4], "seed {seed}");
        let left: usize = world.kernels.iter().map(Kernel::len).sum();
        assert_eq!(left, 5, "seed {seed}: nobody's delegate is left");
    }
}

/// Time goes on, packets come or do not, one may move, members receive and reply.
fn step(world: &mut World, random: &mut Random, now: &mut u64, members: &[Id], got: &mut [u32]) {
    *now += 20_000_000;
    world.kernels.iter_mut().for_each(|kernel| kernel.tick(*now));
    world.collect_packets();
    for _ in 0..world.packets.len() {
        let at = random.below(world.packets.len());
        let Some(packet) = world.packets.remove(at) else { break };
        match random.below(8) {
            0 | 1 => {}
            2 => {
                world.deliver(packet.clone());
                world.deliver(packet);
            }
            3 => world.packets.push_back(packet),
            _ => world.deliver(packet),
        }
    }
    world.woken();
    let mover = random.below(40);
    if mover <= members.len() {
        let core = random.below(3);
        world.carry_to(mover, core, place(core));
    }
    for (at, member) in members.iter().enumerate() {
        if random.below(3) == 0 && world.receive(*member, None, 100) == Ok(1) {
            got[at] += 1;
            world.reply(*member, &[at as u8]).expect("it waits, as far as is known here");
        } else {
            world.stop_receiving(*member);
        }
    }
}

fn place(core: usize) -> Place {
    Place { node: core as u128 + 1, core: core as u32 }
}

fn node(core: usize) -> Kernel {
    Kernel::new(place(core), 0)
}

/// Nobody is told the pids of delegates; they can be made up.
#[test]
fn who_links_itself_with_a_delegate_ends_nobody() {
    let mut world = World::new(1);
    let [principal, member, liar] = [0; 3].map(|core| world.add(core, Form::Fiber));
    world.send_all(principal, &[world.pid(member)], b"?", true).expect("it waits");
    let delegate = Pid::from_bits(world.pid(principal).bits() | 1 << 112);
    assert!(world.kernels[0].find(delegate).is_some());
    let slot = world.body(liar).slot;
    world.kernels[0].link(slot, delegate).expect("it may");
    world.end_with(liar, EndReason::Killed.to_bits());
    assert_eq!(world.kernels[0].only_woken(), None);
    assert_eq!(world.woken(), []);
    assert_eq!(world.killed, []);
    world.receive(member, None, 100).expect("there is one");
    world.reply(member, b"!").expect("it is waited for");
    world.woken();
    assert_eq!(world.wait(principal), Some(Ok(24)));
}
