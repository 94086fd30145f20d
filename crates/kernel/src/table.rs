//! The processes of a kernel: by slot, which is quick, and by pid, which is what messages name.
//!
//! A slot is used again when its process has gone, under another generation: who kept the old one finds nobody.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use peripatos_abi::Pid;

use crate::process::Process;
use crate::ties::Ties;

/// A place in a kernel's table, for as long as the process is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    /// Its number, which is small: for tables beside the kernel's.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A map by pids. Half of a pid is random, and only pids that a host has drawn are put in: nothing needs mixing.
pub type PidMap<T> = HashMap<Pid, T, BuildHasherDefault<PidHasher>>;

/// Of a [`PidMap`].
#[derive(Debug, Default)]
pub struct PidHasher(u64);

impl Hasher for PidHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn write_u128(&mut self, bits: u128) {
        // The map takes its bucket from the low bits and its tag from the high ones.
        let mixed = (bits as u64) ^ ((bits >> 64) as u64);
        let before = self.0.rotate_left(32);
        self.0 = (before ^ mixed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
    by_pid: PidMap<Slot>,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    process: Option<Process>,
}

impl Table {
    /// `None`: the pid is in the table already.
    pub(crate) fn insert(&mut self, process: Process) -> Option<Slot> {
        if self.by_pid.contains_key(&process.pid) {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, process: None });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        let slot = Slot { index, generation: entry.generation };
        self.by_pid.insert(process.pid, slot);
        entry.process = Some(process);
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Process> {
        self.get(slot)?;
        let entry = &mut self.entries[slot.index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot.index);
        let process = entry.process.take()?;
        self.by_pid.remove(&process.pid);
        Some(process)
    }

    #[inline]
    pub(crate) fn find(&self, pid: Pid) -> Option<Slot> {
        self.by_pid.get(&pid).copied()
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Process> {
        let entry = self.entries.get(slot.index as usize)?;
        entry.process.as_ref().filter(|_| entry.generation == slot.generation)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Process> {
        let entry = self.entries.get_mut(slot.index as usize)?;
        entry.process.as_mut().filter(|_| entry.generation == slot.generation)
    }

    /// The ties of a process that has some, and how often it has moved.
    pub(crate) fn ties_of(&mut self, pid: Pid) -> Option<(u32, &mut Ties)> {
        let slot = self.find(pid)?;
        let process = self.get_mut(slot)?;
        Some((process.moved, process.ties.as_deref_mut()?))
    }

    /// Two processes at once.
    #[inline]
    pub(crate) fn pair_mut(&mut self, a: Slot, b: Slot) -> Option<(&mut Process, &mut Process)> {
        let [first, second] =
            self.entries.get_disjoint_mut([a.index as usize, b.index as usize]).ok()?;
        if first.generation != a.generation || second.generation != b.generation {
            return None;
        }
        Some((first.process.as_mut()?, second.process.as_mut()?))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.entries.iter().filter_map(|entry| entry.process.as_ref())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.entries.iter_mut().filter_map(|entry| entry.process.as_mut())
    }

    pub(crate) fn len(&self) -> usize {
        self.by_pid.len()
    }
}
