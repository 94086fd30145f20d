//! The processes of one core: seats, and where each pid is. A seat is a process's as long as it is on
//! this core.

use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_engine::Control;
use peripatos_kernel::PidMap;

use super::execution::Execution;
use super::habits::Habits;
use super::tag::{Tag, Wish};

/// Of so many that wait the one that has waited longest falls asleep: not many are better off than the one that has waited
/// longest of all, which to find would take a list that each slice changes.
const COMPARED_MAX: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Table {
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    by_pid: PidMap<usize>,
    /// Where [`Table::next_idle`] goes on.
    hand: usize,
}

/// One process.
pub(super) struct Seat {
    pub(super) tag: Arc<Tag>,
    pub(super) control: Control,
    pub(super) stand: Stand,
    /// When its last slice began, by the board's time.
    pub(super) since_ns: u64,
    /// It cannot sleep.
    pub(super) restless: bool,
    /// Its last slice was short.
    pub(super) brief: bool,
    pub(super) habits: Habits,
}

impl Seat {
    fn may_sleep(&self) -> bool {
        let awake = matches!(&self.stand, Stand::Waiting(execution) if !execution.is_asleep());
        awake && !self.restless && self.tag.wish() == Wish::None && !self.tag.is_woken()
    }

    /// Whether it could sleep until its turn comes.
    fn may_nap(&self) -> bool {
        let awake = matches!(&self.stand, Stand::Ready(execution) if !execution.is_asleep());
        awake && !self.restless && self.tag.wish() == Wish::None
    }
}

/// How it stands with a process.
pub(super) enum Stand {
    /// Its waker was not called yet.
    Waiting(Execution),
    /// In the queue.
    Ready(Execution),
    /// Its execution is taken out. `woken`: its waker was called on this thread meanwhile.
    Running { woken: bool },
}

impl Table {
    pub(super) fn insert(&mut self, seat: Seat) -> usize {
        let at = self.free.pop().unwrap_or(self.seats.len());
        let before = self.by_pid.insert(seat.tag.pid(), at);
        assert!(before.is_none(), "a pid is taken once, by the registry");
        if at == self.seats.len() {
            self.seats.push(Some(seat));
        } else {
            self.seats[at] = Some(seat);
        }
        at
    }

    pub(super) fn remove(&mut self, at: usize) -> Seat {
        let seat = self.seats[at].take().expect("who is removed is there");
        self.by_pid.remove(&seat.tag.pid());
        self.free.push(at);
        seat
    }

    /// Where the process of this pid is.
    pub(super) fn seat_of(&self, pid: Pid) -> Option<usize> {
        self.by_pid.get(&pid).copied()
    }

    /// Where the process of this tag is; not one of the same pid that came after it.
    pub(super) fn find(&self, tag: &Arc<Tag>) -> Option<usize> {
        let at = *self.by_pid.get(&tag.pid())?;
        Arc::ptr_eq(&self.get(at).tag, tag).then_some(at)
    }

    /// Who has waited longest of some, among those whose last slice began before that. All that are there are looked at
    /// in turn.
    pub(super) fn next_idle(&mut self, before_ns: u64) -> Option<usize> {
        let mut idle: Option<(u64, usize)> = None;
        let mut compared = 0;
        for _ in 0..self.seats.len() {
            self.hand = if self.hand + 1 < self.seats.len() { self.hand + 1 } else { 0 };
            let Some(seat) = &self.seats[self.hand] else { continue };
            if seat.since_ns <= before_ns && seat.may_sleep() {
                idle = Some(idle.unwrap_or((u64::MAX, 0)).min((seat.since_ns, self.hand)));
                compared += 1;
            }
            if compared == COMPARED_MAX {
                break;
            }
        }
        idle.map(|(_, at)| at)
    }

    /// One of those in the queue whose turn comes late: of some, the one that has run last.
    pub(super) fn next_late(&mut self) -> Option<usize> {
        let mut late: Option<(u64, usize)> = None;
        let mut compared = 0;
        for _ in 0..self.seats.len() {
            self.hand = if self.hand + 1 < self.seats.len() { self.hand + 1 } else { 0 };
            let Some(seat) = &self.seats[self.hand] else { continue };
            if seat.may_nap() {
                late = late.max(Some((seat.since_ns, self.hand)));
                compared += 1;
            }
            if compared == COMPARED_MAX {
                break;
            }
        }
        late.map(|(_, at)| at)
    }

    pub(super) fn get(&self, at: usize) -> &Seat {
        self.seats[at].as_ref().expect("seats that are spoken of are filled")
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut Seat {
        self.seats[at].as_mut().expect("seats that are spoken of are filled")
    }
}
