//! What is lent is read and written while its sender waits, with the rights that were given, and never after; and what was written
//! is what the sender sees.

use peripatos_abi::message::{LEASE_READ, LEASE_WRITE, Status};
use peripatos_kernel::AccessKind;

use super::truth::{is_lost, was_trouble};
use crate::actor::{Access, BORROWED, Doing, Id, LENT, LENT_MAX, UNLENT};
use crate::world::World;

fn right(kind: AccessKind) -> u32 {
    match kind {
        AccessKind::Measure => LEASE_READ | LEASE_WRITE,
        AccessKind::Read => LEASE_READ,
        AccessKind::Write => LEASE_WRITE,
    }
}

/// A process wants something of what was lent to it.
pub(crate) fn begins(world: &mut World, access: &Access) {
    let Some(loan) = &mut world.ledger.sends[access.number].loan else { return };
    if access.kind != AccessKind::Write || !access.open || loan.rights & LEASE_WRITE == 0 {
        return;
    }
    for (at, byte) in access.bytes.iter().enumerate() {
        let at = access.offset as usize + at;
        if let (Some(may_be), Some(was)) = (loan.may_be.get_mut(at), loan.was.get_mut(at)) {
            may_be.push(*byte);
            was.push(*byte);
        }
    }
}

/// It is done, or cannot be.
pub(crate) fn done(world: &mut World, id: Id, access: &Access, result: Result<u32, Status>) {
    let wrong = match result {
        Ok(count) => has_done(world, id, access, count).err(),
        Err(status) => (!may_fail(world, id, access, status)).then(|| "that cannot be".to_owned()),
    };
    if let Some(wrong) = wrong {
        let sending = world.ledger.sends[access.number].clone();
        let what = format!("p{id} is told {result:?} of {access:?}: {wrong}; {sending:?}");
        world.violated("leases", what);
    }
}

fn has_done(world: &mut World, id: Id, access: &Access, count: u32) -> Result<(), String> {
    if !access.open {
        return Err("who has lent it waited no more".to_owned());
    }
    let own = world.actors[id].part(BORROWED, count.min(LENT_MAX)).to_vec();
    let sending = &mut world.ledger.sends[access.number];
    let loan = sending.loan.as_mut().ok_or("nothing was lent")?;
    if loan.rights & right(access.kind) == 0 {
        return Err("that was not allowed".to_owned());
    }
    let offset = access.offset as usize;
    let there = loan.may_be.len().saturating_sub(offset).min(access.bytes.len());
    let expected = if access.kind == AccessKind::Measure { loan.may_be.len() } else { there };
    if count as usize != expected {
        return Err(format!("it should be {expected}"));
    }
    world.outcome.accesses += 1;
    match access.kind {
        AccessKind::Measure => Ok(()),
        AccessKind::Read => {
            // The answer of one that has handed the message on may be older than what others have written since.
            let known = if access.stale { &loan.was } else { &loan.may_be };
            let wrong = own.iter().zip(&known[offset.min(known.len())..]);
            match wrong.clone().position(|(byte, may_be)| !may_be.contains(byte)) {
                Some(at) => Err(format!("it has read {own:?}, byte {at} of which was never there")),
                None => Ok(()),
            }
        }
        AccessKind::Write if access.stale => Ok(()),
        AccessKind::Write => {
            for (at, byte) in access.bytes[..there].iter().enumerate() {
                loan.may_be[offset + at] = vec![*byte];
            }
            Ok(())
        }
    }
}

fn may_fail(world: &World, id: Id, access: &Access, status: Status) -> bool {
    let sending = &world.ledger.sends[access.number];
    let sender = &world.actors[sending.from];
    let last = sending.chain.len() == access.hop as usize + 1;
    match status {
        // Whoever sends to a group lends nothing, and who sends in its stead is gone once it has its answer, where one that is left behind
        // need not find that out.
        Status::NotWaiting | Status::NoProcess | Status::Unreachable if sending.group.is_some() => {
            true
        }
        Status::NotPermitted => {
            sending.loan.as_ref().is_none_or(|loan| loan.rights & right(access.kind) == 0)
        }
        Status::NotWaiting => {
            let waits = sender.doing == Doing::Sent(access.number) && sender.asleep.is_none();
            access.stale || !last || !sender.lives() || !waits || sending.chain.last() != Some(&id)
        }
        Status::NoProcess => !sender.lives(),
        Status::Unreachable => was_trouble(world) || is_lost(world, sending.from),
        _ => false,
    }
}

/// A send is over: its sender sees what was written, and nothing is lent any more.
pub(crate) fn over(world: &mut World, id: Id, number: usize) {
    let seen = world.actors[id].part(LENT, LENT_MAX).to_vec();
    let loan = world.ledger.sends[number].loan.as_ref();
    let lent = loan.map_or(0, |loan| loan.may_be.len());
    let holds = |(at, byte): (usize, &u8)| match loan.and_then(|loan| loan.may_be.get(at)) {
        Some(may_be) => may_be.contains(byte),
        None => *byte == UNLENT,
    };
    if let Some(at) = (0..seen.len()).find(|at| !holds((*at, &seen[*at]))) {
        let what =
            format!("byte {at} of {lent} that p{id} has lent with {number}: {seen:?}, {loan:?}");
        return world.violated("leases", what);
    }
    world.actors[id].put(LENT, &[UNLENT; LENT_MAX as usize]);
}

/// Nobody writes where nothing is lent.
pub(crate) fn untouched(world: &mut World, id: Id) {
    let seen = world.actors[id].part(LENT, LENT_MAX);
    if seen.iter().any(|byte| *byte != UNLENT) {
        let what = format!("p{id} has lent nothing, and has got {seen:?}");
        world.violated("leases", what);
    }
}

/// Nobody sends.
pub(crate) fn at_rest(world: &mut World) {
    for id in 0..world.actors.len() {
        let actor = &world.actors[id];
        if actor.lives() && actor.asleep.is_none() && !matches!(actor.doing, Doing::Sent(_)) {
            untouched(world, id);
        }
    }
}
