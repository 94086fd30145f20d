//! The cluster's token and who signs for whom: rotations, certificates, issuers that come and go.
//!
//! A node either has the token, and signs for itself and for others; or it has a certificate that one has signed that does, and asks
//! such a one for the next. What it has is on disk before it is used.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use peripatos_cluster::message::{Answer, Message};
use peripatos_cluster::{
    Certified, Event, Identity, IssuerStep, NodeId, Secret, Tokens, issuer_step,
};

use super::super::NodeError;
use super::super::protocol::FromNode;
use super::{Host, now_unix_seconds};
use crate::link::{Credentials, IdentityError, Keyring, Token};

/// Nodes go and come back: so long the token is neither given nor given up.
const STEP_WAIT: Duration = Duration::from_secs(5);
/// Who was given the token, and does not say that it has it, is not given it again for so long.
const GIVE_AGAIN: Duration = Duration::from_secs(60);
/// Whoever has come by a token that is accepted for no longer than this, when it is drawn anew, is cut off when that is over.
const NOW_GRACE_MAX: Duration = Duration::from_secs(600);
/// After so long another issuer is asked for a certificate.
const CERTIFY_WAIT_MAX: Duration = Duration::from_secs(5);

/// What a node has of its cluster's secrets, and what it is about to do about that.
pub(super) struct Issuing {
    /// The tokens, if it has them.
    pub(super) keyring: Option<Keyring>,
    /// What it is in the cluster by.
    pub(super) certified: Certified,
    /// When it last asked for a certificate, and how often it has.
    asked: Option<(Instant, usize)>,
    /// Whoever has come from elsewhere by the token before is cut off then, in seconds since 1970.
    evict_at: Option<u64>,
    /// What it would do about the token, and since when.
    wish: Option<(IssuerStep, Instant)>,
    /// Who was given the token not long ago: whoever does not take it must not be the only one that is offered it.
    given: BTreeMap<NodeId, Instant>,
    /// Nodes that have said last that they have the token, linked or not.
    pub(super) others: BTreeSet<NodeId>,
    /// Of those, whom the state machine was told that links are needed with.
    kept: BTreeSet<NodeId>,
}

impl Issuing {
    pub(super) fn new(keyring: Option<Keyring>, certified: Certified) -> Issuing {
        let (given, others, kept) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Issuing { keyring, certified, asked: None, evict_at: None, wish: None, given, others, kept }
    }
}

impl Host {
    /// The token in force, for a command.
    pub(super) fn show_token(&mut self, number: u64) {
        let answer = match &self.issuing.keyring {
            Some(keyring) => FromNode::Token(keyring.tokens().current),
            None => FromNode::Answer(Answer::Refused(self.no_token())),
        };
        self.clients.say(number, answer);
    }

    /// The same, and how long the one before is accepted.
    fn show_token_before(&mut self, number: u64) {
        let answer = match self.issuing.keyring.as_ref().map(Keyring::tokens) {
            Some(tokens) => {
                let until = tokens.previous.map_or(0, |(_, until)| until);
                let seconds = until.saturating_sub(now_unix_seconds());
                FromNode::Rotated(tokens.current, seconds)
            }
            None => FromNode::Answer(Answer::Refused(self.no_token())),
        };
        self.clients.say(number, answer);
    }

    pub(super) fn no_token(&self) -> String {
        let others = self.issuing.others.iter();
        let names: Vec<String> = others.map(|node| self.node.name_of(*node)).collect();
        format!(
            "this node does not have the token; these have said that they have it: {}",
            names.join(", ")
        )
    }

    /// Linked nodes that have the token.
    fn issuers(&self) -> impl Iterator<Item = NodeId> {
        self.links.iter().filter(|(_, standing)| standing.issues).map(|(node, _)| *node)
    }

    /// A command wants a new token, which a node draws that has the one in force; that is accepted for so long, and until all can
    /// have heard, if that is wanted.
    pub(super) fn rotate_token(&mut self, number: u64, grace: Duration, until_heard: bool) {
        // Members to which there is no link would be refused, and not be heard in datagrams, before anybody has told them.
        let heard = self.node.told_within().filter(|_| until_heard).unwrap_or_default();
        let grace = grace.max(heard.min(NOW_GRACE_MAX));
        match self.rotate(grace) {
            Ok(()) => self.show_token_before(number),
            Err(error) => {
                let answer = Answer::Refused(error.to_string());
                self.clients.say(number, FromNode::Answer(answer));
            }
        }
    }

    /// Does nothing without the token. No other node is asked then: who has stolen one could ask as well.
    fn rotate(&mut self, grace: Duration) -> Result<(), NodeError> {
        let Some(keyring) = &self.issuing.keyring else { return Ok(()) };
        let rotated = keyring.rotated(grace, SystemTime::now()).map_err(NodeError::Io)?;
        self.take_keyring(rotated)
    }

    /// A command brings the token that was drawn while this node was away.
    pub(super) fn use_token(&mut self, number: u64, secret: Secret) {
        let token = Token::from_secret(secret.0);
        let brought = match &self.issuing.keyring {
            Some(keyring) => keyring.with(token),
            None => token.into(),
        };
        let kept = self.take_keyring(brought);
        let answer =
            kept.map_or_else(|error| Answer::Refused(error.to_string()), |()| Answer::Done);
        self.clients.say(number, FromNode::Answer(answer));
    }

    /// Another node says something of who it is, or asks.
    pub(super) fn heard_identity(&mut self, from: NodeId, said: Identity) {
        let done = match said {
            Identity::Issuer { issues, generation } => {
                self.heard_of_issuer(from, issues, generation);
                Ok(())
            }
            Identity::Certify => self.certify(from).map_err(NodeError::from),
            Identity::Certified(certified) => self.heard_certified(certified),
            Identity::Tokens(tokens) => self.heard_tokens(&tokens),
        };
        if let Err(error) = done {
            let name = self.node.name_of(from);
            self.log_once(&format!("nothing comes of what node {name} says of tokens: {error}"));
        }
    }

    fn heard_of_issuer(&mut self, from: NodeId, issues: bool, generation: u64) {
        if let Some(standing) = self.links.get_mut(&from) {
            standing.issues = issues;
        }
        if issues {
            self.issuing.others.insert(from);
        } else {
            self.issuing.others.remove(&from);
        }
        match &self.issuing.keyring {
            Some(keyring) if issues && keyring.was_rotated() => {
                let tokens = keyring.tokens();
                self.say_identity(from, Identity::Tokens(tokens));
            }
            None if issues && generation > self.issuing.certified.generation => {
                self.say_identity(from, Identity::Certify);
            }
            _ => {}
        }
    }

    /// Signs for a node, if this one can.
    fn certify(&mut self, node: NodeId) -> Result<(), IdentityError> {
        if let (Some(keyring), Some(standing)) = (&self.issuing.keyring, self.links.get(&node)) {
            let certified = keyring.certify(&standing.public_key, SystemTime::now())?;
            self.say_identity(node, Identity::Certified(certified));
            self.tell_removals(node);
        }
        Ok(())
    }

    fn heard_certified(&mut self, certified: Certified) -> Result<(), NodeError> {
        let own = &self.issuing;
        if own.keyring.is_some() || certified.generation < own.certified.generation {
            return Ok(());
        }
        let credentials = self.us.papers.get().renewed(&certified, &self.key)?;
        self.place.keep_certified(&certified)?;
        self.take_certified(credentials, certified);
        Ok(())
    }

    /// Another node that has the token says what it is; to one that does not have it: that it is to have it.
    fn heard_tokens(&mut self, tokens: &Tokens) -> Result<(), NodeError> {
        let keyring = match &self.issuing.keyring {
            Some(keyring) => keyring.newer(tokens),
            None => Some(Keyring::of(tokens)).filter(|one| one.is_of(&self.issuing.certified)),
        };
        keyring.map_or(Ok(()), |keyring| self.take_keyring(keyring))
    }

    /// This node has these tokens from now on. Errors: it goes on with what it had.
    fn take_keyring(&mut self, keyring: Keyring) -> Result<(), NodeError> {
        let certified = keyring.certify(&self.key.public()?, SystemTime::now())?;
        let credentials = Credentials::of(&certified, &self.key)?;
        self.place.keep_keyring(&keyring)?;
        self.place.keep_certified(&certified)?;
        let credentials = credentials.refusing(self.us.papers.get().removed);
        self.issuing.keyring = Some(keyring);
        self.take_certified(credentials, certified);
        self.tell_issuing();
        self.tell_news();
        self.sign_removals()?;
        // Those that do not have it hear it when they ask; nobody gives it to them by the way.
        let others: Vec<NodeId> = self.issuers().collect();
        for node in others {
            self.heard_of_issuer(node, true, 0);
        }
        Ok(())
    }

    /// Links are made by these from now on.
    fn take_certified(&mut self, credentials: Credentials, certified: Certified) {
        if certified.authority != self.issuing.certified.authority {
            (self.log)("the cluster has a new token");
            if !credentials.accept_previous(SystemTime::now()) {
                // Whoever has come by the old one may be who is to be kept out.
                self.evict.send_modify(|times| *times += 1);
            }
            self.issuing.evict_at = evict_at(&certified, now_unix_seconds());
        }
        self.us.papers.set(credentials);
        self.issuing.certified = certified;
        self.issuing.asked = None;
    }

    /// Tells a node that has just been linked whether this one has the token.
    pub(super) fn tell_issuing_to(&mut self, node: NodeId) {
        let Issuing { keyring, certified, .. } = &self.issuing;
        let (issues, generation) = (keyring.is_some(), certified.generation);
        self.say_identity(node, Identity::Issuer { issues, generation });
    }

    fn tell_issuing(&mut self) {
        let all: Vec<NodeId> = self.links.keys().copied().collect();
        all.into_iter().for_each(|node| self.tell_issuing_to(node));
    }

    fn say_identity(&mut self, to: NodeId, said: Identity) {
        self.send(to, &Message::Identity(said));
    }

    /// Time has passed: certificates are renewed, and the token is given or given up.
    pub(super) fn look_at_identity(&mut self) {
        let all = &self.issuing.certified.gossip;
        let previous = self.us.papers.get().accept_previous(SystemTime::now());
        let secrets = if previous { all } else { &all[..all.len().min(1)] };
        if let Some(gossip) = &mut self.gossip {
            // As long as both are accepted, by the one that all have: not all have heard of the new one.
            let sealing: Vec<Secret> = secrets.iter().rev().copied().collect();
            gossip.use_secrets(&sealing);
        }
        let announced = self.discovery.as_mut().map_or(Ok(()), |one| one.use_secrets(secrets));
        if let Err(error) = announced {
            self.log_once(&format!("others do not find this node on the network: {error}"));
        }
        if self.issuing.evict_at.take_if(|at| *at <= now_unix_seconds()).is_some() {
            self.evict.send_modify(|times| *times += 1);
        }
        self.keep_issuers();
        if let Err(error) = self.renew() {
            self.log_once(&format!("this node's certificate is not renewed: {error}"));
        }
        if self.issuing.keyring.is_some()
            && let Err(error) = self.step()
        {
            self.log_once(&format!("this node does not give up the token: {error}"));
        }
    }

    /// Who has the token gives it up, or gives it on, by what those say that have it: it keeps links with them. So does, until it is
    /// done, who needs a certificate.
    fn keep_issuers(&mut self) {
        let needs = self.issuing.keyring.is_some()
            || self.us.papers.get().are_to_be_renewed(SystemTime::now());
        let kept = if needs { self.issuing.others.clone() } else { BTreeSet::new() };
        if kept != self.issuing.kept {
            self.issuing.kept.clone_from(&kept);
            self.tell(Event::Keep(kept));
        }
    }

    /// Makes a new certificate when it is time, or asks for one. Links that stand are not concerned.
    fn renew(&mut self) -> Result<(), NodeError> {
        let (now, papers) = (SystemTime::now(), self.us.papers.get());
        if !papers.are_to_be_renewed(now) {
            return Ok(());
        }
        if let Some(keyring) = &self.issuing.keyring {
            let certified = keyring.certify(&self.key.public()?, now)?;
            let credentials = Credentials::of(&certified, &self.key)?.refusing(papers.removed);
            self.place.keep_certified(&certified)?;
            self.take_certified(credentials, certified);
            return Ok(());
        }
        let issuers: Vec<NodeId> = self.issuers().collect();
        let (asked_at, times) = self.issuing.asked.unzip();
        let waits = asked_at.is_some_and(|at| at.elapsed() < CERTIFY_WAIT_MAX);
        let times = times.unwrap_or(0);
        if let Some(issuer) = issuers.get(times % issuers.len().max(1)).filter(|_| !waits) {
            self.issuing.asked = Some((Instant::now(), times + 1));
            self.say_identity(*issuer, Identity::Certify);
        }
        Ok(())
    }

    /// What is to be done about the token, if it has been for long enough.
    fn step(&mut self) -> Result<(), NodeError> {
        self.issuing.given.retain(|_, at| at.elapsed() < GIVE_AGAIN);
        let given = &self.issuing.given;
        let others = self.links.iter().map(|(node, standing)| (*node, standing.issues));
        let others = others.filter(|(node, issues)| *issues || !given.contains_key(node)).collect();
        let step = issuer_step(self.us.id, &others);
        let since = match self.issuing.wish {
            Some((wish, since)) if wish == step => since,
            _ => {
                self.issuing.wish = Some((step, Instant::now()));
                return Ok(());
            }
        };
        if since.elapsed() < STEP_WAIT {
            return Ok(());
        }
        self.issuing.wish = None;
        match (step, &self.issuing.keyring) {
            (IssuerStep::Give(node), Some(keyring)) => {
                let tokens = keyring.tokens();
                let name = self.node.name_of(node);
                (self.log)(&format!("node {name} is given the token: too few have it"));
                self.issuing.given.insert(node, Instant::now());
                self.say_identity(node, Identity::Tokens(tokens));
            }
            (IssuerStep::Drop, _) => {
                // Its certificate is on disk.
                self.place.remove_keyring()?;
                self.issuing.keyring = None;
                (self.log)("enough other nodes have the token: this one keeps it no longer");
                self.tell_issuing();
                self.tell_news();
            }
            _ => {}
        }
        Ok(())
    }
}

/// When whoever has come by the token before is cut off, if that is accepted for a short time yet.
fn evict_at(certified: &Certified, now: u64) -> Option<u64> {
    let until = certified.previous.as_ref().map(|(_, until)| *until)?;
    let left = until.checked_sub(now).filter(|left| *left > 0)?;
    (left <= NOW_GRACE_MAX.as_secs()).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_come_by_a_token_that_is_hardly_accepted_any_more_is_cut_off() {
        let certified = |until: Option<u64>| Certified {
            generation: 1,
            authority: Vec::new(),
            previous: until.map(|until| (Vec::new(), until)),
            chain: Vec::new(),
            made: 0,
            gossip: Vec::new(),
        };
        let at = |until| evict_at(&certified(until), 1_000);
        assert_eq!(at(None), None);
        // At once, when it was taken.
        assert_eq!((at(Some(999)), at(Some(1_000))), (None, None));
        assert_eq!((at(Some(1_001)), at(Some(1_600))), (Some(1_001), Some(1_600)));
        assert_eq!((at(Some(1_601)), at(Some(4_600))), (None, None));
    }
}
