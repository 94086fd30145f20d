//! What one core shows to all others, and where they reach it.
//!
//! Only the core's own thread writes here, but for the inbox, `asked` and `came_ns`. What it shows each slice it writes only
//! if it has changed: a store that others see at once takes as long as much of the slice.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_engine::Control;
use peripatos_kernel::Place;

use super::cpus::ThreadClock;
use super::inbox::Inbox;
use crate::talk::Calls;

/// See the module.
pub(super) struct Post {
    pub(super) inbox: Inbox,
    /// Processes in the core's queue.
    ready: AtomicUsize,
    /// The seat of what runs (the innermost, should one slice run several), plus one; 0: nothing.
    running: AtomicUsize,
    /// The processes by their seats, so that what runs can be told to give way. Changes only when
    /// a process comes or goes.
    controls: Mutex<Vec<Option<(Pid, Control)>>>,
    /// Which handler runs, on whoever's slice.
    pub(super) calls: Arc<Calls>,
    /// When somebody here has waited long enough, nanoseconds of the board's time; 0: nobody is waited for.
    deadline_ns: AtomicU64,
    /// When what runs has to give way in any case, for the shares of families; 0: it need not.
    share_ns: AtomicU64,
    /// There is a packet [`Ask`](super::packet::Packet::Ask) in the inbox.
    pub(super) asked: AtomicBool,
    /// When the slice began, by the board's time.
    slice_began_ns: AtomicU64,
    /// What the thread had used then.
    slice_cpu_ns: AtomicU64,
    /// The sockets of its wires.
    wires: Mutex<Vec<Arc<TcpStream>>>,
    /// Whether there are any.
    wired: AtomicBool,
    /// Packets wait to leave by them until the slice is over.
    unsent: AtomicBool,
    /// When something came by them while a process ran, nanoseconds of the board's time; 0: it has been read.
    came_ns: AtomicU64,
    /// The thread's clock, once it has started; nothing, where the system does not tell.
    clock: OnceLock<ThreadClock>,
}

/// What the core's thread does.
impl Post {
    /// Of the core at this place, one of so many.
    pub(super) fn new(place: Place, cores: usize) -> Post {
        Post {
            inbox: Inbox::new(place, cores),
            ready: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            controls: Mutex::default(),
            calls: Arc::default(),
            deadline_ns: AtomicU64::new(0),
            share_ns: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            slice_began_ns: AtomicU64::new(0),
            slice_cpu_ns: AtomicU64::new(0),
            wires: Mutex::default(),
            wired: AtomicBool::new(false),
            unsent: AtomicBool::new(false),
            came_ns: AtomicU64::new(0),
            clock: OnceLock::new(),
        }
    }

    /// This thread is the core.
    pub(super) fn open(&self) {
        self.inbox.open();
        if let Some(clock) = ThreadClock::own() {
            // Each core has a post of its own.
            let _ = self.clock.set(clock);
        }
    }

    pub(super) fn show_ready(&self, ready: usize) {
        if self.ready.load(Ordering::Relaxed) != ready {
            self.ready.store(ready, Ordering::SeqCst);
        }
    }

    /// Shows what is about to run. A fence follows before anything that the caller does next.
    pub(super) fn show_running(&self, seat: usize, now_ns: u64, cpu: Duration) {
        self.slice_began_ns.store(now_ns, Ordering::Relaxed);
        self.slice_cpu_ns.store(cpu.as_nanos() as u64, Ordering::Relaxed);
        self.running.store(seat + 1, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Shows what runs within the same slice from now on. What others have written before they looked at it, the
    /// caller sees.
    pub(super) fn show_nested(&self, seat: usize) {
        self.running.store(seat + 1, Ordering::SeqCst);
    }

    /// Shows until when somebody waits.
    pub(super) fn show_deadline(&self, deadline_ns: Option<u64>) {
        let deadline_ns = deadline_ns.unwrap_or(0);
        if self.deadline_ns.load(Ordering::Relaxed) != deadline_ns {
            self.deadline_ns.store(deadline_ns, Ordering::SeqCst);
        }
    }

    /// Shows when what runs has to give way in any case. A fence follows before it is counted on: the ticker's.
    pub(super) fn show_share(&self, until_ns: Option<u64>) {
        self.share_ns.store(until_ns.unwrap_or(0), Ordering::SeqCst);
    }

    /// When what runs has to give way in any case.
    pub(super) fn share_ns(&self) -> Option<u64> {
        Some(self.share_ns.load(Ordering::SeqCst)).filter(|at| *at > 0)
    }

    /// Until when somebody waits.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        Some(self.deadline_ns.load(Ordering::SeqCst)).filter(|at| *at > 0)
    }

    /// Nothing runs.
    pub(super) fn show_nothing(&self) {
        self.running.store(0, Ordering::Release);
    }

    /// Shows the wires.
    pub(super) fn show_wires(&self, wires: Vec<Arc<TcpStream>>) {
        self.wired.store(!wires.is_empty(), Ordering::SeqCst);
        *self.wires.lock().unwrap_or_else(PoisonError::into_inner) = wires;
    }

    /// Shows whether packets wait to leave.
    pub(super) fn show_unsent(&self, unsent: bool) {
        self.unsent.store(unsent, Ordering::Relaxed);
    }

    /// It looks at its wires: since when something lies there, if the ticker saw that.
    pub(super) fn take_came_ns(&self) -> Option<u64> {
        match self.came_ns.load(Ordering::Relaxed) {
            0 => None,
            _ => Some(self.came_ns.swap(0, Ordering::Relaxed)),
        }
    }

    /// Enters a process, or strikes it out.
    pub(super) fn show_control(&self, seat: usize, entry: Option<(Pid, Control)>) {
        let mut controls = self.controls();
        if controls.len() <= seat {
            controls.resize(seat + 1, None);
        }
        controls[seat] = entry;
    }

    fn controls(&self) -> MutexGuard<'_, Vec<Option<(Pid, Control)>>> {
        // Nothing under the lock can panic half-way.
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What others see and do.
impl Post {
    /// How many processes want the core, the one that it has included. Packets count as one each.
    pub(super) fn load(&self) -> usize {
        let running = usize::from(self.is_running());
        running + self.ready.load(Ordering::SeqCst) + self.inbox.len()
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::SeqCst) != 0
    }

    /// When the slice began, as nanoseconds of the board's time; `None`: nothing runs.
    pub(super) fn slice_began_ns(&self) -> Option<u64> {
        self.is_running().then(|| self.slice_began_ns.load(Ordering::Relaxed))
    }

    /// Whether packets may come without a word to the inbox.
    pub(super) fn is_wired(&self) -> bool {
        self.wired.load(Ordering::Relaxed)
    }

    /// By which sockets.
    pub(super) fn wires(&self) -> Vec<Arc<TcpStream>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something has come by them.
    pub(super) fn note_came(&self, now_ns: u64) {
        // Since when matters: it may have been noted before.
        let _ = self.came_ns.compare_exchange(0, now_ns, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether packets wait to leave.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Lets what runs give way, unless it is this process. If another one runs by the time that this
    /// is done, it gives way once for nothing.
    pub(super) fn preempt(&self, unless: Option<Pid>) {
        self.calls.preempt();
        let Some(seat) = self.running.load(Ordering::SeqCst).checked_sub(1) else { return };
        let control = match self.controls().get(seat) {
            Some(Some((pid, control))) if Some(*pid) != unless => control.clone(),
            _ => return,
        };
        // Outside of the lock: it may call a waker.
        control.preempt();
    }

    /// How long the thread has been on a CPU, and how long it has waited for one; nothing, where the system does not tell.
    pub(super) fn times(&self) -> (Duration, Duration) {
        self.clock.get().and_then(ThreadClock::read_both).unwrap_or_default()
    }

    /// What the thread has used, if it runs a process. It may be a few milliseconds behind.
    pub(super) fn clock(&self, epoch: Instant) -> Duration {
        self.clock.get().and_then(ThreadClock::read).unwrap_or_else(|| {
            // As good as the machine is idle otherwise.
            let began = Duration::from_nanos(self.slice_began_ns.load(Ordering::Relaxed));
            let cpu = Duration::from_nanos(self.slice_cpu_ns.load(Ordering::Relaxed));
            cpu + epoch.elapsed().saturating_sub(began)
        })
    }
}
