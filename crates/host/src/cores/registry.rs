//! The processes of all cores by their pids, for those who come from outside with nothing but a pid.
//!
//! It is touched when a process comes or leaves, falls asleep or wakes, and by who freezes, kills or samples; never by
//! a slice or a wake, nor by most packets ([`super::lately`]).

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

/// One that is awake, and how it did when it was last told of: what has not changed since is not told again.
struct Awake {
    entry: Entry,
    told: Option<Sample>,
}

impl Awake {
    fn new(entry: Entry) -> Awake {
        Awake { entry, told: None }
    }
}

/// Each process is in one of the maps.
#[derive(Default)]
struct Entries {
    awake: HashMap<Pid, Awake>,
    /// Most, where there are many: who samples often passes them over.
    asleep: HashMap<Pid, Entry>,
    /// Those of `asleep` that have fallen asleep since somebody asked. `None`: nobody has asked.
    fallen: Option<Vec<Pid>>,
    /// Device processes, and on which core each is.
    devices: HashMap<Pid, usize>,
}

impl Entries {
    fn get(&self, pid: Pid) -> Option<&Entry> {
        self.awake.get(&pid).map(|awake| &awake.entry).or_else(|| self.asleep.get(&pid))
    }

    fn remove(&mut self, pid: Pid) -> Option<Entry> {
        let awake = self.awake.remove(&pid).map(|awake| awake.entry);
        awake.or_else(|| self.asleep.remove(&pid))
    }
}

impl Registry {
    /// A process comes.
    ///
    /// # Errors
    /// It cannot; nothing is changed.
    pub(super) fn enter(&self, tag: &Arc<Tag>, control: Control) -> Result<(), Refusal> {
        let mut processes = self.lock();
        if processes.get(tag.pid()).is_some() || processes.devices.contains_key(&tag.pid()) {
            return Err(Refusal::Duplicate);
        }
        if processes.awake.len() + processes.asleep.len() >= PROCESSES_MAX {
            return Err(Refusal::Full);
        }
        let entry = (Arc::clone(tag), control);
        processes.awake.insert(tag.pid(), Awake::new(entry));
        Ok(())
    }

    /// A process sleeps.
    pub(super) fn fell_asleep(&self, pid: Pid) {
        let mut processes = self.lock();
        if let Some(awake) = processes.awake.remove(&pid) {
            processes.asleep.insert(pid, awake.entry);
            processes.fallen.iter_mut().for_each(|fallen| fallen.push(pid));
        }
    }

    /// A process is about to wake.
    pub(super) fn woke(&self, pid: Pid) {
        let mut processes = self.lock();
        if let Some(entry) = processes.asleep.remove(&pid) {
            processes.awake.insert(pid, Awake::new(entry));
        }
    }

    /// Whoever samples has just heard of this one: it is told of again.
    pub(super) fn sample_again(&self, pid: Pid) {
        let mut processes = self.lock();
        if let Some(awake) = processes.awake.get_mut(&pid) {
            awake.told = None;
        } else if processes.asleep.contains_key(&pid) {
            processes.fallen.iter_mut().for_each(|fallen| fallen.push(pid));
        }
    }

    /// On which core it is. `None`: nobody has this pid.
    pub(super) fn core_of(&self, pid: Pid) -> Option<usize> {
        let processes = self.lock();
        let core = processes.get(pid).and_then(|(tag, _)| tag.core());
        core.or_else(|| processes.devices.get(&pid).copied())
    }

    /// What all share of it. `None`: nobody has this pid, or a device process.
    pub(super) fn tag(&self, pid: Pid) -> Option<Arc<Tag>> {
        self.lock().get(pid).map(|(tag, _)| Arc::clone(tag))
    }

    /// A device process comes to a core, where it stays. It is no process that could be frozen, ended or sampled.
    ///
    /// # Errors
    /// [`Refusal::Duplicate`].
    pub(super) fn enter_devices(&self, pid: Pid, core: usize) -> Result<(), Refusal> {
        let mut processes = self.lock();
        if processes.get(pid).is_some() || processes.devices.contains_key(&pid) {
            return Err(Refusal::Duplicate);
        }
        processes.devices.insert(pid, core);
        Ok(())
    }

    /// It has gone.
    pub(super) fn leave_devices(&self, pid: Pid) {
        self.lock().devices.remove(&pid);
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

    /// The handle on a process.
    ///
    /// # Errors
    /// No such process is here.
    pub(super) fn control(&self, pid: Pid) -> Result<Control, NotHere> {
        let processes = self.lock();
        processes.get(pid).map(|(_, control)| control.clone()).ok_or(NotHere(pid))
    }

    /// All processes, ordered by pid; `clock` reads the clock of a core.
    pub(super) fn sample(&self, clock: impl Fn(usize) -> Duration) -> Vec<Sample> {
        let processes = self.lock();
        let awake = processes.awake.iter().map(|(pid, awake)| (pid, &awake.entry));
        let all = awake.chain(&processes.asleep);
        let samples = all.filter_map(|(pid, entry)| sample(*pid, entry, &clock)).collect();
        drop(processes);
        ordered(samples)
    }

    /// Those of whom something has changed since this was asked last: who runs, has run, or has fallen asleep.
    pub(super) fn sample_changed(&self, clock: impl Fn(usize) -> Duration) -> Vec<Sample> {
        let mut processes = self.lock();
        let Some(fallen) = processes.fallen.replace(Vec::new()) else {
            drop(processes);
            return self.sample(clock);
        };
        let fallen = fallen.iter().filter_map(|pid| processes.asleep.get_key_value(pid));
        let mut samples: Vec<Sample> =
            fallen.filter_map(|(pid, entry)| sample(*pid, entry, &clock)).collect();
        samples.extend(processes.awake.iter_mut().filter_map(|(pid, awake)| {
            let now = sample(*pid, &awake.entry, &clock)?;
            let told = awake.told.replace(now);
            (told != Some(now)).then_some(now)
        }));
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
        talks: tag.counts.read(),
    })
}

fn ordered(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_unstable_by_key(|sample| sample.pid);
    samples.dedup_by_key(|sample| sample.pid);
    samples
}
