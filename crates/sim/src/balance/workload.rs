//! What processes do: where they begin, how long they run, when they want a core; and what befalls nodes.

use std::f64::consts::TAU;
use std::time::Duration;

use super::machine::{Machine, Process, ProcessIndex};
use super::world::{What, World};
use super::{Config, Scheme};
use crate::random::Random;

/// Memory of each: what a small program has (`peri ps` of `guests/fib.wasm`).
const MEMORY_BYTES: u64 = 100_000;
/// The shape of the durations' Pareto distribution: Harchol-Balter and Downey (1997) found 1.05 to 1.25 for processes that run a
/// second or more. No process runs more than a thousand times as long as the shortest.
const PARETO_SHAPE: f64 = 1.1;
const PARETO_MOST: f64 = 1_000.0;
/// Of the machines so many have everything at a skewed start, in a hundred.
const SKEWED_PERCENT: usize = 1;
/// How often something happens in workloads in which something does.
const BURST_EVERY: Duration = Duration::from_secs(5);
const WANDERS_EVERY: Duration = Duration::from_secs(10);
const CHURN_EVERY: Duration = Duration::from_secs(5);
/// The adversary turns as soon as the balance has begun to act upon what it sees.
const OSCILLATES_EVERY: Duration = Duration::from_millis(1_500);
/// Births are drawn so often.
const BIRTHS_EVERY: Duration = Duration::from_millis(100);
/// Processes that call each other.
pub(super) const CLIQUE: usize = 4;

/// What processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// All begin on a hundredth of the nodes, and never end.
    Skewed,
    /// They begin on nodes that are drawn by lot, and run for times that are Pareto distributed; as many begin as can end.
    Pareto,
    /// The same, and every five seconds a hundredth of the nodes gets ten times the mean at once.
    Bursts,
    /// All that begin do so on a hundredth of the nodes, another one every ten seconds.
    Wandering,
    /// Fours that call each other all the time, each on nodes drawn by lot.
    Talkers,
    /// Skewed, on nodes of 1 to 8 cores of half to double speed.
    Unequal,
    /// They begin on nodes drawn by lot; every five seconds a hundredth of the nodes dies and as many join.
    Churn,
    /// They want a core and do not want one, in turn, half of the nodes against the other half: just as fast as does most harm.
    Oscillating,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 8] = [
        Workload::Skewed,
        Workload::Pareto,
        Workload::Bursts,
        Workload::Wandering,
        Workload::Talkers,
        Workload::Unequal,
        Workload::Churn,
        Workload::Oscillating,
    ];

    /// As commands have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Workload::Skewed => "skewed",
            Workload::Pareto => "pareto",
            Workload::Bursts => "bursts",
            Workload::Wandering => "wandering",
            Workload::Talkers => "talkers",
            Workload::Unequal => "unequal",
            Workload::Churn => "churn",
            Workload::Oscillating => "oscillating",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Workload::Skewed => "all begin on a hundredth of the nodes, and do not end",
            Workload::Pareto => "they begin anywhere, and run for Pareto distributed times",
            Workload::Bursts => {
                "the same, and a hundredth of the nodes gets ten times the mean every 5 s"
            }
            Workload::Wandering => {
                "all begin on a hundredth of the nodes, on another one every 10 s"
            }
            Workload::Talkers => "fours that call each other, begun anywhere",
            Workload::Unequal => "skewed, on nodes of 1 to 8 cores of half to double speed",
            Workload::Churn => "every 5 s a hundredth of the nodes dies, and as many join",
            Workload::Oscillating => {
                "each half of the nodes has something to do in turn, as fast as does most harm"
            }
        }
    }

    /// Whether its processes end.
    pub(super) fn ends(self) -> bool {
        matches!(self, Workload::Pareto | Workload::Bursts | Workload::Wandering)
    }
}

/// Machines as the workload has them.
pub(super) fn machines(config: &Config, random: &mut Random) -> Vec<Machine> {
    (0..config.nodes).map(|_| machine(config, random)).collect()
}

/// One of them.
pub(super) fn machine(config: &Config, random: &mut Random) -> Machine {
    match config.workload {
        Workload::Unequal => {
            let cores = 1 << random.below(4);
            let speed = 500.0 * 2_f64.powf(2.0 * unit(random));
            Machine::new(cores, speed.round() as u32)
        }
        // A quarter of the cores is idle: talk decides.
        Workload::Talkers => {
            Machine::new((config.processes * 4 / (config.nodes * 3)).max(1) as u32, 1_000)
        }
        _ => Machine::new(1, 1_000),
    }
}

/// Those whom a process calls.
pub(super) fn mates(index: usize, count: usize) -> impl Iterator<Item = usize> {
    let first = index - index % CLIQUE;
    (first..(first + CLIQUE).min(count)).filter(move |mate| *mate != index)
}

/// From 0 to 1.
pub(super) fn unit(random: &mut Random) -> f64 {
    random.below(1 << 30) as f64 / f64::from(1 << 30)
}

/// Pareto distributed times, cut off, and such that the mean of all is one.
fn pareto(random: &mut Random) -> f64 {
    let (shape, most) = (PARETO_SHAPE, PARETO_MOST);
    let cut = 1.0 - most.powf(-shape);
    let mean = shape / (shape - 1.0) * (1.0 - most.powf(1.0 - shape)) / cut;
    (1.0 - unit(random) * cut).powf(-1.0 / shape) / mean
}

impl World {
    /// All that is there at the beginning.
    pub(super) fn begin(&mut self) {
        let workload = self.config.workload;
        for number in 0..self.config.processes {
            let origin = self.origin(number);
            self.spawn(origin);
        }
        match workload {
            Workload::Bursts => self.after(BURST_EVERY, What::Burst),
            Workload::Churn => self.after(CHURN_EVERY, What::Churn),
            Workload::Oscillating => self.turn(),
            _ => {}
        }
        if workload.ends() {
            self.after(BIRTHS_EVERY, What::Births);
        }
    }

    /// Where a process would begin if nobody placed it.
    fn origin(&mut self, number: usize) -> usize {
        let count = self.alive.len();
        let few = (count * SKEWED_PERCENT / 100).max(1);
        match self.config.workload {
            Workload::Skewed | Workload::Unequal => number % few,
            Workload::Wandering => {
                let spot = self.now.as_secs() / WANDERS_EVERY.as_secs();
                let first = (spot as usize).wrapping_mul(7_919) % count;
                self.alive[(first + self.random.below(few)) % count]
            }
            _ => self.alive[self.random.below(count)],
        }
    }

    /// One begins; where, the scheme says, if it places any.
    fn spawn(&mut self, origin: usize) {
        let work_s = if self.config.workload.ends() {
            // About as many end as begin when each core does a second of work in a second.
            pareto(&mut self.random) * self.mean_work_s()
        } else {
            f64::INFINITY
        };
        let index = self.processes.len() as ProcessIndex;
        self.processes.push(Process::new(work_s, MEMORY_BYTES, self.now));
        let at = match self.scheme {
            Scheme::Random => self.anywhere(),
            Scheme::TwoChoices => {
                let (one, other) = (self.anywhere(), self.anywhere());
                if self.crowding(other) < self.crowding(one) { other } else { one }
            }
            _ => origin,
        };
        self.halves.push(at % 2);
        self.put(index, at);
    }

    fn anywhere(&mut self) -> usize {
        self.alive[self.random.below(self.alive.len())]
    }

    /// So that a process takes about twenty seconds where each has its share.
    fn mean_work_s(&self) -> f64 {
        20.0 * self.config.nodes as f64 / self.config.processes as f64
    }

    /// As many begin as can end meanwhile; now and then one more or less.
    pub(super) fn births(&mut self) {
        let capacity: f64 = self.alive.iter().map(|at| self.machines[*at].capacity()).sum();
        let expected = capacity * BIRTHS_EVERY.as_secs_f64() / self.mean_work_s();
        // The sum of so many that come independently of each other, nearly (Box and Muller 1958).
        let normal = (-2.0 * (1.0 - unit(&mut self.random)).ln()).sqrt()
            * (TAU * unit(&mut self.random)).cos();
        let count = (expected + expected.sqrt() * normal).round().max(0.0) as usize;
        for number in 0..count {
            let origin = self.origin(number);
            self.spawn(origin);
        }
        self.after(BIRTHS_EVERY, What::Births);
    }

    /// Some get very much at once.
    pub(super) fn burst(&mut self) {
        let few = (self.alive.len() * SKEWED_PERCENT / 100).max(1);
        let each = 10 * self.config.processes / self.config.nodes;
        for _ in 0..few {
            let origin = self.anywhere();
            (0..each).for_each(|_| self.spawn(origin));
        }
        self.after(BURST_EVERY, What::Burst);
    }

    /// Some die, and as many join.
    pub(super) fn churn(&mut self) {
        let few = (self.alive.len() * SKEWED_PERCENT / 100).max(1);
        for _ in 0..few {
            let dying = self.anywhere();
            self.die(dying);
            self.join();
        }
        self.after(CHURN_EVERY, What::Churn);
    }

    /// Those that began on one half of the nodes want a core from now on, those of the other half do not.
    pub(super) fn turn(&mut self) {
        self.turns += 1;
        for index in 0..self.processes.len() {
            let wants = (self.halves[index] + self.turns).is_multiple_of(2);
            self.set_wants(index as ProcessIndex, wants);
        }
        self.after(OSCILLATES_EVERY, What::Turn);
    }
}
