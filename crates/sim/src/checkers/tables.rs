//! Nodes keep nothing of what is over: processes, moves, families, searches, questions.

use peripatos_cluster::Kept;

use crate::world::World;

/// All have ended, and there was time.
pub(crate) fn at_end(world: &mut World) {
    let Some(cluster) = &world.cluster else { return };
    let mut wrong = None;
    for (node, host) in cluster.hosts.iter().enumerate() {
        let mut kept = host.node.kept();
        // What an origin is to hear whose node had crashed before there was a link to it nobody will ever hear.
        if (0..world.nodes.len()).any(|one| !world.nodes[one].alive && !host.met.contains(&one)) {
            kept.ends = 0;
        }
        if world.nodes[node].alive && kept != Kept::default() {
            wrong = Some(format!("n{node} keeps {kept:?}"));
        }
        if world.nodes[node].alive && !host.strays.is_empty() {
            wrong = Some(format!("n{node} keeps packets: {:?}", host.strays));
        }
        if world.nodes[node].alive && !host.is_idle() {
            let open = host.open();
            wrong =
                Some(format!("n{node} was told of moves or questions that have no end: {open:?}"));
        }
    }
    if let Some(wrong) = wrong {
        world.violated("tables", wrong);
    }
}
