//! What is looked at again and again: processes, memory, and whether nodes that are silent are gone.

use peripatos_abi::Pid;
use peripatos_cluster::{Event, Incarnation, LeaseState, NodeId};

use super::Host;
use crate::link::HostIdentity;
use crate::node::{convert, memory};

/// Between two looks whether a node that cannot be reached is known to be gone.
const GONE_EVERY: u32 = 10;
/// Ticks between two looks at all processes, those that sleep included.
const SAMPLE_ALL_EVERY: u32 = 600;
/// Ticks between two looks at how much memory there is.
const MEMORY_EVERY: u32 = 4;

impl Host {
    pub(super) fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        let before = |pid: &Pid| self.cpu_before.get(pid).copied().unwrap_or_default();
        // Who only waits is as it was. That the state machine knows of all of them is not left to a chain of changes alone.
        let all = self.ticks.is_multiple_of(SAMPLE_ALL_EVERY);
        let samples = if all { self.cores.sample() } else { self.cores.sample_changed() };
        let samples =
            samples.into_iter().map(|one| convert::sample(one, before(&one.pid))).collect();
        self.tell(Event::Samples(samples));
        let speed_permille = self.cores.speed_permille();
        if std::mem::replace(&mut self.speed_permille, speed_permille) != speed_permille {
            self.tell(Event::Speed(speed_permille));
        }
        if self.ticks.is_multiple_of(MEMORY_EVERY) {
            self.look_at_memory();
        }
        self.tell_used();
        self.tell(Event::Tick);
        self.seek_no_longer();
        self.hang_up();
        if self.ticks.is_multiple_of(GONE_EVERY) {
            self.look_for_gone();
            self.look_at_identity();
        }
        if !self.clients.down.is_empty() && self.may_end() {
            self.ending = Some(Ok(()));
        }
    }

    pub(super) fn look_at_memory(&mut self) {
        if let Some(bytes) = memory::available_bytes() {
            self.tell(Event::MemoryFree(bytes));
        }
    }

    /// Asks the operating system about nodes of this machine that cannot be reached any more.
    fn look_for_gone(&mut self) {
        self.give_up_calls();
        let gone = |host: &HostIdentity| host.is_gone() == Some(true);
        let found: Vec<(NodeId, Incarnation)> = self
            .lost
            .iter()
            .filter(|(_, (_, host))| gone(host))
            .map(|(node, (incarnation, _))| (*node, *incarnation))
            .collect();
        for (node, incarnation) in found {
            self.lost.remove(&node);
            self.tell(Event::Gone { node, incarnation });
        }
        if let Some(leases) = &self.leases {
            self.asked.ask(leases, &self.node.silent());
        }
    }

    /// What etcd says of the lease of a node that was silent.
    pub(super) fn lease_state(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        state: &Result<LeaseState, String>,
    ) {
        let name = self.node.name_of(node);
        if let Some(line) = self.asked.answered(node, incarnation, &name, state) {
            self.log_once(&line);
        }
        if *state != Ok(LeaseState::Expired) {
            return;
        }
        if self.links.get(&node).is_some_and(|standing| standing.incarnation == incarnation) {
            // Its clock stood still with it: it does not know yet.
            self.unlink(node);
        }
        if self.lost.get(&node).is_some_and(|(lost, _)| *lost == incarnation) {
            self.lost.remove(&node);
        }
        self.tell(Event::LeaseExpired { node, incarnation });
    }
}
