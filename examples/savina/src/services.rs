//! What the servers of the benchmarks are asked for.

use serde::{Deserialize, Serialize};

/// One of each kind, in one program: each benchmark uses its part.
#[peripatos::service]
pub(crate) trait Server {
    /// Counting: one more.
    fn increment(&mut self);
    /// Counting: how many.
    fn total(&mut self) -> u64;
    /// Big: a ping.
    fn ping(&mut self, number: u32) -> u32;
    /// Chameneos: waits for another one. None: there have been as many meetings as were to be.
    fn meet(&mut self, colour: Colour) -> Option<Colour>;
    /// Chameneos: so many meetings are to be.
    fn open(&mut self, meetings: u64);
    /// Philosophers: takes the forks at both sides of this place, of so many.
    fn take(&mut self, place: u32, places: u32);
    /// Philosophers: gives them back.
    fn give(&mut self, place: u32, places: u32);
}

/// Of a chameneos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Colour {
    Blue,
    Red,
    Yellow,
}

impl Colour {
    /// After a meeting.
    #[allow(dead_code, reason = "two programs use it, each its part")]
    pub(crate) fn mixed(self, other: Colour) -> Colour {
        let all = [Colour::Blue, Colour::Red, Colour::Yellow];
        if self == other {
            return self;
        }
        all.into_iter().find(|third| *third != self && *third != other).unwrap_or(self)
    }
}
