//! What the processes ask of each other.

use std::thread::yield_now;

use peripatos::{Error, Pid, notify};
use serde::{Deserialize, Serialize};

/// The hall: it has the tables, and takes commands.
#[peripatos::service]
pub(crate) trait Hall {
    /// So many philosophers come in.
    fn add(&mut self, philosophers: u32);
    /// So many go home.
    fn remove(&mut self, philosophers: u32);
    /// More tables (or fewer), each with its plates and philosophers.
    fn tables(&mut self, change: i32);
    /// More plates, and as many forks, on each table; or fewer.
    fn plates(&mut self, change: i32);
    /// How it stands, in words.
    fn report(&mut self) -> String;
    /// Everybody goes home.
    fn stop(&mut self);
    /// A philosopher goes home.
    fn goodbye(&mut self, record: Record);
}

/// A table. A place at it has a plate and, between it and the place before, a fork.
#[peripatos::service]
pub(crate) trait Table {
    /// Lays so many places more, and lets so many philosophers come. Replies when the places are there.
    fn lay(&mut self, places: u32, philosophers: u32);
    /// Takes so many places away. Two are left in any case. Replies when it is done.
    fn clear(&mut self, places: u32);
    /// Sends so many philosophers home, each after a meal: how many there were.
    fn dismiss(&mut self, philosophers: u32) -> u32;
    /// A waiter asks what to do. Replies when there is something; none: the table is closed.
    fn next_order(&mut self) -> Option<Order>;
    /// A waiter has laid its section.
    fn laid(&mut self, section: u32, forks: Vec<Pid>);
    /// A philosopher sits down, where its section is if that can be. Replies when there is a place.
    fn sit(&mut self, section: u32, is_new: bool) -> Place;
    /// A philosopher gets up, after so many meals, for good or to come again.
    fn rise(&mut self, place: u32, meals: u64, for_good: bool);
    /// What it has counted so far.
    fn counts(&mut self) -> Counts;
    /// Sends everybody home, and ends: what has been counted.
    fn close(&mut self) -> Counts;
}

/// What a waiter is to do: a section, or a part of one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) section: u32,
    /// At most [`crate::waiter::SECTION_PLACES_MAX`].
    pub(crate) places: u32,
    pub(crate) philosophers: u32,
    /// Meals until a philosopher goes home by itself; u64::MAX: when it is told to.
    pub(crate) meals: u64,
}

/// A place at a table, for whoever sits there.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) number: u32,
    /// The fork to be taken first: the one with the lower number. So nobody can wait in a circle.
    pub(crate) first: Pid,
    pub(crate) second: Pid,
}

/// What a table has counted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) philosophers: u32,
    pub(crate) places: u32,
    /// Told by those who have risen.
    pub(crate) meals: u64,
    /// Of all its forks.
    pub(crate) uses: u64,
}

/// What a philosopher knows of itself in the end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) meals: u64,
    /// The longest time from one meal to the next, or from sitting down to the first.
    pub(crate) longest_wait_ns: u64,
}

/// Asks until it is not for lack of room that there is no answer.
pub(crate) fn insist<T>(mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match ask() {
            Err(Error::Full) => yield_now(),
            answer => return answer,
        }
    }
}

/// Notifies a philosopher; who has ended needs nothing. A table tells a hundred thousand at once, and no more than some
/// ten thousand words are ever on their way.
pub(crate) fn tell(guest: Pid, bits: u64) {
    let _ = insist(|| notify(guest, bits));
}
