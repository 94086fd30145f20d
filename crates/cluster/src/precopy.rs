//! How long the memory of a process is copied while it runs, before it stands still.

use std::time::Duration;

use crate::limits::{PRE_COPY_LAST, PRE_COPY_ROUNDS_MAX, PRE_COPY_TIME_MAX};

/// How far the copying of a process has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreCopied {
    /// Rounds that are over.
    pub rounds: u32,
    /// Bytes that they have carried, all together: without pages that had not changed.
    pub bytes: u64,
}

/// The last round, and what it has left.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Bytes that it had to look at.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// Bytes that were written meanwhile.
    pub written: u64,
}

impl PreCopied {
    /// Whether another round is worth it, so long after the first one began. `first`: bytes that that had to look at.
    ///
    /// It is not if what is left is carried in [`PRE_COPY_LAST`] anyway; if the program writes about as fast as it is copied,
    /// so that as much would be left; if it would have been carried twice, all together; or if it would take too long: the
    /// rest has to be carried, too, before the move is given up.
    #[must_use]
    pub fn goes_on(self, first: u64, last: Round, since: Duration) -> bool {
        let Round { bytes, took, written } = last;
        let takes = took.mul_f64(written as f64 / bytes.max(1) as f64);
        let shrinks = written < bytes / 4 * 3;
        let twice = self.bytes.saturating_add(written) > first.saturating_mul(2);
        let late = since.saturating_add(takes) > PRE_COPY_TIME_MAX;
        takes > PRE_COPY_LAST && shrinks && !twice && !late && self.rounds < PRE_COPY_ROUNDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn round(bytes: u64, ms: u64, written: u64) -> Round {
        Round { bytes: bytes * MIB, took: Duration::from_millis(ms), written: written * MIB }
    }

    #[test]
    fn it_ends_when_little_is_left_or_nothing_is_gained() {
        let check = |rounds, carried, last, expected| {
            let copied = PreCopied { rounds, bytes: carried * MIB };
            let since = Duration::from_secs(1);
            assert_eq!(copied.goes_on(256 * MIB, last, since), expected, "{last:?}");
        };
        // Much is left, and less than before.
        check(1, 256, round(256, 256, 25), true);
        check(2, 281, round(25, 25, 10), true);
        // What is left takes no time.
        check(2, 281, round(25, 25, 0), false);
        check(1, 256, round(256, 256, 1), false);
        // The program writes as fast as it is copied.
        check(2, 288, round(32, 32, 31), false);
        check(1, 256, round(256, 256, 250), false);
        // It would be carried twice.
        check(3, 450, round(160, 160, 80), false);
        check(PRE_COPY_ROUNDS_MAX, 300, round(25, 25, 10), false);
        // Nothing there, and a clock that does not tell.
        check(1, 0, round(0, 0, 0), false);
        // A slow link.
        let copied = PreCopied { rounds: 1, bytes: 256 * MIB };
        let last = round(256, 25_000, 100);
        assert!(copied.goes_on(256 * MIB, last, Duration::from_secs(25)));
        assert!(!copied.goes_on(256 * MIB, last, Duration::from_secs(55)));
    }
}
