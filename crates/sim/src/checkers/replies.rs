//! A reply matches its send: it is that send's, by somebody for whom it was, and who has had it.

use crate::world::World;

/// The sender has got this reply.
pub(crate) fn check(world: &mut World, number: usize, reply: &[u8]) {
    let sending = &world.ledger.sends[number];
    let word = |at: usize| reply.get(at..).and_then(|rest| rest.first_chunk()).copied();
    let (of, by) = (word(0).map(u64::from_le_bytes), word(8).map(u64::from_le_bytes));
    let by = by.map(|by| by as usize);
    if of != Some(!(number as u64)) {
        let of = of.map(|of| !of);
        return world.violated("replies", format!("{number} has got the reply to {of:?}"));
    }
    let last = sending.chain.last().copied();
    if by != last || sending.replied != by {
        let what = format!(
            "{number} was for {last:?}, replied to by {:?}, and has got the reply of {by:?}",
            sending.replied
        );
        return world.violated("replies", what);
    }
    let delivered = sending.delivered.last().copied();
    if delivered != Some(1) {
        world.violated("replies", format!("{number} was delivered {delivered:?} times"));
    }
}
