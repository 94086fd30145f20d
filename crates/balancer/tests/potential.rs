//! What docs/balancing.md says is proven, tried at random: every move lowers the potential, so it ends, and where it ends nodes are about
//! equally loaded.

use std::time::Duration;

use peripatos_balancer::{
    Bounds, Candidate, Load, MARGIN, PREFERENCE, Prices, level, weigh, what_to_give, whom_to_ask,
};

/// Marsaglia's xorshift, "Xorshift RNGs" (2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

struct World {
    random: Random,
    /// `demand_permille` of them is not kept: it is that of their processes.
    nodes: Vec<(Load, Vec<Candidate<u64>>)>,
    /// Whether processes prefer some nodes: see [`World::met`].
    preferences: bool,
}

impl World {
    /// Of nodes of one core each, or of any, and processes that want one each, or less. All begin on the first nodes.
    fn new(seed: u64, nodes_alike: bool, processes_alike: bool) -> World {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let count = 2 + random.below(20);
        let nodes = (0..count).map(|_| {
            let cores = if nodes_alike { 1 } else { 1 + random.below(8) as u32 };
            let speed_permille = if nodes_alike { 1_000 } else { 300 + random.below(3_000) as u32 };
            let (draining, closed, memory_free_bytes) = (false, false, u64::MAX);
            let demand_permille = 0;
            let load = Load {
                cores,
                speed_permille,
                demand_permille,
                memory_free_bytes,
                draining,
                closed,
            };
            (load, Vec::new())
        });
        let mut nodes: Vec<(Load, Vec<Candidate<u64>>)> = nodes.collect();
        let crowded = 1 + random.below(count) as usize;
        for process in 0..random.below(400) {
            let demand_permille =
                if processes_alike { 1_000 } else { 1 + random.below(1_000) as u32 };
            let cpu = Duration::from_secs(1 + random.below(100));
            let at = random.below(crowded as u64) as usize;
            nodes[at].1.push(Candidate {
                process,
                cpu,
                memory_bytes: 1 << 16,
                memory_needed_bytes: 1 << 16,
                demand_permille,
                parting: 0.0,
                preference: 0.0,
            });
        }
        World { random, nodes, preferences: false }
    }

    /// The same, where each process prefers about half of the nodes, more or less.
    fn of_preferences(seed: u64) -> World {
        World { preferences: true, ..World::new(seed, false, false) }
    }

    /// Seconds in a second that a process does not count as losing at a node, as that has some of what it prefers.
    fn met(&self, one: &Candidate<u64>, node: usize) -> f64 {
        let drawn =
            one.process.wrapping_mul(31).wrapping_add(node as u64).wrapping_mul(0x9e37_79b9);
        let share = (drawn >> 16) % 5;
        let demand = f64::from(one.demand_permille) / 1e3;
        if self.preferences { PREFERENCE * demand * share as f64 / 4.0 } else { 0.0 }
    }

    /// Those of a node, as it weighs them for another one.
    fn candidates(&self, from: usize, to: usize) -> Vec<Candidate<u64>> {
        let preference = |one: &Candidate<u64>| self.met(one, to) - self.met(one, from);
        let all = self.nodes[from].1.iter();
        all.map(|one| Candidate { preference: preference(one), ..*one }).collect()
    }

    fn load(&self, node: usize) -> Load {
        let (load, processes) = &self.nodes[node];
        let demand_permille = processes.iter().map(|one| one.demand_permille).sum();
        Load { demand_permille, ..*load }
    }

    fn potential(&self) -> f64 {
        let unmet = |node: usize| -> f64 {
            let all = self.nodes[node].1.iter();
            // What all would count as losing is left out: it is the same everywhere.
            all.map(|one| -self.met(one, node)).sum()
        };
        (0..self.nodes.len()).map(|node| self.load(node).strain() + unmet(node)).sum()
    }

    /// A node asks, and gets what the other one gives. Whether that was anything.
    fn ask(&mut self, asking: usize, max: usize) -> bool {
        let loads = (0..self.nodes.len()).map(|node| (node, self.load(node)));
        let others: Vec<(usize, Load)> = loads.filter(|(node, _)| *node != asking).collect();
        let level = level((0..self.nodes.len()).map(|node| self.load(node)));
        let bounds = Bounds { level, count: max, demand_permille: u32::MAX, margin: MARGIN };
        let Some(giving) = whom_to_ask(self.load(asking), others, MARGIN) else { return false };
        let (own, to) = (self.load(giving), self.load(asking));
        let candidates = self.candidates(giving, asking);
        let given = what_to_give(own, to, &candidates, &Prices::default(), &bounds);
        let Ok(given) = given else { return false };
        for (process, terms) in given {
            self.move_one(process, giving, asking, terms.gain);
        }
        true
    }

    fn move_one(&mut self, process: u64, from: usize, to: usize, gain: f64) {
        let before = self.potential();
        let at = self.nodes[from].1.iter().position(|one| one.process == process);
        let moved = self.nodes[from].1.remove(at.expect("it has what it gives"));
        self.nodes[to].1.push(moved);
        let lower = before - self.potential();
        assert!(lower > 0.0, "the potential rises by {}", -lower);
        assert!((lower - gain).abs() < 1e-6 * before.abs().max(1.0), "{lower} is not {gain}");
    }

    /// One of a node's goes to where it would rather be, unasked. Whether there is one.
    fn follow(&mut self, from: usize) -> bool {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let prefers = self.candidates(from, to).into_iter().filter(|one| one.preference > 0.0);
            let weighed = prefers.map(|one| {
                (
                    one.process,
                    weigh(self.load(from), self.load(to), &one, &Prices::default(), MARGIN),
                )
            });
            let first = weighed.filter_map(|(process, terms)| Some((process, terms.ok()?))).next();
            if let Some((process, terms)) = first {
                self.move_one(process, from, to, terms.gain);
                return true;
            }
        }
        false
    }

    /// Until nobody gets anything any more. How many got something.
    fn settle(&mut self) -> usize {
        let (mut answered, mut refused) = (0, 0);
        // A bound by far: each answer is a move at least, and no process has more than some to make.
        while refused < 50 * self.nodes.len() {
            let asking = self.random.below(self.nodes.len() as u64) as usize;
            let max = 1 + self.random.below(64) as usize;
            let follows = self.preferences && self.follow(asking);
            match self.ask(asking, max) || follows {
                true => (answered, refused) = (answered + 1, 0),
                false => refused += 1,
            }
            assert!(answered < 20_000, "it does not end");
        }
        answered
    }
}

#[test]
fn it_ends_whatever_the_nodes_and_the_order() {
    let answered: usize = (1..=200).map(|seed| World::new(seed, false, false).settle()).sum();
    assert!(answered > 1_000, "{answered}");
}

#[test]
fn it_ends_where_processes_prefer_nodes() {
    let answered: usize = (1..=60).map(|seed| World::of_preferences(seed).settle()).sum();
    assert!(answered > 1_000, "{answered}");
}

#[test]
fn it_ends_where_nodes_are_about_equally_loaded() {
    for seed in 1..=200 {
        let mut world = World::new(seed, true, true);
        world.settle();
        let loads: Vec<f64> =
            (0..world.nodes.len()).map(|node| world.load(node).demand()).collect();
        let most = loads.iter().copied().fold(0.0, f64::max);
        let least = loads.iter().copied().fold(f64::MAX, f64::min);
        // For one of `most` and one of `least` a process more there gains 2(most - least - 1), of 2 most - 1.
        assert!(most - least <= 1.0 + 0.1 * most, "seed {seed}: {loads:?}");
    }
}

#[test]
fn no_process_would_clearly_be_better_off_elsewhere() {
    for seed in 1..=100 {
        let mut world = World::new(seed, false, true);
        world.settle();
        let potential = world.potential();
        for from in 0..world.nodes.len() {
            for to in (0..world.nodes.len()).filter(|to| *to != from) {
                let Some(moved) = world.nodes[from].1.pop() else { continue };
                let relief = potential - world.potential();
                world.nodes[to].1.push(moved);
                let gain = potential - world.potential();
                world.nodes[to].1.pop();
                world.nodes[from].1.push(moved);
                // A tenth is the margin; a node that is as loaded as all would be takes nothing, though it may be a fast one.
                assert!(gain <= 0.2 * relief + 1e-6, "seed {seed}: {gain} of {relief}");
            }
        }
    }
}
