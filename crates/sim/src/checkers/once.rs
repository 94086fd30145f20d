//! No message is delivered twice, nor to somebody for whom it was not.

use crate::actor::Id;
use crate::world::World;

/// A process has taken a message.
pub(crate) fn check(world: &mut World, id: Id, number: usize, hop: u32) {
    let Some(sending) = world.ledger.sends.get_mut(number) else {
        return world.violated("once", format!("p{id} has got {number}, which nobody has sent"));
    };
    let hop = hop as usize;
    if sending.chain.get(hop) != Some(&id) {
        let chain = format!("{:?}", sending.chain);
        return world.violated("once", format!("p{id} has got {number}, which was for {chain}"));
    }
    sending.delivered[hop] += 1;
    if sending.delivered[hop] > 1 {
        world.violated("once", format!("p{id} has got {number} again"));
    }
}
