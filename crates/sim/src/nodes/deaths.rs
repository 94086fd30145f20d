//! Nodes that crash, and start again; and processes that nodes end.

use peripatos_abi::{EndReason, Pid};
use peripatos_cluster::message::Command;
use peripatos_cluster::{Event as Told, OwnProof, Request, RequestId};

use super::{Input, Item, id_of};
use crate::actor::Id;
use crate::checkers;
use crate::config::{MS, SECOND};
use crate::event::Event;
use crate::world::World;

impl World {
    /// What a node's crash does to the others, and to what was on its way.
    pub(crate) fn host_crashes(&mut self, node: usize) {
        let now = self.now;
        self.say_farewell(node);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.cut(node, other);
        }
        let host = &mut self.cluster().hosts[node];
        let incarnation = host.incarnation;
        host.standing.clear();
        host.lost.clear();
        host.parted.clear();
        host.asked.clear();
        let still = std::mem::take(&mut host.still).into_keys();
        let arrived = std::mem::take(&mut host.arrived).into_values().map(|one| one.pid);
        let copies: Vec<Pid> = still.chain(arrived).collect();
        for pid in copies {
            let id = self.by_pid[&pid];
            self.cluster().buried.insert(id);
            self.perhaps_gone(id);
        }
        self.ledger.trouble = Some(u64::MAX);
        self.gossip_of_crashed(node);
        let again = self.random.permille(500);
        if again {
            let after = self.random.within(SECOND / 10..20 * SECOND);
            self.events.plan(now + after, Event::Restart(node));
        }
        if self.has_leases() {
            return;
        }
        // Its machine's other nodes see it, or an operator says so.
        for other in 0..self.nodes.len() {
            let after = self.random.within(SECOND / 2..20 * SECOND);
            self.events.plan(now + after, Event::Gone(other, node, incarnation));
        }
    }

    /// Some nodes that are about to crash are emptied before, so that they leave instead.
    pub(crate) fn plan_drain(&mut self, node: usize, crash: u64) {
        if self.cluster.is_some() && crash.is_multiple_of(2) {
            self.events
                .plan(crash.saturating_sub(3 * SECOND).max(self.now), Event::Drain(node, true));
            self.events.plan(crash + 1, Event::Drain(node, false));
        }
    }

    /// An operator has a node emptied, or not any more.
    pub(crate) fn drain(&mut self, node: usize, on: bool) {
        if !self.nodes[node].alive {
            return;
        }
        let cluster = self.cluster();
        cluster.requests += 1;
        let number = RequestId(cluster.requests);
        cluster.hosts[node].asked.insert(number);
        let command = Command::Drain { on };
        let request = Request::Command { node: id_of(node), command };
        self.tell(node, Told::Request { id: number, request });
    }

    /// A node on which nothing was left has not crashed: it leaves, and says so. Links break behind that, and some may not hear it.
    fn say_farewell(&mut self, node: usize) {
        let host = &self.cluster().hosts[node];
        let Some(farewell) = host.node.farewell(OwnProof::default()) else { return };
        let peers: Vec<usize> = host.standing.keys().copied().collect();
        let now = self.now;
        self.trace.note(now, &[41, node as u64], || format!("n{node} leaves in order"));
        for peer in peers {
            self.say_last(node, peer, Item::message(farewell.clone()));
        }
    }

    /// A node starts again: another OS process, with nothing of what it had.
    pub(crate) fn restart(&mut self, node: usize) {
        if self.nodes[node].alive {
            return;
        }
        if self.has_leases() && !self.reaches_etcd(node) {
            // It does not start without.
            return self.events.plan(self.now + SECOND, Event::Restart(node));
        }
        let now = self.now;
        self.trace.note(now, &[39, node as u64], || format!("n{node} starts again"));
        let cores = self.config.cores[node];
        let cluster = self.cluster();
        let host = cluster.host(node, cores);
        cluster.hosts[node] = host;
        self.nodes[node].alive = true;
        self.take_lease(node);
        if self.is_sparse() {
            self.gossip_of_newcomer(node);
        }
        for kernel in 0..self.kernels.len() {
            if self.node_of[kernel] == node {
                self.start_kernel(kernel);
            }
        }
    }

    /// A node wants a process ended, because its family's root is over.
    pub(crate) fn kill(&mut self, node: usize, pid: Pid) {
        let Some(id) = self.by_pid.get(&pid).copied() else { return };
        if self.actors[id].place.is_some_and(|(kernel, _)| self.node_of[kernel] == node) {
            checkers::families::killed(self, id);
            self.end(id, EndReason::Killed.to_bits());
        }
    }

    /// A process has ended on its node, which is to hear of it.
    pub(crate) fn ended_at(&mut self, node: usize, id: Id) {
        if self.cluster.is_none() {
            return;
        }
        let pid = self.actors[id].pid;
        if self.cluster().hosts[node].names.forget(pid) {
            self.input(node, Input::Named);
        }
        self.input(node, Input::Ended(id));
    }

    /// Something goes wrong just when a process changes hands.
    pub(crate) fn disturb(&mut self, one: usize, other: usize) {
        self.part_for_long(other);
        if self.calm || self.config.break_every == 0 || !self.random.permille(20) {
            return;
        }
        let at = self.now + self.random.within(1..3 * MS);
        self.events.plan(at, Event::Cut(one, other));
        if self.config.faults.crashes > 0 && self.random.permille(100) {
            let node = if self.random.permille(500) { one } else { other };
            let after = self.random.within(0..4 * SECOND);
            self.events.plan(at + after, Event::Crash(node));
        }
    }

    /// Links that break of themselves.
    pub(crate) fn break_some(&mut self) {
        if self.calm || self.nodes.len() < 2 {
            return;
        }
        let (one, other) =
            (self.random.below(self.nodes.len()), self.random.below(self.nodes.len()));
        if one != other {
            self.cut(one, other);
        }
        let next = self.random.within(100 * MS..2 * self.config.break_every);
        self.events.plan(self.now + next, Event::Break);
    }
}
