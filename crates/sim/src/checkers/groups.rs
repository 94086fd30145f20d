//! A send to a group gets each member's reply at most once, and what it is told of the others has happened.

use peripatos_abi::Pid;
use peripatos_abi::message::{PID_BYTES, Status};

use super::{replies, truth};
use crate::actor::{Id, REPLY, ROOM};
use crate::world::World;

/// Its sender is told.
pub(crate) fn check(world: &mut World, id: Id, gather: usize, result: Result<u32, Status>) {
    let gathering = world.ledger.gathers[gather].clone();
    if gathering.told || gathering.from != id {
        return world.violated("groups", format!("p{id} is told again of {gathering:?}"));
    }
    match result {
        Ok(len) => {
            let reply = world.actors[id].part(REPLY, len.min(ROOM)).to_vec();
            let told = if gathering.all {
                all(world, id, gathering.parts, &reply)
            } else {
                first(world, gathering.parts, &reply)
            };
            if let Err(wrong) = told {
                world.violated("groups", format!("p{id} is told of {gathering:?}: {wrong}"));
            }
        }
        Err(Status::TooLong) if gathering.room < ROOM => {}
        Err(_) if gathering.all => {
            world.violated("groups", format!("p{id} is told {result:?} of {gathering:?}"));
        }
        // That of the first member.
        Err(status) => failed(world, id, gathering.parts.0, status),
    }
}

/// The first reply: whose it is, it says itself.
fn first(world: &mut World, (begin, count): (usize, usize), reply: &[u8]) -> Result<(), String> {
    let number = reply.first_chunk().map(|bytes| !u64::from_le_bytes(*bytes) as usize);
    let number = number.filter(|number| (begin..begin + count).contains(number));
    let number = number.ok_or("a reply to something else")?;
    take(world, number, reply);
    Ok(())
}

/// All replies: one record of each member, in their order.
fn all(
    world: &mut World,
    id: Id,
    (begin, count): (usize, usize),
    mut records: &[u8],
) -> Result<(), String> {
    for number in begin..begin + count {
        let (head, rest) = records.split_at_checked(PID_BYTES + 4).ok_or("a record is missing")?;
        let (pid, code) = head.split_first_chunk().expect("it is longer than a pid");
        let pid = Pid::from_bits(u128::from_le_bytes(*pid));
        let code = i32::from_le_bytes(*code.first_chunk().expect("and this is left"));
        let member = world.ledger.sends[number].chain[0];
        if world.actors[member].pid != pid {
            return Err(format!("{pid:#}, where p{member} should be"));
        }
        records = rest;
        if code >= 0 {
            let len = code as usize;
            let (reply, rest) = rest
                .split_at_checked(len.next_multiple_of(4))
                .ok_or_else(|| format!("p{member}'s reply is cut"))?;
            take(world, number, &reply[..len]);
            records = rest;
        } else {
            let status = Status::from_code(code).ok_or("no status")?;
            failed(world, id, number, status);
        }
    }
    if records.is_empty() { Ok(()) } else { Err("more records than members".to_owned()) }
}

fn take(world: &mut World, number: usize, reply: &[u8]) {
    replies::check(world, number, reply);
    world.outcome.replies += 1;
    let sending = &mut world.ledger.sends[number];
    let again = sending.told.replace(Ok(())).is_some();
    if again || sending.refused {
        let what = format!("the reply to {number} has come again, or was refused: {sending:?}");
        world.violated("groups", what);
    }
}

fn failed(world: &mut World, id: Id, number: usize, status: Status) {
    let gather = world.ledger.sends[number].group;
    let short = gather.is_some_and(|gather| world.ledger.gathers[gather].room < ROOM);
    if status != Status::TooLong || !short {
        truth::check(world, id, number, status);
    }
    world.ledger.sends[number].told = Some(Err(status));
}
