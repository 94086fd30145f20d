//! The processes of one core: seats, and where each pid is. A seat is a process's as long as it is on
//! this core.

use std::cell::Cell;
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

/// Who has more memory takes many times as long to fall asleep and to wake as a small process, and makes no more room: it
/// does not sleep while it runs at least so often.
const LIGHT_BYTES_MAX: u64 = 2 << 20;
const HEAVY_AFTER_NS: u64 = 1_000_000_000;

/// See the module.
#[derive(Default)]
pub(super) struct Table {
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    by_pid: PidMap<usize>,
    /// Seats of those that are awake: those that sleep are many more.
    awake: Vec<usize>,
    /// Where in that [`Table::next_idle`] goes on.
    hand: usize,
}

/// One process.
pub(super) struct Seat {
    pub(super) tag: Arc<Tag>,
    pub(super) control: Control,
    pub(super) stand: Stand,
    /// When its last slice began, by the board's time, or else when it came here.
    pub(super) since_ns: u64,
    /// When it woke or came here, by the same time.
    pub(super) woke_ns: u64,
    /// It cannot sleep.
    pub(super) restless: bool,
    /// Its last slice was short.
    pub(super) brief: bool,
    pub(super) habits: Habits,
    /// If it is ready: its turn comes soon.
    pub(super) soon: bool,
    /// Where it is among those that are awake: the table's to say.
    pub(super) awake_at: Option<usize>,
}

impl Seat {
    /// Of one that comes. When, [`Table::insert`] notes.
    pub(super) fn new(tag: Arc<Tag>, control: Control, stand: Stand, habits: Habits) -> Seat {
        Seat {
            tag,
            control,
            stand,
            since_ns: 0,
            woke_ns: 0,
            restless: false,
            brief: true,
            habits,
            soon: false,
            awake_at: None,
        }
    }

    pub(super) fn is_asleep(&self) -> bool {
        match &self.stand {
            Stand::Waiting(execution) | Stand::Ready(execution) => execution.is_asleep(),
            Stand::Running { .. } => false,
        }
    }

    /// Whether it would take long to put it to sleep, and to wake it, for it has just run, or come.
    fn is_heavy(&self, now_ns: u64) -> bool {
        self.since_ns + HEAVY_AFTER_NS > now_ns && self.control.memory_bytes() > LIGHT_BYTES_MAX
    }

    fn may_sleep(&self, now_ns: u64) -> bool {
        let awake = matches!(&self.stand, Stand::Waiting(execution) if !execution.is_asleep());
        let may = awake && !self.restless && !self.is_heavy(now_ns);
        may && self.tag.wish() == Wish::None && !self.tag.is_woken()
    }

    /// Whether it could sleep until its turn comes.
    fn may_nap(&self, now_ns: u64) -> bool {
        let awake = matches!(&self.stand, Stand::Ready(execution) if !execution.is_asleep());
        let may = awake && !self.restless && !self.soon && !self.is_heavy(now_ns);
        may && self.tag.wish() == Wish::None
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
    /// It comes at this time: it has not been awake for longer than others, nor waited.
    pub(super) fn insert(&mut self, seat: Seat, now_ns: u64) -> usize {
        let seat = Seat { since_ns: now_ns, woke_ns: now_ns, ..seat };
        let at = self.free.pop().unwrap_or(self.seats.len());
        let before = self.by_pid.insert(seat.tag.pid(), at);
        assert!(before.is_none(), "a pid is taken once, by the registry");
        if at == self.seats.len() {
            self.seats.push(Some(seat));
        } else {
            self.seats[at] = Some(seat);
        }
        if !self.get(at).is_asleep() {
            self.note_awake(at, now_ns);
        }
        at
    }

    /// It is awake from now on, if it was not.
    pub(super) fn note_awake(&mut self, at: usize, now_ns: u64) {
        let place = self.awake.len();
        let seat = self.get_mut(at);
        if seat.awake_at.is_none() {
            (seat.awake_at, seat.woke_ns) = (Some(place), now_ns);
            self.awake.push(at);
        }
    }

    /// It sleeps from now on, or goes.
    pub(super) fn note_asleep(&mut self, at: usize) {
        let Some(place) = self.get_mut(at).awake_at.take() else { return };
        self.awake.swap_remove(place);
        if let Some(moved) = self.awake.get(place).copied() {
            self.get_mut(moved).awake_at = Some(place);
        }
    }

    /// The next one of those that are awake, round and round.
    fn next_awake(&mut self) -> Option<usize> {
        self.hand = if self.hand + 1 < self.awake.len() { self.hand + 1 } else { 0 };
        self.awake.get(self.hand).copied()
    }

    /// Those that are awake, and whose last slice began after that, or who have come since.
    pub(super) fn awake_since(&self, since_ns: u64) -> impl Iterator<Item = &Seat> {
        let awake = self.awake.iter().map(|at| self.get(*at));
        awake.filter(move |seat| seat.since_ns >= since_ns)
    }

    pub(super) fn remove(&mut self, at: usize) -> Seat {
        self.note_asleep(at);
        let seat = self.seats[at].take().expect("who is removed is there");
        self.by_pid.remove(&seat.tag.pid());
        self.free.push(at);
        seat
    }

    /// Where the process of this pid is.
    pub(super) fn seat_of(&self, pid: Pid) -> Option<usize> {
        self.by_pid.get(&pid).copied()
    }

    /// Whether the process of this pid is there.
    pub(super) fn is_at(&self, pid: Pid, at: usize) -> bool {
        matches!(self.seats.get(at), Some(Some(seat)) if seat.tag.pid() == pid)
    }

    /// Where the process of this tag is; not one of the same pid that came after it.
    pub(super) fn find(&self, tag: &Arc<Tag>) -> Option<usize> {
        let at = *self.by_pid.get(&tag.pid())?;
        Arc::ptr_eq(&self.get(at).tag, tag).then_some(at)
    }

    /// Who has waited longest of some, among those whose last slice began before that, and when it did. All that are awake
    /// are looked at in turn.
    pub(super) fn next_idle(&mut self, before_ns: u64, looks_max: usize) -> Option<(u64, usize)> {
        self.first_of(looks_max, |seat| {
            (seat.since_ns <= before_ns && seat.may_sleep(before_ns)).then_some(seat.since_ns)
        })
    }

    /// One of those in the queue whose turn comes late: of some, the one that has been awake longest. So whoever is woken has
    /// many turns. Also when the first slice of all of these began: so long a round takes.
    pub(super) fn next_late(&mut self, now_ns: u64, looks_max: usize) -> Option<(u64, usize)> {
        let since_ns = Cell::new(u64::MAX);
        let late = self.first_of(looks_max, |seat| {
            let may = seat.may_nap(now_ns);
            if may {
                since_ns.set(since_ns.get().min(seat.since_ns));
            }
            may.then_some(seat.woke_ns)
        });
        late.map(|(_, seat)| (since_ns.get(), seat))
    }

    /// The one of lowest rank of some that have one.
    fn first_of(
        &mut self,
        looks_max: usize,
        rank: impl Fn(&Seat) -> Option<u64>,
    ) -> Option<(u64, usize)> {
        let mut first: Option<(u64, usize)> = None;
        let mut compared = 0;
        for _ in 0..self.awake.len().min(looks_max) {
            let at = self.next_awake()?;
            if let Some(rank) = rank(self.get(at)) {
                first = Some(first.unwrap_or((u64::MAX, at)).min((rank, at)));
                compared += 1;
            }
            if compared == COMPARED_MAX {
                break;
            }
        }
        first
    }

    pub(super) fn get(&self, at: usize) -> &Seat {
        self.seats[at].as_ref().expect("seats that are spoken of are filled")
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut Seat {
        self.seats[at].as_mut().expect("seats that are spoken of are filled")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use peripatos_engine::{
        Code, CodeKind, Limits, LoadOptions, Process, ProcessOptions, Runtime, Settings,
    };

    use super::*;
    use crate::origin::Origin;

    const SECOND_NS: u64 = 1_000_000_000;

    fn code(runtime: &Runtime, pages: u32) -> Code {
        let text =
            format!(r#"(module (memory (export "memory") {pages}) (func (export "_start")))"#);
        let wasm = wat::parse_str(text).unwrap();
        runtime.load(wasm.into(), LoadOptions { kind: CodeKind::Hot }).unwrap()
    }

    /// A process that is ready and has not run.
    fn ready(code: &Code, number: u64) -> Seat {
        let options = ProcessOptions {
            pid: Pid::new(number, number),
            args: Vec::new(),
            env: Vec::new(),
            devices: Box::new(Origin::new()),
            limits: Limits::default(),
            freeze_every: None,
        };
        let process = Process::spawn(code, options).unwrap();
        let tag = Arc::new(Tag::new(process.pid(), 0, None));
        let control = process.control();
        let stand = Stand::Ready(Execution::new(process, &tag, Weak::new()));
        Seat::new(tag, control, stand, Habits::default())
    }

    #[test]
    fn of_those_that_are_ready_the_one_that_came_first_sleeps_first() {
        let runtime = Runtime::new(Settings::default()).unwrap();
        let small = code(&runtime, 1);
        let mut table = Table::default();
        let first = table.insert(ready(&small, 1), SECOND_NS);
        let second = table.insert(ready(&small, 2), 2 * SECOND_NS);
        assert_eq!(table.next_late(3 * SECOND_NS, 9), Some((SECOND_NS, first)));
        // It sleeps, and wakes: now the other one has been awake for longer.
        table.note_asleep(first);
        table.note_awake(first, 3 * SECOND_NS);
        assert_eq!(table.next_late(4 * SECOND_NS, 9), Some((SECOND_NS, second)));
    }

    #[test]
    fn a_large_one_does_not_sleep_within_a_second_of_coming() {
        let runtime = Runtime::new(Settings::default()).unwrap();
        let large = code(&runtime, 1 + (LIGHT_BYTES_MAX >> 16) as u32);
        let mut table = Table::default();
        let seat = table.insert(ready(&large, 1), 5 * SECOND_NS);
        assert!(table.get(seat).is_heavy(6 * SECOND_NS - 1));
        assert_eq!(table.next_late(6 * SECOND_NS - 1, 9), None);
        assert_eq!(table.next_late(6 * SECOND_NS, 9), Some((5 * SECOND_NS, seat)));
    }
}
