//! How much CPU time the processes of a family may use on the cores of a node, all together.
//!
//! A quota per period, as Linux has it for groups of processes (CFS bandwidth control). What was used beyond it, because a
//! slice took longer or several cores ran the family at once, is taken off the periods that follow: over some periods the
//! share holds, however many cores there are. What was not used is gone.
//!
//! Who waits for a reply pays for it: a process that runs within its sender's slice, as handlers do, uses the sender's share
//! (so it is in QNX's partitions, too).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A quota is for so long.
const PERIOD: Duration = Duration::from_millis(100);
const PERIOD_NS: u64 = PERIOD.as_nanos() as u64;
/// Of a CPU: [`Share::new`] counts in thousandths.
const WHOLE: u64 = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Share {
    quota_ns: u64,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    /// Which period it is, as far as anybody has asked.
    period: u64,
    /// What was used in it, and is left of what was used too much before.
    ns: u64,
}

impl Share {
    /// So many thousandths of a CPU, one at least.
    #[must_use]
    pub fn new(permille: u32) -> Arc<Share> {
        let quota_ns = PERIOD_NS * u64::from(permille.max(1)) / WHOLE;
        Arc::new(Share { quota_ns, spent: Mutex::default() })
    }

    /// What can be used now, nanoseconds.
    ///
    /// # Errors
    /// Nothing: from when on again something can be.
    pub fn left(&self, now_ns: u64) -> Result<u64, u64> {
        let mut spent = self.spent();
        let period = (now_ns / PERIOD_NS).max(spent.period);
        let passed = period - spent.period;
        spent.period = period;
        spent.ns = spent.ns.saturating_sub(passed.saturating_mul(self.quota_ns));
        match self.quota_ns.checked_sub(spent.ns) {
            Some(left) if left > 0 => Ok(left),
            _ => Err((period + spent.ns / self.quota_ns) * PERIOD_NS),
        }
    }

    /// So much was used since it was asked last.
    pub fn charge(&self, used: Duration) {
        let mut spent = self.spent();
        spent.ns = spent.ns.saturating_add(used.as_nanos() as u64);
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        // Nothing under the lock can panic half-way.
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_quota_is_used_once_a_period() {
        let share = Share::new(300);
        assert_eq!(share.left(0), Ok(30 * MS));
        share.charge(ms(10));
        assert_eq!(share.left(99 * MS), Ok(20 * MS));
        share.charge(ms(20));
        assert_eq!(share.left(99 * MS), Err(100 * MS));
        assert_eq!(share.left(100 * MS), Ok(30 * MS));
        // What was not used is gone.
        assert_eq!(share.left(1_000 * MS), Ok(30 * MS));
    }

    #[test]
    fn what_was_too_much_is_taken_off_the_next_periods() {
        let share = Share::new(300);
        share.charge(ms(70));
        assert_eq!(share.left(50 * MS), Err(200 * MS));
        assert_eq!(share.left(200 * MS), Ok(20 * MS));
        // Exactly the quota.
        share.charge(ms(20));
        assert_eq!(share.left(200 * MS), Err(300 * MS));
    }

    #[test]
    fn a_clock_that_lags_is_not_believed() {
        let share = Share::new(1_500);
        assert_eq!(share.left(500 * MS), Ok(150 * MS));
        share.charge(ms(150));
        assert_eq!(share.left(450 * MS), Err(600 * MS));
    }
}
