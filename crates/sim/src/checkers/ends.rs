//! Who watches is told of an end, once, and how it was; who is linked ends.

use peripatos_abi::EndReason;
use peripatos_abi::message::Envelope;
use peripatos_kernel::limits::{ASK_NS, GIVE_UP_NS};

use super::truth::{is_lost, was_trouble};
use crate::actor::Id;
use crate::config::SECOND;
use crate::ledger::pair;
use crate::world::World;

/// Nobody need hear of it within this time.
const TIME: u64 = 40 * SECOND;

/// A process was told of an end.
pub(crate) fn told(world: &mut World, id: Id, envelope: &[u8; 32]) {
    let (pid, reason) = Envelope::sender(envelope);
    let reason = EndReason::from_bits(reason);
    let other = world.by_pid[&pid];
    world.outcome.ends += 1;
    let now = world.now;
    let number = reason.map_or(u64::MAX, EndReason::to_bits);
    world.trace.note(now, &[19, id as u64, other as u64, number], || {
        format!("p{id} hears that p{other} has ended: {reason:?}")
    });
    if !world.ledger.monitors.remove(&(id, other)) {
        let what = format!("p{id} is told that p{other} has ended, which it does not watch");
        return world.violated("ends", what);
    }
    let holds = match (world.actors[other].end, reason) {
        (Some(_), Some(EndReason::Lost)) => is_lost(world, other) || was_trouble(world),
        (None, Some(EndReason::Lost)) => was_trouble(world),
        (Some(_), Some(EndReason::NoProcess)) => true,
        (Some(end), Some(reason)) => end.reason == Some(reason.to_bits()),
        _ => false,
    };
    if !holds {
        let end = world.actors[other].end;
        world.violated("ends", format!("p{id} is told {reason:?} of p{other}: {end:?}"));
    }
}

/// A kernel wants a process ended.
pub(crate) fn killed(world: &mut World, id: Id, by: Id) {
    let now = world.now;
    world.trace.note(now, &[20, id as u64, by as u64], || format!("p{id} is to end, by p{by}"));
    if world.ledger.killed.contains(&(by, id)) {
        return;
    }
    let end = world.actors[by].end;
    let made = world.ledger.links.get(&pair(id, by)).map_or(0, |link| link.made);
    // Of one that had ended before it is told that nobody has its pid.
    let abnormal =
        end.is_some_and(|end| end.reason != Some(EndReason::NORMAL) || made + TIME > end.at);
    let trouble = was_trouble(world);
    let Some(link) = world.ledger.links.get_mut(&pair(id, by)) else {
        return world
            .violated("ends", format!("p{id} is ended by p{by}, which it is not linked with"));
    };
    // The word that it was undone may be on its way.
    let was = link.undone.is_none_or(|undone| now.saturating_sub(undone) < TIME);
    link.told = true;
    if !was || !(abnormal || trouble || link.undone.is_some()) {
        let link = *link;
        world.violated("ends", format!("p{id} is ended by p{by}: {end:?} {link:?}"));
    }
}

/// There was time to tell everybody.
pub(crate) fn at_rest(world: &mut World) {
    let (now, actors) = (world.now, &world.actors);
    let long_ago = |id: Id| actors[id].end.filter(|end| now - end.at > TIME);
    let untold = world
        .ledger
        .monitors
        .iter()
        .find(|(watcher, target)| actors[*watcher].lives() && long_ago(*target).is_some());
    let alone = world.ledger.links.iter().find(|((one, other), link)| {
        let one_way = |dead: Id, left: Id| {
            let end = long_ago(dead);
            let abnormal = end.is_some_and(|end| end.reason != Some(EndReason::NORMAL));
            // The other one may never have heard of the link: its maker's kernel gives up when it would say so again.
            let heard = link.made + GIVE_UP_NS + ASK_NS;
            let known = dead != link.by || end.is_none_or(|end| end.at > heard);
            abnormal && known && actors[left].lives()
        };
        link.undone.is_none() && !link.told && (one_way(*one, *other) || one_way(*other, *one))
    });
    let what = match (untold, alone) {
        (Some((watcher, target)), _) => {
            format!("p{watcher} was not told that p{target} has ended: {:?}", actors[*target].end)
        }
        (None, Some((pair, link))) => format!("of the linked {pair:?} one lives: {link:?}"),
        (None, None) => return,
    };
    world.violated("ends", what);
}
