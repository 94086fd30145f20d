//! Nodes that gossip says live.
//!
//! It is a second opinion on a link that breaks: who waits for something of a node hears that it cannot be reached when both say so,
//! or when gossip knows nothing of it, as where datagrams are stopped. And it is how nodes learn of each other that nobody has
//! introduced.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Action;
use crate::limits::{CALL_AGAIN, CALL_HEARD_AFTER, PEERS_MAX};
use crate::membership::Member;
use crate::mutation::Mutation;
use crate::node::Node;
use crate::{Incarnation, NodeId, Time};

/// What it says.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Of each node the OS process that lives.
    up: BTreeMap<NodeId, Up>,
    /// Nodes that were never met, as those that had lived: they may yet, and what is looked for may be there.
    missing: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Up {
    incarnation: Incarnation,
    address: String,
    name: String,
    /// When it was called because something was for it.
    called_at: Option<Time>,
    /// If there is no link by then it is called.
    call_at: Option<Time>,
}

impl Heard {
    /// A member is up. Whether it was not, or as another OS process. A newcomer is told by links of all whom it is to call, and calls them: so much time it has. Then of two
    /// the lesser calls first.
    pub(crate) fn up(&mut self, now: Time, own: NodeId, member: &Member) -> bool {
        let node = member.node();
        if node == own || self.up.len() >= PEERS_MAX && !self.up.contains_key(&node) {
            return false;
        }
        let is_new = !self.is_up(node, member.incarnation());
        let up = Up {
            incarnation: member.incarnation(),
            address: member.address().to_string(),
            name: member.name().to_owned(),
            called_at: None,
            call_at: Some(call_at(now, own, node)),
        };
        self.missing.remove(&node);
        self.up.insert(node, up);
        is_new
    }

    /// A member is not up any more.
    pub(crate) fn down(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.is_up(node, incarnation) {
            self.up.remove(&node);
        }
    }

    /// A node that was never met does not live any more.
    fn missed(&mut self, node: NodeId) {
        if self.missing.len() < PEERS_MAX {
            self.missing.insert(node);
        }
    }

    /// It is met, or it is known that what it had is gone.
    pub(crate) fn found(&mut self, node: NodeId) {
        self.missing.remove(&node);
    }

    /// Whether there is such a node.
    pub(crate) fn misses(&self) -> bool {
        !self.missing.is_empty()
    }

    /// There is no link to it any more. Whoever had called calls again; if he cannot, the other one does.
    pub(crate) fn unlinked(&mut self, now: Time, own: NodeId, node: NodeId) {
        if let Some(up) = self.up.get_mut(&node) {
            up.call_at = Some(call_at(now, own, node));
        }
    }

    /// Whether that OS process lives, as gossip has it.
    pub(crate) fn is_up(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.up.get(&node).is_some_and(|up| up.incarnation == incarnation)
    }

    /// All that live.
    pub(crate) fn all(&self) -> impl Iterator<Item = NodeId> {
        self.up.keys().copied()
    }

    /// Those that are next to this one in the order of ids, in which the first follows the last.
    pub(crate) fn beside(&self, own: NodeId) -> BTreeSet<NodeId> {
        let mut after = self.up.range(own..).chain(&self.up).map(|(node, _)| *node);
        let mut before =
            self.up.range(..own).rev().chain(self.up.iter().rev()).map(|(node, _)| *node);
        after.next().into_iter().chain(before.next()).collect()
    }

    /// How many live.
    pub(crate) fn len(&self) -> usize {
        self.up.len()
    }

    /// Where one that lives is called.
    pub(crate) fn address(&self, node: NodeId) -> Option<&str> {
        self.up.get(&node).map(|up| up.address.as_str())
    }

    /// What one that lives is called.
    pub(crate) fn name(&self, node: NodeId) -> Option<&str> {
        self.up.get(&node).map(|up| up.name.as_str())
    }

    /// One is to be called because something is for it: where. `None`: it was just before, or does not live.
    pub(crate) fn take_call(&mut self, node: NodeId, now: Time) -> Option<String> {
        let up = self.up.get_mut(&node)?;
        if up.called_at.is_some_and(|at| now.since(at) < CALL_AGAIN) {
            return None;
        }
        up.called_at = Some(now);
        Some(up.address.clone())
    }

    /// All are to be called, as those that have just come.
    pub(crate) fn call_all(&mut self, now: Time, own: NodeId) {
        for (node, up) in &mut self.up {
            up.call_at = Some(call_at(now, own, *node));
        }
    }

    /// Addresses of those that are to be called now. `wanted`: with whom there is no link, and one is needed.
    pub(crate) fn take_calls(&mut self, now: Time, wanted: impl Fn(NodeId) -> bool) -> Vec<String> {
        let due = self.up.iter_mut().filter_map(|(node, up)| {
            up.call_at.take_if(|at| *at <= now)?;
            wanted(*node).then(|| up.address.clone())
        });
        due.collect()
    }

    /// When the next one is.
    pub(crate) fn next_call(&self) -> Time {
        self.up.values().filter_map(|up| up.call_at).min().unwrap_or(Time::NEVER)
    }
}

impl Node {
    /// Gossip says that a member lives.
    pub(crate) fn member_up(&mut self, member: &Member, out: &mut Vec<Action>) {
        let node = member.node();
        if self.is_expired(node, member.incarnation()) {
            return;
        }
        if self.heard.up(self.now, self.config.node, member) {
            self.newcomer(node);
        }
        let unlinked = self.peers.0.get_mut(&node).filter(|known| !known.linked && !known.gone);
        if let Some(known) = unlinked.filter(|known| known.peer.incarnation == member.incarnation())
        {
            // When it does not any more that is told (again).
            known.silent_at.get_or_insert(self.now);
        }
        if self.heard.address(node).is_some() && !self.directory.has(node) {
            self.keeper_comes(node);
        }
        self.names_end_with(node, out);
    }

    /// It says so no more.
    pub(crate) fn member_down(&mut self, member: &Member, out: &mut Vec<Action>) {
        let node = member.node();
        let lived = self.heard.is_up(node, member.incarnation());
        self.heard.down(node, member.incarnation());
        self.not_heard(node, out);
        let known = self.peers.0.get(&node).map(|known| known.peer.incarnation);
        if lived && known != Some(member.incarnation()) && !self.peers.is_linked(node) {
            // There has never been a link, and something of a process there may have been waited for all the same.
            self.heard.missed(node);
            out.push(Action::NodeSilent(node));
        }
    }

    /// Perhaps a node does not live any more, as gossip has it.
    pub(crate) fn not_heard(&mut self, node: NodeId, out: &mut Vec<Action>) {
        if self.heard.address(node).is_none() {
            self.untell(node);
            if !self.peers.is_linked(node) {
                self.keeper_goes(node);
            }
            self.is_not_reached(node, out);
        }
        self.names_end_with(node, out);
    }

    /// A node's names count as long as it lives, as gossip or a link says. That a link broke does not free them.
    pub(crate) fn names_end_with(&self, node: NodeId, out: &mut Vec<Action>) {
        let known = self.peers.0.get(&node);
        let is_up = |incarnation| self.heard.is_up(node, incarnation);
        let lives = known.is_some_and(|one| one.linked || is_up(one.peer.incarnation));
        if !lives && !self.does_wrong(Mutation::NamesOutlive) {
            out.push(Action::ForgetNames(node));
        }
    }
}

fn call_at(now: Time, own: NodeId, node: NodeId) -> Time {
    now + if own < node { CALL_HEARD_AFTER } else { 2 * CALL_HEARD_AFTER }
}
