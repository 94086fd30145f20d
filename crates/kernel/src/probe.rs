//! Circles of processes that wait for each other, over several kernels: edge chasing (Chandy, Misra and Haas, 1983).
//!
//! Whoever has waited for another kernel's process for long sends a probe after it, which follows who waits for whom. If
//! it comes back, the circle is closed. Every edge is looked at where its receiver is, and counts only if the receiver
//! has that message and has not replied: it then holds until the receiver goes on, which, waiting itself, it cannot. So
//! what is found is a circle. All in a circle may look for it; the probe of the one with the highest pid gets round.
//!
//! A sender may give up, too, without that the receiver's kernel hears of it; then an edge is gone that a probe has passed. So
//! * a probe must not be old: one that finds who has just come is dropped, for it may have been kept for as long as that one stood
//!   still. There will be others.
//! * a circle is believed when a probe that was sent after the first one was back gets round the same way.
//!
//! Only sends are followed: one that receives from a certain process may give up waiting.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

use crate::alien::Send;
use crate::circle::Circle;
use crate::kernel::Kernel;
use crate::limits::{CHAIN_MAX, PROBE_NS, PROBES_MAX};
use crate::mutation::Mutation;
use crate::packet::Body;
use crate::process::{At, Call, Process};
use crate::table::Slot;

/// Of the number of a round, this many bits go round with a probe.
const ROUND_BITS: u32 = 16;

/// A probe that was under way for more rounds says nothing; nor does one that was back longer ago.
const ROUNDS_MAX: u64 = 64;

/// A probe has got round: a circle, if the next one does, too.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    /// For which of the origin's sends.
    transaction: u64,
    circle: Circle,
    /// When it was back.
    round: u64,
}

/// What the origin knows a probe by: for which of its sends it looks, how often it had moved, for another kernel's rounds are not
/// this one's, and in which round. Of each the last bits.
fn token(origin: &Process, round: u64) -> u64 {
    let moved = u64::from(origin.moved as u8);
    (origin.sends << 8 | moved) << ROUND_BITS | round & ((1 << ROUND_BITS) - 1)
}

impl Suspect {
    /// Whether a probe was sent after that.
    fn is_before(&self, token: u64) -> bool {
        let later = (token as u16).wrapping_sub(self.round as u16);
        (1..1 << (ROUND_BITS - 1)).contains(&later)
    }
}

impl Kernel {
    /// Looks for a circle for everyone who has waited since the last time, and is waited for.
    pub(crate) fn look_for_circles(&mut self) {
        if self.does_wrong(Mutation::NoProbe) {
            return;
        }
        self.probed.clear();
        self.round += 1;
        let (table, round) = (&self.table, self.round);
        self.suspects.retain(|pid, suspect| {
            let origin = table.find(*pid).and_then(|slot| table.get(slot));
            let waits = origin.is_some_and(|origin| origin.sends == suspect.transaction);
            waits && round - suspect.round <= ROUNDS_MAX
        });
        let mut waiting = Vec::new();
        for process in self.table.iter_mut() {
            // A lender's kernel answers, while the lender waits.
            let waits = matches!(process.call, Call::Send { .. }) && !process.accesses();
            if waits && process.out.waited && process.is_waited_for() {
                waiting.push((process.pid, token(process, self.round)));
            }
            process.out.waited = waits;
        }
        for (pid, token) in waiting {
            if let Some(slot) = self.table.find(pid) {
                self.chase(slot, (pid, token), 0, Circle::default());
            }
        }
    }

    /// A probe has come to a process for which `from` waits.
    #[expect(clippy::too_many_arguments, reason = "the parts of a packet")]
    pub(crate) fn probe_came(
        &mut self,
        from: Pid,
        slot: Slot,
        edge: Send,
        origin: Pid,
        token: u64,
        steps: u32,
        passed: Circle,
    ) {
        let Some(process) = self.table.get(slot) else { return };
        let (to, came) = (process.pid, process.out.came);
        if came.is_some_and(|came| self.now.saturating_sub(came) < PROBE_NS) {
            return;
        }
        let checks = !self.does_wrong(Mutation::ProbeUnchecked);
        if checks && !self.aliens.waits((from, to), edge) {
            return;
        }
        // It may have come twice, or go round a circle that its origin is not in.
        if self.probed.len() >= PROBES_MAX || !self.probed.insert((to, origin)) {
            return;
        }
        if to == origin {
            self.closed(slot, token, passed);
        } else {
            self.chase(slot, (origin, token), steps, passed);
        }
    }

    /// Follows who waits for whom, to where that leaves the kernel, or the origin.
    fn chase(&mut self, slot: Slot, origin: (Pid, u64), steps: u32, mut passed: Circle) {
        let (mut at, (wanted, token)) = (slot, origin);
        for _ in 0..CHAIN_MAX {
            let Some(process) = self.table.get(at) else { return };
            let Call::Send { to, at: how_far, .. } = process.call else { return };
            if process.accesses() {
                return;
            }
            let (pid, edge) = (process.pid, process.last_send());
            if pid > wanted {
                return;
            }
            passed.push(pid);
            match (how_far, self.table.find(to)) {
                (At::Away, _) if steps < CHAIN_MAX => {
                    let place = process.out.claim.place.or(self.routes.get(to));
                    let steps = steps + 1;
                    let body = Body::Probe { origin: wanted, token, edge, steps, passed };
                    return place.map_or((), |place| self.post(Some(place), pid, to, body));
                }
                (At::Queued | At::Received, Some(next)) if to == wanted => {
                    return self.closed(next, token, passed);
                }
                (At::Queued | At::Received, Some(next)) => at = next,
                _ => return,
            }
        }
    }

    /// A probe has got round.
    fn closed(&mut self, slot: Slot, token: u64, passed: Circle) {
        let Some(origin) = self.table.get(slot) else { return };
        let (transaction, current) = (origin.sends, self::token(origin, self.round));
        let rounds = (self.round as u16).wrapping_sub(token as u16);
        let waits = matches!(origin.call, Call::Send { .. })
            && current >> ROUND_BITS == token >> ROUND_BITS;
        if !waits || u64::from(rounds) > ROUNDS_MAX {
            return;
        }
        let pid = origin.pid;
        let same = |first: &&Suspect| first.transaction == transaction && first.circle == passed;
        match self.suspects.get(&pid).filter(same) {
            // Sent before the first was back.
            Some(first) if !first.is_before(token) => {}
            None if !self.does_wrong(Mutation::ProbeUnchecked) => {
                let suspect = Suspect { transaction, circle: passed, round: self.round };
                self.suspects.insert(pid, suspect);
            }
            _ => {
                self.suspects.remove(&pid);
                self.note_circle(passed);
                self.give_up(slot, Status::Deadlock);
            }
        }
    }
}
