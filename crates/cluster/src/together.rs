//! What the balancer weighs: processes one by one, and those together that call each other so much that apart they would mostly wait.

use std::collections::{BTreeMap, BTreeSet};

use peripatos_abi::Pid;
use peripatos_balancer::Candidate;

use crate::limits::TOGETHER_MAX;
use crate::processes::{Process, Processes};
use crate::{NodeId, Time};

/// Who would lose less than this many seconds in a second without those whom he calls here goes alone.
const LOOSE_S: f64 = 0.02;

/// Processes that go to a node together, or one that goes alone.
#[derive(Clone, Debug)]
pub(crate) struct Together {
    pub(crate) members: Vec<Pid>,
    /// All of them as one; its name is that of the first.
    pub(crate) candidate: Candidate<Pid>,
}

impl Processes {
    /// Those that the balancer may move to that node, of those that want a core and whom they call; `suits` says who may run there,
    /// `preference` how much a process prefers that node.
    pub(crate) fn candidates(
        &self,
        now: Time,
        to: NodeId,
        suits: impl Fn(&Process) -> bool,
        preference: impl Fn(&Process) -> f64,
    ) -> Vec<Together> {
        let may_move = |pid: &Pid| {
            let process = self.0.get(pid);
            process.is_some_and(|one| one.can_leave() && one.stays_until <= now && suits(one))
        };
        let mut groups = Groups::default();
        for process in self.wanting() {
            let pid = process.description.pid;
            groups.add(pid);
            let partner = process.traffic.partner().filter(|partner| self.0.contains_key(partner));
            if let Some(partner) = partner.filter(|_| process.traffic.near_s() >= LOOSE_S) {
                groups.join(pid, partner);
            }
        }
        let all = groups.take().into_iter().filter(|members| members.len() <= TOGETHER_MAX);
        all.filter(|members| members.iter().all(may_move))
            .filter_map(|members| self.together(members, now, to, &preference))
            .collect()
    }

    fn together(
        &self,
        members: Vec<Pid>,
        now: Time,
        to: NodeId,
        preference: &impl Fn(&Process) -> f64,
    ) -> Option<Together> {
        let alone = members.len() == 1;
        let processes = members.iter().filter_map(|pid| self.0.get(pid));
        let each = processes.map(|process| {
            let (mut candidate, traffic) = (process.candidate(now), &process.traffic);
            // Those whom they call go with them.
            let parts = if alone { traffic.near_s() } else { 0.0 };
            candidate.parting = parts - traffic.away_s(to);
            candidate.preference = preference(process);
            candidate
        });
        let candidate = each.reduce(|sum, one| Candidate {
            process: sum.process,
            cpu: sum.cpu.max(one.cpu),
            memory_bytes: sum.memory_bytes.saturating_add(one.memory_bytes),
            memory_needed_bytes: sum.memory_needed_bytes.saturating_add(one.memory_needed_bytes),
            demand_permille: sum.demand_permille.saturating_add(one.demand_permille),
            parting: sum.parting + one.parting,
            preference: sum.preference + one.preference,
        })?;
        Some(Together { members, candidate })
    }
}

/// Sets that are joined until each that belongs together is in one: Tarjan's union-find, without ranks, for there are few.
#[derive(Debug, Default)]
struct Groups(BTreeMap<Pid, Pid>);

impl Groups {
    fn add(&mut self, pid: Pid) {
        self.0.entry(pid).or_insert(pid);
    }

    fn first(&mut self, pid: Pid) -> Pid {
        self.add(pid);
        let mut at = pid;
        while let Some(next) = self.0.get(&at).copied().filter(|next| *next != at) {
            at = next;
        }
        self.0.insert(pid, at);
        at
    }

    fn join(&mut self, one: Pid, other: Pid) {
        let (one, other) = (self.first(one), self.first(other));
        self.0.insert(one.max(other), one.min(other));
    }

    fn take(mut self) -> Vec<Vec<Pid>> {
        let mut groups: BTreeMap<Pid, BTreeSet<Pid>> = BTreeMap::new();
        let pids: Vec<Pid> = self.0.keys().copied().collect();
        for pid in pids {
            groups.entry(self.first(pid)).or_default().insert(pid);
        }
        groups.into_values().map(|members| members.into_iter().collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_joined_with_whom_is_one_group() {
        let pid = |number: u64| Pid::new(number, 7);
        let mut groups = Groups::default();
        (1..=7).for_each(|number| groups.add(pid(number)));
        for (one, other) in [(1, 2), (3, 4), (2, 4), (6, 7), (7, 6), (5, 5)] {
            groups.join(pid(one), pid(other));
        }
        let groups = groups.take();
        let numbers: Vec<Vec<u64>> =
            groups.iter().map(|group| group.iter().map(|pid| pid.number()).collect()).collect();
        assert_eq!(numbers, [vec![1, 2, 3, 4], vec![5], vec![6, 7]]);
    }
}
