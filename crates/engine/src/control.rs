//! Asking a running process for attention, from any thread.
//!
//! Invariants:
//! * a request is first noted, then shown in the preempt bytes; the process first clears the bytes,
//!   then looks at the notes: no request is lost;
//! * the pointer to the preempt bytes is used only under the lock, and taken out under the same lock
//!   before the store is dropped ([`Shared::detach`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::PreCopy;
use crate::flags::PreemptBytes;
use crate::pool::{Ground, Whereabouts};

/// A handle on one process: clone it, send it to other threads, keep it as long as you like.
///
/// Requests to a process that has ended, or whose store is gone, do nothing.
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Control {
        Control(shared)
    }

    /// Asks the process to freeze at its next check, or in the host call it waits in. Returns at
    /// once; [`crate::Process::run`] then returns [`crate::Outcome::Frozen`], or its end if that
    /// came first. A plain process cannot be frozen: nothing happens.
    pub fn freeze(&self) {
        let now_ns = (self.0.made_at.elapsed().as_nanos() as u64).max(1);
        // A request that is under way already counts from when it was made.
        let _ = self.0.asked_ns.compare_exchange(0, now_ns, Ordering::SeqCst, Ordering::SeqCst);
        self.0.ask(&self.0.freeze);
    }

    /// Whether the process waits for its own code to be compiled (the first slice that ends at a place
    /// waits for the continuation there). It wants a core as much as one that runs.
    #[must_use]
    pub fn waits_for_code(&self) -> bool {
        self.0.waits_for_code.load(Ordering::Relaxed)
    }

    /// Whether the process sleeps ([`crate::Process::sleep`]).
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.0.asleep.load(Ordering::Relaxed)
    }

    /// Ends the process's time slice: at its next check it gives way once to whoever else its
    /// executor runs.
    pub fn preempt(&self) {
        self.0.ask(&self.0.preempt);
    }

    /// Linear memory of the process, bytes: what its program has, not what it has touched.
    pub fn memory_bytes(&self) -> u64 {
        self.0.memory_bytes.load(Ordering::Relaxed)
    }

    /// Begins to copy the process's memory while it runs. Nothing has been copied yet.
    ///
    /// # Errors
    /// It cannot be: why.
    pub fn pre_copy(&self) -> Result<PreCopy, String> {
        PreCopy::begin(Arc::clone(&self.0))
    }
}

/// What a process and its controls share. A freeze takes no lock on the process's side: who asks
/// holds it meanwhile, and to be parked and woken would take longer than all the rest.
#[derive(Debug)]
pub(crate) struct Shared {
    freeze: AtomicBool,
    preempt: AtomicBool,
    made_at: Instant,
    /// When the freeze was asked for, nanoseconds since `made_at`; 0: it is not.
    asked_ns: AtomicU64,
    /// Written by the limiter, for others to read.
    memory_bytes: AtomicU64,
    waits_for_code: AtomicBool,
    asleep: AtomicBool,
    /// There is a waker.
    armed: AtomicBool,
    inner: Mutex<Inner>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            freeze: AtomicBool::new(false),
            preempt: AtomicBool::new(false),
            made_at: Instant::now(),
            asked_ns: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            waits_for_code: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Option<PreemptBytes>,
    waker: Option<Waker>,
    /// Where its program's memories are, in their order.
    memories: Vec<Whereabouts>,
}

impl Shared {
    /// From now on requests are shown in these bytes.
    pub(crate) fn attach(&self, bytes: PreemptBytes) {
        let mut inner = self.lock();
        let asked = self.freeze.load(Ordering::SeqCst) || self.preempt.load(Ordering::SeqCst);
        // Written even if nothing is asked: the first write to a page that has only been read would
        // else come from another thread, and stop this one for the exchange of the page (some 30 us).
        bytes.write(asked.into());
        inner.bytes = Some(bytes);
    }

    /// Its program's memories are there from now on, in their order.
    pub(crate) fn set_memories(&self, memories: Vec<Whereabouts>) {
        self.lock().memories = memories;
    }

    /// Where its program's memories are, in their order. `None`: it is not awake, or has ended.
    pub(crate) fn grounds(&self) -> Option<Vec<Ground>> {
        // Outside of the lock: whoever has a place last cleans it.
        let memories = self.lock().memories.clone();
        memories.iter().map(Whereabouts::ground).collect()
    }

    /// The bytes are about to go away. Every store that was attached is detached before it drops.
    pub(crate) fn detach(&self) {
        self.lock().bytes = None;
    }

    /// Whether a freeze is asked for.
    pub(crate) fn freeze_wanted(&self) -> bool {
        self.freeze.load(Ordering::SeqCst)
    }

    /// The freeze has happened: the request is fulfilled. How long ago was it made?
    pub(crate) fn take_freeze(&self) -> Option<Duration> {
        self.freeze.store(false, Ordering::SeqCst);
        let asked_ns = self.asked_ns.swap(0, Ordering::SeqCst);
        let asked = Duration::from_nanos(asked_ns);
        (asked_ns > 0).then(|| self.made_at.elapsed().saturating_sub(asked))
    }

    /// Whether the slice is to end; the request is fulfilled.
    pub(crate) fn take_preempt(&self) -> bool {
        self.preempt.swap(false, Ordering::SeqCst)
    }

    /// The process waits for its code, or does so no longer.
    pub(crate) fn set_waits_for_code(&self, waits: bool) {
        self.waits_for_code.store(waits, Ordering::Relaxed);
    }

    /// The process sleeps, or does so no longer.
    pub(crate) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::Relaxed);
    }

    /// How much linear memory there is.
    pub(crate) fn set_memory_bytes(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Requests wake this waker from now on. Look at the requests after the call, not before. `known`: the process's own
    /// note of the waker, which spares the lock while it is still there. (A request that takes it out at this moment
    /// wakes it, and the process looks again.)
    #[inline]
    pub(crate) fn register(&self, waker: &Waker, known: &mut Option<Waker>) {
        let same = known.as_ref().is_some_and(|known| known.will_wake(waker));
        if !same || !self.armed.load(Ordering::Acquire) {
            self.arm(waker);
            *known = Some(waker.clone());
        }
    }

    #[cold]
    fn arm(&self, waker: &Waker) {
        let mut inner = self.lock();
        inner.waker = Some(waker.clone());
        self.armed.store(true, Ordering::Release);
    }

    fn ask(&self, note: &AtomicBool) {
        let mut inner = self.lock();
        note.store(true, Ordering::SeqCst);
        if let Some(bytes) = &inner.bytes {
            bytes.write(1);
        }
        let waker = inner.waker.take();
        self.armed.store(false, Ordering::Release);
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock can panic half-way: a poisoned lock's content is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
