//! Nodes that were removed from the cluster for good.
//!
//! A set that only grows. An operator has a node that has the cluster's token remove another one, which it signs; whoever hears of it
//! tells all that it is linked with, and on each link that is made both ends tell all they know. So the order of words does not
//! matter, and who was away learns it from the first node that it meets, whoever that is: what is signed is believed of anybody.
//!
//! Invariants:
//! * Nobody is removed without a proof. Hosts look at proofs: what they tell is proved. When the token is rotated, those that have it
//!   sign all anew; a proof by the token in force takes the place of an older one.
//! * A removed node counts as gone, as one that was forgotten does; unlike that one it is not taken again.
//! * Nothing that it says any more is heard, and nobody is told of it as a member.
//! * The set has a limit ([`REMOVED_MAX`]); so has what another node may say at a time.
//!
//! What this does not do: keep anybody out. Links are the host's, which has to refuse whom it is told of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::event::Action;
use crate::limits::{PEERS_MAX, REMOVED_MAX};
use crate::message::Message;
use crate::node::Node;

/// 64 bytes of an Ed25519 signature.
pub type Signature = [[u8; 32]; 2];

/// That somebody with the cluster's token has signed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The public key that follows from the token by which it was signed.
    pub authority: [u8; 32],
    /// By that key.
    pub signature: Signature,
    /// That key, signed by the one of the token before: for those who were away when the token was rotated.
    pub vouched: Option<Signature>,
}

/// That a node was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Which.
    pub node: NodeId,
    /// Somebody with the token says so.
    pub proof: Proof,
}

impl Node {
    /// Those that were removed, in order, and what proves it.
    #[must_use]
    pub fn removed(&self) -> &BTreeMap<NodeId, Proof> {
        &self.config.removed
    }

    /// Whether a node was removed.
    #[must_use]
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.config.removed.contains_key(&node)
    }

    /// An operator's word, which this node has signed: that node is gone, and is never to come back.
    pub(crate) fn remove(&mut self, removal: Removal, out: &mut Vec<Action>) -> Result<(), String> {
        if removal.node == self.config.node {
            let name = &self.config.name;
            return Err(format!("node {name} cannot remove itself: ask another one"));
        }
        if self.removed().len() >= REMOVED_MAX && !self.is_removed(removal.node) {
            return Err(format!("{REMOVED_MAX} nodes were removed, and no more can be"));
        }
        self.take_removed(None, &[removal], out);
        Ok(())
    }

    /// Another node says who was removed, and has proved it.
    pub(crate) fn heard_removed(
        &mut self,
        from: NodeId,
        removed: &[Removal],
        out: &mut Vec<Action>,
    ) {
        if removed.len() > REMOVED_MAX {
            let name = self.peers.name(from);
            out.push(Action::Log(format!("node {name} says of too many that they were removed")));
        } else if removed.iter().any(|removal| removal.node == self.config.node) {
            out.push(Action::WasRemoved { by: from });
        } else {
            self.take_removed(Some(from), removed, out);
        }
    }

    /// This node has signed for all that it knows, by a new token: all hear it.
    pub(crate) fn signed_anew(&mut self, removed: &[Removal], out: &mut Vec<Action>) {
        self.take_removed(None, removed, out);
        self.peers.all_linked().into_iter().for_each(|to| self.tell_removed(to, out));
    }

    /// Tells a node that has just been linked.
    pub(crate) fn tell_removed(&self, to: NodeId, out: &mut Vec<Action>) {
        if !self.removed().is_empty() {
            let removed = self.removed().iter();
            let removed = removed.map(|(node, proof)| Removal { node: *node, proof: *proof });
            out.push(Action::Send { to, message: Message::Removed(removed.collect()) });
        }
    }

    fn take_removed(&mut self, from: Option<NodeId>, removed: &[Removal], out: &mut Vec<Action>) {
        let (mut new, mut changed) = (Vec::new(), false);
        for removal in removed {
            let Removal { node, proof } = *removal;
            if self.removed().len() >= REMOVED_MAX && !self.is_removed(node) {
                out.push(Action::Log(format!("too many were removed: {node} may come back")));
                continue;
            }
            match self.config.removed.insert(node, proof) {
                None => new.push(*removal),
                Some(before) => changed |= before != proof,
            }
        }
        if new.is_empty() {
            if changed {
                out.push(Action::Remove(Vec::new()));
            }
            return;
        }
        // Those who are removed hear it, too, before their links are cut.
        for to in self.peers.all_linked().into_iter().filter(|to| Some(*to) != from) {
            out.push(Action::Send { to, message: Message::Removed(new.clone()) });
        }
        let new: Vec<NodeId> = new.into_iter().map(|removal| removal.node).collect();
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
