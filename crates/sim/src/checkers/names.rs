//! All nodes know the same names, those who have them live, and nobody else has them: whoever had has been told, once.

use peripatos_abi::Pid;

use crate::actor::Id;
use crate::nodes::names::{NAMES, name_of};
use crate::world::World;

/// A process was told that it has lost its name.
pub(crate) fn lost(world: &mut World, id: Id, owner: Pid, name: &[u8]) {
    world.outcome.names_lost += 1;
    let holds = name == name_of(id) && owner < world.actors[id].pid;
    if !world.ledger.named.remove(&id) || !holds {
        let what = format!("p{id} is told that {owner:#} has its name {name:?}");
        world.violated("names", what);
    }
}

/// All nodes are linked, and there was time.
pub(crate) fn at_rest(world: &mut World) {
    let wrong = agreed(world).err().or_else(|| untold(world).err());
    if let Some(wrong) = wrong {
        world.violated("names", wrong);
    }
}

/// All nodes say the same of each name, and who that is lives.
fn agreed(world: &World) -> Result<(), String> {
    let Some(cluster) = &world.cluster else { return Ok(()) };
    let alive = (0..world.nodes.len()).filter(|node| world.nodes[*node].alive);
    let alive: Vec<usize> = alive.collect();
    for name in (0..NAMES).map(name_of) {
        let found = alive.iter().map(|node| cluster.hosts[*node].names.lookup(&name));
        let mut found: Vec<_> = found.map(Result::ok).collect();
        let name = String::from_utf8_lossy(&name);
        let dead = found.iter().flatten().find(|pid| !world.actors[world.by_pid[*pid]].lives());
        if let Some(pid) = dead {
            return Err(format!("{name} is {pid:#}, which has ended"));
        }
        found.dedup();
        if found.len() > 1 {
            return Err(format!("{name} is one of {found:?}, as nodes {alive:?} know it"));
        }
    }
    Ok(())
}

/// Who believes to have its name is its one owner, or is about to hear that it is not. And nobody else is.
fn untold(world: &World) -> Result<(), String> {
    let Some(cluster) = &world.cluster else { return Ok(()) };
    for (id, actor) in world.actors.iter().enumerate() {
        let Some((kernel, slot)) = actor.place.filter(|_| actor.lives()) else { continue };
        let names = &cluster.hosts[world.node_of[kernel]].names;
        let has = names.of(actor.pid).contains(&name_of(id));
        let owns = names.lookup(&name_of(id)) == Ok(actor.pid);
        let told = world.kernels[kernel].names_lost(slot);
        let believes = usize::from(world.ledger.named.contains(&id));
        if has != owns {
            return Err(format!("p{id} has its name, and others find somebody else by it"));
        }
        if usize::from(has) + told != believes {
            return Err(format!(
                "p{id} has {} name, {told} words that it lost one, and believes to have {believes}",
                usize::from(has)
            ));
        }
    }
    Ok(())
}
