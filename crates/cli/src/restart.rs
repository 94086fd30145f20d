//! `peri run --restart`: whether a program is started again whose node is lost.
//!
//! It begins from its beginning, as another process: with the same arguments, environment, files and terminal, and without
//! anything of what the lost one had in memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So often a program is started again within [`RESTARTS_WITHIN`]; with one more loss its command gives up.
pub(crate) const RESTARTS_MAX: usize = 5;
/// See [`RESTARTS_MAX`].
pub(crate) const RESTARTS_WITHIN: Duration = Duration::from_secs(600);

/// When a program is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Restart {
    /// When the node that runs its first process is known to be gone
    OnNodeLoss,
    /// As soon as that node is silent: it may be alive, and two of the program may run
    Unfenced,
    /// Not at all
    #[default]
    Never,
}

/// When a program was started again.
#[derive(Debug, Default)]
pub(crate) struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Whether it may be started again now. If so, it counts as that.
    pub(crate) fn may_begin(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < RESTARTS_WITHIN);
        let may = self.0.len() < RESTARTS_MAX;
        if may {
            self.0.push_back(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_limited_within_their_time() {
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        for number in 0..RESTARTS_MAX as u64 {
            assert!(restarts.may_begin(begin + Duration::from_secs(number)));
        }
        let last = begin + Duration::from_secs(RESTARTS_MAX as u64 - 1);
        assert!(!restarts.may_begin(last));
        // The first one is forgotten, and only that.
        let later = begin + RESTARTS_WITHIN;
        assert!(restarts.may_begin(later));
        assert!(!restarts.may_begin(later));
        assert!(restarts.may_begin(later + Duration::from_secs(1)));
    }
}
