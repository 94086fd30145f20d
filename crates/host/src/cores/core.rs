//! One core: its processes, and each step that one takes from one stand to another. It belongs to its
//! thread ([`super::here`]) and decides; what it decides is done by [`super::turns`], without it.
//!
//! Invariants:
//! * A process is in the queue, or held ([`super::held`]), exactly while it stands there as ready.
//! * The execution of what runs is not here: nothing of the core is borrowed while a process runs.
//! * Before a core runs a process it shows that it will, and then looks whether a packet has come or
//!   an idle core wants one of its queue. Who comes later sees what runs, and can end its slice.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_engine::Control;

use super::SLICE;
use super::board::Board;
use super::crossing::{Crossing, Join};
use super::execution::{Execution, RunEnd, is_frozen};
use super::held::Held;
use super::lookout::Waits;
use super::nested::Nested;
use super::packet::{Packet, Parcel};
use super::post::Post;
use super::queue::{BRIEF, Queue};
use super::table::{Seat, Stand, Table};
use super::tag::{Tag, Wish};
use super::ticker::WATCH_NS;
use super::watch::Watch;
use crate::talk::{self, Doing};

/// See the module.
pub(super) struct Core {
    pub(super) board: Arc<Board>,
    pub(super) number: usize,
    pub(super) table: Table,
    /// Seats of those that are ready.
    pub(super) queue: Queue,
    /// Ready, too, and not in it.
    pub(super) held: Held,
    /// The seat of what runs: the innermost, if it runs nested.
    pub(super) running: Option<usize>,
    pub(super) nested: Nested,
    /// An idle core asked for a process.
    asked: bool,
    /// It has looked into the inbox again, with a process about to run.
    looked: bool,
    /// When it may be looked for a group to give away.
    pub(super) part_at: Option<Instant>,
    pub(super) crossing: Crossing,
    pub(super) closing: bool,
    /// Of the slice that runs.
    pub(super) waits: Waits,
}

/// What a core is to do.
pub(super) enum Next {
    /// Run this process.
    Run(Turn),
    /// Send these processes to that core.
    Give(usize, Vec<Parcel>),
    /// Look into the inbox.
    Receive,
    /// Ask another core, for those that are idle.
    AskOn,
    /// See whether some who talk with each other can go to an idle core together.
    Part,
    /// Send all who talk to another core.
    Join(Join),
    /// Wait for a packet.
    Wait,
    /// End.
    Close,
}

/// A process whose turn it is, taken out of its seat.
pub(super) struct Turn {
    pub(super) seat: usize,
    pub(super) execution: Execution,
    pub(super) killed: bool,
    pub(super) began_ns: u64,
}

/// A process that is to fall asleep, taken out of its seat.
pub(super) struct Nap {
    seat: usize,
    /// It is in the queue all the while.
    is_ready: bool,
    pub(super) tag: Arc<Tag>,
    pub(super) control: Control,
    pub(super) execution: Execution,
}

impl Turn {
    /// The process, if it is about to be woken.
    pub(super) fn wakes(&self, core: &Core) -> Option<Pid> {
        let wakes = !self.killed && self.execution.is_asleep();
        wakes.then(|| core.table.get(self.seat).tag.pid())
    }

    /// Runs the process, unless it is to run no more.
    pub(super) fn run(&mut self) -> Poll<RunEnd> {
        if self.killed { Poll::Pending } else { self.execution.poll() }
    }
}

/// What is left of a process that is over, as far as this core is concerned.
pub(super) struct Departure {
    pub(super) tag: Arc<Tag>,
    /// To be dropped: it holds the process if that has not come to an end by itself.
    pub(super) execution: Execution,
    pub(super) polled: Poll<RunEnd>,
}

/// Which turn is next.
impl Core {
    pub(super) fn new(board: Arc<Board>, number: usize) -> Core {
        let crossing = Crossing::new(board.cores(), Instant::now());
        Core {
            board,
            number,
            table: Table::default(),
            queue: Queue::default(),
            held: Held::default(),
            running: None,
            nested: Nested::default(),
            asked: false,
            looked: false,
            part_at: None,
            crossing,
            closing: false,
            waits: Waits::default(),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// `watch` says when the slice begins.
    pub(super) fn next(&mut self, watch: &Watch) -> Next {
        assert!(self.running.is_none());
        if self.closing {
            return Next::Close;
        }
        if let Some(next) = self.next_to_go(watch) {
            return next;
        }
        // Who has others to give away sees who is idle without being asked.
        if mem::take(&mut self.asked) && self.queue.len() == 1 {
            return Next::AskOn;
        }
        let (now_ns, cpu) = (self.board.time_ns(watch.at()), watch.cpu());
        self.queue.sort_out(|seat| self.table.get(seat).is_asleep());
        self.keep_shares(now_ns);
        let Some(seat) = self.queue.front() else { return Next::Wait };
        self.post().show_running(seat, now_ns, cpu);
        let waits = !self.post().inbox.is_empty();
        let looks = waits || (self.board.idle.any() && self.has_spare());
        // Once: packets that make more of their kind are not to keep everybody from the core.
        if looks && !mem::replace(&mut self.looked, true) {
            self.post().show_nothing();
            return Next::Receive;
        }
        self.looked = false;
        self.queue.pop_front();
        self.show_ready();
        if let Some(deadline_ns) = self.post().deadline_ns() {
            // Whoever waits for a message is told in time, whatever runs.
            self.board.ticker.look_at(deadline_ns);
        }
        self.show_share(seat, now_ns);
        if waits || !self.queue.is_empty() {
            self.board.ticker.look_at(now_ns + SLICE.as_nanos() as u64);
        }
        if self.post().is_wired() {
            self.board.ticker.look_at(now_ns + WATCH_NS);
        }
        self.running = Some(seat);
        self.table.note_awake(seat, now_ns);
        let process = self.table.get_mut(seat);
        process.tag.begin_slice(cpu);
        let killed = process.tag.wish() == Wish::Kill;
        match mem::replace(&mut process.stand, Stand::Running { woken: false }) {
            Stand::Ready(execution) => {
                Next::Run(Turn { seat, execution, killed, began_ns: now_ns })
            }
            Stand::Waiting(_) | Stand::Running { .. } => {
                unreachable!("a process in the queue is ready")
            }
        }
    }

    /// What runs has called somebody on that core.
    pub(super) fn note_far(&mut self, core: usize) {
        if let Some(seat) = self.running.filter(|_| core != self.number) {
            let process = self.table.get_mut(seat);
            process.habits.note_far(core);
            process.tag.counts.note_near(1, || None);
        }
    }

    /// What runs has called somebody on that node.
    pub(super) fn note_away(&self, node: u128) {
        if let Some(seat) = self.running {
            self.table.get(seat).tag.counts.note_away(node);
        }
    }

    /// A slice is over, with so many calls that stayed here: the process is ready again, waits, or leaves.
    pub(super) fn end_slice(
        &mut self,
        turn: Turn,
        polled: Poll<RunEnd>,
        used: Duration,
        near: u64,
    ) -> Option<Departure> {
        let Turn { seat, execution, began_ns, .. } = turn;
        assert_eq!(self.running.take(), Some(seat));
        self.post().show_nothing();
        self.queue.note_slice(used);
        let process = self.table.get_mut(seat);
        process.since_ns = began_ns;
        process.brief = used < BRIEF;
        process.tag.end_slice(used);
        self.crossing.note_slice(used, near);
        process.habits.note_slice(used, near);
        let pid = process.tag.pid();
        process.tag.counts.note_near(near, || talk::partners(pid)[0]);
        self.stand_again(seat, execution, polled)
    }

    /// A process was polled: it is ready again, waits, or leaves.
    fn stand_again(
        &mut self,
        seat: usize,
        execution: Execution,
        polled: Poll<RunEnd>,
    ) -> Option<Departure> {
        let process = self.table.get_mut(seat);
        let wish = process.tag.wish();
        let woken =
            matches!(process.stand, Stand::Running { woken: true }) || process.tag.is_woken();
        match polled {
            Poll::Pending if wish != Wish::Kill => {
                process.stand = Stand::Waiting(execution);
                if woken {
                    self.make_ready(seat);
                } else {
                    process.tag.set_runnable(false);
                }
                None
            }
            polled => self.stop(seat, execution, polled),
        }
    }

    /// A process has come to an end, or is to be ended.
    pub(super) fn stop(
        &mut self,
        seat: usize,
        execution: Execution,
        polled: Poll<RunEnd>,
    ) -> Option<Departure> {
        let wanted = self.table.get(seat).tag.wish() != Wish::None;
        match polled {
            // Nobody wants it to stand still: a test freezes it at every so many checks.
            Poll::Ready(end) if !wanted && is_frozen(&end) => {
                let tag = Arc::clone(&self.table.get(seat).tag);
                let Ok((process, _)) = *end else { unreachable!("it is frozen") };
                let execution = Execution::new(process, &tag, Arc::downgrade(&self.board));
                self.table.get_mut(seat).stand = Stand::Waiting(execution);
                self.make_ready(seat);
                None
            }
            polled => {
                let Seat { tag, .. } = self.remove(seat);
                Some(Departure { tag, execution, polled })
            }
        }
    }
}

/// Who sleeps.
impl Core {
    /// One of so many that has waited since before then, and when its last slice began.
    pub(super) fn next_idle(&mut self, before_ns: u64, looks_max: usize) -> Option<(u64, usize)> {
        self.table.next_idle(before_ns, looks_max)
    }

    /// One of so many that could run, but whose turn comes late, and since when each of these has had a turn.
    pub(super) fn next_late(&mut self, now_ns: u64, looks_max: usize) -> Option<(u64, usize)> {
        self.table
            .next_late(now_ns, looks_max)
            .filter(|(_, seat)| self.queue.front() != Some(*seat))
    }

    /// Takes one of these out of its seat.
    pub(super) fn begin_nap(&mut self, seat: usize) -> Nap {
        let process = self.table.get_mut(seat);
        let (tag, control) = (Arc::clone(&process.tag), process.control.clone());
        let stand = mem::replace(&mut process.stand, Stand::Running { woken: false });
        let is_ready = matches!(stand, Stand::Ready(_));
        match stand {
            Stand::Waiting(execution) | Stand::Ready(execution) => {
                Nap { seat, is_ready, tag, control, execution }
            }
            Stand::Running { .. } => unreachable!("it waits or is ready, said the table"),
        }
    }

    /// It does not wait for its kernel: it is not asked again soon.
    pub(super) fn stays_awake(&mut self, nap: Nap, now_ns: u64) {
        let process = self.table.get_mut(nap.seat);
        process.since_ns = now_ns;
        process.stand = Stand::Waiting(nap.execution);
    }

    /// It waits on, asleep if it could. Its waker was called for its freeze alone.
    pub(super) fn lies_down(&mut self, nap: Nap) {
        let Nap { seat, is_ready, execution, .. } = nap;
        let process = self.table.get_mut(seat);
        let asleep = execution.is_asleep();
        process.restless = !asleep;
        process.stand = if is_ready { Stand::Ready(execution) } else { Stand::Waiting(execution) };
        if asleep {
            self.table.note_asleep(seat);
        }
    }

    /// It was not to sleep after all.
    pub(super) fn end_nap(&mut self, nap: Nap, polled: Poll<RunEnd>) -> Option<Departure> {
        if nap.is_ready {
            self.strike(nap.seat);
        }
        self.stand_again(nap.seat, nap.execution, polled)
    }
}

/// What comes from others.
impl Core {
    /// It is not in the queue any more, nor held.
    fn strike(&mut self, seat: usize) {
        self.release(seat);
        self.queue.remove(seat);
        self.show_ready();
    }

    /// Takes in a packet; or says where it is to be sent on to, because its process was given away.
    pub(super) fn receive(&mut self, packet: Packet) -> Option<(usize, Packet)> {
        match packet {
            Packet::Take(parcel) => self.take(parcel),
            Packet::Wake(tag) => match self.table.find(&tag) {
                Some(seat) => drop(self.wake_seat(seat)),
                None => return self.forward(&tag).map(|core| (core, Packet::Wake(tag))),
            },
            Packet::Hurry(tag) => match self.table.find(&tag) {
                Some(seat) => self.hurry(seat),
                None => return self.forward(&tag).map(|core| (core, Packet::Hurry(tag))),
            },
            Packet::Ask => {
                self.post().asked.store(false, Ordering::SeqCst);
                self.asked = true;
            }
            Packet::Close => self.closing = true,
            // The loop has taken these out.
            Packet::Serve(_)
            | Packet::Resume(_)
            | Packet::Shift(_)
            | Packet::Talk(_)
            | Packet::Nobody(..)
            | Packet::Unreachable(_)
            | Packet::Wire(_)
            | Packet::LostNames(_)
            | Packet::Visit(_)
            | Packet::Leave(_)
            | Packet::Devices(_)
            | Packet::Survey(_) => {}
        }
        None
    }

    /// What a process does that waits for no other one.
    pub(super) fn doing(&self, pid: Pid) -> Doing {
        let Some(seat) = self.table.seat_of(pid) else {
            // A handler, which is not being called.
            return Doing::Asks;
        };
        match &self.table.get(seat).stand {
            _ if self.running == Some(seat) => Doing::Running,
            Stand::Ready(_) | Stand::Running { .. } => Doing::Ready,
            Stand::Waiting(_) => Doing::Asks,
        }
    }

    /// Where a process is that is not here. Nowhere, if it has left; and if it is on its way to this very
    /// core, it will be looked at when it comes.
    fn forward(&self, tag: &Tag) -> Option<usize> {
        tag.core().filter(|core| *core != self.number)
    }

    /// Takes in a process that begins here. Which core this is.
    pub(super) fn adopt(&mut self, parcel: Parcel) -> usize {
        self.take(parcel);
        self.number
    }

    fn take(&mut self, parcel: Parcel) {
        let Parcel { tag, control, execution, talking: _, habits } = parcel;
        let entry = (tag.pid(), control.clone());
        let stand = Stand::Waiting(execution);
        let seat = Seat::new(tag, control, stand, habits);
        let seat = self.table.insert(seat, self.board.time_ns(Instant::now()));
        self.post().show_control(seat, Some(entry));
        self.make_ready(seat);
    }

    /// A process gets the next turn.
    fn hurry(&mut self, seat: usize) {
        if !self.wake_seat(seat) && !self.release(seat) && self.queue.remove(seat) {
            self.queue.push_first(seat);
        }
    }

    /// A waker was called on this thread. `None`: the process is not here. If it is ready now, and was not before:
    /// whether it could be given away.
    pub(super) fn wake(&mut self, tag: &Arc<Tag>) -> Option<Option<bool>> {
        let running = self.running.filter(|seat| Arc::ptr_eq(&self.table.get(*seat).tag, tag));
        let seat = running.or_else(|| self.table.find(tag))?;
        let ready = self.wake_seat(seat);
        Some(ready.then(|| !self.table.get(seat).habits.is_bound()))
    }

    /// Whether the core is one of this board's, and which.
    pub(super) fn number_at(&self, board: &Arc<Board>) -> Option<usize> {
        Arc::ptr_eq(&self.board, board).then_some(self.number)
    }

    pub(super) fn wake_seat(&mut self, seat: usize) -> bool {
        match &mut self.table.get_mut(seat).stand {
            Stand::Waiting(_) => {
                self.make_ready_as(seat, true);
                return true;
            }
            Stand::Ready(_) => {}
            Stand::Running { woken } => *woken = true,
        }
        false
    }

    /// Puts a process that waits into the queue, behind all others.
    pub(super) fn make_ready(&mut self, seat: usize) {
        self.make_ready_as(seat, false);
    }

    /// Puts a process that waits into the queue: in front if it is to be frozen or killed. `came`: what it waited for has
    /// come.
    fn make_ready_as(&mut self, seat: usize, came: bool) {
        let process = self.table.get_mut(seat);
        let stand = mem::replace(&mut process.stand, Stand::Running { woken: false });
        let Stand::Waiting(execution) = stand else { unreachable!("the caller has just looked") };
        process.stand = Stand::Ready(execution);
        process.tag.set_runnable(true);
        let brief = came && process.brief;
        let (wish, pid) = (process.tag.wish(), process.tag.pid());
        let is_asleep = process.is_asleep();
        let waited_for = || self.queue.is_long() && talk::is_waited_for(pid);
        let soon = match wish {
            Wish::Freeze | Wish::Kill => {
                self.queue.push_first(seat);
                true
            }
            Wish::None if is_asleep && !waited_for() => {
                self.queue.push_asleep(seat, came);
                false
            }
            // So many may be ahead that it is long until the last one has its turn; but a large server is not to sleep
            // between two messages.
            Wish::None if brief => {
                let soon = waited_for();
                self.queue.push_ahead(seat);
                soon
            }
            Wish::None if waited_for() => {
                self.queue.push_wanted(seat);
                true
            }
            Wish::None => {
                self.queue.push_back(seat);
                false
            }
        };
        self.table.get_mut(seat).soon = soon;
        self.show_ready();
    }

    pub(super) fn remove(&mut self, seat: usize) -> Seat {
        self.post().show_control(seat, None);
        self.table.remove(seat)
    }

    pub(super) fn show_ready(&self) {
        self.post().show_ready(self.queue.len());
    }

    pub(super) fn post(&self) -> &Post {
        self.board.post(self.number)
    }
}
