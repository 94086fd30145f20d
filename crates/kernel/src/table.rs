//! The processes of a kernel: by slot, which is quick, and by pid, which is what messages name.
//!
//! A slot is used again when its process has gone, under another generation: who kept the old one finds nobody.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

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

/// A map by pids. Some are others' word: a peer, or a program that makes pids up, could choose many that meet in one bucket of a map that
/// mixes them as everybody knows. So it does with a key that this OS process has drawn.
pub type PidMap<T> = HashMap<Pid, T, PidState>;

/// Of a [`PidMap`]. What is done in the order of such a map must not matter: it is another one in each OS process.
#[derive(Clone, Copy, Debug)]
pub struct PidState([u64; 2]);

impl Default for PidState {
    fn default() -> PidState {
        static KEY: OnceLock<[u64; 2]> = OnceLock::new();
        PidState(*KEY.get_or_init(|| {
            let random = RandomState::new();
            [random.hash_one(0_u8), random.hash_one(1_u8)]
        }))
    }
}

impl BuildHasher for PidState {
    type Hasher = PidHasher;

    #[inline]
    fn build_hasher(&self) -> PidHasher {
        PidHasher { state: self.0[0], key: self.0[1] }
    }
}

/// Of a [`PidMap`]: both halves of a 64 by 64 bit product, of which each factor hides behind a half of the key (as wyhash does, of Wang Yi).
#[derive(Debug)]
pub struct PidHasher {
    state: u64,
    key: u64,
}

impl PidHasher {
    #[inline]
    fn mix(&mut self, low: u64, high: u64) {
        self.state = product(self.state ^ low, self.key ^ high);
    }
}

#[inline]
fn product(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Hasher for PidHasher {
    fn write(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(8) {
            let word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word, bytes.len() as u64);
        }
    }

    #[inline]
    fn write_u64(&mut self, bits: u64) {
        self.mix(bits, 0);
    }

    #[inline]
    fn write_u128(&mut self, bits: u128) {
        self.mix(bits as u64, (bits >> 64) as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // Keys of which only one half varies are a multiple of it apart until here.
        product(self.state ^ self.key, 0x9e37_79b9_7f4a_7c15)
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    /// In how many of 65,536 buckets so many keys are.
    fn buckets<K: Hash>(keys: impl Iterator<Item = K>) -> usize {
        let state = PidState::default();
        keys.map(|key| state.hash_one(key) & 0xffff).collect::<HashSet<_>>().len()
    }

    /// Keys that were alike when their halves were only laid over each other, and others that follow a pattern: drawn by lot, 4,096 would be in
    /// 3,970 buckets, give or take ten.
    #[test]
    fn keys_that_somebody_has_chosen_do_not_meet() {
        let numbers = || 0..4_096_u64;
        let alike = numbers().map(|at| Pid::new(at, at ^ 0xabcd));
        assert!(buckets(alike.clone()) > 3_900);
        assert!(buckets(numbers().map(|at| Pid::new(7, at << 48))) > 3_900);
        assert!(buckets(numbers().map(|at| Pid::new(at << 32, 7))) > 3_900);
        let to = Pid::new(1, 1);
        assert!(buckets(alike.clone().map(|from| (from, to))) > 3_900);
        assert!(buckets(alike.map(|pid| (pid, pid))) > 3_900);
        let place = crate::packet::Place { node: 1, core: 1 };
        assert!(buckets(numbers().map(|at| (place, at))) > 3_900);
    }
}
