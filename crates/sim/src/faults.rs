//! What goes wrong: partitions, crashes, and their end.

use crate::actor::{Actor, Id};
use crate::config::SECOND;
use crate::event::Event;
use crate::world::World;

impl World {
    pub(crate) fn plan_faults(&mut self) {
        let begun = self.now;
        self.events.plan(begun + self.config.move_every, Event::Move);
        let (faults, span) = (self.config.faults, self.config.span);
        for _ in 0..faults.partitions {
            let at = begun + self.random.within(0..span);
            let sides = (0..self.nodes.len()).map(|_| self.random.permille(500)).collect();
            self.events.plan(at, Event::Part(sides));
            let until = at + self.random.within(SECOND / 10..25 * SECOND);
            self.events.plan(until, Event::Heal);
        }
        for _ in 0..faults.crashes {
            let at = begun + self.random.within(0..span);
            let node = self.random.below(self.nodes.len());
            self.events.plan(at, Event::Crash(node));
            self.plan_drain(node, at);
        }
    }

    pub(crate) fn part(&mut self, sides: Vec<bool>) {
        let now = self.now;
        self.trace.note(now, &[12], || format!("parted: {sides:?}"));
        self.parted = Some(sides);
        self.ledger.trouble = Some(u64::MAX);
        if self.cluster.is_some() {
            for (one, other) in self.pairs() {
                if !self.reaches(one, other) {
                    self.cut(one, other);
                }
            }
            if self.is_sparse() {
                self.gossip_of_parted();
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        let healed = self.parted.take().is_some();
        if self.is_sparse() {
            self.gossip_of_healed();
        }
        // Nodes have to find each other again.
        if healed && self.cluster.is_none() {
            self.ledger.trouble = Some(self.now);
        }
    }

    pub(crate) fn crash(&mut self, node: usize) {
        let living = self.nodes.iter().filter(|node| node.alive).count();
        if self.calm || living < 2 || !self.nodes[node].alive {
            return;
        }
        self.dies(node);
    }

    /// A node ends, with all that it has.
    pub(crate) fn dies(&mut self, node: usize) {
        let now = self.now;
        self.trace.note(now, &[13, node as u64], || format!("node {node} crashes"));
        self.nodes[node].alive = false;
        self.ledger.crashes.push((node, now));
        if self.ledger.trouble != Some(u64::MAX) {
            self.ledger.trouble = Some(now);
        }
        let at = |actor: &Actor| actor.place.map(|(at, _)| at).or(actor.heading);
        let on_it = |id: &Id| {
            let actor = &self.actors[*id];
            let near = actor.place.is_some() || self.cluster.is_some();
            near && at(actor).is_some_and(|at| self.node_of[at] == node)
        };
        let lost: Vec<_> = (0..self.actors.len()).filter(on_it).collect();
        lost.into_iter().for_each(|id| self.gone(id, None));
        if self.cluster.is_some() {
            return self.host_crashes(node);
        }
        // Some hear of it; others find out.
        for kernel in 0..self.kernels.len() {
            if self.random.permille(500) {
                let after = self.random.within(SECOND / 10..5 * SECOND);
                self.events.plan(now + after, Event::Unreachable(kernel, node));
            }
        }
    }

    pub(crate) fn told_unreachable(&mut self, kernel: usize, node: usize) {
        if self.is_alive(kernel) {
            self.kernels[kernel].unreachable(node as u128 + 1);
            self.touched.push(kernel);
        }
    }

    pub(crate) fn pairs(&self) -> Vec<(usize, usize)> {
        let nodes = self.nodes.len();
        (0..nodes).flat_map(|one| (one + 1..nodes).map(move |other| (one, other))).collect()
    }

    pub(crate) fn calm_down(&mut self) {
        self.heal();
        self.calm = true;
    }
}
