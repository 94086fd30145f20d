//! Nodes that gossip says live.
//!
//! It is a second opinion on a link that breaks: who waits for something of a node hears that it cannot be reached when both say so,
//! or when gossip knows nothing of it, as where datagrams are stopped. And it is how nodes learn of each other that nobody has
//! introduced.

use std::collections::BTreeMap;

use crate::event::Action;
use crate::limits::{CALL_AGAIN, CALL_HEARD_AFTER, PEERS_MAX};
use crate::membership::Member;
use crate::mutation::Mutation;
use crate::node::Node;
use crate::{Incarnation, NodeId, Time};

/// Of each node the OS process that lives.
#[derive(Debug, Default)]
pub(crate) struct Heard(BTreeMap<NodeId, Up>);

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
    /// A member is up. A newcomer is told by links of all whom it is to call, and calls them: so much time it has. Then of two
    /// the lesser calls first.
    pub(crate) fn up(&mut self, now: Time, own: NodeId, member: &Member) {
        let node = member.node();
        if node == own || self.0.len() >= PEERS_MAX && !self.0.contains_key(&node) {
            return;
        }
        let up = Up {
            incarnation: member.incarnation(),
            address: member.address().to_string(),
            name: member.name().to_owned(),
            called_at: None,
            call_at: Some(call_at(now, own, node)),
        };
        self.0.insert(node, up);
    }

    /// A member is not up any more.
    pub(crate) fn down(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.is_up(node, incarnation) {
            self.0.remove(&node);
        }
    }

    /// There is no link to it any more. Whoever had called calls again; if he cannot, the other one does.
    pub(crate) fn unlinked(&mut self, now: Time, own: NodeId, node: NodeId) {
        if let Some(up) = self.0.get_mut(&node) {
            up.call_at = Some(call_at(now, own, node));
        }
    }

    /// Whether that OS process lives, as gossip has it.
    pub(crate) fn is_up(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.0.get(&node).is_some_and(|up| up.incarnation == incarnation)
    }

    /// All that live.
    pub(crate) fn all(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    /// How many live.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where one that lives is called.
    pub(crate) fn address(&self, node: NodeId) -> Option<&str> {
        self.0.get(&node).map(|up| up.address.as_str())
    }

    /// What one that lives is called.
    pub(crate) fn name(&self, node: NodeId) -> Option<&str> {
        self.0.get(&node).map(|up| up.name.as_str())
    }

    /// One is to be called because something is for it: where. `None`: it was just before, or does not live.
    pub(crate) fn take_call(&mut self, node: NodeId, now: Time) -> Option<String> {
        let up = self.0.get_mut(&node)?;
        if up.called_at.is_some_and(|at| now.since(at) < CALL_AGAIN) {
            return None;
        }
        up.called_at = Some(now);
        Some(up.address.clone())
    }

    /// Addresses of those that are to be called now.
    pub(crate) fn take_calls(&mut self, now: Time, linked: impl Fn(NodeId) -> bool) -> Vec<String> {
        let due = self.0.iter_mut().filter_map(|(node, up)| {
            up.call_at.take_if(|at| *at <= now)?;
            (!linked(*node)).then(|| up.address.clone())
        });
        due.collect()
    }

    /// When the next one is.
    pub(crate) fn next_call(&self) -> Time {
        self.0.values().filter_map(|up| up.call_at).min().unwrap_or(Time::NEVER)
    }
}

impl Node {
    /// Gossip says that a member lives.
    pub(crate) fn member_up(&mut self, member: &Member, out: &mut Vec<Action>) {
        self.heard.up(self.now, self.config.node, member);
        self.names_end_with(member.node(), out);
    }

    /// It says so no more.
    pub(crate) fn member_down(&mut self, member: &Member, out: &mut Vec<Action>) {
        self.heard.down(member.node(), member.incarnation());
        self.not_heard(member.node(), out);
    }

    /// Perhaps a node does not live any more, as gossip has it.
    pub(crate) fn not_heard(&mut self, node: NodeId, out: &mut Vec<Action>) {
        if self.heard.address(node).is_none() {
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
