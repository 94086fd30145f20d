//! Time as a node is told it.

use std::ops::Add;
use std::time::Duration;

/// A moment: how long after an arbitrary start that is the same for the node's whole life. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// Later than any moment.
    pub const NEVER: Time = Time(Duration::MAX);

    /// How long ago `earlier` was; zero if it is not past.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, later: Duration) -> Time {
        Time(self.0.saturating_add(later))
    }
}
