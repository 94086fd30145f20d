//! Clusters that are too large for links with everybody, in every third run: nodes make links on need, close those that nobody needs, and
//! hear of each other by gossip alone.

use std::collections::BTreeMap;
use std::time::Duration;

use peripatos_cluster::limits::{LINK_IDLE, LINKS_KEPT};
use peripatos_cluster::message::Message;
use peripatos_cluster::{Datagram, Event as Told, Incarnation, Lookup};

use super::{id_of, index_of};
use crate::config::{MS, SECOND};
use crate::event::Event;
use crate::random::Random;
use crate::world::World;

/// The least number of nodes of which some have no link.
pub(crate) const NODES_MIN: usize = 5;

/// Whether a run has such a cluster.
pub(crate) fn is(seed: u64) -> bool {
    seed % 3 == 1
}

/// What is random about it. It has numbers of its own: other runs are as they were.
pub(super) fn of(seed: u64) -> Random {
    Random::new(seed ^ 0x5fa5_e000)
}

/// How many links a node keeps, and for how long those that it does not need.
pub(super) fn limits(seed: u64) -> (usize, Duration) {
    if is(seed) {
        (0, Duration::from_millis(500 + seed % 7 * 500))
    } else {
        (LINKS_KEPT, LINK_IDLE)
    }
}

impl World {
    pub(crate) fn is_sparse(&self) -> bool {
        self.cluster.is_some() && is(self.config.seed)
    }

    /// All hear of a node, and it of all: it has begun, or is reached again.
    pub(crate) fn gossip_of_newcomer(&mut self, node: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.gossip_between(node, other);
        }
    }

    /// Two nodes hear of each other that they live, if one does not know it.
    fn gossip_between(&mut self, one: usize, other: usize) {
        for (at, node) in [(one, other), (other, one)] {
            let hosts = &self.cluster().hosts;
            if hosts[at].up.get(&node) != Some(&hosts[node].incarnation) {
                self.gossip(at, node, true, MS..500 * MS);
            }
        }
    }

    /// Some hear that those are dead whom they do not reach, though there is no link that breaks.
    pub(crate) fn gossip_of_parted(&mut self) {
        for (one, other) in self.pairs() {
            if self.reaches(one, other) {
                continue;
            }
            for (at, node) in [(one, other), (other, one)] {
                let stands = self.cluster().hosts[at].standing.contains_key(&node);
                if !stands && self.cluster().sparse.permille(500) {
                    self.gossip(at, node, false, SECOND / 2..4 * SECOND);
                    // It may be over before that is heard.
                    self.gossip(at, node, true, 4 * SECOND..8 * SECOND);
                }
            }
        }
    }

    /// All reach each other again.
    pub(crate) fn gossip_of_healed(&mut self) {
        for (one, other) in self.pairs() {
            self.gossip_between(one, other);
        }
    }

    /// Says something of where processes are. Whoever is not reached does not hear it, and some of it is lost.
    pub(super) fn send_lookup(&mut self, from: usize, to: usize, lookup: &Lookup) {
        let bytes = Datagram::of_lookup(lookup);
        let (loss, now, calm) = (self.config.faults.loss, self.now, self.calm);
        let reaches = self.reaches(from, to);
        let random = &mut self.cluster().sparse;
        let lost = !calm && random.permille(loss);
        let at = now + random.within(MS / 10..20 * MS);
        if reaches && !lost {
            self.events.plan(at, Event::Datagram(from, to, bytes));
        }
    }

    pub(super) fn lookup_comes(&mut self, from: usize, to: usize, lookup: Lookup) {
        match lookup {
            Lookup::Seek { pid, question } => self.hears(to, from, Message::Seek { pid, question }),
            Lookup::Sought(sought) => self.hears(to, from, Message::Sought(sought)),
            Lookup::Entries(entries) => self.hears(to, from, Message::Entries(entries)),
        }
    }

    /// A node closes a link that nobody needs. What it has said arrives; what is said to it does not any more.
    pub(super) fn hang_up(&mut self, end: usize, peer: usize) {
        let now = self.now;
        let cluster = self.cluster();
        let Some(number) = cluster.hosts[end].standing.get(&peer).copied() else { return };
        if let Some(link) = cluster.links.get_mut(&number) {
            link.closing = true;
            let incarnation = link.incarnations[usize::from(link.ends[1] == peer)];
            cluster.hosts[end].parted.insert(peer, incarnation);
        }
        self.trace.note(now, &[42, end as u64, peer as u64], || {
            format!("n{end} closes its link with n{peer}")
        });
        self.take_link(end, peer);
        self.tell(end, Told::LinkParted(id_of(peer)));
        if self.cluster().hosts[end].used.remove(&peer) {
            self.tell(end, Told::Wanted(id_of(peer)));
        }
        self.forget_link(number);
    }

    /// What links have carried for somebody since this was told last.
    pub(super) fn tell_used(&mut self, node: usize) {
        let used = std::mem::take(&mut self.cluster().hosts[node].used);
        if !used.is_empty() {
            self.tell(node, Told::Used(used.into_iter().map(id_of).collect()));
        }
    }

    /// Those without a link are to hear, too, what everybody hears.
    pub(super) fn tell_news(&mut self, node: usize) {
        let tells = self.cluster().hosts[node].names.has_own();
        self.tell(node, Told::News { tells });
    }

    /// A node has heard that another one is dead, and it is. Without a link nothing else tells those who wait for it.
    pub(super) fn silence_is_told(&mut self, at: usize, node: usize, of: Incarnation) {
        let host = &self.cluster().hosts[at];
        let others = host.standing.contains_key(&node) || host.lost.contains_key(&node);
        if !others && host.silenced.get(&node) != Some(&of) {
            self.violated("told", format!("n{at} tells nobody that n{node} is silent"));
        }
    }

    /// Those are told who wait for a node: it is silent, or gone.
    pub(super) fn is_silenced(&mut self, at: usize, node: peripatos_cluster::NodeId) {
        let node = index_of(node);
        let host = &mut self.cluster().hosts[at];
        let of: Option<Incarnation> = host.heard_last.get(&node).copied();
        host.silenced.extend(of.map(|of| (node, of)));
    }
}

/// What a node has heard of others.
pub(super) type Heard = BTreeMap<usize, Incarnation>;
