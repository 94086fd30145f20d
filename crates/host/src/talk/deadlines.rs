//! Until when processes wait for a message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use peripatos_kernel::Slot;

use super::{deliver, with};

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
    pub(super) fn clear(&mut self, slot: Slot) -> Option<Instant> {
        // Nobody, nearly always.
        if self.of.is_empty() {
            return None;
        }
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
    with(|talk| {
        let first = talk.deadlines.next.first().map(|(at, _)| *at);
        let tick = talk.kernel.next_tick().map(|ns| epoch() + Duration::from_nanos(ns));
        let slow = (!talk.kernel.is_empty()).then(|| talk.ticked + TICK);
        [first, tick, slow].into_iter().flatten().min()
    })
    .flatten()
}

/// Tells those who have waited until now that nothing has come in time, and the kernel how late it is.
pub fn expire(now: Instant) {
    let _ = with(|talk| {
        talk.ticked = now;
        talk.kernel.tick(now.saturating_duration_since(epoch()).as_nanos() as u64);
        while let Some(slot) = talk.deadlines.take_due(now) {
            talk.kernel.time_out(slot);
        }
    });
    deliver();
}
