//! How much CPU time each slice takes.
//!
//! To read the clock of one's own thread is a system call (measured: 0.3 to 1.1 us), as much as all the rest of
//! a slice in which a process only gives way. So it is read after slices that took long, and now and then; a
//! short one has used what went by on the wall. If the system took the CPU away in the midst of it, it
//! was not short.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A slice shorter than this is taken by the wall. The system does not take a CPU away for less.
const SHORT: Duration = Duration::from_micros(50);
/// How long short slices may follow each other until the thread's clock is read: for the sum of what
/// interrupts take.
const CHECK: Duration = Duration::from_millis(1);

/// Stopwatch of one thread.
pub(super) struct Watch {
    /// When it was looked at last, and what the thread had used then.
    at: Instant,
    cpu: Duration,
    /// When the thread's clock was read last.
    checked: Instant,
}

impl Watch {
    pub(super) fn start() -> Watch {
        let at = Instant::now();
        Watch { at, cpu: thread_cpu(), checked: at }
    }

    /// When the slice that is timed began.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// What the thread had used then.
    pub(super) fn cpu(&self) -> Duration {
        self.cpu
    }

    /// What was used since the last look; the next slice begins.
    pub(super) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let wall = now - self.at;
        let cpu = if wall < SHORT && now - self.checked < CHECK {
            self.cpu + wall
        } else {
            self.checked = now;
            thread_cpu()
        };
        let used = cpu.saturating_sub(self.cpu);
        (self.at, self.cpu) = (now, cpu);
        used
    }

    /// The next slice begins; what was used since the last look is nobody's. After a wait that was short, as those of
    /// processes that talk across cores are, this is no system call either.
    pub(super) fn skip(&mut self) {
        self.lap();
    }
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many short laps add up to what the thread has used, as far as the machine lets it run.
    #[test]
    fn laps_add_up() {
        let mut watch = Watch::start();
        let begun = thread_cpu();
        let mut sum = Duration::ZERO;
        for _ in 0..100_000 {
            sum += watch.lap();
        }
        let used = thread_cpu() - begun;
        assert!(sum > used / 2 && sum < used * 2, "{sum:?} of {used:?}");
    }
}
