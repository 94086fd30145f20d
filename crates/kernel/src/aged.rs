//! A map that forgets what was not touched for long.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::table::PidState;

/// See the module. At most `max` entries: the one that has been there for longest makes way.
#[derive(Debug)]
pub(crate) struct Aged<K, V> {
    of: HashMap<K, (u64, V), PidState>,
    /// When each was touched, at the latest when it was last looked at from here. Oldest first.
    order: VecDeque<(u64, K)>,
    max: usize,
}

impl<K: Copy + Ord + Hash, V> Aged<K, V> {
    pub(crate) fn new(max: usize) -> Aged<K, V> {
        Aged { of: HashMap::default(), order: VecDeque::new(), max }
    }

    pub(crate) fn len(&self) -> usize {
        self.of.len()
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.of.get(&key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.of.get_mut(&key).map(|(_, value)| value)
    }

    /// It is young again.
    pub(crate) fn touch(&mut self, key: K, now: u64) -> Option<&mut V> {
        self.touch_if(key, now, |_| true)
    }

    /// The same, of one that is wanted.
    pub(crate) fn touch_if(
        &mut self,
        key: K,
        now: u64,
        wanted: impl FnOnce(&V) -> bool,
    ) -> Option<&mut V> {
        let (touched, value) = self.of.get_mut(&key)?;
        if !wanted(value) {
            return None;
        }
        *touched = now;
        Some(value)
    }

    /// Which one has made way.
    pub(crate) fn insert(&mut self, key: K, value: V, now: u64) -> Option<K> {
        if self.of.insert(key, (now, value)).is_none() {
            self.order.push_back((now, key));
            self.tidy();
        }
        let mut gone = None;
        while self.of.len() > self.max
            && let Some((_, oldest)) = self.order.pop_front()
        {
            gone = self.of.remove(&oldest).map(|_| oldest);
        }
        gone
    }

    /// What was removed and comes again is in the order twice: bounds that.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.of.len() + 64 {
            let mut order: Vec<_> = self.of.iter().map(|(key, (at, _))| (*at, *key)).collect();
            // That of the map is another one each time.
            order.sort_unstable();
            self.order = order.into();
        }
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        // Its place in the order is found empty in time.
        self.of.remove(&key).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.of.iter().map(|(key, (_, value))| (key, value))
    }

    /// Removes those that are wanted gone.
    pub(crate) fn remove_if(&mut self, mut wanted: impl FnMut(&K, &V) -> bool) {
        self.of.retain(|key, (_, value)| !wanted(key, value));
    }

    /// Forgets what has not been touched for so long, and may be forgotten.
    pub(crate) fn expire(&mut self, now: u64, age: u64, mut may: impl FnMut(&K, &V) -> bool) {
        let Some(limit) = now.checked_sub(age) else { return };
        for _ in 0..self.order.len() {
            match self.order.front() {
                Some((touched, _)) if *touched <= limit => {}
                _ => return,
            }
            let Some((_, key)) = self.order.pop_front() else { return };
            match self.of.get(&key) {
                Some((touched, value)) if *touched <= limit && may(&key, value) => {
                    self.of.remove(&key);
                }
                // One that may not be forgotten is looked at again after another age.
                Some((touched, _)) if *touched <= limit => self.order.push_back((now, key)),
                Some((touched, _)) => self.order.push_back((*touched, key)),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_stays() {
        let mut aged: Aged<u64, char> = Aged::new(3);
        for (key, value) in (1..).zip("abc".chars()) {
            aged.insert(key, value, key);
        }
        aged.touch(1, 50);
        aged.expire(60, 20, |_, value| *value != 'b');
        let mut left: Vec<_> = aged.iter().map(|(key, _)| *key).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 2]);
        aged.expire(200, 20, |_, _| true);
        assert_eq!(aged.len(), 0);
        assert!(aged.order.is_empty());
    }

    #[test]
    fn the_oldest_makes_way() {
        let mut aged: Aged<u64, u64> = Aged::new(2);
        for key in 0..5 {
            aged.insert(key, key, key);
        }
        assert_eq!((aged.len(), aged.get(4), aged.get(2)), (2, Some(&4), None));
    }
}
