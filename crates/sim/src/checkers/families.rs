//! A family ends with its root, wherever its processes are; and not before.
//!
//! Who belongs to it is known where its origin is attached. If that node has crashed, nobody ends the others.

use super::truth::was_trouble;
use crate::actor::Id;
use crate::config::SECOND;
use crate::world::World;

/// Nobody need have ended within this time.
const TIME: u64 = 40 * SECOND;

/// A node ends a process on behalf of its family.
pub(crate) fn killed(world: &mut World, id: Id) {
    let root = world.actors[id].root;
    let over = !world.actors[root].lives() || world.ledger.origins.contains(&root);
    if !over && !origin_is_gone(world, id) && !was_trouble(world) {
        world.violated("families", format!("p{id} is ended, and its root p{root} lives"));
    }
}

/// There was time.
pub(crate) fn at_rest(world: &mut World) {
    if world.cluster.is_none() {
        return;
    }
    let left = (0..world.actors.len()).find(|id| {
        let end = world.actors[world.actors[*id].root].end;
        let long_ago = end.is_some_and(|end| world.now - end.at > TIME);
        long_ago && world.actors[*id].lives() && !origin_is_gone(world, *id)
    });
    if let Some(id) = left {
        let root = world.actors[id].root;
        let end = world.actors[root].end;
        world.violated("families", format!("p{id} lives, and its root p{root} has ended: {end:?}"));
    }
}

/// Whether the node at which a process's family has its origin has crashed.
pub(crate) fn origin_is_gone(world: &World, id: Id) -> bool {
    let root = &world.actors[world.actors[id].root];
    let Some(cluster) = &world.cluster else { return true };
    let now = cluster.hosts[root.origin].incarnation;
    !world.nodes[root.origin].alive || root.origin_incarnation != Some(now)
}
