//! The processes of all cores by their pids, for those who come from outside with nothing but a pid.
//!
//! It is touched when a process comes or leaves, falls asleep or wakes, and by who freezes, kills or samples; never by
//! a slice, a wake or a packet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_engine::Control;

use super::tag::{Tag, Wish};
use super::{NotHere, PROCESSES_MAX, Refusal, Sample};

/// See the module.
#[derive(Default)]
pub(super) struct Registry(Mutex<Entries>);

type Entry = (Arc<Tag>, Control);

/// Each process is in one of the maps.
#[derive(Default)]
struct Entries {
    awake: HashMap<Pid, Entry>,
    /// Most, where there are many: who samples often passes them over.
    asleep: HashMap<Pid, Entry>,
    /// Those of `asleep` that have fallen asleep since somebody asked. `None`: nobody has asked.
    fallen: Option<Vec<Pid>>,
}

impl Entries {
    fn get(&self, pid: Pid) -> Option<&Entry> {
        self.awake.get(&pid).or_else(|| self.asleep.get(&pid))
    }

    fn remove(&mut self, pid: Pid) -> Option<Entry> {
        self.awake.remove(&pid).or_else(|| self.asleep.remove(&pid))
    }
}

impl Registry {
    /// A process comes.
    ///
    /// # Errors
    /// It cannot; nothing is changed.
    pub(super) fn enter(&self, tag: &Arc<Tag>, control: Control) -> Result<(), Refusal> {
        let mut processes = self.lock();
        if processes.get(tag.pid()).is_some() {
            return Err(Refusal::Duplicate);
        }
        if processes.awake.len() + processes.asleep.len() >= PROCESSES_MAX {
            return Err(Refusal::Full);
        }
        processes.awake.insert(tag.pid(), (Arc::clone(tag), control));
        Ok(())
    }

    /// A process sleeps.
    pub(super) fn fell_asleep(&self, pid: Pid) {
        let mut processes = self.lock();
        if let Some(entry) = processes.awake.remove(&pid) {
            processes.asleep.insert(pid, entry);
            processes.fallen.iter_mut().for_each(|fallen| fallen.push(pid));
        }
    }

    /// A process is about to wake.
    pub(super) fn woke(&self, pid: Pid) {
        let mut processes = self.lock();
        if let Some(entry) = processes.asleep.remove(&pid) {
            processes.awake.insert(pid, entry);
        }
    }

    /// On which core it is. `None`: nobody has this pid.
    pub(super) fn core_of(&self, pid: Pid) -> Option<usize> {
        self.lock().get(pid).and_then(|(tag, _)| tag.core())
    }

    /// The tag of a handler. `None`: no handler of this pid is here.
    pub(super) fn handler(&self, pid: Pid) -> Option<Arc<Tag>> {
        let processes = self.lock();
        processes.get(pid).map(|(tag, _)| Arc::clone(tag)).filter(|tag| tag.is_handler())
    }

    /// A handler leaves.
    pub(super) fn leave_handler(&self, pid: Pid) -> Wish {
        self.handler(pid).map_or(Wish::None, |tag| self.leave(&tag))
    }

    /// A process leaves: from here on nothing more can be wished of it. What was wished by then is
    /// answered by its event.
    pub(super) fn leave(&self, tag: &Tag) -> Wish {
        let mut processes = self.lock();
        processes.remove(tag.pid());
        tag.leave();
        tag.wish()
    }

    /// Notes a wish. Also says whether it is new.
    ///
    /// # Errors
    /// No such process is here.
    pub(super) fn wish(&self, pid: Pid, wish: Wish) -> Result<(Arc<Tag>, Control, bool), NotHere> {
        let processes = self.lock();
        let (tag, control) = processes.get(pid).ok_or(NotHere(pid))?;
        // Under the lock: it cannot leave without seeing it.
        let new = tag.raise(wish);
        Ok((Arc::clone(tag), control.clone(), new))
    }

    /// All processes, ordered by pid; `clock` reads the clock of a core.
    pub(super) fn sample(&self, clock: impl Fn(usize) -> Duration) -> Vec<Sample> {
        let processes = self.lock();
        let all = processes.awake.iter().chain(&processes.asleep);
        let samples = all.filter_map(|(pid, entry)| sample(*pid, entry, &clock)).collect();
        drop(processes);
        ordered(samples)
    }

    /// Those that are awake, and those that have fallen asleep since this was asked last.
    pub(super) fn sample_awake(&self, clock: impl Fn(usize) -> Duration) -> Vec<Sample> {
        let mut processes = self.lock();
        let Some(fallen) = processes.fallen.replace(Vec::new()) else {
            drop(processes);
            return self.sample(clock);
        };
        let fallen = fallen.iter().filter_map(|pid| processes.asleep.get_key_value(pid));
        let all = processes.awake.iter().chain(fallen);
        let samples = all.filter_map(|(pid, entry)| sample(*pid, entry, &clock)).collect();
        drop(processes);
        ordered(samples)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sample(pid: Pid, (tag, control): &Entry, clock: impl Fn(usize) -> Duration) -> Option<Sample> {
    // First this: who is seen to wait has all its time counted.
    let runnable = tag.is_runnable();
    Some(Sample {
        pid,
        core: tag.core()?,
        cpu: tag.used_by_now(clock),
        runnable: runnable || control.waits_for_code(),
        asleep: !runnable && control.is_asleep(),
        memory_bytes: control.memory_bytes(),
    })
}

fn ordered(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_unstable_by_key(|sample| sample.pid);
    samples.dedup_by_key(|sample| sample.pid);
    samples
}
