//! Links that come and go, and which of two to keep.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use peripatos_cluster::limits::{DOWN_KEPT, PEERS_MAX};
use peripatos_cluster::message::{Command, Message};
use peripatos_cluster::{Event, Incarnation, NodeId, Peer};
use peripatos_kernel::NameLost;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::super::NodeError;
use super::super::bulk::Inbox;
use super::super::lanes::Way;
use super::super::links::{self, Ear, Sender};
use super::super::wires::Wires;
use super::{Host, Input};
use crate::link::{HostIdentity, Link, LinkError, PARTING_VERSION, PublicKey, Refusal, is_address};

/// A task that calls an address.
pub(super) struct Dialling {
    /// Who was there before the link broke.
    pub(super) node: Option<NodeId>,
    /// It was found on the network: it is called once, and again when it is found again.
    pub(super) found: bool,
    /// Has it call at once, and not after its pause.
    pub(super) now: Arc<Notify>,
    pub(super) task: AbortHandle,
    /// Who was there is gone: it is called no longer than until then.
    pub(super) until: Option<Instant>,
}

/// How long a node is called that has left, or is known to be gone, and from there on whoever has its address: as long as gossip has it called.
const CALL_GONE: Duration = DOWN_KEPT;

/// Ends the calls of those that have been gone for long enough: which.
fn give_up_calls(dialling: &mut HashMap<String, Dialling>, now: Instant) -> Vec<String> {
    let over = |one: &Dialling| one.until.is_some_and(|until| until <= now);
    let given_up = dialling.extract_if(|_, one| over(one)).map(|(address, one)| {
        one.task.abort();
        address
    });
    given_up.collect()
}

/// A link that stands.
pub(super) struct Standing {
    pub(super) number: u64,
    /// Of what goes over it.
    pub(super) version: u16,
    pub(super) sender: Sender,
    pub(super) ear: Ear,
    pub(super) public_key: PublicKey,
    /// Whether it has the token, as it says.
    pub(super) issues: bool,
    pub(super) incarnation: Incarnation,
    /// Whether it knows that links are closed when nobody needs them, and says its names first on each.
    pub(super) parts: bool,
    /// What it says next of names is all that it has.
    pub(super) names_due: bool,
    pub(super) host: HostIdentity,
    /// Where others reach it.
    pub(super) address: String,
    /// The address under which we called; to be called again when it breaks.
    pub(super) dialled: Option<String>,
    pub(super) wires: Wires,
}

impl Host {
    pub(super) fn dial(&mut self, address: String) {
        self.dial_after(Duration::ZERO, address, None);
    }

    /// A node of this cluster was found on the network, at these addresses.
    pub(super) fn found_on_network(&mut self, addresses: &[SocketAddr]) {
        let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        let is_it = |standing: &Standing| {
            addresses.contains(&standing.address)
                || standing.dialled.as_ref().is_some_and(|dialled| addresses.contains(dialled))
        };
        if self.links.values().any(is_it) {
            return;
        }
        for address in addresses {
            if !self.dialling.contains_key(&address) {
                self.dial(address.clone());
                self.dialling.entry(address).and_modify(|dialling| dialling.found = true);
            }
        }
    }

    pub(super) fn unreached(&mut self, address: &str, cause: &str) {
        self.log_once(&format!("cannot reach {address} ({cause}); trying on"));
        if self.dialling.get(address).is_some_and(|dialling| dialling.found) {
            self.dialling.remove(address).into_iter().for_each(|dialling| dialling.task.abort());
        }
    }

    /// `node`: who was there last, if somebody was.
    fn dial_after(&mut self, wait: Duration, address: String, node: Option<NodeId>) {
        if self.dialling.len() >= PEERS_MAX || !is_address(&address) {
            self.log_once(&format!("{address} is not called: too many are, or it is no address"));
            return;
        }
        match self.dialling.entry(address.clone()) {
            Entry::Vacant(entry) => {
                let now = Arc::new(Notify::new());
                let (us, inputs) = (self.us.clone(), self.inputs.clone());
                let dials = links::dial(address, wait, Arc::clone(&now), us, inputs);
                let (task, found) = (tokio::spawn(dials).abort_handle(), false);
                entry.insert(Dialling { node, found, now, task, until: None });
            }
            // Somebody needs it now.
            Entry::Occupied(entry) if wait.is_zero() => entry.get().now.notify_one(),
            Entry::Occupied(_) => {}
        }
    }

    pub(super) fn not_dialled(&mut self, address: &str, error: LinkError) {
        let dialling = self.dialling.remove(address);
        let joining = !self.joining.is_empty();
        self.joining.retain(|one| one != address);
        if error.is_removal() {
            self.was_removed();
        } else if joining && self.joining.is_empty() {
            let text = format!("cannot join {address}: {error}");
            self.ending = Some(Err(NodeError::Io(std::io::Error::other(text))));
        } else if may_change(&error) {
            self.log_once(&format!("no link to {address}: {error}; trying on"));
            self.dial_after(links::RETRY_MAX, address.to_owned(), None);
            // Who was there is gone, whoever answers.
            if let (Some(before), Some(again)) = (dialling, self.dialling.get_mut(address)) {
                (again.node, again.until) = (before.node, before.until);
            }
        } else if !matches!(error, LinkError::Itself) {
            self.log_once(&format!("no link to {address}: {error}"));
        }
    }

    pub(super) fn linked(&mut self, link: Link, dialled: Option<String>) {
        if let Some(address) = &dialled {
            self.dialling.remove(address);
            if self.joining.contains(address) {
                self.joining.clear();
            }
        }
        let (node, hello) = (link.peer.id, &link.peer.hello);
        let (incarnation, version) = (hello.incarnation, link.peer.version);
        if self.node.is_expired(node, incarnation) {
            let text = format!("node {} is not taken: its lease has expired", hello.name);
            return self.log_once(&text);
        }
        let parts = version >= PARTING_VERSION;
        if let Some(old) = self.links.get(&node) {
            // Both have called: both keep the link that the lesser one has made.
            let by_lesser = dialled.is_some() == (self.us.id < node);
            // Or we have called it by two addresses.
            let twice = dialled.is_some() && old.dialled.is_some();
            if old.incarnation == incarnation && (twice || !by_lesser) {
                return;
            }
            self.unlink(node);
        }
        self.lost.remove(&node);
        let peer = Peer {
            node,
            incarnation,
            name: hello.name.clone(),
            address: reachable(&hello.address, link.remote),
            labels: hello.labels.clone(),
            parts,
        };
        (self.log)(&format!("node {} ({}) is linked", peer.name, peer.address));
        let (host, peer_cores, public_key) = (hello.host.clone(), hello.cores, link.public_key);
        self.links_made += 1;
        let way = Way::new(dialled.as_deref(), &self.us.lanes);
        let (number, inbox) = (self.links_made, Inbox::new(node, self.expected.clone(), way));
        let letterbox = self.letterbox.clone();
        let (sender, ear) =
            links::start(link, number, inbox, letterbox, self.inputs.clone(), self.us.silence_max);
        self.roads.open(node, sender.clone());
        let cores = [self.us.hello.cores, peer_cores];
        let (letterbox, inputs) = (self.letterbox.clone(), self.inputs.clone());
        let mut wires = Wires::new(node, cores, letterbox, inputs, sender.used.clone());
        if let Some(address) = &dialled {
            wires.open(address, &sender);
        }
        let standing = Standing {
            number,
            version,
            sender,
            ear,
            public_key,
            issues: false,
            incarnation,
            parts,
            names_due: false,
            host,
            address: peer.address.clone(),
            dialled,
            wires,
        };
        self.links.insert(node, standing);
        for packet in self.strays.linked(node) {
            let _ = self.roads.send_to(node.0, packet);
        }
        self.announce_to(&peer);
        self.tell_names(node);
        // Before the ends of those that it is about.
        self.tell_unserved(node);
        self.tell(Event::LinkUp(peer));
        // Behind those who were removed, so that nobody who knows the token does not know them.
        self.tell_issuing_to(node);
        self.origins_back(node);
        for exchange in self.exchanges.values() {
            exchange.resend();
        }
    }

    pub(super) fn link_ended(&mut self, node: NodeId, number: u64, why: &str) {
        if self.links.get(&node).is_none_or(|standing| standing.number != number) {
            return;
        }
        let name = self.node.name_of(node);
        (self.log)(&format!("the link to node {name} is gone: {why}"));
        self.unlink(node);
    }

    pub(super) fn unlink(&mut self, node: NodeId) {
        let Some(standing) = self.take_link(node) else { return };
        self.tell(Event::LinkDown(node));
        if self.node.is_removed(node) {
            self.lost.remove(&node);
        } else if let Some(address) = standing.dialled {
            // A peer that still holds a dead link to us drops each new one until it has noticed.
            self.dial_after(links::RETRY_MIN, address, Some(node));
        }
    }

    fn take_link(&mut self, node: NodeId) -> Option<Standing> {
        let standing = self.links.remove(&node)?;
        self.lost.insert(node, (standing.incarnation, standing.host.clone()));
        self.expected.forget_from(node);
        self.roads.close(node);
        self.seek_without(node);
        self.announce_no_more(node);
        Some(standing)
    }

    /// Neither end needs this link: it is closed when what is to be sent has been, and not made again before somebody needs it.
    pub(super) fn hang_up_link(&mut self, node: NodeId) {
        let name = self.node.name_of(node);
        let Some(standing) = self.take_link(node) else { return };
        (self.log)(&format!("the link to node {name} is closed: nobody needs it"));
        standing.ear.shut();
        self.tell(Event::LinkParted(node));
        if standing.sender.used.take() {
            // Something was said too late.
            self.tell(Event::Wanted(node));
        }
    }

    /// Links have carried something that is not there for their own sake.
    pub(super) fn tell_used(&mut self) {
        let used = self.links.iter().filter(|(_, standing)| standing.sender.used.take());
        let used: Vec<NodeId> = used.map(|(node, _)| *node).collect();
        if !used.is_empty() {
            self.tell(Event::Used(used));
        }
    }

    /// A node is gone, so that nothing speaks for it: it is called for some time yet.
    pub(super) fn call_no_longer(&mut self, node: NodeId) {
        let until = Instant::now() + CALL_GONE;
        for dialling in self.dialling.values_mut().filter(|one| one.node == Some(node)) {
            dialling.until.get_or_insert(until);
        }
    }

    /// Time has passed: those that have been gone for long are called no more.
    pub(super) fn give_up_calls(&mut self) {
        for address in give_up_calls(&mut self.dialling, Instant::now()) {
            (self.log)(&format!(
                "{address} is called no more: the node there has been gone for long"
            ));
        }
    }

    /// What is for a node without a link is lost; it is called, and what is owed to it is said anew when there is one.
    pub(super) fn send(&mut self, to: NodeId, message: &Message) {
        let Some(standing) = self.links.get(&to) else {
            return self.want_link(Some(to));
        };
        if is_use(message) {
            standing.sender.used.note();
        }
        let knows = standing.version >= message.since_version();
        let taken = !knows || standing.sender.send(message);
        if !taken {
            // A link that takes nothing is as good as cut; what was lost is made good when it is back.
            self.log_once(&format!("the link to {to:#} is stuck"));
            self.inputs.send(Input::LinkEnded {
                node: to,
                number: self.links.get(&to).map_or(0, |standing| standing.number),
                why: "it takes nothing any more".to_owned(),
            });
        }
    }

    pub(super) fn message(&mut self, from: NodeId, message: Message) {
        // Something of it may still have been in the queue.
        if self.node.is_removed(from) {
            return;
        }
        if let (true, Some(standing)) = (is_use(&message), self.links.get(&from)) {
            standing.sender.used.note();
        }
        match message {
            Message::Request { pid, sequence, ahead, request } => {
                self.ask_origin(pid, from, sequence, ahead, request);
            }
            Message::Unserved { pid, requests } => self.heard_unserved(from, pid, requests),
            Message::Reply { pid, sequence, reply } => {
                if self.node.origin_of(pid) == Some(from) {
                    self.deliver(pid, sequence, &reply);
                }
            }
            Message::Wire(wire) => {
                let lanes = &self.us.lanes;
                let standing = self.links.get_mut(&from);
                let answered = standing.map_or(Ok(()), |one| one.wires.announced(wire, lanes));
                if let Err(reason) = answered {
                    let name = self.node.name_of(from);
                    self.log_once(&format!("a wire of node {name} is not waited for: {reason}"));
                }
            }
            Message::Seek { pid, question } => self.sought(from, pid, question),
            Message::Sought(sought) => self.found(from, sought),
            Message::Names(names) => self.heard_names(from, names),
            Message::NameLost { name, owner, loser } => {
                self.heard_name_lost(from, NameLost { name, owner, loser });
            }
            Message::Identity(said) => self.heard_identity(from, said),
            Message::Removed(removed) => self.heard_removed(from, removed),
            Message::Left(left) => self.heard_left(from, left),
            Message::Command { request, command: Command::Forget { node, proof } } => {
                self.heard_forget(from, request, node, proof);
            }
            message => {
                if let Message::Members(members) = &message {
                    let now = self.now();
                    let others = members.iter().map(|member| member.node);
                    let own = self.us.id;
                    others
                        .filter(|node| *node != own)
                        .for_each(|node| self.strays.heard_of(now, node));
                }
                self.tell(Event::Message { from, message });
            }
        }
    }
}

/// Whether a link carries this for somebody: of what the host says and hears itself.
fn is_use(message: &Message) -> bool {
    use Message::{NameLost, Reply, Request, Seek, Sought};
    matches!(message, Request { .. } | Reply { .. } | Seek { .. } | Sought(_) | NameLost { .. })
}

/// Clocks are set, and a token reaches those that were away.
fn may_change(error: &LinkError) -> bool {
    use LinkError::{NotInTime, Refused, RefusedBy};
    matches!(error, NotInTime(_) | Refused(Refusal::OldToken))
        || matches!(error, RefusedBy(Refusal::OldToken | Refusal::Unproved))
}

/// Where others reach a node that listens at all of its addresses: at the one that it has shown.
fn reachable(address: &str, remote: SocketAddr) -> String {
    match address.parse::<SocketAddr>() {
        Ok(own) if own.ip().is_unspecified() => {
            SocketAddr::new(remote.ip(), own.port()).to_string()
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that has left is not called for ever; one that has not, is.
    #[tokio::test]
    async fn who_is_gone_is_called_for_some_time_and_no_longer() {
        let now = Instant::now();
        let mut calls = HashMap::new();
        for (address, until) in [("left:1", Some(now + CALL_GONE)), ("silent:1", None)] {
            let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
            let wakes = Arc::new(Notify::new());
            let call = Dialling { node: None, found: false, now: wakes, task, until };
            calls.insert(address.to_owned(), call);
        }
        let left = calls["left:1"].task.clone();
        assert!(give_up_calls(&mut calls, now).is_empty());
        assert_eq!(give_up_calls(&mut calls, now + CALL_GONE), ["left:1"]);
        assert!(give_up_calls(&mut calls, now + 100 * CALL_GONE).is_empty());
        // Its task ends when the runtime looks at it next.
        while !left.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(!calls["silent:1"].task.is_finished());
    }
}
