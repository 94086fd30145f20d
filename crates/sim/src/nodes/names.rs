//! Names of processes, as nodes' threads tell of them.

use peripatos_abi::Pid;
use peripatos_cluster::message::Message;
use peripatos_cluster::{Event as Told, NodeId};
use peripatos_kernel::{NameChange, NameLost};

use super::{Input, Item, index_of};
use crate::actor::{Doing, Id};
use crate::checkers;
use crate::world::World;

impl World {
    /// A process wants its name. It may be taken: then it has none.
    pub(crate) fn register(&mut self, id: Id) {
        let Some((kernel, _)) = self.actors[id].place else { return };
        if self.cluster.is_none() || !self.actors[id].role.serves() {
            return;
        }
        let (node, pid) = (self.node_of[kernel], self.actors[id].pid);
        if self.cluster().hosts[node].names.register(&name_of(id), pid).is_ok() {
            self.ledger.named.insert(id);
            self.input(node, Input::Named);
        }
    }

    /// Names have changed: everybody is told, and whoever has lost one.
    pub(crate) fn named(&mut self, node: usize) {
        for NameLost { loser, .. } in self.cluster().hosts[node].names.take_losses() {
            let id = self.by_pid[&loser];
            self.tell_lost_names(id);
        }
        let host = &mut self.cluster().hosts[node];
        let changes = host.names.take_changes();
        let peers: Vec<usize> = host.standing.keys().copied().collect();
        if !changes.is_empty() {
            let names = on_wire(changes);
            for peer in peers {
                self.say(node, peer, Item::message(Message::Names(names.clone())));
            }
            self.tell_news(node);
        }
        let here: Vec<Pid> = self.here(node);
        let runs = |pid: Pid| here.binary_search(&pid).is_ok();
        for (to, lost) in self.cluster().hosts[node].names.take_disputes(runs) {
            let NameLost { name, owner, loser } = lost;
            let message = Message::NameLost { name, owner, loser };
            let to = index_of(NodeId(to));
            if self.cluster().hosts[node].standing.contains_key(&to) {
                self.cluster().hosts[node].used.insert(to);
                self.say(node, to, Item::message(message));
            } else {
                // It hears of it again when there is a link.
                self.tell(node, Told::Wanted(NodeId(to as u128 + 1)));
            }
        }
    }

    /// Those that are on a node's cores, or between these.
    fn here(&self, node: usize) -> Vec<Pid> {
        let actors = self.actors.iter().map(|actor| actor.pid);
        // Their pids have their order.
        actors.filter(|pid| self.core_of(node, *pid).is_some()).collect()
    }

    /// A process may have lost names: where it is its kernel tells it.
    pub(crate) fn tell_lost_names(&mut self, id: Id) {
        let Some((kernel, slot)) = self.actors[id].place else { return };
        let (node, pid) = (self.node_of[kernel], self.actors[id].pid);
        let Some(cluster) = self.cluster.as_mut() else { return };
        for (name, owner) in cluster.hosts[node].names.take_lost(pid) {
            self.touched.push(kernel);
            if !self.kernels[kernel].name_lost(slot, &name, owner) {
                self.violated("names", format!("p{id} is not told that it has lost {name:?}"));
            }
        }
    }

    /// A process runs where it stood still, or has come to.
    pub(crate) fn names_run(&mut self, node: usize, id: Id) {
        let pid = self.actors[id].pid;
        self.cluster().hosts[node].names.runs(pid);
        self.tell_lost_names(id);
        self.named(node);
    }

    /// A process is told that it has lost a name.
    pub(crate) fn hears_of_lost_name(&mut self, id: Id, owner: Pid, name: &[u8]) {
        let now = self.now;
        self.trace.note(now, &[41, id as u64], || {
            format!("p{id} hears that {} is {owner:#}'s", String::from_utf8_lossy(name))
        });
        checkers::names::lost(self, id, owner, name);
    }

    /// Now and then one that has no name tries again.
    pub(crate) fn perhaps_register(&mut self, id: Id) {
        let idle = self.actors[id].doing == Doing::Running && !self.ledger.named.contains(&id);
        if self.cluster.is_some() && !self.calm && idle && self.random.permille(20) {
            self.register(id);
        }
    }
}

/// What a process is called, and some others, if they can.
pub(crate) fn name_of(id: Id) -> Vec<u8> {
    format!("s{}", id % NAMES).into_bytes()
}

/// Names that there are.
pub(crate) const NAMES: usize = 16;

pub(super) fn on_wire(changes: Vec<NameChange>) -> Vec<(Vec<u8>, Option<u128>)> {
    changes.into_iter().map(|(name, pid)| (name, pid.map(Pid::bits))).collect()
}
