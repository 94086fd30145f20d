//! With whom a process talks: whether it pays to run it elsewhere.
//!
//! A call within a core is a subroutine call, one between cores takes microseconds. So a process that calls those on its
//! core so often that elsewhere it would mostly wait for them is left to its core, though another one has nothing to
//! do; and one that mostly calls those of another core goes there.
//!
//! Both weigh CPU time, which a core of its own would give, against calls, each of which takes longer if it leaves the
//! core. What was weighs half with each window.

use std::mem;
use std::time::Duration;

use peripatos_abi::Pid;

/// Who computes for less than this between two calls of others on its core stays with them. To another core a call takes
/// 1 to 4 us if that one is looking out for it (`peri bench ipc`), some 40 us if it has to be roused, or what is left of a
/// slice: this is between them, by judgement.
const NEAR_NS: u64 = 12_000;
/// Who computes for less than this between two calls to another core goes there. That is more than [`NEAR_NS`] by what
/// such a call takes of the caller's time, or less: so nobody goes to and fro.
const FAR_NS: u64 = 14_000;
/// A window ends with so much CPU time, or so many calls.
const WINDOW_NS: u64 = 20_000_000;
const WINDOW_CALLS: u64 = 4_096;
/// Calls to another core until a process goes there, at least; up to twice as many by its pid, so that of two who call
/// each other one goes first.
const FAR_MIN: u64 = 16;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habits {
    /// CPU time, nanoseconds.
    used_ns: u64,
    /// Calls within the core.
    near: u64,
    /// Calls to the core that most of its calls to other cores are for, less those to others.
    far: u64,
    far_core: usize,
}

impl Habits {
    /// A slice of it is over, within which so many calls stayed on the core.
    pub(super) fn note_slice(&mut self, used: Duration, near: u64) {
        self.used_ns += used.as_nanos() as u64;
        self.near += near;
        self.age();
    }

    fn age(&mut self) {
        if self.used_ns > WINDOW_NS || self.near + self.far > WINDOW_CALLS {
            self.used_ns /= 2;
            self.near /= 2;
            self.far /= 2;
        }
    }

    /// It was called, or has called, within the core.
    pub(super) fn note_near(&mut self) {
        self.near += 1;
        self.age();
    }

    /// It has called somebody on that core. (Of several the one with the majority stays: Boyer and Moore's vote.)
    pub(super) fn note_far(&mut self, core: usize) {
        if self.far == 0 {
            self.far_core = core;
        }
        if self.far_core == core {
            self.far += 1;
        } else {
            self.far -= 1;
        }
        self.age();
    }

    /// It goes to that core: whom it called there is near from now on, and whom it called here is far.
    pub(super) fn moves(&mut self, from: usize, to: usize) {
        let there = if self.far_core == to { self.far } else { 0 };
        if there > self.near {
            // What it has computed it has done with calls from afar: it is given time to show what it does there.
            self.used_ns = 0;
        }
        (self.near, self.far, self.far_core) = (there, self.near, from);
    }

    /// Whether it would lose more than it could gain on a core of its own.
    pub(super) fn is_bound(&self) -> bool {
        self.near * NEAR_NS > self.used_ns
    }

    /// Whether it talks more than it computes, with whomever.
    pub(super) fn talks(&self) -> bool {
        (self.near + self.far) * NEAR_NS > self.used_ns
    }

    /// It goes to that core, and so do all whom it calls here.
    pub(super) fn joins(&mut self, core: usize) {
        if self.far_core == core {
            self.near += mem::take(&mut self.far);
        }
    }

    /// What it has computed in the window.
    pub(super) fn used_ns(&self) -> u64 {
        self.used_ns
    }

    /// What it would lose in the window if all whom it calls here were elsewhere.
    pub(super) fn parting_ns(&self) -> u64 {
        self.near * FAR_NS
    }

    /// The core where this process would rather be.
    pub(super) fn longs_for(&self, pid: Pid) -> Option<usize> {
        let patience = FAR_MIN + (pid.bits() as u64 ^ pid.number()) % FAR_MIN;
        let gains_ns = self.far.saturating_sub(self.near) * FAR_NS;
        (self.far >= patience && gains_ns > self.used_ns).then_some(self.far_core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_micros(10);

    fn pid() -> Pid {
        Pid::new(7, 9)
    }

    #[test]
    fn who_talks_much_stays() {
        let mut habits = Habits::default();
        assert!(!habits.is_bound());
        habits.note_slice(SLICE, 20);
        assert!(habits.is_bound() && habits.longs_for(pid()).is_none());
        // What was counts less and less.
        for _ in 0..100_000 {
            habits.note_slice(SLICE, 0);
        }
        assert!(!habits.is_bound());
    }

    #[test]
    fn who_talks_with_another_core_goes_there() {
        let mut habits = Habits::default();
        for call in 0..100 {
            habits.note_far(if call % 10 == 0 { 2 } else { 1 });
            habits.note_slice(Duration::from_nanos(100), 0);
        }
        assert_eq!(habits.longs_for(pid()), Some(1));
        // Not if it talks as much here, or computes more than it talks.
        let mut torn = habits;
        torn.note_slice(Duration::ZERO, 100);
        assert_eq!(torn.longs_for(pid()), None);
        habits.note_slice(Duration::from_millis(5), 0);
        assert_eq!(habits.longs_for(pid()), None);
    }

    #[test]
    fn who_has_gone_home_stays_there() {
        let mut habits = Habits::default();
        for _ in 0..100 {
            habits.note_far(1);
            habits.note_slice(Duration::from_nanos(100), 0);
        }
        habits.moves(0, 1);
        assert!(habits.is_bound() && habits.longs_for(pid()).is_none());
    }

    #[test]
    fn who_goes_with_all_others_stays_there() {
        let mut habits = Habits::default();
        for _ in 0..100 {
            habits.note_far(0);
            habits.note_near();
            habits.note_slice(Duration::from_nanos(100), 0);
        }
        assert!(habits.talks());
        habits.joins(0);
        assert!(habits.is_bound() && habits.longs_for(pid()).is_none());
        // What it calls on other cores is as far as before.
        let mut torn = Habits::default();
        (0..100).for_each(|_| torn.note_far(2));
        torn.joins(0);
        assert_eq!(torn.longs_for(pid()), Some(2));
        torn.note_slice(Duration::from_millis(5), 0);
        assert!(!torn.talks());
    }

    #[test]
    fn nobody_goes_for_a_few_calls() {
        let mut habits = Habits::default();
        (0..FAR_MIN - 1).for_each(|_| habits.note_far(1));
        assert_eq!(habits.longs_for(pid()), None);
        // Two cores alike: neither has the majority.
        let mut torn = Habits::default();
        (0..1000).for_each(|call| torn.note_far(call % 2));
        assert_eq!(torn.longs_for(pid()), None);
    }
}
