//! Whether those of a core who talk had better all go to another core, with whose processes they talk.
//!
//! Who goes by himself ([`super::habits`]) goes where most of his calls are for, and nobody goes whose calls are for both cores alike.
//! Of a ring of philosophers who were dealt to two cores by chance half would call across, and stay. Then all go to one of the
//! two. The other one is idle, and some of them are given to it such that few calls cross ([`super::parting`]), or none, where that does
//! not pay.
//!
//! Only cores of higher numbers go to those of lower ones, so no two go to each other.

use std::time::{Duration, Instant};

/// Calls are counted for so long.
const WINDOW: Duration = Duration::from_millis(50);
/// What a packet weighs: those who compute less than this for each packet, and have one as often, go. A call is one here and one there.
const PACKET: Duration = Duration::from_micros(18);
/// And the core has to be busy with packets for so much of the time, by that weight: one in so many.
const BUSY: u32 = 4;
/// If fewer calls cross than one in so many, no other way to share the processes is much better.
const FEW: u64 = 16;
/// It was of no use if it is to be done again soon. Then the next time comes later and later.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Soon: before so many pauses are over.
const SOON: u32 = 16;

/// What crosses to one core.
#[derive(Debug)]
pub(super) struct Crossing {
    began: Instant,
    /// Packets of processes on each core.
    packets: Vec<u32>,
    /// Calls that stayed here, and CPU time.
    near: u64,
    used: Duration,
    last: Option<Instant>,
    pause: Duration,
}

/// Those who have talked since then are to go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) core: usize,
    pub(super) since: Instant,
}

impl Crossing {
    pub(super) fn new(cores: usize, now: Instant) -> Crossing {
        Crossing {
            began: now,
            packets: vec![0; cores],
            near: 0,
            used: Duration::ZERO,
            last: None,
            pause: PAUSE_MIN,
        }
    }

    /// A process of that core has sent a packet here.
    pub(super) fn note_packet(&mut self, core: usize) {
        if let Some(packets) = self.packets.get_mut(core) {
            *packets += 1;
        }
    }

    /// A slice is over, with so many calls that stayed here.
    pub(super) fn note_slice(&mut self, used: Duration, near: u64) {
        self.used += used;
        self.near += near;
    }

    /// Whether all who talk on this core are to go to another one.
    pub(super) fn join(&mut self, number: usize, now: Instant) -> Option<Join> {
        let took = now.saturating_duration_since(self.began);
        if took < WINDOW {
            return None;
        }
        let join = self.judge(number, took).filter(|_| self.is_time(now));
        let since = self.began;
        self.packets.fill(0);
        (self.began, self.near, self.used) = (now, 0, Duration::ZERO);
        let core = join?;
        let soon = self.last.is_some_and(|last| now < last + SOON * self.pause);
        self.pause = if soon { (2 * self.pause).min(PAUSE_MAX) } else { PAUSE_MIN };
        self.last = Some(now);
        Some(Join { core, since })
    }

    fn is_time(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now >= last + self.pause)
    }

    fn judge(&self, number: usize, took: Duration) -> Option<usize> {
        let most = self.packets.iter().enumerate().max_by_key(|(_, packets)| **packets);
        let (core, packets) = most.filter(|(core, _)| *core < number)?;
        let weight = PACKET * *packets;
        let pays = weight > self.used && weight > took / BUSY;
        (pays && u64::from(*packets) * FEW > self.near).then_some(core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What core 1 of two decides after a window with so many packets of core 0, calls and microseconds of CPU time.
    fn joins(packets: u32, near: u64, used_us: u64) -> bool {
        let now = Instant::now();
        let mut crossing = Crossing::new(2, now);
        (0..packets).for_each(|_| crossing.note_packet(0));
        crossing.note_slice(Duration::from_micros(used_us), near);
        crossing.join(1, now + WINDOW).is_some()
    }

    #[test]
    fn who_computes_little_between_packets_goes() {
        assert!(joins(6_000, 6_000, 50_000));
        // Each computes 20 us for a packet.
        assert!(!joins(2_500, 0, 50_000));
        // Nearly all calls stay here.
        assert!(!joins(6_000, 200_000, 50_000));
        // There is not much to do.
        assert!(!joins(600, 0, 1_000));
    }

    #[test]
    fn the_core_of_the_lower_number_stays() {
        let now = Instant::now();
        for (number, expected) in [(0, None), (1, Some(0)), (2, Some(0))] {
            let mut crossing = Crossing::new(3, now);
            (0..10_000).for_each(|_| crossing.note_packet(usize::from(number == 0)));
            let join = crossing.join(number, now + WINDOW);
            assert_eq!(join.map(|join| (join.core, join.since)), expected.map(|core| (core, now)));
        }
    }

    #[test]
    fn what_is_of_no_use_is_done_more_and_more_rarely() {
        let begin = Instant::now();
        let mut crossing = Crossing::new(2, begin);
        let mut joins = Vec::new();
        for window in 1..=40_000 {
            (0..10_000).for_each(|_| crossing.note_packet(0));
            if crossing.join(1, begin + window * WINDOW).is_some() {
                joins.push(window);
            }
        }
        let pauses: Vec<u32> = joins.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses[..4], [4, 8, 16, 32]);
        assert_eq!(pauses.last(), Some(&1_200));
        // It was of use.
        assert!(crossing.join(1, begin + 100_000 * WINDOW).is_none());
        (0..10_000).for_each(|_| crossing.note_packet(0));
        assert!(crossing.join(1, begin + 100_001 * WINDOW).is_some());
        assert_eq!(crossing.pause, PAUSE_MIN);
    }
}
