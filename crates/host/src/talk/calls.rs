//! Which handler runs on a thread, for others who want it to give way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use peripatos_engine::Control;

/// The innermost call of a thread. Only the thread itself writes here.
#[derive(Debug, Default)]
pub struct Calls {
    /// The handler's slot, plus one; 0: none runs.
    running: AtomicUsize,
    /// By slot. Changes only when a handler comes or goes.
    controls: Mutex<Vec<Option<Control>>>,
}

impl Calls {
    /// Lets the handler that runs give way, if one does. If it has returned by the time that this is done, the next call
    /// of it gives way once for nothing.
    pub fn preempt(&self) {
        let Some(slot) = self.running.load(Ordering::SeqCst).checked_sub(1) else { return };
        let control = self.lock().get(slot).cloned().flatten();
        // Outside of the lock: it may call a waker.
        control.iter().for_each(Control::preempt);
    }

    pub(super) fn set(&self, slot: usize, control: Option<Control>) {
        let mut controls = self.lock();
        if controls.len() <= slot {
            controls.resize(slot + 1, None);
        }
        controls[slot] = control;
    }

    /// A handler is called. What is to be given to [`Calls::leave`].
    pub(super) fn enter(&self, slot: usize) -> usize {
        let before = self.running.load(Ordering::Relaxed);
        self.running.store(slot + 1, Ordering::Release);
        before
    }

    pub(super) fn leave(&self, before: usize) {
        self.running.store(before, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Control>>> {
        // Nothing under the lock can panic half-way.
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
