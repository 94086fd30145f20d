//! This node as a member: what it hears of others, and says to them.

use std::net::SocketAddr;
use std::time::Duration;

use peripatos_cluster::limits::GOSSIP_BYTES_MAX;
use peripatos_cluster::membership::{Member, Membership, Output};
use peripatos_cluster::message::Message;
use peripatos_cluster::promises::Word;
use peripatos_cluster::{Datagram, Event, Lookup, NodeId, Peer, Time};
use tokio::time::Instant;

use super::Host;

/// When a node that takes no part in gossip is woken for it.
const NEVER: Duration = Duration::from_secs(3_600);

impl Host {
    pub(super) fn gossip_wakes_at(&self) -> Instant {
        let due = self.gossip.as_ref().map(|gossip| gossip.membership.next_deadline());
        let wait = due.map_or(NEVER, |due| due.since(self.now()).min(NEVER));
        Instant::now() + wait
    }

    pub(super) fn gossip_due(&mut self) {
        self.as_member(|membership, now, out| membership.handle(now, out));
    }

    /// `by`: who has sealed it.
    pub(super) fn datagram(&mut self, by: NodeId, from: SocketAddr, bytes: &[u8]) {
        // Who has the token and says what cannot be is not listened to; the link to him is another matter.
        match Datagram::read(bytes) {
            Ok(Datagram::Membership { heard, bytes }) => {
                self.as_member(|membership, now, out| {
                    let _ = membership.datagram(now, from, bytes, out);
                });
                if !heard.is_empty() {
                    self.tell(Event::Loads { from: by, heard });
                }
            }
            Ok(Datagram::Word(word)) => self.tell(Event::Word { from: by, word }),
            Ok(Datagram::Lookup(lookup)) => self.heard_lookup(by, lookup),
            Err(_) => {}
        }
    }

    fn heard_lookup(&mut self, by: NodeId, lookup: Lookup) {
        if self.node.is_removed(by) {
            return;
        }
        match lookup {
            Lookup::Seek { pid, question } => self.sought(by, pid, question),
            Lookup::Sought(sought) => self.found(by, sought),
            Lookup::Entries(entries) => {
                self.tell(Event::Message { from: by, message: Message::Entries(entries) });
            }
        }
    }

    pub(super) fn say_lookup(&mut self, to: NodeId, lookup: &Lookup) {
        self.send_datagram(to, &Datagram::of_lookup(lookup));
    }

    pub(super) fn say_in_datagram(&mut self, to: NodeId, word: &Word) {
        self.send_datagram(to, &Datagram::of_word(word));
    }

    /// To a member that lives, if it is one.
    fn send_datagram(&mut self, to: NodeId, bytes: &[u8]) {
        let Some(gossip) = &mut self.gossip else { return };
        let member = gossip.membership.alive().find(|member| member.node() == to);
        if let Some(address) = member.map(Member::address) {
            gossip.send(address, bytes);
        }
    }

    /// A link to this node stands.
    pub(super) fn announce_to(&mut self, peer: &Peer) {
        let address = peer.address.parse().ok();
        let member = address
            .and_then(|address| Member::new(peer.node, peer.incarnation, address, &peer.name).ok());
        if let Some(member) = member {
            self.as_member(|membership, now, out| membership.linked(now, member, out));
        }
    }

    pub(super) fn announce_no_more(&mut self, node: NodeId) {
        if let Some(gossip) = &mut self.gossip {
            gossip.membership.unlinked(node);
        }
    }

    /// The node ends.
    pub(super) fn leave(&mut self) {
        self.as_member(Membership::leave);
    }

    fn as_member(&mut self, act: impl FnOnce(&mut Membership, Time, &mut Vec<Output>)) {
        let now = self.now();
        let Some(gossip) = &mut self.gossip else { return };
        let mut out = Vec::new();
        act(&mut gossip.membership, now, &mut out);
        for output in out {
            match output {
                Output::Send { to, bytes } => {
                    let samples = self.node.samples(now, GOSSIP_BYTES_MAX - 1 - bytes.len());
                    if let Some(gossip) = &mut self.gossip {
                        gossip.send(to, &Datagram::of_membership(&samples, &bytes));
                    }
                }
                Output::Up { member, .. } => {
                    self.strays.lives(member.node());
                    self.tell(Event::MemberUp(member));
                }
                Output::Down(member) => {
                    (self.log)(&format!("node {} answers nobody, or has left", member.name()));
                    let node = member.node();
                    self.tell(Event::MemberDown(member));
                    self.seek_without_member(node);
                }
                Output::Rejoined => {
                    (self.log)("others had given this node up; it has told them that it lives");
                    // What they had heard of it they may have forgotten.
                    self.tell_news();
                }
            }
        }
    }
}
