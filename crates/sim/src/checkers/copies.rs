//! At most one copy of a process runs: one kernel has it, where it is, or none.

use crate::actor::Id;
use crate::world::World;

/// A process has come to a kernel.
pub(crate) fn check(world: &mut World, id: Id) {
    let actor = &world.actors[id];
    let at = actor.place.map(|(kernel, _)| kernel);
    let has = |kernel: &usize| {
        world.is_alive(*kernel) && world.kernels[*kernel].find(actor.pid).is_some()
    };
    let found: Vec<usize> = (0..world.kernels.len()).filter(has).collect();
    if found != at.into_iter().collect::<Vec<_>>() {
        world.violated("copies", format!("p{id} should be at {at:?}, and is at {found:?}"));
    }
}

/// Nobody is on its way.
pub(crate) fn at_rest(world: &mut World) {
    for id in 0..world.actors.len() {
        check(world, id);
        if world.actors[id].lives() && world.actors[id].place.is_none() {
            world.violated("copies", format!("p{id} stands still, and never goes on"));
        }
    }
}
