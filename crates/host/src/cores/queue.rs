//! Whose turn it is: the queues of all cores, and what runs on each, as pids. Pure: knows neither
//! threads nor processes, and is told the time.
//!
//! Invariants:
//! * a pid is in at most one place: one queue, or running on one core;
//! * a core that is idle has found all queues empty, and is roused by the next push;
//! * queues hold no more than the processes of the node ([`super::PROCESSES_MAX`]).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use peripatos_abi::Pid;

use super::SLICE;

/// The cores of a node.
#[derive(Debug)]
pub(super) struct Queues {
    cores: Vec<Core>,
}

#[derive(Debug, Default)]
struct Core {
    /// The next one first.
    queue: VecDeque<Pid>,
    running: Option<Slice>,
    /// It found nothing to do, and sleeps until it is roused.
    idle: bool,
}

/// A process's turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) pid: Pid,
    pub(super) since: Instant,
    /// What the core's thread had used when the slice began.
    pub(super) cpu_since: Duration,
    /// It was told to give way.
    told: bool,
}

/// At which end of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Comes next.
    Front,
    Back,
}

impl Queues {
    pub(super) fn new(count: usize) -> Queues {
        Queues { cores: (0..count).map(|_| Core::default()).collect() }
    }

    /// The core with the least to do.
    pub(super) fn least_loaded(&self) -> usize {
        let load = |core: &Core| core.queue.len() + usize::from(core.running.is_some());
        let cores = self.cores.iter().enumerate();
        cores.min_by_key(|(_, core)| load(core)).map_or(0, |(core, _)| core)
    }

    /// Puts a pid, which is in no place, into a core's queue. Says which idle core is to be roused:
    /// this one, or another one that will take it.
    pub(super) fn push(&mut self, core: usize, pid: Pid, end: End) -> Option<usize> {
        match end {
            End::Front => self.cores[core].queue.push_front(pid),
            End::Back => self.cores[core].queue.push_back(pid),
        }
        let idle = |core: &usize| self.cores[*core].idle;
        let roused = Some(core).filter(idle).or_else(|| (0..self.cores.len()).find(idle))?;
        self.cores[roused].idle = false;
        Some(roused)
    }

    /// Makes a pid the next one of the queue that it is in.
    pub(super) fn advance(&mut self, core: usize, pid: Pid) {
        let queue = &mut self.cores[core].queue;
        if let Some(at) = queue.iter().position(|queued| *queued == pid) {
            queue.remove(at);
            queue.push_front(pid);
        }
    }

    /// Begins a slice on a core that runs nothing: the next of its own queue, or of the longest one.
    /// `None`: there is nothing to do anywhere; the core is idle.
    pub(super) fn take(&mut self, core: usize, now: Instant, cpu_since: Duration) -> Option<Pid> {
        assert!(self.cores[core].running.is_none());
        let from = if self.cores[core].queue.is_empty() { self.busiest() } else { core };
        let next = self.cores[from].queue.pop_front();
        self.cores[core].idle = next.is_none();
        self.cores[core].running =
            next.map(|pid| Slice { pid, since: now, cpu_since, told: false });
        next
    }

    fn busiest(&self) -> usize {
        let cores = self.cores.iter().enumerate();
        cores.max_by_key(|(_, core)| core.queue.len()).map_or(0, |(core, _)| core)
    }

    /// The slice on this core is over.
    pub(super) fn end_slice(&mut self, core: usize) {
        self.cores[core].running = None;
    }

    /// What runs on this core.
    pub(super) fn running(&self, core: usize) -> Option<&Slice> {
        self.cores[core].running.as_ref()
    }

    /// All that run.
    pub(super) fn all_running(&self) -> impl Iterator<Item = Pid> {
        self.cores.iter().filter_map(|core| core.running.map(|slice| slice.pid))
    }

    /// When the slice on this core has to end; never, while nobody else wants the core.
    pub(super) fn deadline(&self, core: usize) -> Option<Instant> {
        let core = &self.cores[core];
        let slice = core.running.filter(|slice| !slice.told && !core.queue.is_empty())?;
        Some(slice.since + SLICE)
    }

    /// The first deadline of all cores.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (0..self.cores.len()).filter_map(|core| self.deadline(core)).min()
    }

    /// Those who have to give way by now. Each is named once a slice.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Pid> {
        let due = |core: &usize| self.deadline(*core).is_some_and(|deadline| deadline <= now);
        let due: Vec<_> = (0..self.cores.len()).filter(due).collect();
        let mut expired = Vec::new();
        for core in due {
            if let Some(slice) = &mut self.cores[core].running {
                slice.told = true;
                expired.push(slice.pid);
            }
        }
        expired
    }

    /// Forgets all that is queued.
    pub(super) fn clear(&mut self) {
        self.cores.iter_mut().for_each(|core| core.queue.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Duration = Duration::ZERO;

    fn pid(number: u64) -> Pid {
        Pid::new(number, 0)
    }

    /// Queues with these pids at the back of core 0, nothing idle.
    fn queued(cores: usize, count: u64) -> Queues {
        let mut queues = Queues::new(cores);
        for number in 0..count {
            assert_eq!(queues.push(0, pid(number), End::Back), None);
        }
        queues
    }

    #[test]
    fn turns_go_round() {
        let (mut queues, now) = (queued(1, 3), Instant::now());
        for number in [0, 1, 2, 0, 1] {
            assert_eq!(queues.take(0, now, ZERO), Some(pid(number)));
            queues.end_slice(0);
            queues.push(0, pid(number), End::Back);
        }
        queues.advance(0, pid(1));
        assert_eq!(queues.take(0, now, ZERO), Some(pid(1)));
    }

    #[test]
    fn an_idle_core_takes_from_the_longest_queue() {
        let (mut queues, now) = (Queues::new(3), Instant::now());
        for (core, number) in [(0, 0), (1, 1), (1, 2)] {
            queues.push(core, pid(number), End::Back);
        }
        assert_eq!(queues.take(2, now, ZERO), Some(pid(1)));
        assert_eq!(queues.take(1, now, ZERO), Some(pid(2)));
        queues.end_slice(2);
        assert_eq!(queues.take(2, now, ZERO), Some(pid(0)));
        queues.end_slice(2);
        assert_eq!(queues.take(2, now, ZERO), None);
        // The idle one is roused for another's queue, once.
        assert_eq!(queues.push(1, pid(3), End::Back), Some(2));
        assert_eq!(queues.push(1, pid(4), End::Back), None);
        assert_eq!(queues.take(2, now, ZERO), Some(pid(3)));
    }

    #[test]
    fn the_least_loaded_core_counts_what_runs() {
        let mut queues = Queues::new(2);
        assert_eq!(queues.least_loaded(), 0);
        queues.push(0, pid(0), End::Back);
        assert_eq!(queues.least_loaded(), 1);
        queues.take(0, Instant::now(), ZERO);
        assert_eq!(queues.least_loaded(), 1);
    }

    #[test]
    fn a_slice_ends_only_where_somebody_waits_and_is_told_once() {
        let (mut queues, start) = (queued(1, 1), Instant::now());
        queues.take(0, start, ZERO);
        assert_eq!(queues.next_deadline(), None);
        assert_eq!(queues.expired(start + 2 * SLICE), []);
        queues.push(0, pid(7), End::Back);
        assert_eq!(queues.next_deadline(), Some(start + SLICE));
        assert_eq!(queues.expired(start), []);
        assert_eq!(queues.expired(start + SLICE), [pid(0)]);
        assert_eq!(queues.expired(start + SLICE), []);
        assert_eq!(queues.next_deadline(), None);
    }
}
