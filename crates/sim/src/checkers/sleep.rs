//! Who sleeps does nothing, wakes with all that it had, and misses nothing.

use crate::actor::Id;
use crate::sleep::PUT_ASIDE;
use crate::world::World;

/// Of a memory (FNV-1a).
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A process has its memory again; what lay there meanwhile, and of what it was when it fell asleep.
pub(crate) fn woke(world: &mut World, id: Id, left: &[u8], before: u64) {
    if left.iter().any(|byte| *byte != PUT_ASIDE) {
        return world.violated("sleep", format!("p{id} slept, and has got something meanwhile"));
    }
    if sum(&world.actors[id].memory) != before {
        world.violated("sleep", format!("p{id} has woken with another memory"));
    }
}

/// A process does something, or is told something.
pub(crate) fn acts(world: &mut World, id: Id) {
    if world.actors[id].asleep.is_some() {
        world.violated("sleep", format!("p{id} goes on, and sleeps"));
    }
}

/// There was time to wake.
pub(crate) fn at_rest(world: &mut World) {
    for id in 0..world.actors.len() {
        let actor = &world.actors[id];
        let Some((kernel, slot)) = actor.place.filter(|_| actor.asleep.is_some()) else { continue };
        let waking = actor.asleep.as_ref().is_some_and(|sleep| sleep.waking);
        if !waking && !world.kernels[kernel].is_blocked(slot) {
            world.violated("sleep", format!("p{id} sleeps, and what it waits for is there"));
        }
    }
}
