//! What nodes hear of each other by gossip, in every second run: that those live that do, sooner or later, and that those do not that do
//! not. And that some do not that do, whose link has just broken: to be told so is part of gossip. The protocol itself is
//! simulated by [`members`](crate::members).

use peripatos_cluster::membership::Member;
use peripatos_cluster::{Event as Told, Incarnation};

use super::{address, id_of, sparse, time};
use crate::config::{MS, SECOND};
use crate::event::Event;
use crate::random::Random;
use crate::world::World;

/// Chance and times of what is heard. It has numbers of its own: runs without gossip are as they were.
pub(super) fn of(seed: u64) -> Option<Random> {
    let hears = seed.is_multiple_of(2) || sparse::is(seed);
    hears.then(|| Random::new(seed ^ 0x6055_1b00))
}

impl World {
    /// A node has met another one: it hears that this lives.
    pub(super) fn gossip_of_linked(&mut self, at: usize, node: usize) {
        self.gossip(at, node, true, MS..500 * MS);
    }

    /// A link broke. Perhaps one hears that the other one is dead, and then that it is not.
    pub(super) fn gossip_of_unlinked(&mut self, at: usize, node: usize) {
        let random = self.cluster().gossip.as_mut();
        if random.is_some_and(|random| random.permille(500)) {
            self.gossip(at, node, false, MS..4 * SECOND);
            // Where links are made again by themselves it is heard of again, whatever comes last.
            let first = if self.is_sparse() { 4 } else { 2 };
            self.gossip(at, node, true, first * SECOND..8 * SECOND);
        }
    }

    /// A node has crashed.
    pub(super) fn gossip_of_crashed(&mut self, node: usize) {
        for at in (0..self.nodes.len()).filter(|at| *at != node) {
            self.gossip(at, node, false, SECOND / 2..4 * SECOND);
        }
    }

    pub(super) fn gossip(&mut self, at: usize, node: usize, up: bool, after: std::ops::Range<u64>) {
        let now = self.now;
        let cluster = self.cluster();
        let incarnation = cluster.hosts[node].incarnation;
        if let Some(random) = &mut cluster.gossip {
            let when = now + random.within(after);
            self.events.plan(when, Event::Gossip(at, node, incarnation, up));
        }
    }

    /// A node hears of another one.
    pub(crate) fn gossip_heard(&mut self, at: usize, node: usize, of: Incarnation, up: bool) {
        let lives = self.nodes[node].alive && self.cluster().hosts[node].incarnation == of;
        if !self.nodes[at].alive || up && !lives {
            return;
        }
        let now = self.now;
        let said = if up { "lives" } else { "is dead" };
        self.trace.note(now, &[40, at as u64, node as u64, u64::from(up)], || {
            format!("n{at} hears that n{node} {said}")
        });
        let at_address = address(node).parse().expect("an address");
        let member = Member::new(id_of(node), of, at_address, &format!("node{node}"));
        let member = member.expect("a good name and address");
        let host = &mut self.cluster().hosts[at];
        // Word of one that was before may come late.
        let last = host.heard_last.entry(node).or_insert(of);
        *last = of.max(*last);
        if up {
            host.up.insert(node, of);
            host.silenced.remove(&node);
            host.strays.lives(id_of(node));
            let anew = host.buried.remove(&node);
            self.tell(at, Told::MemberUp(member));
            if anew {
                // It has been told that it counted as dead.
                self.tell_news(node);
            }
            return self.look_at_trouble();
        }
        if host.up.get(&node) != Some(&of) {
            // Of another OS process.
            return self.tell(at, Told::MemberDown(member));
        }
        host.up.remove(&node);
        self.tell(at, Told::MemberDown(member));
        self.strays(at, |strays, here, out| {
            strays.lives_no_more(time(now), id_of(node), here, out)
        });
        if lives {
            let host = &mut self.cluster().hosts[at];
            host.buried.insert(node);
            if !host.standing.contains_key(&node) {
                self.ledger.trouble = Some(u64::MAX);
            }
        } else {
            self.silence_is_told(at, node, of);
        }
    }
}
