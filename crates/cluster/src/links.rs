//! Which links a node makes, keeps and closes.
//!
//! In a cluster of at most [`Config::links_kept`](crate::Config) members each has a link with each other one. In a larger one a node has
//! links with its neighbours, so that what is to reach all by links can go on from one to the next; with those with which
//! something is under way; and, until it has said it, with those that are to hear what everybody is to hear. Any other link is closed when it has
//! carried nothing for a while, if the other end agrees.
//!
//! Neighbours: members stand in a circle, in the order of their ids, and have those beside them as neighbours. Each end of a link finds the
//! other one so without asking, and the circle joins all.
//!
//! Invariants:
//! * A link is closed only with a member that gossip says lives: when it does not any more, who waits for it is told as if the link
//!   had broken.
//! * Nothing is lost with a link that is closed: from the question to the answer what is to be said is kept, and said on the next one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::Action;
use crate::limits::{LINKS_LOOK, NEWS_AT_ONCE, NEWS_IDLE, NEWS_LATE, PART_QUIET, REACHING_MAX};
use crate::message::Message;
use crate::mutation::Mutation;
use crate::node::Node;
use crate::{NodeId, Time};

/// What a node knows for that.
#[derive(Debug, Default)]
pub(crate) struct Links {
    look_at: Time,
    /// There are so few members that all are linked.
    all: bool,
    /// This node has something to say to everybody: names of processes, or that it has the token.
    tells: bool,
    /// Members that have not heard it.
    untold: BTreeSet<NodeId>,
    /// Members that the host needs links with.
    kept: BTreeSet<NodeId>,
    /// The other ends of links that are about to be closed, and what they are to be told when that is over, one way or the other.
    parting: BTreeMap<NodeId, Vec<Message>>,
}

impl Links {
    /// A link broke: with it what was to be said is lost.
    pub(crate) fn lost(&mut self, node: NodeId) {
        self.parting.remove(&node);
    }
}

/// With whom links are needed.
pub(crate) struct Needed {
    all: bool,
    nodes: BTreeSet<NodeId>,
}

impl Needed {
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.all || self.nodes.contains(&node)
    }
}

impl Node {
    /// Whether there are so few members that links with all are kept.
    pub(crate) fn keeps_all(&self) -> bool {
        self.are_few(self.heard.len())
    }

    /// Whether that many others are so few.
    pub(crate) fn are_few(&self, others: usize) -> bool {
        others < self.config.links_kept
    }

    /// A member has come, perhaps as another OS process. It has heard nothing of this node.
    pub(crate) fn newcomer(&mut self, node: NodeId) {
        if self.links.tells && !self.peers.is_linked(node) {
            self.links.untold.insert(node);
        }
    }

    /// A member does not live any more.
    pub(crate) fn untell(&mut self, node: NodeId) {
        self.links.untold.remove(&node);
        if !self.peers.is_linked(node) {
            self.links.parting.remove(&node);
        }
    }

    /// The host has something to say to everybody, and has said it to those that are linked. `tells`: newcomers are to hear it, too.
    pub(crate) fn news(&mut self, tells: bool) {
        self.links.tells = tells;
        // The other end of a link that is about to be closed may hear nothing any more.
        let deaf = |node: &NodeId| !self.peers.is_linked(*node) || self.is_parting(*node);
        self.links.untold = self.heard.all().filter(deaf).collect();
    }

    /// The host needs links with these.
    pub(crate) fn keep_links(&mut self, kept: BTreeSet<NodeId>) {
        self.links.kept = kept;
    }

    /// With whom links are needed now.
    pub(crate) fn needed(&self) -> Needed {
        let all = self.keeps_all() || self.homes.may_be_astray();
        if all {
            return Needed { all, nodes: BTreeSet::new() };
        }
        let links = &self.links;
        let told = links.untold.iter().chain(&links.kept).copied();
        let beside = self.heard.beside(self.config.node);
        let moves = self.moves_with();
        let ends = self.unheard.values().map(|(origin, _)| *origin);
        let asked = self.waiting.values().flat_map(|waiting| waiting.open.iter().copied());
        // Only a link proves that what it was before is gone.
        let restarted = self.peers.0.iter().filter(|(node, known)| {
            let lives = self.heard.address(**node).is_some();
            lives && !known.gone && !self.heard.is_up(**node, known.peer.incarnation)
        });
        let restarted = restarted.map(|(node, _)| *node);
        let waits = self.reaching.nodes();
        let nodes =
            told.chain(beside).chain(moves).chain(ends).chain(asked).chain(restarted).chain(waits);
        Needed { all, nodes: nodes.collect() }
    }

    /// When the next look at them is due.
    pub(crate) fn next_look(&self) -> Time {
        if self.keeps_all() && self.links.all { Time::NEVER } else { self.links.look_at }
    }

    /// Makes the links that are needed, and offers to close those that are not.
    pub(crate) fn look_at_links(&mut self, out: &mut Vec<Action>) {
        let all = self.keeps_all();
        if all != std::mem::replace(&mut self.links.all, all) && all {
            // There were more: those without a link are called, as those that have just come.
            self.heard.call_all(self.now, self.config.node);
        }
        if all || self.now < self.links.look_at {
            return;
        }
        self.links.look_at = self.now + LINKS_LOOK;
        let needed = self.needed();
        self.call_needed(&needed, out);
        self.part_idle(&needed, out);
    }

    fn call_needed(&mut self, needed: &Needed, out: &mut Vec<Action>) {
        // Who may run what nobody can who is known?
        let looks = !self.misplaced.is_empty() || self.stuck.is_some_and(|(_, count)| count > 0);
        let unmet = |node: &NodeId| looks && !self.peers.0.contains_key(node);
        let unlinked = self.heard.all().filter(|node| !self.peers.is_linked(*node));
        let wanted: Vec<NodeId> =
            unlinked.filter(|node| needed.has(*node) || unmet(node)).collect();
        let mut left = NEWS_AT_ONCE;
        for node in wanted {
            // What all are to hear takes its time.
            let soon = needed.has(node) && !self.links.untold.contains(&node);
            if soon || left > 0 {
                left -= usize::from(!soon);
                self.call(node, out);
            }
        }
    }

    /// How long it takes until all members that live have heard what all are to hear, those included to which there is no link yet. `None`: there
    /// are links with all.
    #[must_use]
    pub fn told_within(&self) -> Option<Duration> {
        if self.keeps_all() {
            return None;
        }
        let unlinked = self.heard.all().filter(|node| !self.peers.is_linked(*node)).count();
        let looks = u32::try_from(unlinked.div_ceil(NEWS_AT_ONCE)).unwrap_or(u32::MAX);
        (unlinked > 0).then(|| NEWS_LATE + LINKS_LOOK.saturating_mul(looks))
    }

    /// Offers to close what has been idle.
    fn part_idle(&mut self, needed: &Needed, out: &mut Vec<Action>) {
        let linked = self.peers.0.iter().filter(|(_, known)| known.linked && known.peer.parts);
        let idle = linked.filter(|(node, known)| {
            let link_idle = self.config.link_idle;
            let wait = if known.told { link_idle.min(NEWS_IDLE) } else { link_idle };
            let lives = self.heard.is_up(**node, known.peer.incarnation);
            lives && !needed.has(**node) && self.now.since(known.used_at) >= wait
        });
        let idle: Vec<NodeId> = idle.map(|(node, _)| *node).collect();
        for node in idle {
            if let Entry::Vacant(entry) = self.links.parting.entry(node) {
                entry.insert(Vec::new());
                out.push(Action::Send { to: node, message: Message::Part });
            }
        }
    }

    /// The other end of a link does not need it.
    pub(crate) fn asked_to_part(&mut self, from: NodeId, out: &mut Vec<Action>) {
        let Some(known) = self.peers.0.get(&from).filter(|known| known.linked) else { return };
        let lives = self.heard.is_up(from, known.peer.incarnation);
        let quiet = self.now.since(known.used_at) >= PART_QUIET;
        let agrees = lives && quiet && !self.needed().has(from);
        if agrees || self.links.parting.contains_key(&from) {
            out.extend([Action::Send { to: from, message: Message::Parted }, Action::HangUp(from)]);
        } else {
            out.push(Action::Send { to: from, message: Message::Stay });
        }
    }

    /// It needs it.
    pub(crate) fn stays(&mut self, from: NodeId, out: &mut Vec<Action>) {
        let held = self.links.parting.remove(&from);
        self.links.untold.remove(&from);
        if held.is_some() {
            self.used(from);
        }
        let held = held.into_iter().flatten();
        out.extend(held.map(|message| Action::Send { to: from, message }));
        self.reached(from, out);
    }

    /// Whether a link is about to be closed, or is not: nothing begins on it until that is known.
    pub(crate) fn is_parting(&self, node: NodeId) -> bool {
        self.peers.is_linked(node) && self.links.parting.contains_key(&node)
    }

    /// To our question: it does not.
    pub(crate) fn has_parted(&mut self, from: NodeId, out: &mut Vec<Action>) {
        if self.links.parting.contains_key(&from) {
            out.push(Action::HangUp(from));
        }
    }

    /// A link stands: what could not be said while the one before was closed.
    pub(crate) fn say_held(&mut self, node: NodeId, out: &mut Vec<Action>) {
        self.stays(node, out);
    }

    /// A link was closed because neither end needs it.
    pub(crate) fn link_parted(&mut self, node: NodeId, out: &mut Vec<Action>) {
        // From now on gossip alone says whether it lives.
        let silent_at = (!self.does_wrong(Mutation::PartedUnheard)).then_some(self.now);
        self.unlinked(node, silent_at, out);
        match self.links.parting.get(&node) {
            Some(held) if !held.is_empty() || self.reaching.nodes().any(|one| one == node) => {
                self.call(node, out);
            }
            _ => drop(self.links.parting.remove(&node)),
        }
    }

    /// A link has carried something.
    pub(crate) fn used(&mut self, node: NodeId) {
        if let Some(known) = self.peers.0.get_mut(&node) {
            (known.used_at, known.told) = (self.now, false);
        }
    }

    /// What is to be said from here on: to whom there is no link a call is made, for it is owed and said anew when there is one; what
    /// is for the other end of a link that is about to be closed is held back.
    pub(crate) fn route(&mut self, from: usize, out: &mut Vec<Action>) {
        let sends = |action: &Action| matches!(action, Action::Send { .. });
        if !out[from..].iter().any(sends) {
            return;
        }
        for action in out.split_off(from) {
            let Action::Send { to, message } = action else {
                out.push(action);
                continue;
            };
            if is_upkeep(&message) {
                out.push(Action::Send { to, message });
                continue;
            }
            let linked = self.peers.is_linked(to);
            match self.links.parting.get_mut(&to) {
                Some(held) if linked && held.len() < REACHING_MAX => {
                    held.push(message);
                    continue;
                }
                _ if linked => self.used(to),
                _ => self.call(to, out),
            }
            out.push(Action::Send { to, message });
        }
    }
}

/// What links carry for their own sake, and hints: it keeps none.
pub(crate) fn is_upkeep(message: &Message) -> bool {
    matches!(
        message,
        Message::Load(_)
            | Message::Members(_)
            | Message::Removed(_)
            | Message::Left(_)
            | Message::Entries(_)
            | Message::Part
            | Message::Parted
            | Message::Stay
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Incarnation;
    use crate::heard::Heard;
    use crate::membership::Member;

    #[test]
    fn neighbours_are_each_others_and_join_all() {
        for count in [2_u128, 3, 10, 300] {
            let member = |node: u128| {
                let address = "10.0.0.1:1".parse().unwrap();
                Member::new(NodeId(node * node), Incarnation(1), address, "one").unwrap()
            };
            let of = |own: NodeId| {
                let mut heard = Heard::default();
                for node in 0..count {
                    heard.up(Time::default(), own, &member(node));
                }
                heard.beside(own)
            };
            let (mut reached, mut next) = (BTreeSet::from([NodeId(0)]), vec![NodeId(0)]);
            while let Some(one) = next.pop() {
                let beside = of(one);
                assert!(beside.len() <= 2 && !beside.contains(&one));
                assert!(beside.iter().all(|other| of(*other).contains(&one)));
                next.extend(beside.into_iter().filter(|other| reached.insert(*other)));
            }
            assert_eq!(reached.len() as u128, count);
        }
    }
}
