//! Processes whose memory is copied while they run.

use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_cluster::limits::MIGRATION_WAIT_MAX;
use peripatos_cluster::message::{Answer, Command};
use peripatos_cluster::{Event, Request, RequestId};

use crate::moves::{answer, migrate, step};
use crate::world::{World, id};

/// A large process on its way from node 0 to node 1, whose memory is being copied.
fn being_copied() -> (World, Pid, RequestId) {
    let mut world = World::new(2);
    world.memory_bytes = 64 << 20;
    let pid = world.spawn(0, 1);
    world.pass(Duration::from_millis(1));
    world.settle();
    let asked = migrate(&mut world, 0, 0, pid, 1);
    let copies = |world: &mut World| {
        let reports = &world.host(0).reports;
        reports.iter().any(|report| matches!(report, Event::PreCopied { .. }))
    };
    for _ in 0..20 {
        if copies(&mut world) {
            assert!(world.host(0).running.contains(&pid), "it runs meanwhile");
            return (world, pid, asked);
        }
        step(&mut world);
    }
    panic!("it is not copied");
}

#[test]
fn a_large_process_is_copied_before_it_stands_still() {
    let (mut world, pid, asked) = being_copied();
    world.pass(Duration::from_millis(50));
    world.settle();
    let Some(Answer::Moved(cost)) = answer(&mut world, 0, asked) else {
        panic!("it has not moved");
    };
    assert_eq!((cost.rounds, cost.copied_bytes, cost.image_bytes), (1, 64 << 20, 1));
    assert!(cost.total_us >= cost.freeze_us + 50_000, "{cost:?}");
    assert_eq!(world.place(pid), Some(1));
}

#[test]
fn what_is_being_copied_can_be_ended_at_once() {
    let (mut world, pid, asked) = being_copied();
    world.ask(0, Request::Command { node: id(0), command: Command::Kill { pid } });
    assert!(!world.host(0).running.contains(&pid));
    world.settle();
    assert!(matches!(answer(&mut world, 0, asked), Some(Answer::Refused(_))));
    assert_eq!(world.place(pid), None);
    assert!(world.host(1).arriving.is_empty(), "the target expects nothing more");
}

#[test]
fn copying_ends_with_the_link_and_the_process_goes_on() {
    let (mut world, pid, asked) = being_copied();
    world.cut(0, 1);
    assert!(world.host(0).reports.is_empty(), "nothing is copied any more");
    world.settle();
    assert!(matches!(answer(&mut world, 0, asked), Some(Answer::Refused(_))));
    assert_eq!(world.place(pid), Some(0));
    world.link(0, 1);
    world.settle();
    migrate(&mut world, 0, 0, pid, 1);
    world.settle();
    assert_eq!(world.place(pid), Some(1));
}

/// Copying may take nearly as long as a move; what is left has its own time.
#[test]
fn who_was_copied_for_long_has_time_for_the_rest() {
    let (mut world, pid, asked) = being_copied();
    world.pass(MIGRATION_WAIT_MAX - Duration::from_secs(1));
    assert!(world.report(0), "it has been copied");
    world.pass(MIGRATION_WAIT_MAX - Duration::from_secs(1));
    world.settle();
    assert!(matches!(answer(&mut world, 0, asked), Some(Answer::Moved(_))));
    assert_eq!(world.place(pid), Some(1));
}
