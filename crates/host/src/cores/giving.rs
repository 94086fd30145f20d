//! Who of a core's processes could go to another core, and how one goes.

use std::time::Instant;

use peripatos_abi::Pid;

use super::core::{Core, Next};
use super::habits::Habits;
use super::idle;
use super::packet::Parcel;
use super::parting;
use super::table::{Seat, Stand};
use super::tag::Wish;
use super::watch::Watch;
use crate::talk;

/// So many of the queue are passed over to find one that could be given away.
const PASSED_MAX: usize = 15;
const IN_QUEUE: &str = "it was found in the queue";

impl Core {
    /// Who is to go to another core now.
    pub(super) fn next_to_go(&mut self, watch: &Watch) -> Option<Next> {
        if self.board.stays() {
            return None;
        }
        if self.board.idle.any() {
            let share = idle::share(self.queue.len(), self.board.idle.count());
            if !self.has_spare() {
                if self.may_part(watch) {
                    return Some(Next::Part);
                }
            } else if let Some(core) = self.board.idle.claim() {
                let seats: Vec<usize> = self.spares(share).take(share).collect();
                let parcels = seats.into_iter().map(|seat| self.give(seat, core).expect(IN_QUEUE));
                return Some(Next::Give(core, parcels.collect()));
            }
        }
        if let Some(join) = self.crossing.join(self.number, watch.at()) {
            return Some(Next::Join(join));
        }
        let seat = self.queue.front()?;
        let core = self.longs_for(seat)?;
        Some(Next::Give(core, vec![self.give(seat, core).expect(IN_QUEUE)]))
    }

    /// Whether one of the queue could be given away. The only one is not.
    pub(super) fn has_spare(&self) -> bool {
        self.queue.len() >= 2 && self.spares(1).next().is_some()
    }

    /// Who of the queue could be given away, where so many are wanted: nobody who has to hurry, nobody who talks so much with others
    /// here that it would not pay, and nobody who has too much with him.
    pub(super) fn spares(&self, wanted: usize) -> impl Iterator<Item = usize> {
        let is_spare = |seat: &usize| {
            let Seat { tag, habits, .. } = self.table.get(*seat);
            tag.wish() == Wish::None && !habits.is_bound() && !talk::is_laden(tag.pid())
        };
        self.queue.iter().take(wanted + PASSED_MAX).filter(is_spare)
    }

    /// On which other core a process would rather be.
    pub(super) fn longs_for(&self, seat: usize) -> Option<usize> {
        let Seat { tag, habits, .. } = self.table.get(seat);
        let longs = habits.longs_for(tag.pid()).filter(|core| *core != self.number);
        longs.filter(|_| tag.wish() == Wish::None && !talk::is_laden(tag.pid()))
    }

    /// Whether it is time to look for a group that an idle core could have.
    pub(super) fn may_part(&self, watch: &Watch) -> bool {
        self.queue.len() >= 2 && self.part_at.is_none_or(|at| watch.at() >= at)
    }

    /// It was looked for one, from then to then.
    pub(super) fn note_parting(&mut self, began: Instant, ended: Instant) {
        self.part_at = Some(ended + parting::pause(ended - began));
    }

    /// Those that are ready, and nobody wants anything of.
    pub(super) fn ready(&self) -> Vec<(Pid, Habits)> {
        let seats = self.queue.iter().map(|seat| self.table.get(seat));
        let free = seats.filter(|seat| seat.tag.wish() == Wish::None);
        free.map(|seat| (seat.tag.pid(), seat.habits)).collect()
    }

    /// Those who have talked since then, and can go, in the order of their last turns.
    pub(super) fn talkers(&self, since: Instant) -> Vec<Pid> {
        let talkers = self.table.awake_since(self.board.time_ns(since)).filter(|seat| {
            seat.habits.talks() && seat.tag.wish() == Wish::None && !talk::is_laden(seat.tag.pid())
        });
        let mut talkers: Vec<_> = talkers.map(|seat| (seat.since_ns, seat.tag.pid())).collect();
        talkers.sort_unstable_by_key(|(since_ns, _)| *since_ns);
        talkers.into_iter().map(|(_, pid)| pid).collect()
    }

    /// Takes one that is ready or waits out, who goes to another core together with those whom it calls. `None`: it is not
    /// here.
    pub(super) fn part_with(&mut self, pid: Pid, core: usize) -> Option<Parcel> {
        let seat = self.table.seat_of(pid)?;
        self.wake_seat(seat);
        let habits = self.table.get(seat).habits;
        Some(Parcel { habits, ..self.give(seat, core)? })
    }

    /// One of the queue goes to that core. `None`: it is not in the queue.
    pub(super) fn give(&mut self, seat: usize, core: usize) -> Option<Parcel> {
        if !self.queue.remove(seat) {
            return None;
        }
        self.show_ready();
        let Seat { tag, control, stand, mut habits, .. } = self.remove(seat);
        habits.moves(self.number, core);
        let Stand::Ready(execution) = stand else {
            unreachable!("a process in the queue is ready")
        };
        tag.move_to(core);
        Some(Parcel { tag, control, execution, talking: None, habits })
    }
}
