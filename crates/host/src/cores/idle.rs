//! Which cores have nothing to do: each a standing offer to take processes, which one other core may
//! take up.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

/// A core that was given something makes no other offer for so long. Where processes come one by one and need a moment each, more have
/// come by then, and it is given neighbours: those that were spawned one after the other often talk with each other. It
/// is what a core can lose that is given work for a moment, while there is more.
const PAUSE: Duration = Duration::from_millis(1);
/// Nor does one from which all who talk went to another one: what was under way across has come by then, and they can be parted anew.
const SETTLING: Duration = Duration::from_millis(20);
/// So many are given away at once, at most.
const GIVEN_MAX: usize = 256;

/// How many of those that are ready an idle core is given: as many as each of the idle ones can have, and who gives.
pub(super) fn share(ready: usize, idle: usize) -> usize {
    (ready / (1 + idle)).clamp(1, GIVEN_MAX)
}

/// One bit a core.
#[derive(Debug)]
pub(super) struct Idle(Box<[AtomicU64]>);

impl Idle {
    pub(super) fn new(cores: usize) -> Idle {
        Idle((0..cores.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    /// This core would take processes. A fence follows before anything that the caller does next.
    pub(super) fn offer(&self, core: usize) {
        self.0[core / 64].fetch_or(1 << (core % 64), Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// This core looks for itself again. `false`: the offer was taken up, and processes may be on their way.
    pub(super) fn withdraw(&self, core: usize) -> bool {
        let bit = 1 << (core % 64);
        self.0[core / 64].fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Whether some core would take a process.
    pub(super) fn any(&self) -> bool {
        self.0.iter().any(|word| word.load(Ordering::SeqCst) != 0)
    }

    /// How many would.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.load(Ordering::SeqCst).count_ones() as usize).sum()
    }

    /// Takes up an offer: this core is to be sent processes, by the caller and by nobody else.
    pub(super) fn claim(&self) -> Option<usize> {
        self.0.iter().enumerate().find_map(|(at, word)| {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits.trailing_zeros() as usize;
                let before = word.fetch_and(!(1 << bit), Ordering::SeqCst);
                if before & (1 << bit) != 0 {
                    return Some(at * 64 + bit);
                }
                bits = before;
            }
            None
        })
    }
}

/// When one core makes its offer.
#[derive(Debug, Default)]
pub(super) struct Offers {
    not_before: Option<Instant>,
}

impl Offers {
    /// Until when it makes none. `None`: it may.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|until| *until > now)
    }

    /// Its offer was taken up.
    pub(super) fn note_given(&mut self, now: Instant) {
        self.not_before = Some(now + PAUSE);
    }

    /// All who talk here have gone to another core.
    pub(super) fn note_join(&mut self, now: Instant) {
        self.not_before = Some(now + SETTLING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_idle_can_have_as_many() {
        assert_eq!(share(2, 1), 1);
        assert_eq!((share(8, 3), share(6, 2)), (2, 2));
        // There may be more cores than processes.
        assert_eq!(share(3, 60), 1);
        assert_eq!(share(100_000, 1), 256);
    }

    #[test]
    fn whoever_was_given_something_asks_for_no_more_at_once() {
        let mut offers = Offers::default();
        let now = Instant::now();
        assert_eq!(offers.paused_until(now), None);
        offers.note_given(now);
        assert_eq!(offers.paused_until(now), Some(now + PAUSE));
        assert_eq!(offers.paused_until(now + PAUSE), None);
        offers.note_join(now);
        assert_eq!(offers.paused_until(now), Some(now + SETTLING));
    }

    #[test]
    fn an_offer_is_taken_up_once() {
        let idle = Idle::new(70);
        for core in [69, 3, 64, 8] {
            idle.offer(core);
        }
        assert!(idle.withdraw(8) && !idle.withdraw(8));
        assert!(idle.any() && idle.count() == 3);
        let claimed: Vec<_> = std::iter::from_fn(|| idle.claim()).collect();
        assert_eq!(claimed, [3, 64, 69]);
        assert!(!idle.any());
    }
}
