//! Preferences: processes go to nodes that have what they prefer, where that costs little. Nodes do not know what others' processes
//! prefer, so they do not ask for them: the node that has one looks itself.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_balancer as balancer;
use peripatos_balancer::{Candidate, Load, MARGIN, PREFERENCE, Terms};

use crate::NodeId;
use crate::event::Action;
use crate::journal::Reason;
use crate::limits::{DRAWN_MAX, LEAVING_MAX, PREFERRING_MAX};
use crate::node::Node;
use crate::placement::Placement;
use crate::processes::Process;
use crate::source::Conditions;

/// Of a program that has just begun, which has nothing to carry: it counts as one that goes on for so long.
const BEGUN_GOES_ON: Duration = Duration::from_secs(3_600);

/// Who is to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Preferring {
    /// Programs that have begun here since the last look, and would rather be elsewhere.
    begun: BTreeSet<Pid>,
    /// The last one that was looked at.
    last: Option<Pid>,
}

impl Node {
    /// A process begins here.
    pub(crate) fn prefers_at_begin(&mut self, process: &Process) {
        let description = &process.description;
        let is_root = description.kin.as_ref().is_some_and(|kin| kin.root == description.pid);
        if is_root && self.would_rather_leave(process) {
            self.preferring.begun.insert(description.pid);
        }
    }

    fn would_rather_leave(&self, process: &Process) -> bool {
        let placement = process.description.placement();
        placement.is_some_and(|placement| placement.met(&self.config.labels) < 1.0)
    }

    /// Seconds that count as gained in a second if a process goes to that node, as it prefers it; negative: as it prefers this one.
    pub(crate) fn preference(&self, process: &Process, to: NodeId) -> f64 {
        let Some(placement) = process.description.placement() else { return 0.0 };
        let gained = self.peers.met(to, placement) - placement.met(&self.config.labels);
        PREFERENCE * gained * f64::from(process.demand_permille(self.now)) / 1e3
    }

    /// Seconds in a second that a node counts as better than others for a process that has to leave.
    pub(crate) fn preference_of(&self, placement: Option<&Placement>, node: NodeId) -> f64 {
        placement.map_or(0.0, |placement| PREFERENCE * self.peers.met(node, placement))
    }

    /// Programs that have begun here go to where they would rather be, whether anything else is moved for the balance or not; others if
    /// that is worth the move.
    pub(crate) fn follow_preferences(&mut self, out: &mut Vec<Action>) {
        let begun = std::mem::take(&mut self.preferring.begun);
        if self.draining {
            return;
        }
        let mut left = DRAWN_MAX.min(LEAVING_MAX.saturating_sub(self.on_their_way().0));
        let others = if self.balancing { self.next_preferring() } else { Vec::new() };
        let begun = begun.into_iter().map(|pid| (pid, Some(BEGUN_GOES_ON)));
        let mut own = None;
        for (pid, goes_on) in begun.chain(others.into_iter().map(|pid| (pid, None))) {
            if left == 0 {
                return;
            }
            let own_load = *own.get_or_insert_with(|| self.own_load());
            let Some((to, terms)) = self.preferred(pid, own_load, goes_on) else { continue };
            let reason = Reason::Balance(terms.into());
            // Others may have chosen the same node, and not know of each other: that one sees.
            let demand_permille_max = Some(terms.demand_permille_max(MARGIN));
            let conditions = Conditions { demand_permille_max, ..Conditions::default() };
            // What is in the way now, as that the process has just come, is not at one of the next looks.
            if self.begin_move(pid, to, reason, conditions, out).is_ok() {
                (left, own) = (left - 1, None);
            }
        }
    }

    /// Some of those that want a core and would rather be elsewhere: each in its turn.
    fn next_preferring(&mut self) -> Vec<Pid> {
        let after = self.preferring.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.processes.wanting_after(after).take(PREFERRING_MAX);
        let looked_at: Vec<Pid> = next.map(|process| process.description.pid).collect();
        self.preferring.last =
            looked_at.last().copied().filter(|_| looked_at.len() == PREFERRING_MAX);
        let prefers = |pid: &Pid| {
            self.processes.0.get(pid).is_some_and(|process| self.would_rather_leave(process))
        };
        looked_at.into_iter().filter(prefers).collect()
    }

    /// The node that has more of what a process prefers, and gains most by having it, if one gains enough.
    fn preferred(&self, pid: Pid, own: Load, goes_on: Option<Duration>) -> Option<(NodeId, Terms)> {
        let process = self.processes.0.get(&pid)?;
        let placement = process.description.placement()?;
        let carried = process.memory_bytes <= self.carried_bytes_max();
        if !process.can_leave() || !carried || process.stays_until > self.now {
            return None;
        }
        let candidate = process.candidate(self.now);
        let candidate = Candidate { cpu: goes_on.unwrap_or(candidate.cpu), ..candidate };
        let traffic = &process.traffic;
        let suited = self.takers().filter(|(node, _)| self.peers.suits(*node, placement));
        let weighed = suited.filter_map(|(node, taking)| {
            let preference = self.preference(process, node);
            let parting = traffic.near_s() - traffic.away_s(node);
            let candidate = Candidate { parting, preference, ..candidate };
            let terms = balancer::weigh(own, taking, &candidate, &self.prices, MARGIN).ok()?;
            (preference > 0.0).then_some((node, terms))
        });
        weighed.reduce(|most, one| if one.1.gain > most.1.gain { one } else { most })
    }
}
