//! The places of a table, and who sits where.
//!
//! Place *i* has the forks *i* and *i* + 1; the last place has the last fork and the first. So a place's forks change only
//! when places come or go behind it, and nobody sits there then.

use std::collections::{BTreeMap, BTreeSet};

use peripatos::Pid;

use crate::etiquette::RISE_BIT;
use crate::services::{Place, tell};

/// See the module.
#[derive(Default)]
pub(crate) struct Ring {
    spots: Vec<Spot>,
    /// Free places, by section.
    free: BTreeMap<u32, BTreeSet<usize>>,
    /// Who sits and was not asked to rise, the longest first.
    seated: BTreeSet<(u64, usize)>,
    last_turn: u64,
    /// How many were asked to rise.
    asked: usize,
}

struct Spot {
    fork: Pid,
    section: u32,
    guest: Option<Guest>,
}

/// Who sits at a place.
struct Guest {
    pid: Pid,
    /// When it sat down, in the order of all who did.
    turn: u64,
    /// It was asked to rise.
    is_asked: bool,
}

impl Ring {
    pub(crate) fn len(&self) -> usize {
        self.spots.len()
    }

    /// Adds a section. Nobody sits at the last place.
    pub(crate) fn extend(&mut self, section: u32, forks: Vec<Pid>) {
        for fork in forks {
            self.free.entry(section).or_default().insert(self.spots.len());
            self.spots.push(Spot { fork, section, guest: None });
        }
    }

    /// Takes the places from this number on away: their forks. Nobody sits there, or at the place before.
    pub(crate) fn truncate(&mut self, left: usize) -> Vec<Pid> {
        for number in left..self.spots.len() {
            self.set_free(number, false);
        }
        self.spots.drain(left..).map(|spot| spot.fork).collect()
    }

    /// Whether nobody sits at this place and those after it. Who does is asked to rise.
    pub(crate) fn clear_from(&mut self, place: usize) -> bool {
        let taken: Vec<usize> =
            (place..self.spots.len()).filter(|at| self.spots[*at].guest.is_some()).collect();
        for number in &taken {
            self.ask_to_rise(*number);
        }
        taken.is_empty()
    }

    /// Asks as many to rise as wait for a place, those who have sat longest.
    pub(crate) fn make_room(&mut self, waiting: usize) {
        while self.asked < waiting
            && let Some((_, number)) = self.seated.first().copied()
        {
            self.ask_to_rise(number);
        }
    }

    fn ask_to_rise(&mut self, number: usize) {
        if let Some(guest) = &mut self.spots[number].guest
            && !guest.is_asked
        {
            guest.is_asked = true;
            self.asked += 1;
            self.seated.remove(&(guest.turn, number));
            tell(guest.pid, RISE_BIT);
        }
    }

    /// Seats somebody at a free place, of that section if there is one.
    pub(crate) fn occupy(&mut self, section: u32, guest: Pid) -> Option<Place> {
        let near = self.free.get(&section).or_else(|| self.free.values().next())?;
        let number = *near.first()?;
        self.set_free(number, false);
        self.last_turn += 1;
        self.spots[number].guest =
            Some(Guest { pid: guest, turn: self.last_turn, is_asked: false });
        self.seated.insert((self.last_turn, number));
        let next = (number + 1) % self.spots.len();
        let [first, second] =
            [number.min(next), number.max(next)].map(|number| self.spots[number].fork);
        Some(Place { number: number as u32, first, second })
    }

    /// Somebody has risen.
    pub(crate) fn vacate(&mut self, number: usize) {
        if let Some(guest) = self.spots[number].guest.take() {
            self.seated.remove(&(guest.turn, number));
            self.asked -= usize::from(guest.is_asked);
            self.set_free(number, true);
        }
    }

    /// A section without free places has no entry.
    fn set_free(&mut self, number: usize, is_free: bool) {
        let section = self.spots[number].section;
        let places = self.free.entry(section).or_default();
        if is_free {
            places.insert(number);
        } else {
            places.remove(&number);
        }
        if places.is_empty() {
            self.free.remove(&section);
        }
    }
}
