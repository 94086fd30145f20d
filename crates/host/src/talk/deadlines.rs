//! Until when processes wait for a message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use peripatos_kernel::Slot;

use super::{Talk, deliver, with};

/// Who waits until when.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    of: BTreeMap<Slot, Instant>,
    next: BTreeSet<(Instant, Slot)>,
}

impl Deadlines {
    pub(super) fn set(&mut self, slot: Slot, at: Instant) {
        self.clear(slot);
        self.of.insert(slot, at);
        self.next.insert((at, slot));
    }

    /// It does not wait any more. Until when it would have.
    #[inline]
    pub(super) fn clear(&mut self, slot: Slot) -> Option<Instant> {
        // Nobody waits so, nearly always.
        if self.of.is_empty() { None } else { self.remove(slot) }
    }

    fn remove(&mut self, slot: Slot) -> Option<Instant> {
        let at = self.of.remove(&slot)?;
        self.next.remove(&(at, slot));
        Some(at)
    }

    fn take_due(&mut self, now: Instant) -> Option<Slot> {
        let (at, slot) = *self.next.first()?;
        if at > now {
            return None;
        }
        self.clear(slot);
        Some(slot)
    }
}

/// A kernel with processes is told the time so often, whatever it waits for.
const TICK: Duration = Duration::from_millis(500);

/// Kernels of this OS process count time from here.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// When [`expire`] has something to do next.
#[must_use]
pub fn next_deadline() -> Option<Instant> {
    with(|talk| talk.next_deadline()).flatten()
}

impl Talk {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = self.deadlines.next.first().map(|(at, _)| *at);
        let tick = self.kernel.next_tick().map(|ns| epoch() + Duration::from_nanos(ns));
        let slow = (!self.kernel.is_empty()).then(|| self.ticked + TICK);
        [first, tick, slow].into_iter().flatten().min()
    }

    /// A kernel without processes is told no time: before it gets one, or a packet, it is. What it notes would seem to be as
    /// old as its last look at the clock, and be given up.
    pub(super) fn look_at_clock(&mut self) {
        if self.kernel.is_empty() {
            self.tick(Instant::now());
        }
    }

    fn tick(&mut self, now: Instant) {
        self.ticked = now;
        self.kernel.tick(now.saturating_duration_since(epoch()).as_nanos() as u64);
    }
}

/// Tells those who have waited until now that nothing has come in time, and the kernel how late it is.
pub fn expire(now: Instant) {
    let _ = with(|talk| {
        talk.tick(now);
        while let Some(slot) = talk.deadlines.take_due(now) {
            talk.kernel.time_out(slot);
        }
    });
    deliver();
}

#[cfg(test)]
mod tests {

    use peripatos_abi::Pid;

    use super::*;
    use crate::talk::{Surroundings, adopt, close, open};

    #[test]
    fn an_empty_kernel_is_told_the_time_when_somebody_comes() {
        open(Surroundings::of_test(|_, _| false));
        let before = Instant::now();
        adopt(Pid::new(1, 2), None);
        let ticked = with(|talk| talk.ticked);
        close();
        assert!(ticked.is_some_and(|at| at >= before));
    }
}
