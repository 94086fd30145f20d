//! Nothing is lost: the reply to a message that was taken is, while its sender waits for it.

use peripatos_abi::message::Status;

use crate::actor::{Doing, Id, Serving};
use crate::world::World;

/// A process was refused to reply, or to forward.
pub(crate) fn refused(world: &mut World, id: Id, serving: Serving, status: Status) {
    let sending = &world.ledger.sends[serving.number];
    let sender = &world.actors[sending.from];
    let waits = sender.lives() && sender.doing == Doing::Sent(serving.number);
    if sending.group.is_some() && status == Status::NotWaiting {
        // Whether that one of its parts is over its sender is not told before all are.
        world.ledger.sends[serving.number].refused = true;
        return;
    }
    let last = sending.chain.len() == serving.hop as usize + 1;
    if status != Status::NotWaiting || waits && last {
        let what = format!("p{id} may not reply to {}: {status:?}", serving.number);
        world.violated("lost", what);
    }
}
