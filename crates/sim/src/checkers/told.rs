//! Every blocked process is told eventually.

use crate::actor::Doing;
use crate::world::World;

/// There was time for it.
pub(crate) fn check(world: &mut World) {
    let waits = |actor: &crate::actor::Actor| match actor.doing {
        Doing::Sent(number) if actor.lives() => Some(number),
        _ => None,
    };
    let found = world.actors.iter().enumerate().find_map(|(id, one)| Some((id, waits(one)?)));
    if let Some((id, number)) = found {
        let sending = world.ledger.sends[number].clone();
        world.violated("told", format!("p{id} waits for the reply to {number}: {sending:?}"));
    }
}
