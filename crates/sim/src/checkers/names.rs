//! All nodes know the same names, and those who have them live.

use crate::world::World;

/// All nodes are linked, and there was time.
pub(crate) fn at_rest(world: &mut World) {
    let Some(cluster) = &world.cluster else { return };
    let alive = (0..world.nodes.len()).filter(|node| world.nodes[*node].alive);
    let alive: Vec<usize> = alive.collect();
    let mut wrong = None;
    for name in (0..16).map(|number| format!("s{number}")) {
        let found = alive.iter().map(|node| cluster.hosts[*node].names.lookup(name.as_bytes()));
        let mut found: Vec<_> = found.map(Result::ok).collect();
        let dead = found.iter().flatten().find(|pid| !world.actors[world.by_pid[*pid]].lives());
        if let Some(pid) = dead {
            wrong = Some(format!("{name} is {pid:#}, which has ended"));
        }
        found.dedup();
        if found.len() > 1 {
            wrong = Some(format!("{name} is one of {found:?}, as nodes {alive:?} know it"));
        }
    }
    if let Some(wrong) = wrong {
        world.violated("names", wrong);
    }
}
