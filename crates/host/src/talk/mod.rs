//! Where processes meet their kernel: the message kernel of this thread, and what the host adds to it.
//!
//! A thread that runs processes has one kernel, opened by [`open`]. A process reaches it through its [`Line`], whatever
//! thread it is on. A handler lives here, between calls; it is called on the stack of whoever sends to it, or from
//! [`work`] where that cannot be.
//!
//! Invariants:
//! * Nothing here is borrowed while a process runs, a waker is called or a packet leaves: a handler that is called is
//!   taken out of its seat, so that it can send, and nobody else can call it.
//! * Who can go on is woken, each time once; what leaves is given away, before the call that caused it returns.

mod calls;
mod deadlines;
mod handlers;
mod line;
mod turn;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use deadlines::Deadlines;
use peripatos_abi::Pid;
use peripatos_engine::Handler;
use peripatos_kernel::{Form, Kernel, Moving, Names, Packet, Place, Slot, Woken};

pub use calls::Calls;
pub use deadlines::{expire, next_deadline};
pub use handlers::{
    HandlerEnd, adopt_handler, end_handler, has_work, is_handler, next_over, resume_handler, work,
};
pub use line::Line;

thread_local! {
    static TALK: RefCell<Option<Talk>> = const { RefCell::new(None) };
}

/// What the host provides a thread's kernel with.
pub struct Surroundings {
    /// Which kernel this is.
    pub place: Place,
    /// The names of all processes that this kernel's can look up.
    pub names: Arc<Mutex<Names>>,
    /// Brings a packet on its way, or gives it back: nobody has the process that it is for. Must not wait, or call back.
    pub post: Box<dyn Fn(Packet) -> Option<Packet>>,
    /// Shows others which handler runs.
    pub calls: Arc<Calls>,
    /// Lets a process that can go on run at once, within the slice of the one that runs, until it waits again or gives
    /// way. `false`: it cannot be, and has not run.
    pub turn: fn(Pid) -> bool,
}

/// A thread's kernel, and what belongs to its processes.
struct Talk {
    kernel: Kernel,
    surroundings: Surroundings,
    /// By slot.
    seats: Vec<Seat>,
    /// Handlers that have something to do and nobody on whose stack.
    work: VecDeque<Work>,
    /// Handlers that have ended and whose end has not been told.
    over: VecDeque<(Pid, HandlerEnd)>,
    deadlines: Deadlines,
    /// Of what is called on no sender's stack.
    message: Box<[u8]>,
}

#[derive(Default)]
struct Seat {
    /// Wakes the fiber that waits.
    waker: Option<Waker>,
    /// The handler, unless it is being called.
    handler: Option<Box<Handler>>,
    /// It looks for its reply itself when the one that it lets run comes back: it need not be woken.
    looks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Call(Slot),
    Resume(Slot),
}

/// Gives this thread a kernel. An earlier one is dropped, with its handlers.
pub fn open(surroundings: Surroundings) {
    let talk = Talk {
        kernel: Kernel::new(surroundings.place),
        surroundings,
        seats: Vec::new(),
        work: VecDeque::new(),
        over: VecDeque::new(),
        deadlines: Deadlines::default(),
        message: vec![0; peripatos_abi::message::MESSAGE_BYTES_MAX].into(),
    };
    let before = TALK.replace(Some(talk));
    // Outside of the borrow: handlers' devices may be theirs to end.
    drop(before);
}

/// Takes this thread's kernel away.
pub fn close() {
    drop(TALK.take());
}

/// A process that runs on a fiber is here from now on.
pub fn adopt(pid: Pid) {
    let _ = with(|talk| talk.kernel.add(pid, Form::Fiber).map(|slot| talk.seat(slot).waker = None));
}

/// What a process takes along from one kernel to another.
#[derive(Debug)]
pub struct Leaving {
    moving: Moving,
    deadline: Option<Instant>,
}

/// A process that has come from another kernel is here from now on.
pub fn adopt_leaving(leaving: Leaving) {
    let _ = with(|talk| {
        let slot = talk.kernel.adopt(leaving.moving)?;
        talk.seat(slot).waker = None;
        leaving.deadline.map(|at| talk.deadlines.set(slot, at))
    });
    deliver();
}

/// A process leaves for another kernel. `None`: it is not here.
#[must_use]
pub fn extract(pid: Pid, to: Place) -> Option<Leaving> {
    let leaving = with(|talk| {
        let slot = talk.kernel.find(pid)?;
        let deadline = talk.deadlines.clear(slot);
        talk.kernel.extract(slot, to).map(|moving| Leaving { moving, deadline })
    });
    deliver();
    leaving.flatten()
}

/// A process has ended.
pub fn ended(pid: Pid) {
    let seat = with(|talk| {
        let slot = talk.kernel.find(pid)?;
        talk.kernel.remove(slot);
        talk.deadlines.clear(slot);
        talk.names().forget(pid);
        if talk.seat(slot).handler.is_some() {
            talk.surroundings.calls.set(slot.index(), None);
        }
        Some(std::mem::take(talk.seat(slot)))
    });
    drop(seat);
    deliver();
}

/// A packet has come.
pub fn arrived(packet: Packet) {
    let _ = with(|talk| talk.kernel.arrived(packet));
    deliver();
}

/// `None`: this thread has no kernel.
fn with<T>(act: impl FnOnce(&mut Talk) -> T) -> Option<T> {
    TALK.with_borrow_mut(|talk| talk.as_mut().map(act))
}

/// Wakes who can go on, and sends away what is to leave.
fn deliver() {
    while let Some(out) = with(Talk::next_out).flatten() {
        carry_out(out);
    }
}

fn carry_out(out: Out) {
    match out {
        Out::Wake(waker) => waker.wake(),
        Out::Packet(packet) => {
            let back = post(packet);
            let _ = back.map(|packet| with(|talk| talk.kernel.nobody(packet)));
        }
    }
}

fn post(packet: Packet) -> Option<Packet> {
    TALK.with_borrow(|talk| (talk.as_ref()?.surroundings.post)(packet))
}

enum Out {
    Wake(Waker),
    Packet(Packet),
}

impl Talk {
    fn seat(&mut self, slot: Slot) -> &mut Seat {
        if self.seats.len() <= slot.index() {
            self.seats.resize_with(slot.index() + 1, Seat::default);
        }
        &mut self.seats[slot.index()]
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        self.surroundings.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next thing to be done outside of the borrow.
    fn next_out(&mut self) -> Option<Out> {
        while let Some(woken) = self.kernel.next_woken() {
            match woken {
                Woken::Process(slot) if self.seat(slot).looks => {}
                Woken::Handler(slot) => self.work.push_back(Work::Call(slot)),
                Woken::Process(slot) if self.kernel.form(slot) == Some(Form::Handler) => {
                    self.work.push_back(Work::Resume(slot));
                }
                Woken::Process(slot) => {
                    if let Some(waker) = self.seat(slot).waker.take() {
                        return Some(Out::Wake(waker));
                    }
                }
            }
        }
        self.kernel.next_packet().map(Out::Packet)
    }
}
