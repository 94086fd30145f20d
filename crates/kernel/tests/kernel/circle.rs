//! Circles are not only answered, but told of.

use std::ops::Range;

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_kernel::{Body, Circle, Form, Kernel, Packet};

use crate::world::{Id, World, place};

/// Processes on these of three cores, each of which sends to the next one, and what the last one hears when it sends to the first.
fn ring(cores: &[usize]) -> (World, Vec<Id>, Result<(), Status>) {
    let mut world = World::new(3);
    let ids: Vec<Id> = cores.iter().map(|core| world.add(*core, Form::Fiber)).collect();
    let mut last = Ok(());
    for (at, id) in ids.iter().enumerate() {
        let to = world.pid(ids[(at + 1) % ids.len()]);
        last = world.send(*id, to, b"?").map(drop);
    }
    world.deliver_all();
    (world, ids, last)
}

fn circles(world: &mut World) -> Vec<Circle> {
    let kernels = world.kernels.iter_mut();
    kernels.flat_map(|kernel| std::iter::from_fn(|| kernel.next_circle())).collect()
}

/// As it is told, beginning with that one.
fn from_there(circle: &Circle, first: Pid) -> Vec<Pid> {
    let at = circle.pids.iter().position(|pid| *pid == first).expect("it is in the circle");
    circle.pids.iter().cycle().skip(at).take(circle.pids.len()).copied().collect()
}

#[test]
fn one_within_a_kernel_is_told_of_with_all_that_are_in_it() {
    for len in [2, 3, 16] {
        let (mut world, ids, last) = ring(&vec![0; len]);
        assert_eq!(last, Err(Status::Deadlock));
        let pids: Vec<Pid> = ids.iter().map(|id| world.pid(*id)).collect();
        let found = circles(&mut world);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pids[0], pids[len - 1], "it begins with who was told");
        assert_eq!((from_there(&found[0], pids[0]), found[0].len), (pids, len as u32));
        assert!(circles(&mut world).is_empty());
    }
}

#[test]
fn of_a_long_one_the_first_are_named() {
    let (mut world, _, _) = ring(&[0; 40]);
    let found = circles(&mut world);
    assert_eq!((found[0].pids.len(), found[0].len), (16, 40));
}

#[test]
fn one_over_kernels_is_told_of_once() {
    let (mut world, ids, last) = ring(&[0, 0, 1, 0, 1, 1]);
    assert_eq!(last, Ok(()));
    assert!(circles(&mut world).is_empty());
    for seconds in 1..10_u64 {
        for core in [0, 1] {
            world.kernels[core].tick(seconds * 1_000_000_000);
        }
        world.deliver_all();
    }
    let pids: Vec<Pid> = ids.iter().map(|id| world.pid(*id)).collect();
    let found = circles(&mut world);
    assert_eq!(found.len(), 1);
    assert_eq!((from_there(&found[0], pids[0]), found[0].len), (pids, 6));
}

#[test]
fn one_through_a_group_is_told_of() {
    let mut world = World::new(1);
    let [principal, member, other] = [0; 3].map(|core| world.add(core, Form::Fiber));
    let pids = [principal, member, other].map(|id| world.pid(id));
    world.send_all(principal, &pids[1..], b"?", true).unwrap();
    assert_eq!(world.send(member, pids[0], b"?"), Err(Status::Deadlock));
    let found = circles(&mut world);
    assert_eq!((found[0].pids.as_slice(), found[0].len), (&[pids[1], pids[0]][..], 2));
}

#[test]
fn nobody_need_ask() {
    let mut world = World::new(1);
    let [one, two] = [0; 2].map(|core| world.add(core, Form::Fiber));
    let (first, second) = (world.pid(one), world.pid(two));
    world.send(one, second, b"?").unwrap();
    for _ in 0..1_000 {
        assert_eq!(world.send(two, first, b"?"), Err(Status::Deadlock));
    }
    assert_eq!(circles(&mut world).len(), 16);
}

const SECOND: u64 = 1_000_000_000;

/// Time passes on all kernels, and everything is delivered.
fn pass(world: &mut World, seconds: Range<u64>) {
    for second in seconds {
        world.kernels.iter_mut().for_each(|kernel| kernel.tick(second * SECOND));
        world.deliver_all();
    }
}

/// What it sends within that time, in which nothing is delivered.
fn take_probes(world: &mut World, of: Id, seconds: Range<u64>) -> Vec<Packet> {
    let pid = world.pid(of);
    for second in seconds {
        world.kernels.iter_mut().for_each(|kernel| kernel.tick(second * SECOND));
    }
    world.collect_packets();
    let packets = world.packets.drain(..);
    packets
        .filter(|packet| matches!(packet.body, Body::Probe { origin, .. } if origin == pid))
        .collect()
}

/// Three wait for each other in a circle, and the probe of the third is on its way to the first when the second gives up.
fn broken_circle() -> (World, [Id; 3], Packet) {
    let mut world = World::new(2);
    let ids = [0, 1, 1].map(|core| world.add(core, Form::Fiber));
    let [first, second, third] = ids;
    let pids = ids.map(|id| world.pid(id));
    for (from, to) in [(first, third), (third, second), (second, first)] {
        world.send(from, pids[to], b"?").expect("it is there");
    }
    world.deliver_all();
    let probe = take_probes(&mut world, third, 1..4).swap_remove(0);
    world.kernels[1].unreachable(1);
    assert_eq!(world.wait(second), Some(Err(Status::Unreachable)));
    world.collect_packets();
    world.packets.clear();
    (world, ids, probe)
}

/// It was kept for the first one, which stood still.
#[test]
fn a_probe_that_was_kept_for_who_stood_still_finds_nothing() {
    let (mut world, [first, _, third], probe) = broken_circle();
    world.kernels.iter_mut().for_each(|kernel| kernel.tick(10 * SECOND));
    world.carry(first, 0);
    world.deliver(probe);
    world.deliver_all();
    assert_eq!(world.wait(third), None, "nobody waits for the first one");
    assert!(circles(&mut world).is_empty());
}

#[test]
fn a_probe_that_is_late_finds_nothing() {
    let (mut world, [_, _, third], probe) = broken_circle();
    world.deliver(probe);
    pass(&mut world, 4..10);
    assert_eq!(world.wait(third), None, "nobody waits for the first one");
    assert!(circles(&mut world).is_empty());
}

/// Two that wait for each other, on two of three cores. The probe of the second one gets round.
fn pair() -> (World, Id) {
    let (world, ids, _) = ring(&[0, 1]);
    assert!(world.pid(ids[1]) > world.pid(ids[0]));
    (world, ids[1])
}

/// It comes, and is followed.
fn follow(world: &mut World, probe: Packet) {
    world.deliver(probe);
    world.deliver_all();
}

/// Two that were sent before the first one was back may both have passed what is gone since.
#[test]
fn a_circle_is_believed_when_a_later_probe_has_found_it_too() {
    let (mut world, highest) = pair();
    let late = take_probes(&mut world, highest, 1..4);
    assert_eq!(late.len(), 2);
    for (second, probe) in (4..).zip(late) {
        follow(&mut world, probe);
        take_probes(&mut world, highest, second..second + 1);
    }
    assert!(circles(&mut world).is_empty(), "both were under way");
    pass(&mut world, 6..7);
    assert_eq!(circles(&mut world).len(), 1);
    assert_eq!(world.wait(highest), Some(Err(Status::Deadlock)));
}

#[test]
fn who_was_suspected_long_ago_is_not_suspected_any_more() {
    for (second, found) in [(60, 1), (70, 0)] {
        let (mut world, highest) = pair();
        pass(&mut world, 1..3);
        take_probes(&mut world, highest, 3..second);
        pass(&mut world, second..second + 1);
        assert_eq!(circles(&mut world).len(), found, "after {second} seconds");
        pass(&mut world, second + 1..second + 2);
        assert_eq!(world.wait(highest), Some(Err(Status::Deadlock)));
    }
}

#[test]
fn a_probe_that_was_under_way_for_long_makes_nobody_suspected() {
    for (second, found) in [(60, 1), (70, 0)] {
        let (mut world, highest) = pair();
        let probe = take_probes(&mut world, highest, 1..second).swap_remove(0);
        follow(&mut world, probe);
        pass(&mut world, second..second + 1);
        assert_eq!(circles(&mut world).len(), found, "after {second} seconds");
        pass(&mut world, second + 1..second + 2);
        assert_eq!(world.wait(highest), Some(Err(Status::Deadlock)));
    }
}

/// Both probes were sent before either was back, by a kernel whose rounds are as many as those of the new one, or ahead.
#[test]
fn rounds_of_where_it_was_do_not_count_where_it_is() {
    for ahead in [0, 1, 2, 3, 4, 96] {
        let (mut world, highest) = pair();
        let now = 4 + ahead;
        let mut late = take_probes(&mut world, highest, 1..now);
        world.kernels[2] = Kernel::new(place(2), 0);
        (1..4).for_each(|second| world.kernels[2].tick(second * SECOND));
        world.carry(highest, 2);
        world.deliver_all();
        for (second, probe) in (now..).zip(late.split_off(late.len() - 2)) {
            take_probes(&mut world, highest, second..second + 1);
            follow(&mut world, probe);
        }
        assert!(circles(&mut world).is_empty(), "both were under way, {ahead} rounds ahead");
        pass(&mut world, now + 2..now + 4);
        assert_eq!(circles(&mut world).len(), 1, "{ahead} rounds ahead");
        assert_eq!(world.wait(highest), Some(Err(Status::Deadlock)));
    }
}

/// It was suspected, and the next probe is on its way back.
#[test]
fn who_has_given_up_is_in_no_circle() {
    let (mut world, highest) = pair();
    pass(&mut world, 1..3);
    let probe = take_probes(&mut world, highest, 3..4).swap_remove(0);
    world.deliver(probe);
    world.collect_packets();
    world.kernels[1].unreachable(1);
    world.deliver_all();
    assert_eq!(world.wait(highest), Some(Err(Status::Unreachable)));
    assert!(circles(&mut world).is_empty());
}

#[test]
fn one_with_somebody_who_has_moved_is_found_a_little_later() {
    let (mut world, ids, _) = ring(&[0, 1, 1]);
    world.carry(ids[0], 0);
    world.deliver_all();
    pass(&mut world, 1..6);
    assert_eq!(circles(&mut world).len(), 1);
}
