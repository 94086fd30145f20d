//! Every blocked process is told eventually.

use crate::actor::Doing;
use crate::world::World;

/// There was time for it.
pub(crate) fn check(world: &mut World) {
    let waits = |actor: &crate::actor::Actor| match actor.doing {
        Doing::Sent(number) if actor.lives() => Some(number),
        Doing::Gathering(gather) if actor.lives() => Some(world.ledger.gathers[gather].parts.0),
        _ => None,
    };
    let borrows = |actor: &crate::actor::Actor| actor.lives() && actor.doing == Doing::Borrowing;
    if let Some(id) = world.actors.iter().position(borrows) {
        let what = format!("p{id} waits for {:?}", world.actors[id].access);
        return world.violated("told", what);
    }
    let found = world.actors.iter().enumerate().find_map(|(id, one)| Some((id, waits(one)?)));
    if let Some((id, number)) = found {
        let sending = world.ledger.sends[number].clone();
        world.violated("told", format!("p{id} waits for the reply to {number}: {sending:?}"));
    }
}
