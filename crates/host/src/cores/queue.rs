//! Who is ready on a core, in the order of turns.
//!
//! Who has waited for something, and it has come, is ahead of those who gave way or used up their slices: mostly he wants the
//! core for a moment, and others wait for him. Where ten thousand give way to each other he would else have one turn in each
//! round of all of them. So that he keeps nobody from the core, only who was brief the last time goes ahead, and of so many turns
//! in a row the next is another one's ([`AHEAD_MAX`]).

use std::collections::VecDeque;
use std::time::Duration;

/// A slice was brief that took less.
pub(super) const BRIEF: Duration = Duration::from_millis(1);
/// Turns in a row of those that are ahead, while others are ready.
const AHEAD_MAX: u32 = 4;

/// Seats. See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Who is to stop, or was let wait for too long: before all others.
    first: VecDeque<usize>,
    ahead: VecDeque<usize>,
    others: VecDeque<usize>,
    /// Turns that those ahead have had in a row.
    in_a_row: u32,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.ahead.len() + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them; not quite in the order of their turns.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.first.iter().chain(&self.ahead).chain(&self.others).copied()
    }

    pub(super) fn push_first(&mut self, seat: usize) {
        self.first.push_front(seat);
    }

    pub(super) fn push_ahead(&mut self, seat: usize) {
        self.ahead.push_back(seat);
    }

    pub(super) fn push_back(&mut self, seat: usize) {
        self.others.push_back(seat);
    }

    /// Whose turn is next.
    pub(super) fn front(&self) -> Option<usize> {
        let next = self.first.front().or_else(|| match self.others_are_due() {
            true => self.others.front(),
            false => self.ahead.front().or_else(|| self.others.front()),
        });
        next.copied()
    }

    /// The same, which has its turn.
    pub(super) fn pop_front(&mut self) -> Option<usize> {
        if let Some(seat) = self.first.pop_front() {
            return Some(seat);
        }
        if self.ahead.is_empty() || self.others_are_due() {
            self.in_a_row = 0;
            return self.others.pop_front();
        }
        self.in_a_row += 1;
        self.ahead.pop_front()
    }

    fn others_are_due(&self) -> bool {
        self.in_a_row >= AHEAD_MAX && !self.others.is_empty()
    }

    /// Takes this one out, if it is there.
    pub(super) fn remove(&mut self, seat: usize) -> bool {
        let queues = [&mut self.first, &mut self.ahead, &mut self.others];
        for queue in queues {
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
    fn who_is_taken_out_has_no_turn() {
        let mut queue = Queue::default();
        queue.push_first(1);
        queue.push_ahead(2);
        queue.push_back(3);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2, 3]);
        for seat in [2, 3, 1] {
            assert!(queue.remove(seat) && !queue.remove(seat));
        }
        assert!(queue.is_empty() && queue.front().is_none());
    }
}
