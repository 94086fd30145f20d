//! What a peer says of processes that are not its own changes nothing.

use peripatos_cluster::limits::LABELS_MAX;
use peripatos_cluster::message::{
    Command, Description, End, Kin, Luggage, Message, MigrationId, MoveCosts,
};
use peripatos_cluster::{Event, Placement, Proof};

use crate::families::{kin, root};
use crate::moves::migrate;
use crate::world::{World, description, id};

#[test]
fn nobody_ends_or_claims_what_runs_elsewhere() {
    let mut world = World::new(2);
    let pid = world.spawn(0, 1);
    let lies = [
        Message::Ended { pid, end: End::Exited(3) },
        Message::Arrived { pid, moves: 9 },
        Message::OriginGone { pid },
    ];
    for message in lies {
        world.tell(0, Event::Message { from: id(1), message });
    }
    assert!(world.host(0).told.is_empty() && world.host(0).orphans.is_empty());
    assert_eq!(world.host(0).log.len(), 2);
    // The liar goes: its word on where the process is was not taken.
    world.kill(1);
    world.start(1);
    world.link_all();
    world.live(40);
    assert!(world.host(0).told.is_empty());
    assert_eq!(world.place(pid), Some(0));
}

/// A node that was stolen, and that does not have the token: what it says is as good as what runs there, and that is in doubt.
#[test]
fn nobody_says_without_a_proof_that_a_node_is_gone() {
    let says = |world: &mut World, proof: Option<Proof>| {
        let command = Command::Forget { node: id(1), proof: proof.map(Box::new) };
        let message = Message::Command { request: 7, command };
        world.tell(0, Event::Message { from: id(2), message });
        world.live(3);
    };
    let mut in_doubt = 0;
    for steps in 0..20 {
        let mut world = World::new(3);
        let pid = world.spawn(0, 1);
        migrate(&mut world, 0, 0, pid, 1);
        for _ in 0..steps {
            let _ = world.deliver(0, 1) | world.report(0) | world.deliver(1, 0) | world.report(1);
        }
        // Cut off, and for all that anybody knows it goes on.
        world.cut(0, 1);
        world.live(3);
        if world.place(pid).is_some() {
            continue;
        }
        in_doubt += 1;
        says(&mut world, None);
        assert!(world.host(0).frozen.contains(&pid), "after {steps} steps");
        let refused = world.host(0).log.iter().filter(|line| line.contains("it is not believed"));
        assert_eq!(refused.count(), 1);
        // Somebody with the token has signed: hosts have looked at it.
        says(&mut world, Some(Proof::default()));
        assert!(!world.host(0).frozen.contains(&pid), "after {steps} steps");
    }
    assert!(in_doubt > 0, "at some step it is in doubt");
}

#[test]
fn a_birth_with_labels_that_cannot_be_is_not_believed() {
    let mut world = World::new(2);
    let root = root(&mut world).pid;
    for (labels, believed) in [(LABELS_MAX + 1, false), (LABELS_MAX, true)] {
        let on = (0..labels).map(|number| format!("k{number}=v").parse().unwrap()).collect();
        let placement = Placement { on, not_on: Vec::new(), prefer: Vec::new() };
        let kin = kin(root, root).map(|kin| Kin { placement, ..kin });
        let born = Description { kin, ..description(2, id(0)) };
        world.tell(0, Event::Message { from: id(1), message: Message::Born(born) });
        assert_eq!(!world.host(0).adopted.is_empty(), believed);
    }
}

#[test]
fn an_offer_that_is_taken_back_leaves_nothing_to_wait_for() {
    let mut world = World::new(2);
    let incarnation = world.host(0).incarnation;
    for number in 0..100 {
        let migration = MigrationId { source: id(0), incarnation, number };
        let process = description(number, id(0));
        let costs = MoveCosts::default();
        let luggage = Luggage {
            process,
            moves: 1,
            costs,
            cpu_ms: 0,
            memory_bytes: 0,
            demand_permille: 1_000,
            hold: None,
            demand_permille_max: None,
            orphaned: false,
        };
        let offer = Message::Offer { migration, luggage };
        for (message, awaited) in [(offer, 1), (Message::Abort { migration }, 0)] {
            world.tell(1, Event::Message { from: id(0), message });
            world.report(1);
            assert_eq!(world.host(1).awaited.len(), awaited);
        }
    }
}
