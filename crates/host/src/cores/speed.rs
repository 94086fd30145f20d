//! How fast the cores are for processes: what one does alone, less what others take.
//!
//! * *Alone*: a piece of work is done a few times and timed in CPU time, so that others do not count.
//! * *Beside others*: of the time in which the cores' threads wanted a CPU, that in which they had one
//!   (`/proc/thread-self/schedstat`). While they want none the system says how busy others keep those CPUs (`/proc/stat`), and a thread
//!   that comes to them would get its share, as the scheduler is fair.
//! * A control group that allows fewer CPUs than there are cores makes each slower.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Steps of the piece of work.
const STEPS: u32 = 400_000;
/// What they take on the core of the reference, which is as good as any other: about what one of 3 GHz needs, made in 2020.
const REFERENCE: Duration = Duration::from_micros(1_000);
/// It is done so often; the least time counts.
const TRIES: u32 = 5;
/// Words that it reads and writes: more than a first cache holds, less than a second one.
const WORDS: usize = 16 << 10;
/// Between two looks at what others take: the system counts in hundredths of a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How much a look counts against those before it.
const NEWEST: f64 = 0.4;
/// The cores' threads were busy enough to tell by themselves if they wanted this much of the time.
const BUSY: f64 = 0.5;
/// Others never take more than all but this.
const SHARE_MIN: f64 = 0.02;

/// See the module.
#[derive(Debug)]
pub(super) struct Speed {
    alone: f64,
    cores: usize,
    /// CPUs that the cores' threads use.
    cpus: Vec<usize>,
    /// How many CPUs the control group allows.
    quota: Option<f64>,
    /// What the cores' threads get of the CPUs that they want: 0 to 1.
    share: f64,
    last: Option<Look>,
}

/// Counters at a moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// Of the cores' threads: on a CPU, and waiting for one.
    ran: Duration,
    waited: Duration,
    /// Of all there is on those CPUs.
    busy: Duration,
}

impl Speed {
    /// Of so many threads that run on these CPUs.
    pub(super) fn measure(cores: usize, cpus: Vec<usize>) -> Speed {
        let quota = quota();
        Speed { alone: alone(), cores, cpus, quota, share: 1.0, last: None }
    }

    /// In thousandths of the reference. `times`: how long the cores' threads have been on a CPU so far, and have waited for one.
    pub(super) fn permille(&mut self, times: impl FnOnce() -> (Duration, Duration)) -> u32 {
        let now = Instant::now();
        if self.last.is_none_or(|last| now.duration_since(last.at) >= LOOK_EVERY) {
            let (ran, waited) = times();
            let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
            let look = Look { at: now, ran, waited, busy: busy(&stat, &self.cpus) };
            if let Some(last) = self.last.replace(look) {
                self.share += NEWEST * (self.share_between(last, look) - self.share);
            }
        }
        let quota = self.quota.map_or(1.0, |quota| (quota / self.cores as f64).min(1.0));
        (self.alone * self.share.min(quota) * 1e3).round().max(1.0) as u32
    }

    fn share_between(&self, last: Look, now: Look) -> f64 {
        let seconds = now.at.duration_since(last.at).as_secs_f64();
        let spent = |now: Duration, last: Duration| now.saturating_sub(last).as_secs_f64();
        let (ran, waited) = (spent(now.ran, last.ran), spent(now.waited, last.waited));
        let share = if ran + waited > BUSY * seconds * self.cores as f64 {
            ran / (ran + waited)
        } else {
            let others = (spent(now.busy, last.busy) - ran).max(0.0) / seconds;
            fair_share(others, self.cores, self.cpus.len())
        };
        share.clamp(SHARE_MIN, 1.0)
    }
}

/// What each of so many threads would get of so many CPUs, of which others use some.
fn fair_share(others: f64, threads: usize, cpus: usize) -> f64 {
    let wanted = others + threads as f64;
    if wanted <= 0.0 { 1.0 } else { (cpus as f64 / wanted).min(1.0) }
}

/// How long these CPUs have been busy: proc_stat(5), in hundredths of a second on all that Rust runs on.
fn busy(stat: &str, cpus: &[usize]) -> Duration {
    let of = |line: &str| -> Option<u64> {
        let (name, times) = line.split_once(' ')?;
        let cpu: usize = name.strip_prefix("cpu")?.parse().ok()?;
        let times: Vec<u64> = times.split(' ').map_while(|time| time.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; then guests, which are in the first two.
        let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|field| times.get(*field)).sum();
        cpus.contains(&cpu).then_some(busy)
    };
    Duration::from_millis(stat.lines().filter_map(of).sum::<u64>() * 10)
}

/// CPUs that the control group of this OS process allows: the least of what it and those above it do.
fn quota() -> Option<f64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let above = std::path::Path::new(group).ancestors();
    let said = above.filter_map(|group| {
        let file = std::path::Path::new("/sys/fs/cgroup").join(group).join("cpu.max");
        allowed(&fs::read_to_string(file).ok()?)
    });
    said.reduce(f64::min)
}

/// `cpu.max`: microseconds, or `max`, in a period of so many.
fn allowed(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// What this thread's core does in a second, of what that of the reference does.
fn alone() -> f64 {
    let mut words: Vec<u64> = (0..WORDS as u64).collect();
    let tries = (0..TRIES).map(|_| {
        let before = cpu_time();
        work(&mut words);
        cpu_time().saturating_sub(before)
    });
    let least = tries.min().unwrap_or(REFERENCE).max(Duration::from_micros(1));
    REFERENCE.as_secs_f64() / least.as_secs_f64()
}

/// What programs do, roughly: arithmetic that waits for itself, and memory at places that it decides.
fn work(words: &mut [u64]) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..STEPS {
        // Marsaglia, "Xorshift RNGs" (2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = &mut words[state as usize % WORDS];
        *word = word.wrapping_mul(state | 1).wrapping_add(state);
    }
    black_box(&words);
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_take_is_seen() {
        let mut speed =
            Speed { alone: 1.0, cores: 1, cpus: vec![0], quota: None, share: 1.0, last: None };
        let at = Instant::now();
        let look = |ms: u64, ran: u64, waited: u64, busy: u64| Look {
            at: at + Duration::from_millis(ms),
            ran: Duration::from_millis(ran),
            waited: Duration::from_millis(waited),
            busy: Duration::from_millis(busy),
        };
        let zero = look(0, 0, 0, 0);
        let check = |speed: &Speed, now, expected: f64| {
            let share = speed.share_between(zero, now);
            assert!((share - expected).abs() < 1e-9, "{share}");
        };
        // It runs alone; it shares with one; with three.
        check(&speed, look(1000, 1000, 0, 1000), 1.0);
        check(&speed, look(1000, 500, 500, 1000), 0.5);
        check(&speed, look(1000, 250, 750, 1000), 0.25);
        // It wants nothing: nobody does; somebody wants all, or a little.
        check(&speed, look(1000, 0, 0, 0), 1.0);
        check(&speed, look(1000, 0, 0, 1000), 0.5);
        check(&speed, look(1000, 100, 0, 350), 0.8);
        // Two CPUs, of which others use one: one thread has the other one.
        speed.cpus = vec![0, 1];
        check(&speed, look(1000, 0, 0, 1000), 1.0);
        speed.cores = 2;
        check(&speed, look(1000, 0, 0, 1000), 2.0 / 3.0);
        // Counters that make no sense.
        check(&speed, look(0, 0, 0, 0), SHARE_MIN.max(1.0));
    }

    #[test]
    fn what_the_system_says_is_read() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 1 2 999 999 3 4 5 7 7\ncpu1 1 0 0 0 0 0 0 0 0 0\nintr 1\n";
        assert_eq!(busy(stat, &[0]), Duration::from_millis(250));
        assert_eq!(busy(stat, &[0, 1]), Duration::from_millis(260));
        assert_eq!(busy("cpu0\ncpuX 1 2\n\n", &[0]), Duration::ZERO);
        assert_eq!(allowed("150000 100000\n"), Some(1.5));
        for none in ["max 100000\n", "", "1", "0 100000", "100000 0"] {
            assert_eq!(allowed(none), None, "{none}");
        }
    }

    #[test]
    fn a_core_has_a_speed() {
        let mut speed = Speed::measure(1, vec![0]);
        let permille = speed.permille(|| (Duration::ZERO, Duration::ZERO));
        assert!((10..100_000).contains(&permille), "{permille}");
    }
}
