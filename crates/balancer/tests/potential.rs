//! What docs/balancing.md says is proven, tried at random: every move lowers the potential, so it ends, and where it ends nodes are about
//! equally loaded.

use std::time::Duration;

use peripatos_balancer::{Candidate, Load, Prices, level, what_to_give, whom_to_ask};

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
                demand_permille,
                parting: 0.0,
            });
        }
        World { random, nodes }
    }

    fn load(&self, node: usize) -> Load {
        let (load, processes) = &self.nodes[node];
        let demand_permille = processes.iter().map(|one| one.demand_permille).sum();
        Load { demand_permille, ..*load }
    }

    fn potential(&self) -> f64 {
        (0..self.nodes.len()).map(|node| self.load(node).strain()).sum()
    }

    /// A node asks, and gets what the other one gives. Whether that was anything.
    fn ask(&mut self, asking: usize, max: usize) -> bool {
        let loads = (0..self.nodes.len()).map(|node| (node, self.load(node)));
        let others: Vec<(usize, Load)> = loads.filter(|(node, _)| *node != asking).collect();
        let level = level((0..self.nodes.len()).map(|node| self.load(node)));
        let Some(giving) = whom_to_ask(self.load(asking), others) else { return false };
        let (own, to) = (self.load(giving), self.load(asking));
        let given = what_to_give(own, to, &self.nodes[giving].1, &Prices::default(), level, max);
        let Ok(given) = given else { return false };
        for (process, terms) in given {
            let before = self.potential();
            let at = self.nodes[giving].1.iter().position(|one| one.process == process);
            let at = at.expect("it has what it gives");
            let moved = self.nodes[giving].1.remove(at);
            self.nodes[asking].1.push(moved);
            let lower = before - self.potential();
            assert!(lower > 0.0, "the potential rises by {}", -lower);
            assert!((lower - terms.gain).abs() < 1e-6 * before, "{lower} is not {}", terms.gain);
        }
        true
    }

    /// Until nobody gets anything any more. How many got something.
    fn settle(&mut self) -> usize {
        let (mut answered, mut refused) = (0, 0);
        // A bound by far: each answer is a move at least, and no process has more than some to make.
        while refused < 50 * self.nodes.len() {
            let asking = self.random.below(self.nodes.len() as u64) as usize;
            let max = 1 + self.random.below(64) as usize;
            match self.ask(asking, max) {
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
