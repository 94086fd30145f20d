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
//!
//! Who is ready and asleep has to be woken, and somebody else to be put to sleep for him: those have half of the time that is
//! left. So where more want to run than can be awake, some run for many turns, and then others, and the core has
//! not for all its work to take them in and out. Of those who are asleep, too, who has waited for something that has come is
//! ahead.

use std::collections::VecDeque;
use std::time::Duration;

/// A slice was brief that took less.
pub(super) const BRIEF: Duration = Duration::from_millis(1);
/// Turns in a row of those that are ahead, while others are ready.
const AHEAD_MAX: u32 = 4;
/// Whoever has half of the time lets the others have no more than so much at once, however long he was alone before.
const MORE_MAX: Duration = Duration::from_millis(40);
/// Where fewer are ready, whoever gave way has his next turn soon.
const LONG: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    First,
    Ahead,
    Wanted,
    Roused,
    Asleep,
    Others,
}

impl Class {
    /// In the order of their turns.
    const ALL: [Class; 6] =
        [Class::First, Class::Ahead, Class::Wanted, Class::Roused, Class::Asleep, Class::Others];
}

/// Half of the time, as those have it whose turn it is until they have had as much as all others.
#[derive(Debug, Default)]
struct Half {
    /// By how much they have had more.
    more: Duration,
}

impl Half {
    fn is_due(&self) -> bool {
        self.more.is_zero()
    }

    fn note(&mut self, is_theirs: bool, used: Duration) {
        self.more = match is_theirs {
            true => (self.more + used).min(MORE_MAX),
            false => self.more.saturating_sub(used),
        };
    }
}

/// Seats. See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Who is to stop, or was let wait for too long: before all others.
    first: VecDeque<usize>,
    ahead: VecDeque<usize>,
    /// Who is waited for, and does not go ahead.
    wanted: VecDeque<usize>,
    /// Who has to be woken, and has waited for something that has come.
    roused: VecDeque<usize>,
    /// Who has to be woken.
    asleep: VecDeque<usize>,
    others: VecDeque<usize>,
    /// Turns that those ahead have had in a row, and those ahead of all that are asleep.
    in_a_row: u32,
    roused_in_a_row: u32,
    /// Whose turn was the last.
    last: Option<Class>,
    wanted_half: Half,
    asleep_half: Half,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        Class::ALL.into_iter().map(|class| self.of(class).len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is long until whoever is the last has his turn.
    pub(super) fn is_long(&self) -> bool {
        self.roused.len() + self.asleep.len() + self.others.len() >= LONG
    }

    /// All of them; not quite in the order of their turns.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        Class::ALL.into_iter().flat_map(|class| self.of(class)).copied()
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

    /// `came`: what it has waited for has come.
    pub(super) fn push_asleep(&mut self, seat: usize, came: bool) {
        self.of_mut(if came { Class::Roused } else { Class::Asleep }).push_back(seat);
    }

    pub(super) fn push_back(&mut self, seat: usize) {
        self.others.push_back(seat);
    }

    /// Of those who are none of these the ones in front who have fallen asleep meanwhile are with those who do.
    pub(super) fn sort_out(&mut self, is_asleep: impl Fn(usize) -> bool) {
        while let Some(seat) = self.others.pop_front_if(|seat| is_asleep(*seat)) {
            self.asleep.push_back(seat);
        }
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
            Class::First | Class::Wanted | Class::Roused | Class::Asleep => self.in_a_row,
            Class::Ahead => self.in_a_row + 1,
            Class::Others => 0,
        };
        self.roused_in_a_row = match class {
            Class::Roused => self.roused_in_a_row + 1,
            Class::Asleep => 0,
            _ => self.roused_in_a_row,
        };
        self.last = Some(class);
        self.of_mut(class).pop_front()
    }

    /// That turn has taken so long.
    pub(super) fn note_slice(&mut self, used: Duration) {
        self.wanted_half.note(self.last == Some(Class::Wanted), used);
        self.asleep_half.note(matches!(self.last, Some(Class::Roused | Class::Asleep)), used);
    }

    /// So long it took to put others to sleep.
    pub(super) fn note_lull(&mut self, took: Duration) {
        self.asleep_half.note(true, took);
    }

    fn next_class(&self) -> Class {
        let is_due = |class: &Class| match class {
            Class::First | Class::Others => true,
            Class::Ahead => self.in_a_row < AHEAD_MAX,
            Class::Wanted => self.wanted_half.is_due(),
            Class::Roused => {
                let alone = self.asleep.is_empty();
                self.asleep_half.is_due() && (alone || self.roused_in_a_row < AHEAD_MAX)
            }
            Class::Asleep => self.asleep_half.is_due(),
        };
        let filled = Class::ALL.into_iter().filter(|class| !self.of(*class).is_empty());
        // Nobody of those that are ready is let wait for nobody.
        let waits = |class: &Class| {
            // Among those that sleep, too, whoever is ahead has no more turns in a row than that.
            let others = !self.asleep.is_empty() && self.roused_in_a_row >= AHEAD_MAX;
            !(*class == Class::Roused && others)
        };
        let next = filled.clone().find(is_due).or_else(|| filled.clone().find(waits));
        next.unwrap_or(Class::Others)
    }

    fn of(&self, class: Class) -> &VecDeque<usize> {
        match class {
            Class::First => &self.first,
            Class::Ahead => &self.ahead,
            Class::Wanted => &self.wanted,
            Class::Roused => &self.roused,
            Class::Asleep => &self.asleep,
            Class::Others => &self.others,
        }
    }

    fn of_mut(&mut self, class: Class) -> &mut VecDeque<usize> {
        match class {
            Class::First => &mut self.first,
            Class::Ahead => &mut self.ahead,
            Class::Wanted => &mut self.wanted,
            Class::Roused => &mut self.roused,
            Class::Asleep => &mut self.asleep,
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
    fn those_who_have_to_be_woken_have_half_of_the_time() {
        let mut queue = Queue::default();
        (0..100).for_each(|seat| queue.push_back(seat));
        (100..200).for_each(|seat| queue.push_asleep(seat, false));
        (200..300).for_each(|seat| queue.push_asleep(seat, true));
        let mut turns = [0_u64; 3];
        let (mut rest, mut swaps) = (0, 0);
        for _ in 0..10_000 {
            let seat = queue.pop_front().unwrap();
            let class = seat / 100;
            turns[class] += 1;
            let used = if class == 0 { 10 } else { 100 };
            queue.note_slice(Duration::from_micros(used));
            if class == 0 {
                rest += used;
                queue.push_back(seat);
            } else {
                // Somebody else falls asleep for him.
                queue.note_lull(Duration::from_micros(100));
                swaps += used + 100;
                queue.push_asleep(seat, class == 2);
            }
        }
        assert!(swaps.abs_diff(rest) <= 1_000, "{swaps} {rest}");
        // Who has waited for something is ahead, and keeps nobody from the core.
        assert!(turns[2].abs_diff(4 * turns[1]) <= 4, "{turns:?}");
        // If there are only those who have to be woken, those ahead keep nobody from the core.
        let mut queue = Queue::default();
        queue.push_asleep(1, false);
        queue.push_asleep(2, true);
        let turns = (0..6).map(|_| {
            let seat = queue.pop_front().unwrap();
            queue.note_slice(Duration::from_millis(10));
            queue.push_asleep(seat, seat == 2);
            seat
        });
        assert!(turns.collect::<Vec<_>>().contains(&1));
        // Those who have to be woken have all of it if there is nobody else.
        let mut queue = Queue::default();
        queue.push_asleep(1, true);
        for _ in 0..10 {
            assert_eq!(queue.pop_front(), Some(1));
            queue.note_slice(Duration::from_millis(10));
            queue.push_asleep(1, true);
        }
    }

    #[test]
    fn who_fell_asleep_while_it_waited_for_its_turn_has_the_turn_of_one_who_sleeps() {
        let mut queue = Queue::default();
        (0..6).for_each(|seat| queue.push_back(seat));
        queue.sort_out(|seat| seat < 2);
        assert_eq!(queue.pop_front(), Some(0));
        queue.note_slice(Duration::from_millis(1));
        let turns: Vec<_> = (0..2).filter_map(|_| queue.pop_front()).collect();
        assert_eq!(turns, [2, 3], "it has had its half");
        queue.note_slice(Duration::from_millis(2));
        assert_eq!(queue.pop_front(), Some(1));
    }

    #[test]
    fn who_is_taken_out_has_no_turn() {
        let mut queue = Queue::default();
        queue.push_first(1);
        queue.push_ahead(2);
        queue.push_wanted(3);
        queue.push_asleep(6, false);
        queue.push_asleep(5, true);
        queue.push_back(4);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2, 3, 5, 6, 4]);
        assert_eq!(queue.len(), 6);
        for seat in [2, 3, 1, 5, 6, 4] {
            assert!(queue.remove(seat) && !queue.remove(seat));
        }
        assert!(queue.is_empty() && queue.front().is_none());
    }
}
