//! How much processes want a core, over the last moments: what is looked at ten times a second is noise.

use std::time::Duration;

/// What was so long ago counts a third as much as what is (1/e).
const MEMORY: Duration = Duration::from_millis(300);

/// How much of what was is left after so long.
fn left_after(time: Duration) -> f64 {
    (-time.as_secs_f64() / MEMORY.as_secs_f64()).exp()
}

/// How much a process wants a core: 0 to 1. Times are since anything, the same for all calls.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    was: f64,
    at: Duration,
    wants: bool,
}

impl Demand {
    /// Of one that has just begun, or come: it wants one.
    #[must_use]
    pub fn new(now: Duration) -> Demand {
        Demand { was: 1.0, at: now, wants: true }
    }

    /// It is seen to want a core, or not to.
    pub fn note(&mut self, now: Duration, wants: bool) {
        *self = Demand { was: self.at(now), at: now, wants };
    }

    /// Over the last moments.
    #[must_use]
    pub fn at(&self, now: Duration) -> f64 {
        let wants = if self.wants { 1.0 } else { 0.0 };
        wants + (self.was - wants) * left_after(now.saturating_sub(self.at))
    }
}

/// How much all processes of a node want a core, without a look at each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crowd {
    want: f64,
    at: Duration,
}

impl Crowd {
    /// So many are seen to want a core.
    pub fn note(&mut self, now: Duration, count: usize) {
        let left = left_after(now.saturating_sub(self.at));
        *self = Crowd { want: count as f64 + (self.want - count as f64) * left, at: now };
    }

    /// One has come that wants it so much.
    pub fn joins(&mut self, demand: f64) {
        self.want += demand;
    }

    /// One has left, or has ended.
    pub fn leaves(&mut self, demand: f64) {
        self.want = (self.want - demand).max(0.0);
    }

    /// Over the last moments, in processes.
    #[must_use]
    pub fn demand(&self) -> f64 {
        self.want
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_a_process_wants_is_seen_after_some_time() {
        let mut demand = Demand::new(ms(0));
        assert!((demand.at(ms(5_000)) - 1.0).abs() < 1e-9);
        demand.note(ms(5_000), false);
        assert!((demand.at(ms(5_000)) - 1.0).abs() < 1e-9);
        assert!(demand.at(ms(5_300)) < 0.4 && demand.at(ms(5_300)) > 0.3);
        assert!(demand.at(ms(8_000)) < 0.001);
        // Who wants one every other time wants half of one.
        (0..1_000).for_each(|look| demand.note(ms(8_000 + look * 50), look % 2 == 0));
        assert!((demand.at(ms(58_000)) - 0.5).abs() < 0.1);
    }

    #[test]
    fn a_crowd_is_the_sum_of_its_processes() {
        let mut crowd = Crowd::default();
        (0..10).for_each(|_| crowd.joins(1.0));
        assert!((crowd.demand() - 10.0).abs() < 1e-9, "who comes is there at once");
        crowd.note(ms(10_000), 4);
        assert!((crowd.demand() - 4.0).abs() < 1e-9);
        crowd.note(ms(10_300), 5);
        assert!(crowd.demand() > 4.6 && crowd.demand() < 4.7);
        crowd.leaves(9.0);
        assert!(crowd.demand().abs() < 1e-9);
    }
}
