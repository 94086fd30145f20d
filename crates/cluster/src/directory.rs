//! Where processes are, as a directory that is spread over the nodes.
//!
//! Each process has a *keeper*: of this node and those that are linked, the one with the highest weight for it (rendezvous
//! hashing, Thaler and Ravishankar 1998). The node that runs it tells its keeper; who looks for it asks its keeper first. When
//! a node comes or goes only those change their keeper that it gets, or had.
//!
//! All of it is a hint that makes a search short (`strays`). Nodes need not agree on who is linked; what a keeper does not
//! know, or knows wrongly, is found by a question to all. So nothing is acknowledged, nothing is repeated, and what is too
//! much is dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use peripatos_abi::Pid;

use crate::NodeId;
use crate::event::Action;
use crate::limits::{
    DIRECTORY_MAX, ENTRIES_AT_ONCE_MAX, ENTRIES_MAX, ENTRIES_SAID_MAX, KEEPERS_SAID_MAX,
};
use crate::message::{Entry, Message, Sighting};
use crate::mutation::Mutation;
use crate::node::Node;
use crate::processes::Process;

/// A node's part of the directory, and what it has to tell other nodes for theirs.
#[derive(Debug)]
pub(crate) struct Directory {
    own: NodeId,
    /// Members that live, and nodes with a link that gossip does not know.
    others: BTreeSet<NodeId>,
    /// Processes of others, as those have said.
    table: HashMap<Pid, Known>,
    /// The same by when it was heard, oldest first.
    ages: BTreeMap<u64, Pid>,
    heard: u64,
    /// What keepers are to be told.
    untold: BTreeMap<NodeId, BTreeMap<Pid, Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    node: NodeId,
    moves: u32,
    age: u64,
}

impl Directory {
    pub(crate) fn new(own: NodeId) -> Directory {
        Directory {
            own,
            others: BTreeSet::new(),
            table: HashMap::new(),
            ages: BTreeMap::new(),
            heard: 0,
            untold: BTreeMap::new(),
        }
    }

    /// That node is among them: what it is the keeper of from now on others will tell it.
    fn comes(&mut self, node: NodeId) {
        self.others.insert(node);
        let own = self.own;
        self.forget(|pid, _| takes_from(pid, node, own));
    }

    /// Whether a node is among those that keepers are chosen from.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.others.contains(&node)
    }

    fn goes(&mut self, node: NodeId) {
        self.others.remove(&node);
        self.untold.remove(&node);
        self.forget(|_, known| known.node == node);
    }

    fn forget(&mut self, which: impl Fn(Pid, &Known) -> bool) {
        let forgotten = self.table.extract_if(|pid, known| which(*pid, known));
        for (_, known) in forgotten {
            self.ages.remove(&known.age);
        }
    }

    /// The node that should know where this process is.
    fn keeper(&self, pid: Pid) -> NodeId {
        let others = self.others.iter().copied();
        others.fold(self.own, |best, node| if takes_from(pid, node, best) { node } else { best })
    }

    /// A process here is to be known to its keeper, or to be forgotten.
    fn tell(&mut self, keeper: NodeId, entry: Entry) {
        if keeper == self.own {
            return self.enter(keeper, entry);
        }
        let untold = self.untold.entry(keeper).or_default();
        let Entry { pid, moves, here } = entry;
        let unheard = !here && moves == 0 && untold.get(&pid).is_some_and(|before| before.here);
        if unheard {
            // It has come and gone before anybody heard of it, as many do.
            untold.remove(&pid);
        } else if untold.len() < DIRECTORY_MAX || untold.contains_key(&pid) {
            untold.insert(pid, entry);
        }
    }

    /// A node says that a process is there, or is over. Words of different nodes overtake each other: who has it after
    /// more moves knows better.
    fn enter(&mut self, from: NodeId, entry: Entry) {
        let Entry { pid, moves, here } = entry;
        if let Some(known) = self.table.get(&pid).copied() {
            let newer = match known.node == from {
                true => true,
                false if here => moves >= known.moves,
                false => moves > known.moves,
            };
            if !newer {
                return;
            }
            self.ages.remove(&known.age);
            self.table.remove(&pid);
        }
        // What runs here need not be looked up.
        if here && from != self.own {
            self.heard += 1;
            self.table.insert(pid, Known { node: from, moves, age: self.heard });
            self.ages.insert(self.heard, pid);
        }
        if self.table.len() > DIRECTORY_MAX
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.table.remove(&oldest);
        }
    }

    /// How much keepers are to be told.
    pub(crate) fn untold(&self) -> usize {
        self.untold.values().map(BTreeMap::len).sum()
    }

    /// Which node has said that it has this process.
    fn entered(&self, pid: Pid) -> Option<NodeId> {
        self.table.get(&pid).map(|known| known.node)
    }

    /// What may be told now: of a flood the rest waits, for a link carries other things, too. Who has no link is told in a datagram, if
    /// it is little; for more a link is to be made with those that this returns.
    fn take_untold(
        &mut self,
        linked: impl Fn(NodeId) -> bool,
        out: &mut Vec<Action>,
    ) -> Vec<NodeId> {
        let (mut said, mut calls) = (0, Vec::new());
        for (node, untold) in &mut self.untold {
            if !linked(*node) {
                if untold.len() > ENTRIES_SAID_MAX {
                    calls.push(*node);
                } else if said < KEEPERS_SAID_MAX {
                    said += 1;
                    let entries = std::mem::take(untold).into_values().collect();
                    out.push(Action::Hint { to: *node, entries });
                }
                continue;
            }
            for _ in 0..ENTRIES_AT_ONCE_MAX.div_ceil(ENTRIES_MAX) {
                let next = std::iter::from_fn(|| untold.pop_first().map(|(_, entry)| entry));
                let entries: Vec<Entry> = next.take(ENTRIES_MAX).collect();
                if entries.is_empty() {
                    break;
                }
                out.push(Action::Send { to: *node, message: Message::Entries(entries) });
            }
        }
        self.untold.retain(|_, untold| !untold.is_empty());
        calls
    }
}

/// What a host needs for a search.
impl Node {
    /// Whom to ask alone where a process is, before all others: its keeper, or whom this node's own directory names.
    /// `None`: nobody in particular.
    #[must_use]
    pub fn lead(&self, pid: Pid) -> Option<NodeId> {
        // The question to all is as short then.
        if self.directory.others.len() < 2 {
            return None;
        }
        match self.directory.keeper(pid) {
            own if own == self.config.node => self.hint(pid),
            keeper => Some(keeper),
        }
    }

    /// What is said to another node that looks for a process. `here`: whether it is, if that can be said. `None`: nothing.
    /// Who may come yet is not denied: who asks takes silence for doubt, and asks again. Nor is one that has just ended on a core, before
    /// this was told here: its kernel knows what it had answered.
    #[must_use]
    pub fn sighting(&self, pid: Pid, here: Option<bool>) -> Option<Sighting> {
        if here? {
            return Some(Sighting::Here);
        }
        // One that has ended a moment ago is here as far as this node has heard: how it ended, and what it had answered, is known here.
        let unsure = self.may_get(pid) || self.processes.0.contains_key(&pid);
        let answer = self.hint(pid).map_or(Sighting::NotHere, Sighting::Perhaps);
        (!unsure).then_some(answer)
    }

    fn hint(&self, pid: Pid) -> Option<NodeId> {
        let entered = self.directory.entered(pid);
        let wrong = [Mutation::DirectoryWrong, Mutation::HintBelieved];
        if wrong.into_iter().any(|wrong| self.does_wrong(wrong)) {
            let mut others = self.directory.others.iter().copied();
            return others.find(|node| Some(*node) != entered);
        }
        entered
    }
}

/// What makes entries.
impl Node {
    /// A process runs here from now on.
    pub(crate) fn is_here(&mut self, pid: Pid) {
        let keeper = self.directory.keeper(pid);
        if let Some(process) = self.processes.0.get_mut(&pid) {
            process.keeper = Some(keeper);
            self.directory.tell(keeper, Entry { pid, moves: process.moves, here: true });
        }
    }

    /// It has ended here. (Where it has left for will say so itself.)
    pub(crate) fn is_over(&mut self, process: &Process) {
        let (pid, moves) = (process.description.pid, process.moves);
        if let Some(keeper) = process.keeper {
            self.directory.tell(keeper, Entry { pid, moves, here: false });
        }
    }

    /// A member has come, or a link to it stands: it is the keeper of some from now on. Of what it was the keeper of already something
    /// may be lost with the link before: it is told all of it.
    pub(crate) fn keeper_comes(&mut self, node: NodeId) {
        self.directory.comes(node);
        for (pid, process) in &mut self.processes.0 {
            let takes = |keeper| keeper == node || takes_from(*pid, node, keeper);
            if process.keeper.is_none_or(takes) {
                process.keeper = Some(node);
                self.directory.tell(node, Entry { pid: *pid, moves: process.moves, here: true });
            }
        }
    }

    /// A node lives no more, or a link broke to one that gossip does not know: others are the keepers of what was its.
    pub(crate) fn keeper_goes(&mut self, node: NodeId) {
        self.directory.goes(node);
        for (pid, process) in &mut self.processes.0 {
            if process.keeper == Some(node) {
                let keeper = self.directory.keeper(*pid);
                process.keeper = Some(keeper);
                self.directory.tell(keeper, Entry { pid: *pid, moves: process.moves, here: true });
            }
        }
    }

    /// Time has passed: keepers are told what has gathered.
    pub(crate) fn tell_keepers(&mut self, out: &mut Vec<Action>) {
        let peers = &self.peers;
        for node in self.directory.take_untold(|node| peers.is_linked(node), out) {
            self.call(node, out);
        }
    }

    /// Another node tells. Whether this one is the keeper is not asked: they need not agree on that.
    pub(crate) fn heard_entries(
        &mut self,
        from: NodeId,
        entries: Vec<Entry>,
        out: &mut Vec<Action>,
    ) {
        if entries.len() > ENTRIES_MAX {
            let name = self.peers.name(from);
            return out.push(Action::Log(format!("node {name} tells of too many processes")));
        }
        if !self.directory.others.contains(&from) {
            return;
        }
        entries.into_iter().for_each(|entry| self.directory.enter(from, entry));
    }
}

/// Whether a node is the keeper of a process rather than another one.
fn takes_from(pid: Pid, node: NodeId, other: NodeId) -> bool {
    (weight(pid, node), node) > (weight(pid, other), other)
}

/// How much a node is for a process. All nodes have to agree on it: another function is another version of the protocol.
fn weight(pid: Pid, node: NodeId) -> u64 {
    let words = [pid.number(), pid.bits() as u64, (node.0 >> 64) as u64, node.0 as u64];
    words.into_iter().fold(0x9e37_79b9_7f4a_7c15, |mixed, word| mix(mixed ^ word))
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood 2014; the constants are Stafford's variant 13): a bijection in which
/// each bit of the input changes each of the output with a probability of about a half.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    fn pids() -> impl Iterator<Item = Pid> {
        // As like each other as can be.
        (0..20_000).map(|number| Pid::new(number, 0))
    }

    fn directory(others: u128) -> Directory {
        let mut directory = Directory::new(NodeId(0));
        (1..=others).for_each(|node| directory.comes(NodeId(node)));
        directory
    }

    fn entry(number: u64, moves: u32, here: bool) -> Entry {
        Entry { pid: Pid::new(number, 0), moves, here }
    }

    #[test]
    fn all_versions_agree_on_weights() {
        let weights = [(0, 0), (1, 0), (0, 1)];
        let weights = weights.map(|(pid, node)| weight(Pid::from_bits(pid), NodeId(node)));
        let golden = [0x1957_a760_4e21_5178, 0xd967_c0cb_7862_422e, 0x6317_53f7_55f4_59e8];
        assert_eq!(weights, golden);
    }

    #[test]
    fn each_node_keeps_as_many() {
        let directory = directory(49);
        let mut kept = [0_u32; 50];
        pids().for_each(|pid| kept[directory.keeper(pid).0 as usize] += 1);
        // 400 each; six times the standard deviation of chance is 119.
        assert!(kept.iter().all(|kept| kept.abs_diff(400) < 119), "{kept:?}");
    }

    #[test]
    fn who_comes_or_goes_changes_only_its_own() {
        let mut directory = directory(49);
        let before: Vec<NodeId> = pids().map(|pid| directory.keeper(pid)).collect();
        let newcomer = NodeId(99);
        directory.comes(newcomer);
        let after: Vec<NodeId> = pids().map(|pid| directory.keeper(pid)).collect();
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
        let changed: Vec<_> = changed.collect();
        assert!(changed.iter().all(|(_, after)| **after == newcomer));
        assert!(changed.len().abs_diff(20_000 / 51) < 119, "{}", changed.len());
        directory.goes(newcomer);
        assert!(pids().zip(before).all(|(pid, before)| directory.keeper(pid) == before));
    }

    #[test]
    fn the_latest_word_counts_in_whatever_order_they_come() {
        // It was born at one, has moved to two, and has ended there.
        let words = [(ONE, entry(7, 0, true)), (TWO, entry(7, 1, true)), (TWO, entry(7, 1, false))];
        let orders = [(vec![0, 1], Some(TWO)), (vec![1, 0], Some(TWO)), (vec![0, 1, 2], None)];
        for (order, known) in orders.into_iter().chain([(vec![1, 2], None), (vec![0, 2], None)]) {
            let mut directory = directory(2);
            order.iter().for_each(|word: &usize| directory.enter(words[*word].0, words[*word].1));
            assert_eq!(directory.entered(Pid::new(7, 0)), known, "{order:?}");
        }
        // An end that another one tells than who has it changes nothing.
        let mut directory = directory(2);
        directory.enter(TWO, entry(7, 1, true));
        directory.enter(ONE, entry(7, 1, false));
        assert_eq!(directory.entered(Pid::new(7, 0)), Some(TWO));
    }

    #[test]
    fn who_is_cut_off_takes_its_entries_along() {
        let mut directory = directory(2);
        directory.enter(ONE, entry(1, 0, true));
        directory.enter(TWO, entry(2, 0, true));
        directory.goes(ONE);
        let known = [1, 2].map(|number| directory.entered(Pid::new(number, 0)));
        assert_eq!(known, [None, Some(TWO)]);
        assert_eq!(directory.ages.len(), 1);
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut directory = directory(1);
        for number in 0..DIRECTORY_MAX as u64 {
            directory.enter(ONE, entry(number, 0, true));
        }
        // Heard of again.
        directory.enter(ONE, entry(0, 1, true));
        directory.enter(ONE, entry(u64::MAX, 0, true));
        let known = [0, 1, 2].map(|number| directory.entered(Pid::new(number, 0)));
        assert_eq!(known, [Some(ONE), None, Some(ONE)]);
        assert_eq!((directory.table.len(), directory.ages.len()), (DIRECTORY_MAX, DIRECTORY_MAX));
    }

    #[test]
    fn keepers_are_told_in_batches_and_not_of_what_is_over() {
        let mut directory = directory(1);
        let count = (ENTRIES_AT_ONCE_MAX + ENTRIES_MAX + 1) as u64;
        (0..count).for_each(|number| directory.tell(ONE, entry(number, 0, true)));
        directory.tell(ONE, entry(3, 0, false));
        let mut told = Vec::new();
        for _ in 0..3 {
            let mut out = Vec::new();
            assert_eq!(directory.take_untold(|_| true, &mut out), []);
            let len = |action: &Action| match action {
                Action::Send { to: ONE, message: Message::Entries(entries) } => entries.len(),
                other => panic!("{other:?}"),
            };
            told.push(out.iter().map(len).collect::<Vec<_>>());
        }
        let first = vec![ENTRIES_MAX; ENTRIES_AT_ONCE_MAX / ENTRIES_MAX];
        assert_eq!(told, [first, vec![ENTRIES_MAX], vec![]]);
        assert!(directory.untold.is_empty());
    }
}
