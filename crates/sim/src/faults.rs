//! What goes wrong: partitions, crashes, and their end.

use crate::config::SECOND;
use crate::event::Event;
use crate::world::World;

impl World {
    pub(crate) fn plan_faults(&mut self) {
        self.events.plan(self.config.move_every, Event::Move);
        let (faults, span) = (self.config.faults, self.config.span);
        for _ in 0..faults.partitions {
            let at = self.random.within(0..span);
            let sides = (0..self.nodes.len()).map(|_| self.random.permille(500)).collect();
            self.events.plan(at, Event::Part(sides));
            let until = at + self.random.within(SECOND / 10..25 * SECOND);
            self.events.plan(until, Event::Heal);
        }
        for _ in 0..faults.crashes {
            let at = self.random.within(0..span);
            let node = self.random.below(self.nodes.len());
            self.events.plan(at, Event::Crash(node));
        }
    }

    pub(crate) fn part(&mut self, sides: Vec<bool>) {
        let now = self.now;
        self.trace.note(now, &[12], || format!("parted: {sides:?}"));
        self.parted = Some(sides);
        self.ledger.trouble = Some(u64::MAX);
    }

    pub(crate) fn heal(&mut self) {
        if self.parted.take().is_some() {
            self.ledger.trouble = Some(self.now);
        }
    }

    pub(crate) fn crash(&mut self, node: usize) {
        let living = self.nodes.iter().filter(|node| node.alive).count();
        if self.calm || living < 2 || !self.nodes[node].alive {
            return;
        }
        let now = self.now;
        self.trace.note(now, &[13, node as u64], || format!("node {node} crashes"));
        self.nodes[node].alive = false;
        if self.ledger.trouble != Some(u64::MAX) {
            self.ledger.trouble = Some(now);
        }
        let on_it =
            |place: Option<(usize, _)>| place.is_some_and(|(at, _)| self.node_of[at] == node);
        let ids = 0..self.actors.len();
        let lost: Vec<_> = ids.filter(|id| on_it(self.actors[*id].place)).collect();
        lost.into_iter().for_each(|id| self.gone(id, None));
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

    pub(crate) fn calm_down(&mut self) {
        self.heal();
        self.calm = true;
    }
}
