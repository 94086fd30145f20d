//! A run of one scheme, event by event.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use peripatos_cluster::NodeId;
use peripatos_cluster::promises::{Promise, Redemption, Word};

use super::machine::{Machine, Place, Process, ProcessIndex};
use super::promised::Mind;
use super::report::{Curve, Outcome, Point};
use super::{Config, Scheme, workload};
use crate::random::Random;

/// Between two looks at how even the load is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a network interface of a machine carries in a second: 1 Gbit/s.
const BANDWIDTH: f64 = 125e6;
/// What a move takes besides: about the median of `peri demo`.
const MOVE_FIXED: Duration = Duration::from_millis(2);
/// How long a datagram, or a message on a link that stands, is on its way, in nanoseconds.
const LATENCY: std::ops::Range<u64> = 100_000..500_000;

/// Machines, processes, and what is to happen.
pub(super) struct World {
    pub(super) config: Config,
    pub(super) scheme: Scheme,
    pub(super) random: Random,
    pub(super) now: Duration,
    pub(super) machines: Vec<Machine>,
    /// Those that live.
    pub(super) alive: Vec<usize>,
    pub(super) processes: Vec<Process>,
    /// The half of the machines that each has begun on.
    pub(super) halves: Vec<usize>,
    pub(super) turns: usize,
    /// Of each machine, what it has on its way to it, in thousandths of a process.
    pub(super) coming: Vec<u32>,
    /// Of each machine, how many are on their way from it.
    pub(super) leaving: Vec<usize>,
    pub(super) minds: Vec<Mind>,
    indices: HashMap<NodeId, usize>,
    /// When its interface is free again to send, and to receive.
    sends_from: Vec<Duration>,
    receives_from: Vec<Duration>,
    queue: BinaryHeap<Reverse<Due>>,
    queued: u64,
    pub(super) moves: u64,
    /// Of samples and words, with all headers.
    pub(super) bytes: u64,
    curve: Curve,
}

/// Ordered by time, and then by its number.
struct Due {
    at: Duration,
    number: u64,
    what: What,
}

/// What happens.
pub(super) enum What {
    Look,
    /// The first process of a machine has done its work, if it is still of this version.
    End(usize, u32),
    Arrive {
        process: ProcessIndex,
        from: usize,
        to: usize,
        began: Duration,
    },
    Births,
    Burst,
    Churn,
    Turn,
    /// A member asks another one whether it lives.
    Ping(usize),
    Samples {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
        question: bool,
    },
    Wake(usize),
    Word {
        from: usize,
        to: usize,
        word: Word,
    },
    Redeem {
        from: usize,
        to: usize,
        redemption: Redemption,
    },
    Instead {
        from: usize,
        to: usize,
        promises: Vec<Promise>,
    },
    Kept {
        from: usize,
        to: usize,
        permille: u32,
    },
    /// A machine looks whom its processes call.
    Follow(usize),
    Steal(usize),
    Refine,
}

impl World {
    pub(super) fn new(config: Config, scheme: Scheme) -> World {
        let mut random = Random::new(config.seed);
        let machines = workload::machines(&config, &mut random);
        let mut world = World {
            config,
            scheme,
            random,
            now: Duration::ZERO,
            machines: Vec::new(),
            alive: Vec::new(),
            processes: Vec::with_capacity(config.processes),
            halves: Vec::new(),
            turns: 0,
            coming: Vec::new(),
            leaving: Vec::new(),
            minds: Vec::new(),
            indices: HashMap::new(),
            sends_from: Vec::new(),
            receives_from: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            moves: 0,
            bytes: 0,
            curve: Curve::default(),
        };
        machines.into_iter().for_each(|machine| world.add(machine));
        world
    }

    /// A machine is there from now on.
    fn add(&mut self, machine: Machine) {
        let index = self.machines.len();
        self.machines.push(machine);
        self.indices.insert(id_of(index), index);
        self.alive.push(index);
        self.coming.push(0);
        self.leaving.push(0);
        self.sends_from.push(Duration::ZERO);
        self.receives_from.push(Duration::ZERO);
        match self.scheme {
            Scheme::Peripatos => self.wake_up(index),
            Scheme::Stealing => self.steals(index),
            _ => {}
        }
    }

    /// A new machine joins.
    pub(super) fn join(&mut self) {
        let machine = workload::machine(&self.config, &mut self.random);
        self.add(machine);
    }

    /// One dies, with all that it runs.
    pub(super) fn die(&mut self, dying: usize) {
        let all: Vec<ProcessIndex> = self.machines[dying].all().collect();
        for index in all {
            self.take(index, dying);
            self.processes[index as usize].place = Place::Ended;
        }
        self.machines[dying].alive = false;
        self.alive.retain(|at| *at != dying);
        for mind in &mut self.minds {
            mind.promises.gone(id_of(dying));
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        self.begin();
        let fewest = self.fewest_moves();
        if self.scheme == Scheme::Central {
            self.after(Duration::ZERO, What::Refine);
        }
        self.after(Duration::ZERO, What::Look);
        let end = self.config.span;
        while let Some(Reverse(due)) = self.queue.pop() {
            if due.at > end {
                break;
            }
            self.now = due.at;
            self.happens(due.what);
        }
        Outcome { scheme: self.scheme, curve: self.curve, fewest }
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Look => self.look(),
            What::End(at, version) => self.end(at, version),
            What::Arrive { process, from, to, began } => self.arrive(process, from, to, began),
            What::Births => self.births(),
            What::Burst => self.burst(),
            What::Churn => self.churn(),
            What::Turn => self.turn(),
            What::Steal(at) => self.steal(at),
            What::Refine => self.refine(),
            What::Ping(at) => self.ping(at),
            What::Samples { from, to, bytes, question } => self.samples(from, to, &bytes, question),
            What::Wake(at) => self.wake(at),
            What::Word { from, to, word } => self.word(from, to, word),
            What::Redeem { from, to, redemption } => self.redeemed(from, to, redemption),
            What::Instead { from, to, promises } => self.instead(from, to, &promises),
            What::Kept { from, to, permille } => self.kept(from, to, permille),
            What::Follow(at) => self.follow(at),
        }
    }

    /// The machine of that node.
    pub(super) fn index_of(&self, node: NodeId) -> usize {
        self.indices[&node]
    }

    pub(super) fn after(&mut self, wait: Duration, what: What) {
        self.queued += 1;
        let due = Due { at: self.now + wait, number: self.queued, what };
        self.queue.push(Reverse(due));
    }

    /// How long the next datagram is on its way.
    pub(super) fn latency(&mut self) -> Duration {
        Duration::from_nanos(self.random.within(LATENCY))
    }

    /// A process is on a machine from now on.
    pub(super) fn put(&mut self, index: ProcessIndex, at: usize) {
        self.machines[at].put(at, &mut self.processes, index, self.now);
        self.plan_end(at);
    }

    /// And on none.
    fn take(&mut self, index: ProcessIndex, at: usize) {
        self.machines[at].take(&mut self.processes, index, self.now);
        self.plan_end(at);
    }

    pub(super) fn set_wants(&mut self, index: ProcessIndex, wants: bool) {
        let process = &mut self.processes[index as usize];
        match process.place {
            Place::At(at) => {
                self.machines[at].set_wants(&mut self.processes, index, wants, self.now);
                self.plan_end(at);
            }
            Place::OnItsWay => process.wants = wants,
            Place::Ended => {}
        }
    }

    fn plan_end(&mut self, at: usize) {
        if let Some(ends) = self.machines[at].next_end(&self.processes, self.now) {
            let version = self.machines[at].version;
            self.after(ends - self.now, What::End(at, version));
        }
    }

    fn end(&mut self, at: usize, version: u32) {
        if self.machines[at].version != version {
            return;
        }
        if let Some(index) = self.machines[at].ended(&self.processes, self.now) {
            self.machines[at].take(&mut self.processes, index, self.now);
            let process = &mut self.processes[index as usize];
            process.place = Place::Ended;
            let done = Duration::from_secs_f64(process.done_s);
            if let Some(mind) = self.minds.get_mut(at) {
                mind.prices.note_end(done);
            }
        }
        self.plan_end(at);
    }

    /// A process leaves for another machine.
    pub(super) fn begin_move(&mut self, index: ProcessIndex, from: usize, to: usize) {
        let process = &self.processes[index as usize];
        let carried = Duration::from_secs_f64(process.memory_bytes as f64 / BANDWIDTH);
        let demand = process.demand_permille(self.now);
        self.take(index, from);
        // Each end takes one after the other; what is for one that is busy does not hold up what is for others.
        let sent = self.now.max(self.sends_from[from]) + carried;
        let received = sent.max(self.receives_from[to] + carried);
        (self.sends_from[from], self.receives_from[to]) = (sent, received);
        self.coming[to] += 1_000;
        self.leaving[from] += 1;
        self.moves += 1;
        if self.scheme == Scheme::Peripatos {
            self.goes(from, to, demand);
        }
        let (process, began) = (index, self.now);
        self.after(received + MOVE_FIXED - self.now, What::Arrive { process, from, to, began });
    }

    fn arrive(&mut self, index: ProcessIndex, from: usize, to: usize, began: Duration) {
        self.coming[to] -= 1_000;
        self.leaving[from] -= 1;
        let stays = if self.machines[to].alive { to } else { from };
        if self.machines[stays].alive {
            self.put(index, stays);
        } else {
            self.processes[index as usize].place = Place::Ended;
        }
        if self.scheme == Scheme::Peripatos {
            self.has_moved(index, from, began);
        }
    }

    /// Processes for each reference core, with what is on its way.
    pub(super) fn crowding(&self, at: usize) -> f64 {
        let machine = &self.machines[at];
        (machine.wanting.len() as f64 + f64::from(self.coming[at]) / 1e3) / machine.capacity()
    }

    /// Processes for each reference core if all were spread evenly.
    pub(super) fn mean(&self) -> f64 {
        let capacity: f64 = self.alive.iter().map(|at| self.machines[*at].capacity()).sum();
        let wanting = self.alive.iter().map(|at| self.machines[*at].wanting.len() as f64);
        let coming = self.alive.iter().map(|at| f64::from(self.coming[*at]) / 1e3);
        (wanting.sum::<f64>() + coming.sum::<f64>()) / capacity
    }

    /// The fewest moves after which each machine is within 5 % of the mean, or a process, as all begins.
    fn fewest_moves(&self) -> u64 {
        let mean = self.mean();
        let (mut over, mut under) = (0.0, 0.0);
        for at in &self.alive {
            let machine = &self.machines[*at];
            let (has, even) = (machine.wanting.len() as f64, mean * machine.capacity());
            let near = (0.05 * even).max(1.0);
            over += (has - even - near).max(0.0).ceil();
            under += (even - near - has).max(0.0).ceil();
        }
        f64::max(over, under) as u64
    }

    fn look(&mut self) {
        self.record();
        self.after(LOOK_EVERY, What::Look);
    }

    fn record(&mut self) {
        let mean = self.mean();
        let (mut real, mut settled, mut strain) = (0.0_f64, 0.0_f64, 0.0);
        for at in self.alive.clone() {
            let capacity = self.machines[at].capacity();
            // A machine cannot be nearer to it than half a process, and is not asked to be nearer than one.
            let away = |crowding: f64| {
                let away = (crowding - mean).abs();
                if away * capacity <= 1.0 { 0.0 } else { away / mean.max(1e-9) }
            };
            real = real.max(away(self.machines[at].wanting.len() as f64 / capacity));
            if self.scheme == Scheme::Peripatos {
                settled = settled.max(away(self.effective(at) / capacity));
            }
            // What is on its way waits as what it has left does, until it is there.
            let has = (self.machines[at].wanting.len() + self.leaving[at]) as f64;
            let cores = f64::from(self.machines[at].cores);
            let speed = f64::from(self.machines[at].speed_permille) / 1e3;
            strain += has * (has / cores).max(1.0) / speed;
        }
        let live = self.alive.len();
        let apart = self.apart();
        self.curve.0.push(Point {
            at: self.now,
            gap: real,
            promised_gap: settled,
            strain: strain / self.least_strain(mean),
            apart,
            moves: self.moves,
            bytes: self.bytes,
            nodes: live,
        });
    }

    /// The potential if all were spread evenly.
    fn least_strain(&self, mean: f64) -> f64 {
        let least = self.alive.iter().map(|at| {
            let machine = &self.machines[*at];
            let (has, cores) = (mean * machine.capacity(), f64::from(machine.cores));
            has * (has / cores).max(1.0) * 1e3 / f64::from(machine.speed_permille)
        });
        least.sum::<f64>().max(1e-9)
    }

    /// Of those that a process calls, the share that is on other nodes.
    fn apart(&self) -> f64 {
        if self.config.workload != super::Workload::Talkers {
            return 0.0;
        }
        let (mut pairs, mut apart) = (0_u32, 0_u32);
        for (index, process) in self.processes.iter().enumerate() {
            for mate in workload::mates(index, self.processes.len()) {
                pairs += 1;
                apart += u32::from(self.processes[mate].place != process.place);
            }
        }
        f64::from(apart) / f64::from(pairs.max(1))
    }
}

/// The name of a machine's node. Spread like those of real ones, which are drawn by lot.
pub(super) fn id_of(index: usize) -> NodeId {
    NodeId((index as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
