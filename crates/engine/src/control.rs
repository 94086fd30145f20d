//! Asking a running process for attention, from any thread.
//!
//! Invariants:
//! * a request is first noted, then shown in the preempt bytes; the process first clears the bytes,
//!   then looks at the notes: no request is lost;
//! * the pointer to the preempt bytes is used only under the lock, and taken out under the same lock
//!   before the store is dropped ([`Shared::detach`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::flags::PreemptBytes;

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
        self.0.lock().asked_at.get_or_insert_with(Instant::now);
        self.0.ask(&self.0.freeze);
    }

    /// Ends the process's time slice: at its next check it gives way once to whoever else its
    /// executor runs.
    pub fn preempt(&self) {
        self.0.ask(&self.0.preempt);
    }
}

/// What a process and its controls share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    freeze: AtomicBool,
    preempt: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Option<PreemptBytes>,
    waker: Option<Waker>,
    asked_at: Option<Instant>,
}

impl Shared {
    /// From now on requests are shown in these bytes.
    pub(crate) fn attach(&self, bytes: PreemptBytes) {
        let mut inner = self.lock();
        if self.freeze.load(Ordering::SeqCst) || self.preempt.load(Ordering::SeqCst) {
            bytes.write(1);
        }
        inner.bytes = Some(bytes);
    }

    /// The bytes are about to go away. Every store that was attached is detached before it drops.
    pub(crate) fn detach(&self) {
        self.lock().bytes = None;
    }

    /// Whether a freeze is asked for.
    pub(crate) fn freeze_wanted(&self) -> bool {
        self.freeze.load(Ordering::SeqCst)
    }

    /// The freeze has happened: the request is fulfilled. When was it made?
    pub(crate) fn take_freeze(&self) -> Option<Instant> {
        self.freeze.store(false, Ordering::SeqCst);
        self.lock().asked_at.take()
    }

    /// Whether the slice is to end; the request is fulfilled.
    pub(crate) fn take_preempt(&self) -> bool {
        self.preempt.swap(false, Ordering::SeqCst)
    }

    /// Requests wake this waker from now on. Look at the requests after the call, not before.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut inner = self.lock();
        if !inner.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
    }

    fn ask(&self, note: &AtomicBool) {
        let mut inner = self.lock();
        note.store(true, Ordering::SeqCst);
        if let Some(bytes) = &inner.bytes {
            bytes.write(1);
        }
        let waker = inner.waker.take();
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
