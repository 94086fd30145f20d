//! Circles of processes that wait for each other, over several kernels: edge chasing (Chandy, Misra and Haas, 1983).
//!
//! Whoever has waited for another kernel's process for long sends a probe after it, which follows who waits for whom. If
//! it comes back, the circle is closed. Every edge is looked at where its receiver is, and counts only if the receiver
//! has that message and has not replied: it then holds until the receiver goes on, which, waiting itself, it cannot. So
//! what is found is a circle. All in a circle may look for it; the probe of the one with the highest pid gets round.
//!
//! Only sends are followed: one that receives from a certain process may give up waiting.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

use crate::alien::Send;
use crate::kernel::Kernel;
use crate::limits::CHAIN_MAX;
use crate::mutation::Mutation;
use crate::packet::Body;
use crate::process::{At, Call};
use crate::table::Slot;

impl Kernel {
    /// Sends a probe for everyone who has waited since the last time.
    pub(crate) fn look_for_circles(&mut self) {
        if self.does_wrong(Mutation::NoProbe) {
            return;
        }
        let mut probes = Vec::new();
        for process in self.table.iter_mut() {
            let away = matches!(process.call, Call::Send { at: At::Away, .. });
            // A lender's kernel answers, while the lender waits.
            let waits = away && !process.accesses();
            if waits && process.out.waited {
                probes.push(process.pid);
            }
            process.out.waited = waits;
        }
        for pid in probes {
            if let Some(slot) = self.table.find(pid) {
                self.send_probe(slot, pid, None, 0);
            }
        }
    }

    /// Follows a process's send to another kernel. `origin`: if not itself.
    fn send_probe(&mut self, at: Slot, pid: Pid, origin: Option<(Pid, u64)>, steps: u32) {
        let Some(process) = self.table.get(at) else { return };
        let Call::Send { to, at: At::Away, .. } = process.call else { return };
        let edge = process.last_send();
        let (origin, transaction) = origin.unwrap_or((pid, process.sends));
        let place = process.out.claim.place.or(self.routes.get(to));
        if place.is_some() && steps < CHAIN_MAX {
            let body = Body::Probe { origin, transaction, edge, steps: steps + 1 };
            self.post(place, pid, to, body);
        }
    }

    /// A probe has come to a process for which `from` waits.
    pub(crate) fn probe_came(
        &mut self,
        from: Pid,
        slot: Slot,
        edge: Send,
        origin: Pid,
        transaction: u64,
        steps: u32,
    ) {
        let Some(to) = self.pid(slot) else { return };
        let holds = |alien: &crate::alien::Alien| alien.send == edge && alien.waits(to, edge.0);
        let checks = !self.does_wrong(Mutation::ProbeUnchecked);
        if checks && !self.aliens.get(from).is_some_and(holds) {
            return;
        }
        let mut at = slot;
        for _ in 0..CHAIN_MAX {
            let Some(process) = self.table.get(at) else { return };
            let pid = process.pid;
            let Call::Send { to: next, at: how_far, .. } = process.call else { return };
            if process.accesses() {
                return;
            }
            if pid == origin {
                if how_far == At::Away && process.sends == transaction {
                    self.give_up(at, Status::Deadlock);
                }
                return;
            }
            if pid > origin {
                return;
            }
            if how_far == At::Away {
                return self.send_probe(at, pid, Some((origin, transaction)), steps);
            }
            match self.table.find(next) {
                Some(next) => at = next,
                None => return,
            }
        }
    }
}
