//! Nodes that were removed from the cluster for good.
//!
//! A set that only grows. An operator has one node remove another one; whoever hears of it tells all that it is linked with, and
//! on each link that is made both ends tell all they know. So the order of words does not matter, and who was away learns it
//! from the first node that it meets.
//!
//! Invariants:
//! * A removed node counts as gone, as one that was forgotten does; unlike that one it is not taken again.
//! * Nothing that it says any more is heard, and nobody is told of it as a member.
//! * The set has a limit ([`REMOVED_MAX`]); so has what another node may say at a time.
//!
//! What this does not do: keep anybody out. Links are the host's, which has to refuse whom it is told of.

use std::collections::BTreeSet;

use crate::NodeId;
use crate::event::Action;
use crate::limits::{PEERS_MAX, REMOVED_MAX};
use crate::message::Message;
use crate::node::Node;

impl Node {
    /// Those that were removed, in order.
    #[must_use]
    pub fn removed(&self) -> &BTreeSet<NodeId> {
        &self.config.removed
    }

    /// An operator's word: that node is gone, and is never to come back.
    pub(crate) fn remove(&mut self, node: NodeId, out: &mut Vec<Action>) -> Result<(), String> {
        if node == self.config.node {
            let name = &self.config.name;
            return Err(format!("node {name} cannot remove itself: ask another one"));
        }
        if self.removed().len() >= REMOVED_MAX && !self.removed().contains(&node) {
            return Err(format!("{REMOVED_MAX} nodes were removed, and no more can be"));
        }
        self.take_removed(None, &[node], out);
        Ok(())
    }

    /// Another node says who was removed.
    pub(crate) fn heard_removed(
        &mut self,
        from: NodeId,
        removed: &[NodeId],
        out: &mut Vec<Action>,
    ) {
        if removed.len() > REMOVED_MAX {
            let name = self.peers.name(from);
            out.push(Action::Log(format!("node {name} says of too many that they were removed")));
        } else if removed.contains(&self.config.node) {
            out.push(Action::WasRemoved { by: from });
        } else {
            self.take_removed(Some(from), removed, out);
        }
    }

    /// Tells a node that has just been linked.
    pub(crate) fn tell_removed(&self, to: NodeId, out: &mut Vec<Action>) {
        if !self.removed().is_empty() {
            let removed = self.removed().iter().copied().collect();
            out.push(Action::Send { to, message: Message::Removed(removed) });
        }
    }

    fn take_removed(&mut self, from: Option<NodeId>, removed: &[NodeId], out: &mut Vec<Action>) {
        let mut new = Vec::new();
        for node in removed {
            if self.removed().len() >= REMOVED_MAX && !self.removed().contains(node) {
                out.push(Action::Log(format!("too many were removed: {node} may come back")));
            } else if self.config.removed.insert(*node) {
                new.push(*node);
            }
        }
        if new.is_empty() {
            return;
        }
        // Those who are removed hear it, too, before their links are cut.
        for to in self.peers.all_linked().into_iter().filter(|to| Some(*to) != from) {
            out.push(Action::Send { to, message: Message::Removed(new.clone()) });
        }
        for node in &new {
            let name = self.peers.name(*node);
            out.push(Action::Log(format!("node {name} was removed from the cluster")));
        }
        let unlinked: Vec<NodeId> =
            new.iter().copied().filter(|node| !self.peers.is_linked(*node)).collect();
        out.push(Action::Remove(new));
        // The others when their links are cut.
        unlinked.into_iter().for_each(|node| self.gone_for_good(node, out));
    }

    /// An operator has said that a node to which there is no link is gone.
    pub(crate) fn gone_for_good(&mut self, node: NodeId, out: &mut Vec<Action>) {
        self.heard.found(node);
        if let Some(known) = self.peers.0.remove(&node) {
            self.gone(node, known.peer.incarnation, out);
            if self.given_up.len() >= PEERS_MAX {
                self.given_up.pop_first();
            }
            self.given_up.insert(node, known.peer.name);
        }
    }
}
