//! What a move takes, and how long a process may be expected to go on: as measured on this node.

use std::time::Duration;

/// What a move is taken to need until one was measured.
const FIXED_FIRST: Duration = Duration::from_millis(10);
/// And for each byte of memory: what a gigabit network does.
const BYTES_A_SECOND_FIRST: f64 = 100.0 * 1024.0 * 1024.0;
/// A move of less memory says what a move takes at least; one of more, what a byte does.
const SMALL_BYTES: u64 = 1 << 20;
/// How long a program runs until one was seen to end.
const LIFE_FIRST: Duration = Duration::from_millis(10);
/// How much a new figure counts against those before it.
const NEWEST: f64 = 0.25;
/// No figure is believed to be less, or more: a clock may jump, a node may hang.
const FIXED_S: [f64; 2] = [1e-4, 10.0];
const BYTE_S: [f64; 2] = [1e-11, 1e-5];
const LIFE_S: [f64; 2] = [1e-6, 60.0];
/// A process that has moved stays at least this long where it is.
const REST_MIN: Duration = Duration::from_secs(1);
/// And this many times as long as its move took.
const REST_MOVES: u32 = 20;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    fixed_s: f64,
    byte_s: f64,
    life_s: f64,
}

impl Default for Prices {
    fn default() -> Prices {
        Prices {
            fixed_s: FIXED_FIRST.as_secs_f64(),
            byte_s: 1.0 / BYTES_A_SECOND_FIRST,
            life_s: LIFE_FIRST.as_secs_f64(),
        }
    }
}

impl Prices {
    /// A process with so much memory has moved within this time.
    pub fn note_move(&mut self, memory_bytes: u64, took: Duration) {
        let took_s = took.as_secs_f64();
        if memory_bytes < SMALL_BYTES {
            learn(&mut self.fixed_s, took_s, FIXED_S);
        } else {
            let carrying_s = (took_s - self.fixed_s).max(0.0);
            learn(&mut self.byte_s, carrying_s / memory_bytes as f64, BYTE_S);
        }
    }

    /// A process has ended that had used so much processor time.
    pub fn note_end(&mut self, cpu: Duration) {
        learn(&mut self.life_s, cpu.as_secs_f64(), LIFE_S);
    }

    /// What a move of so much memory takes of everybody's time.
    #[must_use]
    pub fn of_move(&self, memory_bytes: u64) -> Duration {
        Duration::from_secs_f64(self.fixed_s + self.byte_s * memory_bytes as f64)
    }

    /// How much longer a process may be expected to run that has used so much processor time: at the median as long again (Harchol-Balter
    /// and Downey, "Exploiting Process Lifetime Distributions for Dynamic Load Balancing", 1997); what has only begun, as long as others
    /// did.
    #[must_use]
    pub fn goes_on(&self, cpu: Duration) -> Duration {
        cpu.max(Duration::from_secs_f64(self.life_s))
    }
}

fn learn(figure: &mut f64, new: f64, [least, most]: [f64; 2]) {
    *figure += NEWEST * (new.clamp(least, most) - *figure);
}

/// How long a process stays where it came, after a move that took so long.
#[must_use]
pub fn rest_after(took: Duration) -> Duration {
    REST_MIN.max(took.saturating_mul(REST_MOVES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_learnt() {
        let mut prices = Prices::default();
        assert_eq!(prices.of_move(0), FIXED_FIRST);
        (0..50).for_each(|_| prices.note_move(1_000, Duration::from_millis(2)));
        assert_eq!(prices.of_move(0).as_millis(), 2);
        (0..50).for_each(|_| prices.note_move(256 << 20, Duration::from_millis(502)));
        assert!((495..=505).contains(&prices.of_move(256 << 20).as_millis()));
        assert!((2..=5).contains(&prices.of_move(1 << 20).as_millis()));
        // What cannot be is not believed.
        (0..50).for_each(|_| prices.note_move(0, Duration::ZERO));
        assert!(prices.of_move(0) >= Duration::from_micros(100));
    }

    #[test]
    fn what_has_run_long_goes_on_long() {
        let mut prices = Prices::default();
        assert_eq!(prices.goes_on(Duration::ZERO), LIFE_FIRST);
        assert_eq!(prices.goes_on(Duration::from_secs(9)), Duration::from_secs(9));
        (0..50).for_each(|_| prices.note_end(Duration::from_millis(1)));
        assert_eq!(prices.goes_on(Duration::ZERO).as_millis(), 1);
    }
}
