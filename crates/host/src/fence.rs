//! Keeps this OS process from doing anything that others could see once its lease is over.
//!
//! A process that was stopped, or whose machine slept, goes on where it stood: perhaps just before it sends something. So each way out
//! asks here first: links, wires, lanes, datagrams and commands. Whoever finds that the lease is over waits for ever, for the thread that
//! ends this OS process ([`crate::node`]'s `lease`). Between the question and the system call it can be stopped, too; what it has
//! sent then goes to somebody who has cut that connection since: silence is noticed before leases expire, and who is gone is not
//! heard again.
//!
//! Where there is no lease this is one comparison.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use peripatos_cluster::Time;
use rustix::time::{ClockId, clock_gettime};

/// Of this OS process.
static FENCE: Fence = Fence::new();

/// Until when something may leave.
#[derive(Debug)]
struct Fence {
    /// Nanoseconds of [`now`].
    ends_at_ns: AtomicU64,
}

impl Fence {
    const fn new() -> Fence {
        Fence { ends_at_ns: AtomicU64::new(u64::MAX) }
    }

    fn set(&self, ends_at: Time) {
        let ns = u64::try_from(ends_at.0.as_nanos()).unwrap_or(u64::MAX);
        self.ends_at_ns.store(ns, Ordering::Release);
    }

    fn is_closed(&self, now: impl FnOnce() -> Time) -> bool {
        let ends_at_ns = self.ends_at_ns.load(Ordering::Acquire);
        ends_at_ns != u64::MAX && now().0.as_nanos() >= u128::from(ends_at_ns)
    }
}

/// The time since this machine started, what it slept included.
pub(crate) fn now() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    // It is never negative.
    Time(Duration::try_from(time).unwrap_or_default())
}

/// Something may leave until then.
pub(crate) fn open_until(ends_at: Time) {
    FENCE.set(ends_at);
}

/// Nothing leaves any more.
pub(crate) fn close() {
    FENCE.set(Time::default());
}

/// Returns if something may leave now.
#[inline]
pub(crate) fn pass() {
    while FENCE.is_closed(now) {
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_from_the_end_on() {
        let fence = Fence::new();
        let at = |ms| move || Time(Duration::from_millis(ms));
        assert!(!fence.is_closed(at(u64::MAX)));
        fence.set(at(500)());
        assert!(!fence.is_closed(at(499)));
        assert!(fence.is_closed(at(500)) && fence.is_closed(at(501)));
        fence.set(at(900)());
        assert!(!fence.is_closed(at(501)));
        fence.set(Time::default());
        assert!(fence.is_closed(at(0)));
    }

    #[test]
    fn the_clock_goes_on() {
        assert!(now() > Time::default());
        assert!(now() <= now());
    }
}
