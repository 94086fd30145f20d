//! Memory that a program will need: where it is started, where it moves to, and what is kept free for it.

use peripatos_abi::Pid;
use peripatos_cluster::message::{Answer, Command, Description, End};
use peripatos_cluster::{Event, Placement, Request};

use crate::drains::stuck;
use crate::moves::{answer, migrate};
use crate::world::{World, description, id};

const MIB: u64 = 1 << 20;
/// What nodes keep for themselves.
const KEPT: u64 = 64;

/// Two nodes that have so much left, in MiB, beside what they keep. All processes have one MiB.
fn world(left: [u64; 2]) -> World {
    let mut world = World::new(2);
    has_left(&mut world, 0, left[0]);
    has_left(&mut world, 1, left[1]);
    // Each knows what the other one has.
    world.live(2);
    world
}

fn has_left(world: &mut World, index: usize, mib: u64) {
    world.tell(index, Event::MemoryFree((KEPT + mib) * MIB));
}

fn needing(world: &mut World, at: usize, number: u64, mib: u64) -> Pid {
    let plain = description(number, id(at));
    world.begin(at, Description { memory_bytes_needed: mib * MIB, ..plain })
}

fn command(world: &mut World, index: usize, command: Command) {
    world.ask(index, Request::Command { node: id(index), command });
}

fn may(world: &mut World, index: usize, mib: u64) -> Result<(), String> {
    world.host(index).node.may_place(&Placement::default(), mib * MIB)
}

fn moved_by_hand(world: &mut World, from: usize, pid: Pid, to: usize) -> Answer {
    let asked = migrate(world, from, from, pid, to);
    world.settle();
    answer(world, from, asked).expect("an answer")
}

#[test]
fn a_program_that_no_node_has_the_memory_for_is_refused() {
    let mut world = world([100, 300]);
    assert_eq!(may(&mut world, 0, 0), Ok(()));
    assert_eq!(may(&mut world, 0, 100), Ok(()));
    assert_eq!(may(&mut world, 0, 300), Ok(()));
    let why = "it needs 301 MiB of memory, and no node that may run it has so much left and 64 MiB to spare: \
               node1 has 364 MiB, node0 has 164 MiB";
    assert_eq!(may(&mut world, 0, 301), Err(why.to_owned()));
    // Who takes nothing does not count.
    world.ask(0, Request::Command { node: id(1), command: Command::Cordon { on: true } });
    world.live(2);
    let why = may(&mut world, 0, 200).unwrap_err();
    assert!(why.contains("node0 has 164 MiB") && !why.contains("node1"), "{why}");
    // What nobody says anything of may be anywhere.
    assert_eq!(may(&mut world, 0, 0), Ok(()));
}

#[test]
fn a_node_that_has_just_been_met_may_have_the_memory() {
    let mut world = World::new(2);
    has_left(&mut world, 0, 10);
    assert_eq!(may(&mut world, 0, 1_000), Ok(()), "it has said nothing yet");
}

#[test]
fn a_program_goes_to_where_the_memory_is_and_stays() {
    let mut world = world([100, 300]);
    let pid = needing(&mut world, 0, 1, 200);
    world.live(1);
    assert_eq!(world.place(pid), Some(1));
    let Answer::Refused(why) = moved_by_hand(&mut world, 1, pid, 0) else { panic!("it was moved") };
    assert!(why.contains("needs 209 MB, and it has 171 MB left"), "{why}");
    // Others in its way do not drive it away, nor does a drain.
    let others: Vec<Pid> = (10..13).map(|number| world.spawn(1, number)).collect();
    world.live(40);
    assert_eq!(world.place(pid), Some(1));
    assert!(others.iter().any(|pid| world.place(*pid) == Some(0)));
    world.ask(1, Request::Command { node: id(1), command: Command::Drain { on: true } });
    world.live(20);
    assert_eq!(world.place(pid), Some(1));
    has_left(&mut world, 0, 210);
    world.live(20);
    assert_eq!(world.place(pid), Some(0));
}

#[test]
fn who_finds_no_memory_keeps_a_drain_from_ending_and_it_says_so() {
    let mut world = world([1_000, 100]);
    let pids = [needing(&mut world, 0, 1, 400), world.spawn(0, 2)];
    world.live(1);
    command(&mut world, 0, Command::Drain { on: true });
    world.live(15);
    assert_eq!(pids.map(|pid| world.place(pid)), [Some(0), Some(1)]);
    assert_eq!(stuck(&mut world, 0), 1);
    has_left(&mut world, 1, 500);
    world.live(15);
    assert_eq!((world.place(pids[0]), stuck(&mut world, 0)), (Some(1), 0));
}

#[test]
fn who_has_more_than_the_rate_carries_is_stuck_too() {
    let mut world = World::new(2);
    world.move_bytes_per_s = Some(4_000_000);
    (0..2).for_each(|index| {
        world.kill(index);
        world.start(index);
    });
    world.link_all();
    world.memory_bytes = 240_000_001;
    world.spawn(0, 1);
    world.live(2);
    command(&mut world, 0, Command::Drain { on: true });
    world.live(2);
    assert_eq!(stuck(&mut world, 0), 1);
}

#[test]
fn what_a_program_will_need_is_kept_free_until_it_has_it() {
    let mut world = world([1_000, 1_000]);
    let pid = needing(&mut world, 0, 1, 600);
    world.ask(0, Request::Command { node: id(0), command: Command::Pin { pid } });
    world.live(2);
    // It has one of them.
    assert!(may(&mut world, 1, 1_001).unwrap_err().contains("node0 has 465 MiB"));
    let other = needing(&mut world, 1, 2, 500);
    world.live(2);
    let refused = moved_by_hand(&mut world, 1, other, 0);
    assert!(matches!(&refused, Answer::Refused(why) if why.contains("it has 487 MB left")));
    // It grows, and the system has so much less: nothing is counted twice.
    world.memory_bytes = 300 * MIB;
    has_left(&mut world, 0, 701);
    world.live(2);
    assert!(may(&mut world, 1, 1_001).unwrap_err().contains("node0 has 465 MiB"));
    // It ends, and gives back what it had.
    world.memory_bytes = MIB;
    world.host(0).running.remove(&pid);
    world.tell(0, Event::Ended { pid, end: End::Exited(0) });
    has_left(&mut world, 0, 1_000);
    world.live(2);
    let moved = moved_by_hand(&mut world, 1, other, 0);
    assert!(matches!(moved, Answer::Moved(_)), "{moved:?}");
    // And it is kept where it has gone to, and no longer where it was.
    world.live(2);
    let why = may(&mut world, 0, 2_000).unwrap_err();
    assert!(why.contains("node1 has 1064 MiB, node0 has 565 MiB"), "{why}");
}

#[test]
fn two_that_begin_at_once_do_not_share_what_only_one_can_have() {
    let mut world = world([700, 500]);
    let both = [1, 2].map(|number| needing(&mut world, 0, number, 400));
    world.live(30);
    let mut places = both.map(|pid| world.place(pid));
    places.sort();
    assert_eq!(places, [Some(0), Some(1)]);
    assert!(may(&mut world, 0, 400).is_err());
}

#[test]
fn who_has_more_than_the_rate_carries_stays() {
    let mut world = World::new(2);
    world.move_bytes_per_s = Some(4_000_000);
    for index in 0..2 {
        world.kill(index);
        world.start(index);
    }
    world.link_all();
    world.memory_bytes = 240_000_001;
    let pids = [1, 2, 3].map(|number| world.spawn(0, number));
    world.live(100);
    let here = |world: &World| pids.iter().filter(|pid| world.place(**pid) == Some(0)).count();
    assert_eq!(here(&world), 3, "idle nodes do not get them");
    let Answer::Refused(why) = moved_by_hand(&mut world, 0, pids[0], 1) else { panic!("moved") };
    assert!(why.contains("has 240 MB, and its node carries 240 MB in 60 s"), "{why}");
    // One byte less.
    world.memory_bytes -= 1;
    world.live(1);
    let moved = moved_by_hand(&mut world, 0, pids[0], 1);
    assert!(matches!(moved, Answer::Moved(_)), "{moved:?}");
}

#[test]
fn who_has_memory_again_is_not_sent_away() {
    let mut world = world([100, 100]);
    // Nobody has it; that it was started all the same is as if the memory had just gone.
    let pid = needing(&mut world, 0, 1, 400);
    world.live(5);
    assert_eq!(world.host(0).node.kept().misplaced, 1);
    has_left(&mut world, 0, 500);
    world.live(1);
    assert_eq!((world.host(0).node.kept().misplaced, world.place(pid)), (0, Some(0)));
}
