//! The processes of all cores by their pids, for those who come from outside with nothing but a pid.
//!
//! It is touched when a process comes or leaves, and by who freezes, kills or samples; never by a slice, a
//! wake or a packet.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_engine::Control;

use super::tag::{Tag, Wish};
use super::{NotHere, PROCESSES_MAX, Refusal, Sample};

/// See the module.
#[derive(Default)]
pub(super) struct Registry(Mutex<HashMap<Pid, (Arc<Tag>, Control)>>);

impl Registry {
    /// A process comes.
    ///
    /// # Errors
    /// It cannot; nothing is changed.
    pub(super) fn enter(&self, tag: &Arc<Tag>, control: Control) -> Result<(), Refusal> {
        let mut processes = self.lock();
        let full = processes.len() >= PROCESSES_MAX;
        match processes.entry(tag.pid()) {
            Entry::Occupied(_) => Err(Refusal::Duplicate),
            Entry::Vacant(_) if full => Err(Refusal::Full),
            Entry::Vacant(entry) => {
                entry.insert((Arc::clone(tag), control));
                Ok(())
            }
        }
    }

    /// On which core it is. `None`: nobody has this pid.
    pub(super) fn core_of(&self, pid: Pid) -> Option<usize> {
        self.lock().get(&pid).and_then(|(tag, _)| tag.core())
    }

    pub(super) fn is_handler(&self, pid: Pid) -> bool {
        self.lock().get(&pid).is_some_and(|(tag, _)| tag.is_handler())
    }

    /// A handler leaves.
    pub(super) fn leave_handler(&self, pid: Pid) -> Wish {
        let tag = self.lock().get(&pid).map(|(tag, _)| Arc::clone(tag));
        tag.map_or(Wish::None, |tag| self.leave(&tag))
    }

    /// A process leaves: from here on nothing more can be wished of it. What was wished by then is
    /// answered by its event.
    pub(super) fn leave(&self, tag: &Tag) -> Wish {
        let mut processes = self.lock();
        processes.remove(&tag.pid());
        tag.leave();
        tag.wish()
    }

    /// Notes a wish. Also says whether it is new.
    ///
    /// # Errors
    /// No such process is here.
    pub(super) fn wish(&self, pid: Pid, wish: Wish) -> Result<(Arc<Tag>, Control, bool), NotHere> {
        let processes = self.lock();
        let (tag, control) = processes.get(&pid).ok_or(NotHere(pid))?;
        // Under the lock: it cannot leave without seeing it.
        let new = tag.raise(wish);
        Ok((Arc::clone(tag), control.clone(), new))
    }

    /// All processes, ordered by pid; `clock` reads the clock of a core.
    pub(super) fn sample(&self, clock: impl Fn(usize) -> Duration) -> Vec<Sample> {
        let processes = self.lock();
        let samples = processes.iter().filter_map(|(pid, (tag, control))| {
            // First this: who is seen to wait has all its time counted.
            let runnable = tag.is_runnable();
            Some(Sample {
                pid: *pid,
                core: tag.core()?,
                cpu: tag.used_by_now(&clock),
                runnable: runnable || control.waits_for_code(),
                memory_bytes: control.memory_bytes(),
            })
        });
        let mut samples: Vec<_> = samples.collect();
        drop(processes);
        samples.sort_unstable_by_key(|sample| sample.pid);
        samples
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pid, (Arc<Tag>, Control)>> {
        // Nothing under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
