//! What a process is told has happened: nobody is told that one has ended that lives, that a node cannot be reached that
//! can, that a circle is closed that is not.

use peripatos_abi::message::Status;
use peripatos_kernel::limits::GIVE_UP_NS;

use crate::actor::{Doing, Id};
use crate::config::{Level, SECOND};
use crate::world::World;

/// A send has failed.
pub(crate) fn check(world: &mut World, id: Id, number: usize, status: Status) {
    let sending = &world.ledger.sends[number];
    let lost = |to: &Id| is_lost(world, *to);
    let holds = match status {
        Status::NoProcess => {
            let ended = |to: &Id| !world.actors[*to].lives();
            sending.chain.iter().any(ended) && sending.replied.as_ref().is_none_or(lost)
        }
        // What became of a part its sender is told when all of the send is over.
        Status::Unreachable if sending.group.is_some() => {
            was_trouble_since(world, sending.begun) || sending.chain.iter().any(lost)
        }
        Status::Unreachable => was_trouble(world) || sending.chain.iter().any(lost),
        Status::Deadlock => {
            let broken = world.now.saturating_sub(world.ledger.broken);
            closes(world, id, number) || broken < news_max(world)
        }
        _ => false,
    };
    if !holds {
        let what = format!("p{id} is told of {number}: {status:?}, but {sending:?}");
        world.violated("truth", what);
    }
}

/// How long word of a circle may be on its way. Whom it is for may stand still meanwhile, to move to another node.
fn news_max(world: &World) -> u64 {
    match world.config.level {
        Level::Kernels => SECOND,
        Level::Nodes => 2 * SECOND,
    }
}

/// Whether a process was lost with its node, or had ended there before, so that what it had answered, and how it had ended, is lost.
pub(crate) fn is_lost(world: &World, id: Id) -> bool {
    let Some(end) = world.actors[id].end else { return false };
    let node = end.kernel.map(|kernel| world.node_of[kernel]);
    let since = |(crashed, at): &(usize, u64)| Some(*crashed) == node && *at >= end.at;
    end.reason.is_none() || world.ledger.crashes.iter().any(since)
}

/// Whether nodes have not reached each other, not so long ago that all who look know where everybody is since.
pub(crate) fn was_trouble(world: &World) -> bool {
    was_trouble_since(world, world.now)
}

/// The same at any time since then.
fn was_trouble_since(world: &World, since: u64) -> bool {
    let window = GIVE_UP_NS + 5 * SECOND + world.config.directory_lag;
    let trouble = world.ledger.trouble;
    trouble.is_some_and(|at| since.saturating_sub(at) < window)
}

/// Whether who it has sent to waits for it.
fn closes(world: &World, id: Id, number: usize) -> bool {
    let mut at = world.ledger.sends[number].chain.last().copied();
    for _ in 0..world.actors.len() {
        match at {
            Some(one) if one == id => return true,
            Some(one) => {
                at = match world.actors[one].doing {
                    Doing::Sent(number) => world.ledger.sends[number].chain.last().copied(),
                    _ => None,
                };
            }
            None => return false,
        }
    }
    false
}
