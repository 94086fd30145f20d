//! Nodes that are removed from the cluster for good, or that an operator says are gone: who signs for that, and what proves it.

use std::time::SystemTime;

use peripatos_cluster::limits::LEFT_MAX;
use peripatos_cluster::message::{Answer, Command, Message};
use peripatos_cluster::{Departure, Event, NodeId, Proof, Removal, Request};

use super::super::NodeError;
use super::super::protocol::FromNode;
use super::Host;
use super::links::Dialling;
use crate::link::{IdentityError, Statement, is_departure};

/// After so many words of a node that are not proved it is listened to no more, this time: each takes time to look at.
const UNPROVED_MAX: usize = 16;

impl Host {
    /// A command wants a node removed.
    pub(super) fn remove_node(&mut self, number: u64, node: NodeId) {
        match self.sign(Statement::Removed(node)) {
            Ok(proof) => self.ask(number, Request::Remove(Removal { node, proof })),
            Err(why) => self.clients.say(number, FromNode::Answer(Answer::Refused(why))),
        }
    }

    /// A command says, to the node `to`, that `node` is gone. This node believes its own operator; others believe who has the token.
    pub(super) fn forget_node(&mut self, number: u64, to: NodeId, node: NodeId) {
        let own = to == self.us.id;
        let proof = (!own).then(|| self.sign(Statement::Gone { node, to })).transpose();
        match proof {
            Ok(proof) => {
                let command = Command::Forget { node, proof: proof.map(Box::new) };
                self.ask(number, Request::Command { node: to, command });
            }
            Err(why) => self.clients.say(number, FromNode::Answer(Answer::Refused(why))),
        }
    }

    fn sign(&self, statement: Statement) -> Result<Proof, String> {
        let keyring = self.issuing.keyring.as_ref().ok_or_else(|| self.no_token())?;
        keyring.sign(statement).map_err(|error| error.to_string())
    }

    /// Another node says that one is gone. Without its proof, if that proves nothing.
    pub(super) fn heard_forget(
        &mut self,
        from: NodeId,
        request: u64,
        node: NodeId,
        proof: Option<Box<Proof>>,
    ) {
        let statement = Statement::Gone { node, to: self.us.id };
        let (papers, now) = (self.us.papers.get(), SystemTime::now());
        let proof = proof.filter(|proof| papers.prove(statement, proof, now));
        let command = Command::Forget { node, proof };
        self.tell(Event::Message { from, message: Message::Command { request, command } });
    }

    /// Another node says who was removed. What is not proved is not so.
    pub(super) fn heard_removed(&mut self, from: NodeId, removed: Vec<Removal>) {
        let (papers, now) = (self.us.papers.get(), SystemTime::now());
        let (mut proved, mut unproved) = (Vec::new(), 0);
        for removal in removed {
            let known = self.node.removed().get(&removal.node);
            if known.is_some_and(|known| *known == removal.proof || papers.are_of_authority(known))
            {
                continue;
            }
            if papers.prove(Statement::Removed(removal.node), &removal.proof, now) {
                proved.push(removal);
            } else if known.is_none() {
                unproved += 1;
                if unproved == UNPROVED_MAX {
                    break;
                }
            }
        }
        if unproved > 0 {
            let name = self.node.name_of(from);
            self.log_once(&format!(
                "node {name} says that nodes were removed, and does not prove it: it is not believed"
            ));
        }
        if !proved.is_empty() {
            self.tell(Event::Message { from, message: Message::Removed(proved) });
        }
    }

    /// Another node says who has left in order. Each has to have signed that itself: one that is stolen could otherwise say it of any.
    pub(super) fn heard_left(&mut self, from: NodeId, mut left: Vec<Departure>) {
        // Of more the node looks at none.
        if left.len() <= LEFT_MAX {
            let mut unproved = 0;
            left.retain(|one| {
                let known = self.node.has_left(one.node, one.incarnation);
                let proved = known || unproved < UNPROVED_MAX && is_departure(one);
                unproved += usize::from(!proved);
                proved
            });
            if unproved > 0 {
                let name = self.node.name_of(from);
                self.log_once(&format!(
                    "node {name} says that nodes have left, and does not prove it: it is not believed"
                ));
            }
        }
        self.tell(Event::Message { from, message: Message::Left(left) });
    }

    /// This node has a new token: it signs by it for all that were removed.
    pub(super) fn sign_removals(&mut self) -> Result<(), IdentityError> {
        let Some(keyring) = &self.issuing.keyring else { return Ok(()) };
        let signed = self.node.removed().keys().map(|node| {
            keyring.sign(Statement::Removed(*node)).map(|proof| Removal { node: *node, proof })
        });
        let signed: Vec<Removal> = signed.collect::<Result<_, _>>()?;
        if !signed.is_empty() {
            self.tell(Event::SignedAnew(signed));
        }
        Ok(())
    }

    /// All that is known of them, to one that has just been told of a new token.
    pub(super) fn tell_removals(&mut self, to: NodeId) {
        let removed = self.node.removed().iter();
        let removed = removed.map(|(node, proof)| Removal { node: *node, proof: *proof });
        let removed: Vec<Removal> = removed.collect();
        if !removed.is_empty() {
            self.send(to, &Message::Removed(removed));
        }
    }

    /// Nodes were removed from the cluster: they are let in no more, not even when this node is started again.
    pub(super) fn remove(&mut self, nodes: &[NodeId]) {
        let removed = self.node.removed().clone();
        if let Err(error) = self.place.keep_removed(&removed) {
            (self.log)(&format!("it is not kept that nodes were removed: {error}"));
        }
        let papers = &self.us.papers;
        papers.set(papers.get().refusing(removed));
        let to_removed = |one: &Dialling| one.node.is_some_and(|node| nodes.contains(&node));
        for (_, dialling) in self.dialling.extract_if(|_, one| to_removed(one)) {
            dialling.task.abort();
        }
        for node in nodes {
            self.issuing.others.remove(node);
            self.lost.remove(node);
            self.links.get(node).into_iter().for_each(|standing| standing.ear.shut());
            self.unlink(*node);
        }
    }

    /// Others let this node in no more.
    pub(super) fn was_removed(&mut self) {
        self.ending = Some(Err(NodeError::Removed { key: self.place.key() }));
    }
}
