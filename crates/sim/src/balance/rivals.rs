//! The schemes that what ships is compared with.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::world::{What, World};

/// A node that has a core to spare tries so often.
const STEAL_EVERY: Duration = Duration::from_millis(100);
/// The central balancer looks so often.
const REFINE_EVERY: Duration = Duration::from_secs(1);
/// It leaves alone who is not more loaded than this, in parts of the mean: GreedyRefine's own bound.
const REFINE_OVER: f64 = 1.02;

impl World {
    pub(super) fn steals(&mut self, at: usize) {
        let phase = Duration::from_nanos(self.random.within(0..STEAL_EVERY.as_nanos() as u64));
        self.after(phase, What::Steal(at));
    }

    /// Takes half of what waits at another node, if it has nothing to do for a core.
    pub(super) fn steal(&mut self, at: usize) {
        if !self.machines[at].alive {
            return;
        }
        self.after(STEAL_EVERY, What::Steal(at));
        let free = |world: &World, at: usize| {
            let has = world.machines[at].wanting.len() + world.coming[at] as usize / 1_000;
            has < world.machines[at].cores as usize
        };
        if !free(self, at) {
            return;
        }
        let victim = self.alive[self.random.below(self.alive.len())];
        let machine = &self.machines[victim];
        let waits = machine.wanting.len().saturating_sub(machine.cores as usize);
        for _ in 0..waits.div_ceil(2) {
            let Some(index) = self.machines[victim].wanting.last().copied() else { return };
            self.begin_move(index, victim, at);
        }
    }

    /// From those that have most to those that have least, until no more can be gained: with all known, and what is on its way.
    pub(super) fn refine(&mut self) {
        self.after(REFINE_EVERY, What::Refine);
        let mean = self.mean();
        // In thousandths, so that they can be ordered.
        let key = |world: &World, at: usize| (world.crowding(at) * 1e3) as u64;
        let mut light: BinaryHeap<Reverse<(u64, usize)>> =
            self.alive.iter().map(|at| Reverse((key(self, *at), *at))).collect();
        for from in self.alive.clone() {
            while self.crowding(from) > mean * REFINE_OVER {
                let Some(index) = self.machines[from].wanting.last().copied() else { break };
                let Some(Reverse((_, to))) = light.pop() else { break };
                let after = self.crowding(to) + 1.0 / self.machines[to].capacity();
                if to == from || after >= self.crowding(from) {
                    light.push(Reverse((key(self, to), to)));
                    break;
                }
                self.begin_move(index, from, to);
                light.push(Reverse((key(self, to), to)));
            }
        }
    }
}
