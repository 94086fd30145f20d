//! Nodes that have left in order: nothing was left on them, and they have said so.
//!
//! An OS process that ends says it to all that it is linked with, as its last word; whoever hears of it tells all that it is linked with, and
//! on each link that is made both ends tell all they know. So who was away learns it from the first node that it meets, as of nodes that
//! were removed. What follows is what follows when an operator has a node forgotten: it is not listed any more, and what waits for it is
//! told. Gossip says nothing of it: there a node that leaves is one of those that do not answer any more, and nobody has proved anything.
//!
//! Invariants:
//! * What is said is of one OS process, and stays true: another one of that node is a newcomer. So whoever tells it on may, and the node
//!   itself has signed it: nobody says it of another one that has not. Hosts look at that; what they tell is proved.
//! * It is said only by one that has nothing: no process, none that comes or goes, none of which its source has not heard that it came (its
//!   copy would go on there), no end that an origin has not heard of. Origins that are attached to it end with it; their processes are
//!   told, or end, where they are.
//! * Nobody counts as having left who says something: with it ends what others have said of him. And while there is a link to it
//!   nothing follows.
//! * What is kept has a limit ([`LEFT_MAX`]), and so has what others may say at a time. Beyond it the oldest words are forgotten: such a node is
//!   listed until somebody has it forgotten.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::Action;
use crate::limits::LEFT_MAX;
use crate::message::Message;
use crate::node::Node;
use crate::removed::Signature;
use crate::{Incarnation, NodeId};

/// That a node has signed something itself, by the key from which its id follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnProof {
    /// Its public key.
    pub public_key: [u8; 32],
    /// By that key.
    pub signature: Signature,
}

/// That an OS process of a node has left in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Of which node.
    pub node: NodeId,
    /// Which.
    pub incarnation: Incarnation,
    /// That node says so.
    pub proof: OwnProof,
}

/// OS processes that have left, oldest words first.
#[derive(Debug, Default)]
pub(crate) struct Left(VecDeque<Departure>);

impl Left {
    /// How many.
    pub(crate) fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn knows(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.0.iter().any(|one| (one.node, one.incarnation) == (node, incarnation))
    }
}

impl Node {
    /// Whether nothing would be lost with this OS process. Otherwise, or if that cannot be known, it had better be missed.
    #[must_use]
    pub fn leaves_nothing(&self) -> bool {
        self.is_empty() && self.committed.is_empty() && self.unheard.is_empty()
    }

    /// The last word of this OS process, to each that it is linked with, if it leaves nothing. `proof`: of that it has left.
    #[must_use]
    pub fn farewell(&self, proof: OwnProof) -> Option<Message> {
        let (node, incarnation) = (self.config.node, self.config.incarnation);
        self.leaves_nothing().then(|| Message::Left(vec![Departure { node, incarnation, proof }]))
    }

    /// Whether it is known that an OS process has left in order.
    #[must_use]
    pub fn has_left(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.left.knows(node, incarnation)
    }

    /// Another node says who has left, each of which has proved it.
    pub(crate) fn heard_left(&mut self, from: NodeId, left: &[Departure], out: &mut Vec<Action>) {
        if left.len() > LEFT_MAX {
            let name = self.peers.name(from);
            return out.push(Action::Log(format!("node {name} says of too many that they left")));
        }
        let own = self.config.node;
        let new = left.iter().copied();
        let new = new.filter(|one| one.node != own && !self.has_left(one.node, one.incarnation));
        let new: Vec<Departure> = new.collect();
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
        for one in new {
            self.perhaps_left(one.node, out);
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
            self.left.0.retain(|one| (one.node, one.incarnation) != there);
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
