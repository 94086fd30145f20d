//! With whom a process talks, for whoever decides on which node it is to run: counted by its core, read by others.

use std::sync::atomic::{AtomicU64, Ordering};

use peripatos_abi::Pid;

/// Slices with fewer calls than this say nothing of whom a process calls.
const MANY: u64 = 16;

/// What others read of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talks {
    /// Messages that it has sent to processes of this node, those that ran within its slices or are on another core.
    pub near: u64,
    /// Whom of them it called last, while it called many.
    pub partner: Option<Pid>,
    /// Messages that it has sent to processes of other nodes, less those to others than `away_node`.
    pub away: u64,
    /// The node that most of them are for; 0: none.
    pub away_node: u128,
}

/// See the module. Only the process's core writes; who reads while it does may see halves of two names, which nobody has.
#[derive(Debug, Default)]
pub(super) struct Counts {
    near: AtomicU64,
    partner: [AtomicU64; 2],
    away: AtomicU64,
    away_node: [AtomicU64; 2],
}

impl Counts {
    /// It has called so many processes here in a slice, this one last.
    pub(super) fn note_near(&self, calls: u64, partner: impl FnOnce() -> Option<Pid>) {
        if calls == 0 {
            return;
        }
        self.near.store(self.near.load(Ordering::Relaxed) + calls, Ordering::Relaxed);
        if calls >= MANY
            && let Some(partner) = partner()
        {
            store(&self.partner, partner.bits());
        }
    }

    /// It has sent to a process of that node. (Of several the one with the majority stays: Boyer and Moore's vote.)
    pub(super) fn note_away(&self, node: u128) {
        let away = self.away.load(Ordering::Relaxed);
        let known = load(&self.away_node);
        if known != node && away == 0 {
            store(&self.away_node, node);
        }
        let away = if known == node || away == 0 { away + 1 } else { away - 1 };
        self.away.store(away, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Talks {
        Talks {
            near: self.near.load(Ordering::Relaxed),
            partner: Some(Pid::from_bits(load(&self.partner))).filter(|pid| pid.bits() != 0),
            away: self.away.load(Ordering::Relaxed),
            away_node: load(&self.away_node),
        }
    }
}

fn store([high, low]: &[AtomicU64; 2], bits: u128) {
    high.store((bits >> 64) as u64, Ordering::Relaxed);
    low.store(bits as u64, Ordering::Relaxed);
}

fn load([high, low]: &[AtomicU64; 2]) -> u128 {
    u128::from(high.load(Ordering::Relaxed)) << 64 | u128::from(low.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_that_is_called_most_is_known() {
        let counts = Counts::default();
        assert_eq!(counts.read(), Talks::default());
        for call in 0..1_000_u32 {
            counts.note_away(if call % 10 == 0 { 5 << 70 } else { 7 << 70 });
        }
        let talks = counts.read();
        assert_eq!((talks.away_node, talks.away), (7 << 70, 800));
    }

    #[test]
    fn who_is_called_much_is_known() {
        let counts = Counts::default();
        counts.note_near(3, || panic!("too few to ask"));
        assert_eq!(counts.read(), Talks { near: 3, ..Talks::default() });
        counts.note_near(100, || Some(Pid::new(1, 2)));
        let talks = counts.read();
        assert_eq!((talks.near, talks.partner), (103, Some(Pid::new(1, 2))));
    }
}
