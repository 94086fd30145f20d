//! The origin of a process is told of its end, once, and of no other.

use peripatos_abi::Pid;
use peripatos_cluster::message::End;

use super::families::origin_is_gone;
use super::truth::was_trouble;
use crate::world::World;

/// A node tells an origin that is attached to it of an end.
pub(crate) fn told(world: &mut World, node: usize, pid: Pid, end: &End) {
    let id = world.by_pid[&pid];
    let actor = &world.actors[id];
    let holds = match (end, actor.end) {
        (End::Lost { .. }, Some(_)) => true,
        (End::Lost { .. }, None) => was_trouble(world),
        // It has run where a node crashed, and its copy from before does not go on (`World::run_again`).
        (End::Failed { .. }, Some(_)) => true,
        (_, end) => end.is_some_and(|end| end.reason.is_some()),
    };
    let there = world.actors[actor.root].origin == node;
    let what = format!("n{node} tells the origin of p{id} {end:?}: {:?}", actor.end);
    if !holds || !there || !world.ledger.origins.insert(id) {
        world.violated("origins", what);
    }
}

/// All have ended.
pub(crate) fn at_end(world: &mut World) {
    if world.cluster.is_none() {
        return;
    }
    let ledger = &world.ledger;
    let mut untold = ledger.adopted.difference(&ledger.origins);
    if let Some(id) = untold.find(|id| !origin_is_gone(world, **id)).copied() {
        let end = world.actors[id].end;
        world.violated("origins", format!("nobody was told that p{id} has ended: {end:?}"));
    }
}
