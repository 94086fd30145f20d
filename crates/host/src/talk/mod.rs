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
mod device_clients;
mod device_process;
mod devices;
mod family;
mod handlers;
mod line;
mod lookout;
mod share;
mod sleep;
mod survey;
mod turn;
mod visitor;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use deadlines::Deadlines;
use device_process::Receiver;
use peripatos_abi::message::Status;
use peripatos_abi::{EndReason, Pid};
use peripatos_engine::{self as engine, Handler, Process, SleepingHandler};
use peripatos_kernel::{
    Circle, DecodeError, Form, Kernel, Moving, Names, Packet, Place, Slot, Woken,
};

pub use calls::Calls;
pub use deadlines::{expire, next_deadline};
pub use device_clients::DEVICE_CLIENTS_MAX;
pub use device_process::{DeviceProcess, DeviceWord, Serve, tell_devices};
pub use devices::ServedDevices;
pub use family::{
    Birth, Body, DeviceServer, FAMILY_MESSAGES_BYTES_MAX, FAMILY_PROCESSES_MAX, Family, Home,
    Member, Newcomer, Rules, no_program,
};
pub use handlers::{
    HandlerEnd, adopt_handler, end_handler, has_work, is_handler, next_over, resume_handler, work,
};
pub(crate) use handlers::{adopt_server, extract_awake, extract_handler};
pub use line::Line;
pub use lookout::Looked;
pub use share::Share;
pub(crate) use sleep::{
    Idle, Server, called_since, idle_handler, is_blocked, lull_handler, make_room, set_awake_max,
    take_sleepers,
};
pub use survey::{Doing, Survey};
pub use visitor::{Done, Visit, leave, visit};

/// Messages, watches and clients with which a process goes to another core without being asked. They take some 20 us there.
const LUGGAGE_MAX: usize = 128;

thread_local! {
    static TALK: RefCell<Option<Talk>> = const { RefCell::new(None) };
}

/// What the host provides a thread's kernel with.
pub struct Surroundings {
    /// Which kernel this is.
    pub place: Place,
    /// Which of those that have been at this place: a number that was drawn.
    pub era: u32,
    /// The names of all processes that this kernel's can look up.
    pub names: Arc<Mutex<Names>>,
    /// Is told when a process here has a name, or has it no more. Must not call back.
    pub named: Box<dyn Fn()>,
    /// Brings a packet on its way, or gives it back: there is no other kernel, and so nobody has the process that it is for.
    /// Must not wait, or call back.
    pub post: Box<dyn Fn(Box<Packet>) -> Option<Box<Packet>>>,
    /// At which kernel of this node a process is, if it is on any. Must not wait, or call back.
    pub locate: Box<dyn Fn(Pid) -> Option<Place>>,
    /// Ends a process of this thread's kernel, for another one wants it. Must not wait, or call back.
    pub kill: Box<dyn Fn(Pid)>,
    /// Lets a new process run, on this thread; it is to be adopted. Called while its parent runs.
    pub settle: Rc<dyn Fn(Newcomer) -> Result<(), Status>>,
    /// Is told of processes that were waiting for each other in a circle. Must not wait, or call back.
    pub deadlock: Box<dyn Fn(Circle)>,
    /// Shows others which handler runs.
    pub calls: Arc<Calls>,
    /// Lets a process that can go on run at once, within the slice of the one that runs, until it waits again or gives
    /// way. `false`: it cannot be, and has not run. Is handed what it has left there for that process the last time, or
    /// zero.
    pub turn: fn(Pid, &mut usize) -> bool,
    /// What runs is about to wait, and will call `look_out` then: so others need not have it give way for what they send.
    pub begin_looking: fn(),
    /// For a process that waits, and in its place: takes the next packet for this thread's kernel, if one comes soon. Must not
    /// call back.
    pub look_out: fn() -> Looked,
    /// Brings [`DeviceWord::Retry`] about for this device process, on this thread, when others have had their turn. Must not
    /// call back.
    pub again: Rc<dyn Fn(Pid)>,
}

#[cfg(test)]
impl Surroundings {
    /// Of a kernel that is the only one, whose processes have their turns like this.
    fn of_test(turn: fn(Pid, &mut usize) -> bool) -> Surroundings {
        Surroundings {
            deadlock: Box::new(|_| ()),
            place: Place { node: 1, core: 0 },
            era: 0,
            names: Arc::default(),
            post: Box::new(Some),
            locate: Box::new(|_| None),
            named: Box::new(|| {}),
            kill: Box::new(|_| {}),
            settle: Rc::new(|_| Ok(())),
            calls: Arc::default(),
            turn,
            begin_looking: || {},
            look_out: || Looked::NotNow,
            again: Rc::new(|_| {}),
        }
    }
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
    /// When the kernel was told the time last.
    ticked: Instant,
    /// Of what is called on no sender's stack.
    message: Box<[u8]>,
    /// Calls that stayed within this kernel.
    calls: u64,
    /// It pays to look out for packets in the place of who waits.
    looks_out: bool,
    /// About now, nanoseconds of the host's time.
    now_ns: u64,
    awake: sleep::Awake,
    /// More in this OS process that are awake, and handlers sleep that are not called.
    awake_max: usize,
    /// Handlers that have fallen asleep (`true`) or woken and of whom that has not been told.
    sleepers: HashMap<Pid, bool>,
    /// Device processes of this thread.
    devices: HashMap<Pid, Arc<Receiver>>,
}

#[derive(Default)]
struct Seat {
    /// Wakes the fiber that waits.
    waker: Option<Waker>,
    /// The handler, unless it is being called.
    handler: Option<Box<Handler>>,
    /// It looks itself for what it waits for, when the one that it lets run comes back, or whenever a packet comes: it need not be
    /// woken.
    looks: bool,
    /// Within whose call it ran last.
    caller: Option<Slot>,
    /// The handler, if it sleeps.
    asleep: Option<Box<SleepingHandler>>,
    /// When the handler was taken last.
    since_ns: u64,
    /// [`Surroundings::turn`]'s, of this process.
    core_seat: usize,
    /// Whom it called last within this kernel, two of them.
    partners: [Option<Slot>; 2],
}

impl Seat {
    /// The fiber waits.
    #[inline]
    fn wake_by(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Call(Slot),
    Resume(Slot),
}

/// Gives this thread a kernel. An earlier one is dropped, with its handlers.
pub fn open(surroundings: Surroundings) {
    let talk = Talk {
        kernel: Kernel::new(surroundings.place, surroundings.era),
        surroundings,
        seats: Vec::new(),
        work: VecDeque::new(),
        over: VecDeque::new(),
        deadlines: Deadlines::default(),
        ticked: Instant::now(),
        message: vec![0; peripatos_abi::message::MESSAGE_BYTES_MAX].into(),
        calls: 0,
        looks_out: false,
        now_ns: 0,
        awake: sleep::Awake::default(),
        awake_max: usize::MAX,
        sleepers: HashMap::new(),
        devices: HashMap::new(),
    };
    let before = TALK.replace(Some(talk));
    // Outside of the borrow: handlers' devices may be theirs to end.
    drop(before);
}

/// Takes this thread's kernel away.
pub fn close() {
    drop(TALK.take());
}

/// A process that runs on a fiber is here from now on. `parent`: who has spawned it, and may end it.
pub fn adopt(pid: Pid, parent: Option<Pid>) {
    let _ =
        with(|talk| talk.add(pid, Form::Fiber, parent).map(|slot| talk.seat(slot).waker = None));
}

/// What a process takes along from one kernel to another.
#[derive(Debug)]
pub struct Leaving {
    moving: Moving,
    deadline: Option<Instant>,
    since: Instant,
}

impl Leaving {
    /// Until when it waits for a message.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether it is this process's, and says of it what is so.
    #[must_use]
    pub fn is_of(&self, process: &Process) -> bool {
        let (form, parked) = match process.form() {
            engine::Form::Program => (Form::Fiber, false),
            engine::Form::Handler => (Form::Handler, process.frames() > 0),
        };
        let moving = &self.moving;
        (moving.pid(), moving.form(), moving.is_serving()) == (process.pid(), form, parked)
    }

    /// What it has under way, for an image.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.moving.encode()
    }

    /// The same, of an image of a process with so many bytes of memory.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(
        bytes: &[u8],
        memory_len: usize,
        deadline: Option<Instant>,
    ) -> Result<Leaving, DecodeError> {
        let moving = Moving::decode(bytes, memory_len)?;
        Ok(Leaving { moving, deadline, since: Instant::now() })
    }

    /// Whose it is.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.moving.pid()
    }
}

/// A process that has come from another kernel is here from now on.
pub fn adopt_leaving(leaving: Leaving) {
    let _ = with(|talk| talk.take_in(leaving).map(|slot| talk.seat(slot).waker = None));
    deliver();
}

/// A process leaves for another kernel. `None`: it is not here.
#[must_use]
pub fn extract(pid: Pid, to: Place) -> Option<Leaving> {
    let leaving = with(|talk| {
        let slot = talk.kernel.find(pid)?;
        let deadline = talk.deadlines.clear(slot);
        talk.kernel.extract(slot, to).map(|moving| Leaving {
            moving,
            deadline,
            since: Instant::now(),
        })
    });
    deliver();
    leaving.flatten()
}

/// A process has ended, for this reason.
pub fn ended(pid: Pid, reason: EndReason) {
    let seat = with(|talk| {
        let slot = talk.kernel.find(pid)?;
        talk.kernel.remove(slot, reason.to_bits());
        talk.deadlines.clear(slot);
        if talk.names().forget(pid) {
            (talk.surroundings.named)();
        }
        let seat = talk.seat(slot);
        if seat.handler.is_some() || seat.asleep.is_some() {
            talk.surroundings.calls.set(slot.index(), None);
        }
        Some(std::mem::take(talk.seat(slot)))
    });
    drop(seat);
    deliver();
}

/// What the kernel has for the loop of its thread to do between two slices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chores {
    /// When [`expire`] has something to do next.
    pub(crate) deadline: Option<Instant>,
    /// Whether [`work`] has.
    pub(crate) work: bool,
}

/// It is this time, nanoseconds of the host's: what there is to do.
pub(crate) fn chores(now_ns: u64) -> Chores {
    let chores = with(|talk| {
        talk.now_ns = now_ns;
        Chores { deadline: talk.next_deadline(), work: !talk.work.is_empty() }
    });
    chores.unwrap_or(Chores { deadline: None, work: false })
}

/// How many calls processes of this thread have made of each other here, and how often they have forwarded one.
pub(crate) fn calls() -> u64 {
    with(|talk| talk.calls).unwrap_or_default()
}

/// Whom a process called last among those here.
pub(crate) fn partners(pid: Pid) -> [Option<Pid>; 2] {
    let partners = with(|talk| {
        let slot = talk.kernel.find(pid)?;
        let partners = talk.seat(slot).partners;
        Some(partners.map(|partner| talk.kernel.pid(partner?)))
    });
    partners.flatten().unwrap_or_default()
}

/// Whether others wait for a process: for it to take their messages, or to reply.
pub(crate) fn is_waited_for(pid: Pid) -> bool {
    let waited_for = with(|talk| Some(talk.kernel.is_waited_for(talk.kernel.find(pid)?)));
    waited_for.flatten().unwrap_or(false)
}

/// Whether so much would go with a process to another core that it had better stay: a server of thousands, whom an idle core
/// took in turns with its own, came to nothing else.
pub(crate) fn is_laden(pid: Pid) -> bool {
    let luggage = with(|talk| Some(talk.kernel.luggage(talk.kernel.find(pid)?)));
    luggage.flatten().is_some_and(|luggage| luggage > LUGGAGE_MAX)
}

/// Whether packets come so soon that it pays to look out for them in the place of who waits.
pub(crate) fn set_looks_out(looks_out: bool) {
    let _ = with(|talk| talk.looks_out = looks_out);
}

/// A packet has come.
pub fn arrived(packet: Packet) {
    let _ = with(|talk| {
        talk.look_at_clock();
        talk.kernel.arrived(packet);
    });
    deliver();
}

/// A process may have lost names: if it is here it is told.
pub(crate) fn tell_lost_names(pid: Pid) {
    let _ = with(|talk| talk.kernel.find(pid).map(|slot| talk.tell_lost_names(slot, pid)));
    deliver();
}

/// A node is gone: who waits for its processes is told.
pub fn unreachable(node: u128) {
    let _ = with(|talk| talk.kernel.unreachable(node));
    deliver();
}

/// A packet has come back: nobody has the process that it is for. Given back: another core's kernel is to be asked.
pub fn nobody(packet: Packet, is_last: bool) -> Option<Packet> {
    let unknown = with(|talk| talk.kernel.nobody(packet, is_last)).flatten();
    deliver();
    unknown
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
        Out::Kill(pid) => TALK.with_borrow(|talk| {
            talk.iter().for_each(|talk| (talk.surroundings.kill)(pid));
        }),
        Out::Circle(circle) => TALK.with_borrow(|talk| {
            talk.iter().for_each(|talk| (talk.surroundings.deadlock)(circle.clone()));
        }),
        Out::Packet(packet) => {
            let back = post(packet);
            let _ = back.map(|packet| with(|talk| talk.kernel.nobody(*packet, true)));
        }
    }
}

fn post(packet: Box<Packet>) -> Option<Box<Packet>> {
    TALK.with_borrow(|talk| (talk.as_ref()?.surroundings.post)(packet))
}

enum Out {
    Wake(Waker),
    Kill(Pid),
    Packet(Box<Packet>),
    Circle(Circle),
}

impl Talk {
    fn seat(&mut self, slot: Slot) -> &mut Seat {
        if self.seats.len() <= slot.index() {
            self.seats.resize_with(slot.index() + 1, Seat::default);
        }
        &mut self.seats[slot.index()]
    }

    /// A process calls another one here, or forwards to it what it was called for.
    #[inline]
    fn note_call(&mut self, from: Slot, to: Slot) {
        self.calls += 1;
        let partners = &mut self.seat(from).partners;
        if partners[0] != Some(to) {
            *partners = [Some(to), partners[0]];
        }
    }

    fn add(&mut self, pid: Pid, form: Form, parent: Option<Pid>) -> Option<Slot> {
        self.look_at_clock();
        let slot = match parent {
            Some(parent) => self.kernel.add_child(pid, form, parent)?,
            None => self.kernel.add(pid, form)?,
        };
        self.seat(slot).partners = [None; 2];
        Some(slot)
    }

    fn take_in(&mut self, leaving: Leaving) -> Option<Slot> {
        let Leaving { mut moving, deadline, since } = leaving;
        moving.has_waited(since.elapsed().as_nanos() as u64);
        self.look_at_clock();
        let pid = moving.pid();
        let slot = self.kernel.adopt(moving)?;
        self.tell_lost_names(slot, pid);
        self.seat(slot).partners = [None; 2];
        deadline.into_iter().for_each(|at| self.deadlines.set(slot, at));
        Some(slot)
    }

    fn tell_lost_names(&mut self, slot: Slot, pid: Pid) {
        let lost = self.names().take_lost(pid);
        for (name, owner) in lost {
            // Who has not received thousands of such words does not look at them.
            self.kernel.name_lost(slot, &name, owner);
        }
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
                Woken::Kill(slot, _) => {
                    if let Some(pid) = self.kernel.pid(slot) {
                        return Some(Out::Kill(pid));
                    }
                }
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
        match self.kernel.next_packet() {
            Some(mut packet) => {
                self.kernel.aim(&mut packet, &self.surroundings.locate);
                Some(Out::Packet(packet))
            }
            None => self.kernel.next_circle().map(Out::Circle),
        }
    }
}
