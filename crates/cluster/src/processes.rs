//! The processes that this node runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_balancer::{Candidate, Crowd, Demand};

use crate::event::Sample;
use crate::message::{Description, Hold, Luggage, MigrationId, MoveCosts, ProcessRow, RowState};
use crate::traffic::Traffic;
use crate::{NodeId, Time};

/// One process of this node.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) description: Description,
    pub(crate) state: State,
    pub(crate) moves: u32,
    pub(crate) costs: MoveCosts,
    /// Processor time that it had used when it came here.
    pub(crate) cpu_before: Duration,
    pub(crate) sample: Option<Sample>,
    demand: Demand,
    pub(crate) traffic: Traffic,
    pub(crate) memory_bytes: u64,
    /// The balancer leaves it alone until then: it has just moved, or somebody has put it here.
    pub(crate) stays_until: Time,
    pub(crate) pinned: bool,
    /// Others that are to leave go first until then: it was to leave, and did not.
    pub(crate) aside_until: Time,
    /// It is to end as soon as it is not on its way any more.
    pub(crate) killed: bool,
    /// Its origin is gone for good.
    pub(crate) orphaned: bool,
    /// The node that was told that it is here, or is to be.
    pub(crate) keeper: Option<NodeId>,
}

/// Where a process is in its life here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// It is being moved away.
    Leaving(MigrationId),
}

impl Process {
    pub(crate) fn new(description: Description, now: Time) -> Process {
        Process {
            description,
            state: State::Running,
            moves: 0,
            costs: MoveCosts::default(),
            cpu_before: Duration::ZERO,
            sample: None,
            demand: Demand::new(now.0),
            traffic: Traffic::default(),
            memory_bytes: 0,
            stays_until: Time::default(),
            pinned: false,
            aside_until: Time::default(),
            killed: false,
            orphaned: false,
            keeper: None,
        }
    }

    /// A process that has come with a migration.
    pub(crate) fn arrived(luggage: Luggage, now: Time, rest: Duration) -> Process {
        let (stays, pinned) = match luggage.hold {
            None => (rest, false),
            Some(Hold::For(milliseconds)) => (rest.max(Duration::from_millis(milliseconds)), true),
            Some(Hold::UntilReleased) => (Duration::MAX, true),
        };
        Process {
            moves: luggage.moves,
            costs: luggage.costs,
            cpu_before: Duration::from_millis(luggage.cpu_ms),
            memory_bytes: luggage.memory_bytes,
            orphaned: luggage.orphaned,
            stays_until: now + stays,
            pinned,
            ..Process::new(luggage.process, now)
        }
    }

    pub(crate) fn cpu(&self) -> Duration {
        self.cpu_before + self.sample.map_or(Duration::ZERO, |sample| sample.cpu)
    }

    /// How much it wants a core, in thousandths.
    pub(crate) fn demand_permille(&self, now: Time) -> u32 {
        (self.demand.at(now.0) * 1e3).round() as u32
    }

    pub(crate) fn candidate(&self, now: Time) -> Candidate<Pid> {
        Candidate {
            process: self.description.pid,
            cpu: self.cpu(),
            memory_bytes: self.memory_bytes,
            memory_needed_bytes: self.memory_bytes_needed(),
            demand_permille: self.demand_permille(now),
            parting: 0.0,
            preference: 0.0,
        }
    }

    /// What it has, or is to have.
    pub(crate) fn memory_bytes_needed(&self) -> u64 {
        self.memory_bytes.max(self.description.memory_bytes_needed)
    }

    /// What it does not have yet of that.
    fn reserved_bytes(&self) -> u64 {
        self.memory_bytes_needed() - self.memory_bytes
    }

    fn is_asleep(&self) -> bool {
        self.sample.is_some_and(|sample| sample.asleep)
    }

    /// Also if it rests or waits.
    pub(crate) fn can_leave(&self) -> bool {
        self.state == State::Running
    }

    /// Until the first sample a process counts as one that wants a core.
    pub(crate) fn runnable(&self) -> bool {
        self.sample.is_none_or(|sample| sample.runnable)
    }
}

/// All of them. A pid is there once. Those that want a core stand apart, too: of many most wait, and what is done ten
/// times a second looks at none of these. The crowd is how much all want one that are not on their way out; and some
/// have called processes of other nodes. The number is the bytes that are kept for those that have not grown to what they
/// need.
#[derive(Debug, Default)]
pub(crate) struct Processes(
    pub(crate) BTreeMap<Pid, Process>,
    BTreeSet<Pid>,
    Crowd,
    BTreeSet<Pid>,
    u128,
);

impl Processes {
    pub(crate) fn insert(&mut self, process: Process) {
        let pid = process.description.pid;
        self.note(pid, process.runnable());
        // As [`Demand::new`] has it.
        self.2.joins(1.0);
        self.4 += u128::from(process.reserved_bytes());
        self.0.insert(pid, process);
    }

    pub(crate) fn remove(&mut self, pid: Pid, now: Time) -> Option<Process> {
        self.note(pid, false);
        self.3.remove(&pid);
        let process = self.0.remove(&pid)?;
        self.4 -= u128::from(process.reserved_bytes());
        if process.state == State::Running {
            self.2.leaves(process.demand.at(now.0));
        }
        Some(process)
    }

    /// A process is on its way out, or is not any more.
    pub(crate) fn set_state(&mut self, pid: Pid, state: State, now: Time) {
        let Some(process) = self.0.get_mut(&pid) else { return };
        let demand = process.demand.at(now.0);
        match (process.state, state) {
            (State::Running, State::Leaving(_)) => self.2.leaves(demand),
            (State::Leaving(_), State::Running) => self.2.joins(demand),
            _ => {}
        }
        process.state = state;
    }

    fn note(&mut self, pid: Pid, runnable: bool) {
        if runnable {
            self.1.insert(pid);
        } else {
            self.1.remove(&pid);
        }
    }

    pub(crate) fn take_samples(&mut self, samples: Vec<Sample>, now: Time) {
        for sample in samples {
            let Some(process) = self.0.get_mut(&sample.pid) else { continue };
            let was = process.runnable();
            self.4 -= u128::from(process.reserved_bytes());
            process.memory_bytes = sample.memory_bytes;
            self.4 += u128::from(process.reserved_bytes());
            process.sample = Some(sample);
            process.demand.note(now.0, sample.runnable);
            process.traffic.note(now, sample.talks);
            if sample.talks.away_node.is_some() {
                self.3.insert(sample.pid);
            }
            if was != sample.runnable {
                self.note(sample.pid, sample.runnable);
            }
        }
    }

    /// Bytes that are kept for those that have not grown to what they need.
    pub(crate) fn reserved_bytes(&self) -> u128 {
        self.4
    }

    /// Those that want a core, on their way out or not.
    pub(crate) fn wanting(&self) -> impl Iterator<Item = &Process> {
        self.1.iter().filter_map(|pid| self.0.get(pid))
    }

    /// Those after that one, or all.
    pub(crate) fn wanting_after(&self, after: Bound<Pid>) -> impl Iterator<Item = &Process> {
        self.1.range((after, Bound::Unbounded)).filter_map(|pid| self.0.get(pid))
    }

    /// How many run or wait for a core; what is on its way out does not count.
    pub(crate) fn runnable(&self) -> u32 {
        self.wanting().filter(|process| process.state == State::Running).count() as u32
    }

    /// It is time to look at how much they want cores.
    pub(crate) fn note_demand(&mut self, now: Time) {
        let count = self.runnable() as usize;
        self.2.note(now.0, count);
    }

    /// How many processes want a core, in thousandths of one, over the last moments; what is on its way out does not count.
    pub(crate) fn demand_permille(&self) -> u32 {
        (self.2.demand() * 1e3).round() as u32
    }

    /// Those that have called processes of another node long enough to go there, and of whom nothing speaks against a move.
    pub(crate) fn drawn(&self, own: NodeId, now: Time) -> Vec<(Pid, NodeId)> {
        let called = self.3.iter().filter_map(|pid| self.0.get(pid));
        let free = called.filter(|process| process.can_leave() && process.stays_until <= now);
        let drawn = free.filter_map(|process| {
            Some((process.description.pid, process.traffic.drawn_to(own, now)?))
        });
        drawn.collect()
    }

    /// The balancer need not wait for those that have just moved. Who was put somewhere stays there.
    pub(crate) fn rest_no_more(&mut self, now: Time) {
        for process in self.0.values_mut().filter(|process| !process.pinned) {
            process.stays_until = process.stays_until.min(now);
        }
    }

    /// Those whose origin is attached at that node, each with how often it has moved.
    pub(crate) fn of_origin(&self, origin: NodeId) -> Vec<(Pid, u32)> {
        let of = |process: &&Process| process.description.origin == origin;
        let entry = |process: &Process| (process.description.pid, process.moves);
        self.0.values().filter(of).map(entry).collect()
    }

    /// Those that sleep, or the others. `in_doubt`: whether that migration is.
    pub(crate) fn rows(
        &self,
        asleep: bool,
        node: NodeId,
        now: Time,
        in_doubt: impl Fn(MigrationId) -> bool,
    ) -> impl Iterator<Item = ProcessRow> {
        let row = move |process: &Process| ProcessRow {
            process: process.description.clone(),
            node,
            state: match process.state {
                State::Leaving(migration) if in_doubt(migration) => RowState::InDoubt,
                State::Leaving(_) => RowState::Moving,
                State::Running if process.runnable() => RowState::Running,
                State::Running if process.is_asleep() => RowState::Asleep,
                State::Running => RowState::Waiting,
            },
            doing: None,
            core: process.sample.map(|sample| sample.core),
            cpu_ms: process.cpu().as_millis() as u64,
            memory_bytes: process.memory_bytes,
            moves: process.moves,
            costs: process.costs,
            pinned: process.pinned && process.stays_until > now,
        };
        self.0.values().filter(move |process| process.is_asleep() == asleep).map(row)
    }
}
