//! What a run is like: everything follows from its seed and its size.

use crate::nodes::sparse;
use crate::random::Random;

/// Nanoseconds.
pub const MS: u64 = 1_000_000;
/// Nanoseconds.
pub const SECOND: u64 = 1_000 * MS;

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Some tens of processes: thousands of runs are better than one long one.
    Small,
    /// Thousands of processes on tens of nodes.
    Large,
}

/// Which code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Kernels, moves and searches as the simulation decides: fast, and with every fault at once.
    Kernels,
    /// Kernels, and the nodes that decide about moves, searches, families and names.
    Nodes,
}

/// What can go wrong between and with nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Faults {
    /// Packets that are lost, in a thousand.
    pub loss: u64,
    /// Packets that come twice.
    pub twice: u64,
    /// Of those, how many come very late.
    pub late: u64,
    /// Packets that take up to half a second.
    pub slow: u64,
    /// Partitions, in the whole run.
    pub partitions: usize,
    /// Nodes that crash.
    pub crashes: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it all follows from.
    pub seed: u64,
    /// Which code runs.
    pub level: Level,
    /// Cores of each node.
    pub cores: Vec<usize>,
    /// Processes at the beginning.
    pub processes: usize,
    /// How long things go wrong.
    pub span: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// Nanoseconds between two moves of processes.
    pub move_every: u64,
    /// Nanoseconds until a directory knows where a process has gone, at most.
    pub directory_lag: u64,
    /// Nanoseconds that a process waits between two sends, at most.
    pub think: u64,
    /// How often, in a thousand, one that serves sends itself.
    pub nesting: u64,
    /// Processes that end of themselves, in a thousand turns.
    pub ending: u64,
    /// Nanoseconds between two links that break, about; 0: none does. Of nodes.
    pub break_every: u64,
}

impl Config {
    /// The run of this seed.
    #[must_use]
    pub fn new(seed: u64, size: Size, level: Level) -> Config {
        let mut random = Random::new(seed ^ 0x51ed_270b);
        let (nodes, processes) = match size {
            Size::Small => (1 + random.below(5), 6 + random.below(50)),
            Size::Large => (20 + random.below(20), 2_000 + random.below(2_000)),
        };
        let mut faults = Faults::default();
        // One in five has no faults: what does not even work then is found the sooner.
        if !seed.is_multiple_of(5) {
            faults.loss = random.within(0..100);
            faults.twice = random.within(0..200);
            faults.late = random.within(0..300);
            faults.slow = random.within(0..100);
            if random.permille(400) {
                faults.partitions = 1 + random.below(3);
            }
            if random.permille(300) && nodes > 1 {
                faults.crashes = 1 + random.below((nodes - 1).min(2));
            }
        }
        let moves = [20 * MS, 100 * MS, SECOND];
        let lags = [0, SECOND, 25 * SECOND];
        let chosen = random.below(3);
        let mut config = Config {
            seed,
            level,
            cores: (0..nodes).map(|_| 1 + random.below(3)).collect(),
            processes,
            span: match size {
                Size::Small => random.within(5 * SECOND..60 * SECOND),
                Size::Large => random.within(5 * SECOND..15 * SECOND),
            },
            faults,
            move_every: moves[random.below(3)],
            directory_lag: lags[chosen],
            think: [20 * MS, 200 * MS, SECOND][random.below(3)],
            nesting: random.within(0..500),
            ending: random.within(0..8),
            break_every: 0,
        };
        if level == Level::Nodes {
            config.of_nodes(&mut random);
        }
        config
    }

    /// What is different, and what there is more.
    fn of_nodes(&mut self, random: &mut Random) {
        let least = if sparse::is(self.seed) { sparse::NODES_MIN } else { 2 };
        while self.cores.len() < least {
            self.cores.push(1 + random.below(3));
        }
        self.directory_lag = 0;
        if self.faults != Faults::default() {
            self.break_every = [0, SECOND, 10 * SECOND][random.below(3)];
            if random.permille(300) {
                self.faults.crashes += 1;
            }
        }
    }
}
