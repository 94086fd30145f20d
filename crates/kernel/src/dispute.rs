//! Names that two processes have, on nodes that had not heard of each other: who keeps them.
//!
//! **The lower pid keeps the name.** Both sides know both pids, without a clock and without asking; and a pid stays the same
//! wherever its process goes, as no node and no number of a node does.
//!
//! The node of the lower pid, which knows for certain that this one has the name, says so to the node that has told of the
//! other one ([`NameLost`]). That node takes the name away, and whoever had it is told, where it runs. So nobody loses a
//! name on the word of a node that may have heard of its end too late.
//!
//! Invariants:
//! * A node says so only of a process that runs there. Of one that stands still, on its way out, it is not certain: it may run
//!   elsewhere, and have given up its name there. It is said when it runs again, wherever that is.
//! * A name goes in the same step in which it is noted that its loser has to be told; who stands still is told where it
//!   runs again. An image has that name yet: the dispute is settled again where it comes to, if it is not told here.

use peripatos_abi::Pid;

use crate::groups::is_plain;
use crate::mutation::Mutation;
use crate::names::Names;

/// A name is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameLost {
    /// Which.
    pub name: Vec<u8>,
    /// Who keeps it.
    pub owner: Pid,
    /// Who has it no more.
    pub loser: Pid,
}

impl Names {
    /// A node has told of a process with this name: perhaps one here has it, too, and keeps it.
    pub(crate) fn dispute(&mut self, node: u128, name: &[u8], pid: Pid) {
        if is_plain(name) && self.owners.get(name).is_some_and(|owner| *owner < pid) {
            self.disputes.insert((name.to_vec(), node));
        }
    }

    /// A process runs here, where it stood still or has just come to: others may have its names, too.
    pub fn runs(&mut self, pid: Pid) {
        if self.does_wrong(Mutation::NamesNotCompared) {
            return;
        }
        for name in self.of(pid) {
            let others = self.foreign.get(&name).into_iter().flatten();
            let others: Vec<_> = others.map(|(node, pid)| (*node, *pid)).collect();
            others.into_iter().for_each(|(node, pid)| self.dispute(node, &name, pid));
        }
    }

    /// What is to be said to which nodes, after they were told of all [changes](Names::take_changes). `runs`: whether a process
    /// runs here.
    pub fn take_disputes(&mut self, runs: impl Fn(Pid) -> bool) -> Vec<(u128, NameLost)> {
        let disputes = std::mem::take(&mut self.disputes).into_iter();
        let said = disputes.filter_map(|(name, node)| {
            let owner = *self.owners.get(&name)?;
            let loser = *self.foreign.get(&name)?.get(&node)?;
            (owner < loser && runs(owner)).then_some((node, NameLost { name, owner, loser }))
        });
        said.collect()
    }

    /// A node says so of a process here. Nothing, if it has not said before that it has the owner.
    pub fn heard_lost(&mut self, node: u128, lost: NameLost) {
        let NameLost { name, owner, loser } = &lost;
        let told = self.foreign.get(name).and_then(|of| of.get(&node));
        let holds = told == Some(owner) && owner < loser && is_plain(name);
        if holds && !self.does_wrong(Mutation::NameKept) && self.remove(name, *loser).is_ok() {
            self.loses(lost);
        }
    }

    /// A process here has this name no more, and is to be told.
    pub(crate) fn loses(&mut self, lost: NameLost) {
        self.untold.entry(lost.loser).or_default().push((lost.name.clone(), lost.owner));
        self.losses.push(lost);
    }

    /// Those who have lost names here since this was asked last.
    pub fn take_losses(&mut self) -> Vec<NameLost> {
        std::mem::take(&mut self.losses)
    }

    /// The names that a process has lost, and who has them: for its kernel, where it runs, which tells it.
    pub fn take_lost(&mut self, pid: Pid) -> Vec<(Vec<u8>, Pid)> {
        let lost = self.untold.remove(&pid).unwrap_or_default();
        if self.does_wrong(Mutation::LoserUntold) { Vec::new() } else { lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that have said everything to each other.
    fn exchange(one: &mut Names, other: &mut Names) {
        for _ in 0..2 {
            other.heard(1, one.take_changes());
            one.heard(2, other.take_changes());
            for (_, lost) in one.take_disputes(|_| true) {
                other.heard_lost(1, lost);
            }
            for (_, lost) in other.take_disputes(|_| true) {
                one.heard_lost(2, lost);
            }
        }
    }

    #[test]
    fn the_lower_pid_keeps_a_name_and_the_other_one_is_told_once() {
        let [low, high] = [1, 2].map(|number| Pid::new(number, number));
        for swapped in [false, true] {
            let (mut one, mut other) = (Names::default(), Names::default());
            let (first, second) = if swapped { (high, low) } else { (low, high) };
            one.register(b"n", first).unwrap();
            other.register(b"n", second).unwrap();
            one.join(b"g", first).unwrap();
            other.join(b"g", second).unwrap();
            exchange(&mut one, &mut other);
            assert_eq!((one.lookup(b"n"), other.lookup(b"n")), (Ok(low), Ok(low)));
            let losers = if swapped { &mut one } else { &mut other };
            assert_eq!(losers.take_losses().len(), 1);
            assert_eq!(losers.take_lost(high), [(b"n".to_vec(), low)]);
            assert_eq!(losers.take_lost(high), []);
            // It stays a member of its groups.
            assert_eq!(losers.of(high).len(), 1);
            assert_eq!(one.members(b"g"), [low, high]);
            // It does not come back to it when the other one ends.
            one.forget(low);
            other.forget(low);
            exchange(&mut one, &mut other);
            assert!(one.lookup(b"n").is_err() && other.lookup(b"n").is_err());
        }
    }

    #[test]
    fn who_stands_still_takes_no_name_away_until_it_runs() {
        let [low, high] = [1, 2].map(|number| Pid::new(number, number));
        let (mut here, mut there) = (Names::default(), Names::default());
        here.register(b"n", low).unwrap();
        there.register(b"n", high).unwrap();
        here.heard(2, there.take_changes());
        assert_eq!(here.take_disputes(|_| false), []);
        here.runs(low);
        assert_eq!(here.take_disputes(|_| true).len(), 1);
    }

    #[test]
    fn who_comes_to_whom_has_its_name_has_it_or_loses_it() {
        let pids = [1, 2, 3].map(|number| Pid::new(number, number));
        let [low, middle, high] = pids;
        let mut names = Names::default();
        names.register(b"n", middle).unwrap();
        for (comes, loser, owner) in [(high, high, middle), (low, middle, low)] {
            names.arrived(comes, &[b"n".to_vec()]);
            assert_eq!(names.lookup(b"n"), Ok(owner));
            assert_eq!(names.take_lost(loser), [(b"n".to_vec(), owner)]);
        }
        assert_eq!(pids.map(|pid| names.of(pid).len()), [1, 0, 0]);
        assert_eq!(names.own(), [(b"n".to_vec(), Some(low))]);
    }

    #[test]
    fn who_was_not_told_takes_its_name_along() {
        let [low, high] = [1, 2].map(|number| Pid::new(number, number));
        let (mut names, mut other) = (Names::default(), Names::default());
        names.register(b"n", high).unwrap();
        other.register(b"n", low).unwrap();
        exchange(&mut names, &mut other);
        assert_eq!(names.of(high), [b"n"]);
        names.forget(high);
        assert_eq!(names.take_lost(high), []);
    }

    #[test]
    fn a_liar_takes_nothing_away() {
        let [low, high] = [1, 2].map(|number| Pid::new(number, number));
        let mut names = Names::default();
        names.register(b"n", high).unwrap();
        let lost = |owner| NameLost { name: b"n".to_vec(), owner, loser: high };
        // It has not said that it has the owner, or the other one keeps it.
        names.heard_lost(2, lost(low));
        names.heard(2, vec![(b"n".to_vec(), Some(Pid::new(9, 9)))]);
        names.heard_lost(2, lost(Pid::new(9, 9)));
        assert_eq!(names.lookup(b"n"), Ok(high));
        assert_eq!(names.take_losses(), []);
    }
}
