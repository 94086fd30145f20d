//! Processes that leave a node and come to another one, as their hosts do it.

use peripatos_abi::Pid;
use peripatos_cluster::NodeId;
use peripatos_cluster::message::MigrationId;
use peripatos_kernel::{Moving, OUTSIDE, Place};

use super::{Arrived, Input, Still, index_of, time};
use crate::actor::{Id, MEMORY_BYTES};
use crate::checkers;
use crate::world::World;

impl World {
    /// A core is to freeze a process. Nothing, if it has just ended.
    pub(crate) fn freeze(&mut self, node: usize, pid: Pid) {
        let Some(id) = self.by_pid.get(&pid).copied() else { return };
        let on_it = self.actors[id].place.filter(|(kernel, _)| self.node_of[*kernel] == node);
        let Some((kernel, slot)) = on_it else { return };
        self.touched.push(kernel);
        // It is nobody's on this node.
        let nowhere = Place { node: self.places[kernel].node, core: OUTSIDE };
        let Some(moving) = self.kernels[kernel].extract(slot, nowhere) else { return };
        self.actors[id].place = None;
        let now = self.now;
        self.trace.note(now, &[36, id as u64, node as u64], || format!("p{id} stands still"));
        let still = Still { moving, bytes: Vec::new(), since: now };
        self.cluster().hosts[node].still.insert(pid, still);
        self.input(node, Input::Stopped(pid));
    }

    /// A process stands still, as its node's thread hears.
    pub(crate) fn stopped(&mut self, node: usize, pid: Pid) {
        let fails = !self.calm && self.random.permille(20);
        let host = &mut self.cluster().hosts[node];
        let Some(migration) = host.leaving.remove(&pid) else {
            return self.run_again(node, pid);
        };
        if let Some(still) = host.still.get_mut(&pid) {
            still.bytes = still.moving.encode();
        }
        self.input(node, Input::Captured(migration, pid, !fails));
    }

    /// One that stood still goes on here.
    pub(crate) fn run_again(&mut self, node: usize, pid: Pid) {
        let still = self.cluster().hosts[node].still.remove(&pid);
        let id = self.by_pid[&pid];
        let crashes = self.config.faults.crashes > 0 || self.has_leases();
        if still.is_some() && self.actors[id].end.is_some() && crashes {
            // It has run at its target, which was lost before anybody here heard of it, and has ended there or with it. What goes on is as it was
            // before the commit (docs/adr/0004): it knows nothing of what it has done there. That is not simulated further.
            let now = time(self.now);
            self.cluster().hosts[node].strays.comes(now, pid);
            return self.ended_at(node, id);
        }
        let Some(Still { moving, since, .. }) = still else {
            return self.violated("copies", format!("{pid:#} goes on, and does not stand still"));
        };
        self.runs(node, moving, since);
    }

    fn runs(&mut self, node: usize, mut moving: Moving, since: u64) {
        let (pid, now) = (moving.pid(), self.now);
        let id = self.by_pid[&pid];
        let cores: Vec<usize> =
            (0..self.kernels.len()).filter(|kernel| self.node_of[*kernel] == node).collect();
        let at = self.random.of(&cores).expect("a node has cores");
        moving.has_waited(now - since);
        self.trace.note(now, &[37, id as u64, at as u64], || format!("p{id} is at k{at}"));
        if let Some(end) = self.actors[id].end {
            return self.violated("copies", format!("p{id} goes on, and has ended: {end:?}"));
        }
        self.thaws(id);
        self.touched.push(at);
        let Some(slot) = self.kernels[at].adopt(moving) else {
            return self.violated("copies", format!("p{id} is at k{at} already"));
        };
        self.actors[id].place = Some((at, slot));
        checkers::copies::check(self, id);
        self.names_run(node, id);
        self.settles(id);
        for packet in self.cluster().hosts[node].strays.comes(time(now), pid) {
            self.bring_here(node, packet);
        }
    }

    /// An image has come.
    pub(crate) fn image_came(
        &mut self,
        node: usize,
        migration: MigrationId,
        bytes: &[u8],
        names: Vec<Vec<u8>>,
    ) {
        let Some(pid) = self.cluster().hosts[node].expected.remove(&migration) else { return };
        let fails = !self.calm && self.random.permille(30);
        if fails {
            return self.input(node, Input::Thawed(migration, false));
        }
        let since = self.now;
        match Moving::decode(bytes, MEMORY_BYTES) {
            Ok(moving) => {
                let arrived = Arrived { pid, moving, names, since };
                self.cluster().hosts[node].arrived.insert(migration, arrived);
                self.input(node, Input::Thawed(migration, true));
            }
            Err(error) => self.violated("limits", format!("{pid:#}: {error}")),
        }
    }

    /// What has come runs from now on.
    pub(crate) fn activate(&mut self, node: usize, migration: MigrationId, pid: Pid) {
        let arrived = self.cluster().hosts[node].arrived.remove(&migration);
        let Some(Arrived { moving, names, since, .. }) = arrived else {
            return self.violated("copies", format!("{pid:#} is to run, and has not come"));
        };
        self.outcome.moves += 1;
        self.cluster().hosts[node].names.arrived(pid, &names);
        self.runs(node, moving, since);
    }

    /// One that has left is dropped.
    pub(crate) fn discard(&mut self, node: usize, pid: Pid, to: NodeId) {
        let now = time(self.now);
        let host = &mut self.cluster().hosts[node];
        if host.still.remove(&pid).is_none() {
            return self
                .violated("copies", format!("{pid:#} is dropped, and does not stand still"));
        }
        if host.names.forget(pid) {
            self.named(node);
        }
        for packet in self.cluster().hosts[node].strays.went(now, pid, to) {
            self.stray(node, packet);
        }
        let (id, to) = (self.by_pid[&pid], index_of(to));
        self.trace.note(self.now, &[38, id as u64, to as u64], || format!("p{id} is at n{to}"));
        self.perhaps_gone(id);
    }

    /// What may have come of a move is not to run.
    pub(crate) fn forget_arrived(&mut self, node: usize, migration: MigrationId) {
        let host = &mut self.cluster().hosts[node];
        host.expected.remove(&migration);
        if let Some(arrived) = host.arrived.remove(&migration) {
            let id = self.by_pid[&arrived.pid];
            self.perhaps_gone(id);
        }
    }

    /// A copy of a process is gone. If it was the last one, it was to have been lost with a node.
    pub(crate) fn perhaps_gone(&mut self, id: Id) {
        let actor = &self.actors[id];
        let pid = actor.pid;
        // It may walk from core to core just now.
        if !actor.lives() || actor.place.is_some() || actor.heading.is_some() {
            return;
        }
        let Some(cluster) = &self.cluster else { return };
        let has = |host: &super::Host| {
            host.still.contains_key(&pid) || host.arrived.values().any(|one| one.pid == pid)
        };
        if cluster.hosts.iter().any(has) {
            return;
        }
        if !cluster.buried.contains(&id) {
            return self.violated("copies", format!("p{id} is nowhere, and no node has crashed"));
        }
        self.gone(id, None);
    }
}
