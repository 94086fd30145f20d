//! Who is ready on a core, in the order of turns.
//!
//! Who has waited for something, and it has come, is ahead of those who gave way or used up their slices: mostly he wants the
//! core for a moment, and others wait for him. Where ten thousand give way to each other he would else have one turn in each
//! round of all of them. So that he keeps nobody from the core, only who was brief the last time goes ahead, and of so many turns
//! in a row the next is another one's ([`AHEAD_MAX`]).
//!
//! Where many are ready, who is waited for and does not go ahead, as a server with much to do, has half of the time: those
//! who wait for him have given their turns to him, and if each of a hundred thousand had a turn before his next one he would
//! serve nobody.

use std::collections::VecDeque;
use std::time::Duration;

/// A slice was brief that took less.
pub(super) const BRIEF: Duration = Duration::from_millis(1);
/// Turns in a row of those that are ahead, while others are ready.
const AHEAD_MAX: u32 = 4;
/// Who is wanted lets the others have no more than so much at a time, however long he was alone before.
const WANTED_MORE_MAX: Duration = Duration::from_millis(40);
/// Where fewer are ready, whoever gave way has his next turn soon.
const LONG: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    First,
    Ahead,
    Wanted,
    Others,
}

impl Class {
    /// In the order of their turns.
    const ALL: [Class; 4] = [Class::First, Class::Ahead, Class::Wanted, Class::Others];
}

/// Seats. See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Who is to stop, or was let wait for too long: before all others.
    first: VecDeque<usize>,
    ahead: VecDeque<usize>,
    /// Who is waited for, and does not go ahead.
    wanted: VecDeque<usize>,
    others: VecDeque<usize>,
    /// Turns that those ahead have had in a row.
    in_a_row: u32,
    /// Whose turn was the last.
    was_wanted: bool,
    /// By how much the wanted have had more of the core than all the rest.
    wanted_more: Duration,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.ahead.len() + self.wanted.len() + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is long until whoever is the last has his turn.
    pub(super) fn is_long(&self) -> bool {
        self.others.len() >= LONG
    }

    /// All of them; not quite in the order of their turns.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.first.iter().chain(&self.ahead).chain(&self.wanted).chain(&self.others).copied()
    }

    pub(super) fn push_first(&mut self, seat: usize) {
        self.first.push_front(seat);
    }

    pub(super) fn push_ahead(&mut self, seat: usize) {
        self.ahead.push_back(seat);
    }

    pub(super) fn push_wanted(&mut self, seat: usize) {
        self.wanted.push_back(seat);
    }

    pub(super) fn push_back(&mut self, seat: usize) {
        self.others.push_back(seat);
    }

    /// Whose turn is next.
    pub(super) fn front(&self) -> Option<usize> {
        self.of(self.next_class()).front().copied()
    }

    /// The same, which has its turn.
    pub(super) fn pop_front(&mut self) -> Option<usize> {
        let class = self.next_class();
        self.in_a_row = match class {
            // A short turn of one that is wanted is not one of the others'.
            Class::First | Class::Wanted => self.in_a_row,
            Class::Ahead => self.in_a_row + 1,
            Class::Others => 0,
        };
        self.was_wanted = class == Class::Wanted;
        self.of_mut(class).pop_front()
    }

    /// That turn has taken so long.
    pub(super) fn note_slice(&mut self, used: Duration) {
        self.wanted_more = match self.was_wanted {
            true => (self.wanted_more + used).min(WANTED_MORE_MAX),
            false => self.wanted_more.saturating_sub(used),
        };
    }

    fn next_class(&self) -> Class {
        let is_due = |class: &Class| match class {
            Class::First | Class::Others => true,
            Class::Ahead => self.in_a_row < AHEAD_MAX,
            Class::Wanted => self.wanted_more.is_zero(),
        };
        let filled = Class::ALL.into_iter().filter(|class| !self.of(*class).is_empty());
        // Nobody of those that are ready is let wait for nobody.
        filled.clone().find(is_due).or_else(|| filled.clone().next()).unwrap_or(Class::Others)
    }

    fn of(&self, class: Class) -> &VecDeque<usize> {
        match class {
            Class::First => &self.first,
            Class::Ahead => &self.ahead,
            Class::Wanted => &self.wanted,
            Class::Others => &self.others,
        }
    }

    fn of_mut(&mut self, class: Class) -> &mut VecDeque<usize> {
        match class {
            Class::First => &mut self.first,
            Class::Ahead => &mut self.ahead,
            Class::Wanted => &mut self.wanted,
            Class::Others => &mut self.others,
        }
    }

    /// Takes this one out, if it is there.
    pub(super) fn remove(&mut self, seat: usize) -> bool {
        for class in Class::ALL {
            let queue = self.of_mut(class);
            if let Some(at) = queue.iter().position(|queued| *queued == seat) {
                queue.remove(at);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_waited_for_goes_ahead_and_keeps_nobody_from_the_core() {
        let mut queue = Queue::default();
        (0..3).for_each(|seat| queue.push_back(seat));
        (10..20).for_each(|seat| queue.push_ahead(seat));
        queue.push_first(7);
        assert_eq!(queue.len(), 14);
        let mut turns = Vec::new();
        while let Some(next) = queue.front() {
            assert_eq!(queue.pop_front(), Some(next));
            turns.push(next);
        }
        assert_eq!(turns, [7, 10, 11, 12, 13, 0, 14, 15, 16, 17, 1, 18, 19, 2]);
        assert!(queue.is_empty() && queue.pop_front().is_none());
        // Alone, those ahead have all turns.
        (0..9).for_each(|seat| queue.push_ahead(seat));
        assert!((0..9).all(|seat| queue.pop_front() == Some(seat)));
    }

    #[test]
    fn who_is_waited_for_has_half_of_the_time() {
        let mut queue = Queue::default();
        (0..1_000).for_each(|seat| queue.push_back(seat));
        queue.push_wanted(9_999);
        let mut used = [0_u64; 2];
        for _ in 0..1_000 {
            let seat = queue.pop_front().unwrap();
            let wanted = seat == 9_999;
            let time = if wanted { 10_000 } else { 100 };
            used[usize::from(wanted)] += time;
            queue.note_slice(Duration::from_micros(time));
            if wanted { queue.push_wanted(seat) } else { queue.push_back(seat) }
        }
        assert!(used[0].abs_diff(used[1]) <= 10_000, "{used:?}");
        // With nobody else it has all.
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.push_wanted(1);
            assert_eq!(queue.pop_front(), Some(1));
            queue.note_slice(Duration::from_millis(10));
        }
    }

    #[test]
    fn whoever_is_ahead_or_wanted_keeps_nobody_from_the_core() {
        let mut queue = Queue::default();
        (0..9).for_each(|seat| queue.push_back(seat));
        (10..20).for_each(|seat| queue.push_ahead(seat));
        queue.push_wanted(99);
        let mut turns = [0; 3];
        for _ in 0..600 {
            let seat = queue.pop_front().unwrap();
            // Four that are ahead take as long as one that is wanted.
            let (class, used) = match seat {
                0..10 => (0, 50),
                10..20 => (1, 50),
                _ => (2, 200),
            };
            turns[class] += 1;
            queue.note_slice(Duration::from_micros(used));
            match class {
                0 => queue.push_back(seat),
                1 => queue.push_ahead(seat),
                _ => queue.push_wanted(seat),
            }
        }
        assert!(turns.iter().all(|turns| *turns >= 90), "{turns:?}");
    }

    #[test]
    fn who_is_taken_out_has_no_turn() {
        let mut queue = Queue::default();
        queue.push_first(1);
        queue.push_ahead(2);
        queue.push_wanted(3);
        queue.push_back(4);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
        for seat in [2, 3, 1, 4] {
            assert!(queue.remove(seat) && !queue.remove(seat));
        }
        assert!(queue.is_empty() && queue.front().is_none());
    }
}
