//! A limit on the bandwidth of what leaves a node in bulk (`peri up --move-rate`): images, memory that is copied while its process runs,
//! and programs. All of it is sent by threads of its own, which wait here before they send; messages are not bulk, and wait for nobody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What was not used for so long may be sent at once, later.
const BURST: Duration = Duration::from_millis(50);
/// So long a piece of who still runs lets those go first who stand still.
const GIVES_WAY_MAX: Duration = Duration::from_millis(100);
/// Between two looks whether somebody stands still.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The rate of a node, for all its threads. None: they wait for nothing.
#[derive(Clone, Default)]
pub(super) struct Pace(Option<Arc<Shared>>);

struct Shared {
    bucket: Mutex<Bucket>,
    started: Instant,
    /// Images that are being sent.
    stand_still: AtomicUsize,
}

/// As long as this is there others give way: a process stands still until its image has been sent.
pub(super) struct StandsStill<'a>(&'a Pace);

impl Pace {
    /// So many bytes each second; `None`: as many as can be.
    pub(super) fn new(bytes_per_s: Option<u64>) -> Pace {
        Pace(bytes_per_s.map(|rate| {
            let bucket = Mutex::new(Bucket::new(rate));
            Arc::new(Shared { bucket, started: Instant::now(), stand_still: AtomicUsize::new(0) })
        }))
    }

    /// The image of a process that stands still is sent.
    pub(super) fn stands_still(&self) -> StandsStill<'_> {
        if let Some(shared) = &self.0 {
            shared.stand_still.fetch_add(1, Ordering::Relaxed);
        }
        StandsStill(self)
    }

    /// Waits until so many bytes may be sent, and counts them; who stands still goes first.
    pub(super) fn wait(&self, bytes: usize) {
        let Some(shared) = &self.0 else { return };
        let since = Instant::now();
        while shared.stand_still.load(Ordering::Relaxed) > 0 && since.elapsed() < GIVES_WAY_MAX {
            sleep(LOOK_EVERY);
        }
        shared.take(bytes);
    }
}

impl StandsStill<'_> {
    /// The same, of what stands still.
    pub(super) fn wait(&self, bytes: usize) {
        if let Some(shared) = &self.0.0 {
            shared.take(bytes);
        }
    }
}

impl Drop for StandsStill<'_> {
    fn drop(&mut self) {
        if let Some(shared) = &self.0.0 {
            shared.stand_still.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn take(&self, bytes: usize) {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = bucket.take(self.started.elapsed(), bytes);
        drop(bucket);
        sleep(wait);
    }
}

/// A token bucket, kept as the time at which all that was let through will have gone out at the rate. Who comes first goes first.
#[derive(Debug)]
struct Bucket {
    bytes_per_s: u64,
    /// Since whatever `now` counts from.
    gone_out: Duration,
}

impl Bucket {
    fn new(bytes_per_s: u64) -> Bucket {
        Bucket { bytes_per_s: bytes_per_s.max(1), gone_out: Duration::ZERO }
    }

    /// Takes so many bytes: how long to wait before they are sent.
    fn take(&mut self, now: Duration, bytes: usize) -> Duration {
        let begins = self.gone_out.max(now.saturating_sub(BURST));
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_s);
        let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        self.gone_out = begins.saturating_add(takes);
        begins.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn who_comes_after_what_was_taken_waits() {
        let mut bucket = Bucket::new(RATE);
        // A burst, of what was not used before.
        let now = ms(1_000);
        assert_eq!(bucket.take(now, 50_000), Duration::ZERO);
        assert_eq!(bucket.take(now, 100_000), Duration::ZERO);
        assert_eq!(bucket.take(now, 100_000), ms(100));
        assert_eq!(bucket.take(now, 0), ms(200));
        assert_eq!(bucket.take(ms(1_150), 100_000), ms(50));
        // All has gone out, and only so much of the time since counts.
        assert_eq!(bucket.take(ms(9_000), 50_000), Duration::ZERO);
        assert_eq!(bucket.take(ms(9_000), 1), Duration::ZERO);
        assert!(bucket.take(ms(9_000), 1) > Duration::ZERO);
    }

    /// Whoever takes how much, and when: in no stretch of time more goes out than the rate allows, with a burst and a piece on top;
    /// and if somebody always waits, no less.
    #[test]
    fn no_more_goes_out_than_may_and_no_less() {
        for seed in 1..=50_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut random = |below: u64| {
                // Marsaglia's xorshift, "Xorshift RNGs" (2003).
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let busy = seed % 2 == 0;
            let (piece, mut bucket) = (1 + random(300_000), Bucket::new(RATE));
            let (mut now, mut sent) = (ms(1_000), Vec::new());
            for _ in 0..500 {
                let bytes = random(piece) as usize;
                let wait = bucket.take(now, bytes);
                sent.push((now + wait, bytes as u64));
                // Two of them, one after the other; or one that pauses now and then.
                now += if busy { wait / 2 } else { wait + ms(random(40)) };
            }
            for first in 0..sent.len() {
                let mut bytes = 0;
                for (at, more) in &sent[first..] {
                    let may = (*at - sent[first].0 + BURST).as_secs_f64() * RATE as f64;
                    bytes += more;
                    assert!(
                        bytes as f64 <= may + piece as f64 + 1e3,
                        "seed {seed}: {bytes} of {may}"
                    );
                }
            }
            if busy {
                let all: u64 = sent.iter().map(|(_, bytes)| bytes).sum();
                let last = sent.last().map_or(ms(0), |(at, _)| *at - ms(1_000));
                let least = last.as_secs_f64() * RATE as f64 - piece as f64;
                assert!(all as f64 >= least, "seed {seed}: {all} in {last:?}");
            }
        }
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let pace = Pace::new(None);
        let still = pace.stands_still();
        still.wait(usize::MAX);
        pace.wait(usize::MAX);
    }

    #[test]
    fn who_stands_still_is_counted_as_long_as_it_does() {
        let pace = Pace::new(Some(1 << 40));
        let count = || pace.0.as_ref().unwrap().stand_still.load(Ordering::Relaxed);
        let still = [pace.stands_still(), pace.stands_still()];
        assert_eq!(count(), 2);
        // It gives way, and is not held back for ever.
        pace.wait(1);
        drop(still);
        assert_eq!(count(), 0);
    }
}
