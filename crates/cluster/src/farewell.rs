//! Nodes that have left in order: nothing was left on them, and they have said so.
//!
//! An OS process that ends says it to all that it is linked with, as its last word; whoever hears of it tells all that it is linked with, and
//! on each link that is made both ends tell all they know. So who was away learns it from the first node that it meets, as of nodes that
//! were removed. What follows is what follows when an operator has a node forgotten: it is not listed any more, and what waits for it is
//! told. Gossip says nothing of it: there a node that leaves is one of those that do not answer any more, and nobody has proved anything.
//!
//! Invariants:
//! * What is said is of one OS process, and stays true: another one of that node is a newcomer.
//! * It is said only by one that has nothing: no process, none that comes or goes, none of which its source has not heard that it came (its
//!   copy would go on there), no end that an origin has not heard of. Origins that are attached to it end with it; their processes are
//!   told, or end, where they are.
//! * Nobody counts as having left who says something: with it ends what others have said of him. And while there is a link to it
//!   nothing follows.
//! * What is kept has a limit ([`LEFT_MAX`]), and so has what others may say at a time. Beyond it the oldest words are forgotten: such a node is
//!   listed until somebody has it forgotten.

use std::collections::VecDeque;

use crate::event::Action;
use crate::limits::LEFT_MAX;
use crate::message::Message;
use crate::node::Node;
use crate::{Incarnation, NodeId};

/// OS processes that have left, oldest words first.
#[derive(Debug, Default)]
pub(crate) struct Left(VecDeque<(NodeId, Incarnation)>);

impl Left {
    /// How many.
    pub(crate) fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn knows(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.0.contains(&(node, incarnation))
    }
}

impl Node {
    /// The last word of this OS process, to each that it is linked with. `None`: something would be lost with it, or cannot be known to be
    /// over, so that it had better be missed.
    #[must_use]
    pub fn farewell(&self) -> Option<Message> {
        let leaves = self.is_empty() && self.committed.is_empty() && self.unheard.is_empty();
        leaves.then(|| Message::Left(vec![(self.config.node, self.config.incarnation)]))
    }

    /// Another node says who has left.
    pub(crate) fn heard_left(
        &mut self,
        from: NodeId,
        left: &[(NodeId, Incarnation)],
        out: &mut Vec<Action>,
    ) {
        if left.len() > LEFT_MAX {
            let name = self.peers.name(from);
            return out.push(Action::Log(format!("node {name} says of too many that they left")));
        }
        let own = self.config.node;
        let new = left.iter().copied();
        let new = new.filter(|(node, one)| *node != own && !self.left.knows(*node, *one));
        let new: Vec<(NodeId, Incarnation)> = new.collect();
        if new.is_empty() {
            return;
        }
        for one in &new {
            if self.left.0.len() >= LEFT_MAX {
                self.left.0.pop_front();
            }
            self.left.0.push_back(*one);
        }
        for to in self.peers.all_linked().into_iter().filter(|to| *to != from) {
            out.push(Action::Send { to, message: Message::Left(new.clone()) });
        }
        for (node, _) in new {
            self.perhaps_left(node, out);
        }
    }

    /// Tells a node that has just been linked.
    pub(crate) fn tell_left(&self, to: NodeId, out: &mut Vec<Action>) {
        if !self.left.0.is_empty() {
            let left = self.left.0.iter().copied().collect();
            out.push(Action::Send { to, message: Message::Left(left) });
        }
    }

    /// A node says something else, or a link to it was made: that OS process of it has not left.
    pub(crate) fn is_there(&mut self, node: NodeId) {
        if let Some(known) = self.peers.0.get(&node).filter(|_| !self.left.0.is_empty()) {
            let there = (node, known.peer.incarnation);
            self.left.0.retain(|one| *one != there);
        }
    }

    /// If the OS process of a node that this one knows has left, and there is no link to it, that is all.
    pub(crate) fn perhaps_left(&mut self, node: NodeId, out: &mut Vec<Action>) {
        let Some(known) = self.peers.0.get(&node) else { return };
        if !known.linked && self.left.knows(node, known.peer.incarnation) {
            out.push(Action::Log(format!("node {} has left", known.peer.name)));
            self.gone_for_good(node, out);
        }
    }
}
