//! A machine whose cores are shared evenly by the processes that want one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use peripatos_balancer::{Crowd, Demand};

/// Which process.
pub(super) type ProcessIndex = u32;

/// One process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) place: Place,
    /// Work that is left, seconds of a reference core; as of when it came where it is.
    pub(super) left_s: f64,
    /// Work done so far, as of then.
    pub(super) done_s: f64,
    pub(super) wants: bool,
    pub(super) demand: Demand,
    pub(super) memory_bytes: u64,
    /// It has just moved.
    pub(super) rests_until: Duration,
    /// Where it stands in its machine's list.
    slot: usize,
    /// What its machine had done for each when it came.
    came_at_s: f64,
    /// Counts its comings and goings.
    stay: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    At(usize),
    OnItsWay,
    Ended,
}

impl Process {
    pub(super) fn new(work_s: f64, memory_bytes: u64, now: Duration) -> Process {
        Process {
            place: Place::OnItsWay,
            left_s: work_s,
            done_s: 0.0,
            wants: true,
            demand: Demand::new(now),
            memory_bytes,
            rests_until: Duration::ZERO,
            slot: 0,
            came_at_s: 0.0,
            stay: 0,
        }
    }

    /// How much it wants a core, in thousandths.
    pub(super) fn demand_permille(&self, now: Duration) -> u32 {
        (self.demand.at(now) * 1e3).round() as u32
    }
}

/// One machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) alive: bool,
    pub(super) cores: u32,
    pub(super) speed_permille: u32,
    /// Those that want a core.
    pub(super) wanting: Vec<ProcessIndex>,
    /// Those that do not.
    waiting: Vec<ProcessIndex>,
    /// As the node measures it.
    crowd: Crowd,
    /// Work done for each that wanted a core all the time, seconds.
    service_s: f64,
    at: Duration,
    /// When those end that will, in service.
    ends: BinaryHeap<Reverse<End>>,
    /// Counts what changes its next end.
    pub(super) version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct End {
    service_s: f64,
    process: ProcessIndex,
    stay: u32,
}

impl Eq for End {}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &End) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for End {
    fn cmp(&self, other: &End) -> std::cmp::Ordering {
        self.service_s.total_cmp(&other.service_s).then(self.process.cmp(&other.process))
    }
}

impl Machine {
    pub(super) fn new(cores: u32, speed_permille: u32) -> Machine {
        Machine {
            alive: true,
            cores,
            speed_permille,
            wanting: Vec::new(),
            waiting: Vec::new(),
            crowd: Crowd::default(),
            service_s: 0.0,
            at: Duration::ZERO,
            ends: BinaryHeap::new(),
            version: 0,
        }
    }

    /// Reference cores.
    pub(super) fn capacity(&self) -> f64 {
        f64::from(self.cores) * f64::from(self.speed_permille) / 1e3
    }

    /// Work that it does in a second for each that wants a core.
    fn rate(&self) -> f64 {
        let share = f64::from(self.cores) / self.wanting.len().max(1) as f64;
        share.min(1.0) * f64::from(self.speed_permille) / 1e3
    }

    fn advance(&mut self, now: Duration) {
        self.crowd.note(now, self.wanting.len());
        self.service_s += self.rate() * (now - self.at).as_secs_f64();
        self.at = now;
    }

    /// How many want a core, in thousandths, over the last moments: as a node measures it.
    pub(super) fn demand_permille(&mut self, now: Duration) -> u32 {
        self.advance(now);
        (self.crowd.demand() * 1e3).round() as u32
    }

    /// A process comes.
    pub(super) fn put(
        &mut self,
        own: usize,
        all: &mut [Process],
        index: ProcessIndex,
        now: Duration,
    ) {
        self.advance(now);
        let process = &mut all[index as usize];
        process.place = Place::At(own);
        process.came_at_s = self.service_s;
        process.stay += 1;
        self.crowd.joins(process.demand.at(now));
        self.enlist(all, index);
    }

    fn enlist(&mut self, all: &mut [Process], index: ProcessIndex) {
        let process = &mut all[index as usize];
        let list = if process.wants { &mut self.wanting } else { &mut self.waiting };
        process.slot = list.len();
        list.push(index);
        if process.wants && process.left_s.is_finite() {
            let service_s = process.came_at_s + process.left_s;
            self.ends.push(Reverse(End { service_s, process: index, stay: process.stay }));
        }
        self.version += 1;
    }

    fn strike(&mut self, all: &mut [Process], index: ProcessIndex) {
        let (slot, wants) = (all[index as usize].slot, all[index as usize].wants);
        let list = if wants { &mut self.wanting } else { &mut self.waiting };
        list.swap_remove(slot);
        if let Some(moved) = list.get(slot) {
            all[*moved as usize].slot = slot;
        }
        let process = &mut all[index as usize];
        process.stay += 1;
        if wants {
            let done_s = self.service_s - process.came_at_s;
            process.done_s += done_s;
            process.left_s = (process.left_s - done_s).max(0.0);
        }
        self.version += 1;
    }

    /// A process goes.
    pub(super) fn take(&mut self, all: &mut [Process], index: ProcessIndex, now: Duration) {
        self.advance(now);
        self.strike(all, index);
        let process = &mut all[index as usize];
        self.crowd.leaves(process.demand.at(now));
        process.place = Place::OnItsWay;
    }

    /// A process here wants a core from now on, or does not.
    pub(super) fn set_wants(
        &mut self,
        all: &mut [Process],
        index: ProcessIndex,
        wants: bool,
        now: Duration,
    ) {
        self.advance(now);
        self.strike(all, index);
        let process = &mut all[index as usize];
        (process.wants, process.came_at_s) = (wants, self.service_s);
        process.demand.note(now, wants);
        self.enlist(all, index);
    }

    /// Work that one here has done so far, seconds.
    pub(super) fn done_s(&self, process: &Process) -> f64 {
        let here = if process.wants { self.service_s - process.came_at_s } else { 0.0 };
        process.done_s + here.max(0.0)
    }

    /// When the first one ends, if nothing changes.
    pub(super) fn next_end(&mut self, all: &[Process], now: Duration) -> Option<Duration> {
        self.advance(now);
        while let Some(Reverse(end)) = self.ends.peek() {
            if all[end.process as usize].stay != end.stay {
                self.ends.pop();
                continue;
            }
            let wait_s = (end.service_s - self.service_s).max(0.0) / self.rate();
            // No sooner than the clock can tell.
            return Some(now + Duration::from_secs_f64(wait_s) + Duration::from_nanos(1));
        }
        None
    }

    /// The one that has done all of its work.
    pub(super) fn ended(&mut self, all: &[Process], now: Duration) -> Option<ProcessIndex> {
        self.advance(now);
        let Reverse(end) = self.ends.peek()?;
        let over =
            all[end.process as usize].stay == end.stay && end.service_s <= self.service_s + 1e-9;
        over.then_some(end.process)
    }

    /// All that are here.
    pub(super) fn all(&self) -> impl Iterator<Item = ProcessIndex> {
        self.wanting.iter().chain(&self.waiting).copied()
    }
}
