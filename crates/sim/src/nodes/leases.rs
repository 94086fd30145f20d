//! Leases of nodes, in some runs: an etcd that some cannot reach for a while, clocks that do not go at the same rate, and nodes that
//! are fenced. That a node is gone is proved there by its lease alone, or by its next OS process.
//!
//! When nodes part, etcd is where the first node is that lives. The last one that lives is never fenced.

use std::collections::BTreeMap;
use std::time::Duration;

use peripatos_cluster::{
    Event as Told, Incarnation, LeaseState, LeaseStep, LeaseTerms, NodeLease, Time,
};

use super::{id_of, index_of, sparse};
use crate::config::{MS, SECOND};
use crate::event::Event;
use crate::random::Random;
use crate::world::World;

const TTL_SECONDS: u64 = 6;
/// Between two questions for others' leases.
const ASK_EVERY: u64 = SECOND / 2;

/// What etcd knows, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Etcd {
    random: Random,
    /// Until when the lease of an OS process of a node is good. Each that was registered.
    expires: BTreeMap<(usize, Incarnation), u64>,
    /// Until when a node does not reach it.
    away: BTreeMap<usize, u64>,
    /// When a node has last asked for others.
    asked: BTreeMap<usize, u64>,
    leases: BTreeMap<usize, Held>,
}

/// A node's lease, as that knows it.
#[derive(Debug)]
struct Held {
    lease: NodeLease,
    /// How fast its clock goes, in thousandths.
    rate: u64,
}

impl Held {
    fn time(&self, now: u64) -> Time {
        Time(Duration::from_nanos(now / 1_000 * self.rate))
    }
}

/// Whether there is one in a run, and what is random about it. It has numbers of its own: other runs are as they were.
pub(super) fn of(seed: u64) -> Option<Etcd> {
    let has = seed % 4 == 2 && !sparse::is(seed);
    has.then(|| Etcd {
        random: Random::new(seed ^ 0xe7cd_0000),
        expires: BTreeMap::new(),
        away: BTreeMap::new(),
        asked: BTreeMap::new(),
        leases: BTreeMap::new(),
    })
}

fn terms() -> LeaseTerms {
    LeaseTerms::new(Duration::from_secs(TTL_SECONDS)).expect("a good time")
}

impl World {
    fn etcd(&mut self) -> &mut Etcd {
        self.cluster().etcd.as_mut().expect("there is one")
    }

    pub(crate) fn has_leases(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.etcd.is_some())
    }

    /// Whether a node reaches etcd.
    pub(crate) fn reaches_etcd(&mut self, node: usize) -> bool {
        let first = (0..self.nodes.len()).find(|node| self.nodes[*node].alive);
        let beside = first.is_none_or(|first| {
            self.parted.as_ref().is_none_or(|sides| sides[first] == sides[node])
        });
        let now = self.now;
        beside && self.etcd().away.get(&node).is_none_or(|until| *until <= now)
    }

    /// A node begins with a new lease.
    pub(crate) fn take_lease(&mut self, node: usize) {
        if !self.has_leases() {
            return;
        }
        let now = self.now;
        let incarnation = self.cluster().hosts[node].incarnation;
        let etcd = self.etcd();
        // Clocks are a hundredth wrong at most: the margin is for more.
        let rate = etcd.random.within(980..1_020);
        let mut held = Held { lease: NodeLease::granted(Time::default(), terms()), rate };
        held.lease = NodeLease::granted(held.time(now), terms());
        etcd.expires.insert((node, incarnation), now + TTL_SECONDS * SECOND);
        etcd.leases.insert(node, held);
    }

    /// A node looks at its lease, and now and then for those of others.
    pub(crate) fn look_at_leases(&mut self, node: usize) {
        if !self.has_leases() {
            return;
        }
        let (now, calm) = (self.now, self.calm);
        let living = self.nodes.iter().filter(|node| node.alive).count();
        let etcd = self.etcd();
        // Some do not reach it for a while.
        if !calm && etcd.random.permille(2) {
            let until = now + etcd.random.within(SECOND..10 * SECOND);
            etcd.away.insert(node, until);
        }
        let held = &etcd.leases[&node];
        let (step, own) = (held.lease.step(held.time(now)), held.time(now));
        match step {
            LeaseStep::Wait(_) => {}
            LeaseStep::Renew if self.reaches_etcd(node) || living < 2 => {
                let incarnation = self.cluster().hosts[node].incarnation;
                let etcd = self.etcd();
                // It takes a moment until the answer is there; the request itself does not.
                let takes = etcd.random.within(MS..SECOND / 2);
                if let Some(held) = etcd.leases.get_mut(&node) {
                    held.lease.not_renewed(own, "no answer yet".to_owned());
                }
                // What has expired does not come back.
                let expires = etcd.expires.get_mut(&(node, incarnation));
                if let Some(expires) = expires.filter(|expires| **expires > now) {
                    *expires = now + TTL_SECONDS * SECOND;
                    self.events.plan(now + takes, Event::Renewed(node, incarnation, now));
                } else if let Some(held) = self.etcd().leases.get_mut(&node) {
                    held.lease.lost();
                }
            }
            LeaseStep::Renew => {
                if let Some(held) = self.etcd().leases.get_mut(&node) {
                    held.lease.not_renewed(own, "no answer".to_owned());
                }
            }
            LeaseStep::End(_) if self.goes_on_unfenced() => {}
            LeaseStep::End(_) if living < 2 => self.take_lease(node),
            LeaseStep::End(why) => {
                self.trace.note(now, &[43, node as u64], || format!("n{node} is fenced: {why}"));
                return self.dies(node);
            }
        }
        self.ask_for_leases(node);
    }

    /// A node to which a process is about to move, or from which one comes, is cut off for longer than its lease is good.
    pub(super) fn part_for_long(&mut self, node: usize) {
        if self.calm || !self.has_leases() || self.parted.is_some() {
            return;
        }
        let (now, nodes) = (self.now, self.nodes.len());
        let random = &mut self.etcd().random;
        if random.permille(5) {
            let at = now + random.within(MS..3 * MS);
            let until = at + random.within(TTL_SECONDS * SECOND..4 * TTL_SECONDS * SECOND);
            let sides = (0..nodes).map(|one| one == node || random.permille(200)).collect();
            self.events.plan(at, Event::Part(sides));
            self.events.plan(until, Event::Heal);
        }
    }

    #[cfg(feature = "mutations")]
    fn goes_on_unfenced(&self) -> bool {
        let mutation = self.cluster.as_ref().and_then(|cluster| cluster.mutation);
        mutation == Some(peripatos_cluster::Mutation::NotFenced)
    }

    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn goes_on_unfenced(&self) -> bool {
        false
    }

    /// An answer of etcd has come: to what was asked at that time.
    pub(crate) fn renewed(&mut self, node: usize, sent: u64) {
        let now = self.now;
        if let Some(held) = self.etcd().leases.get_mut(&node) {
            let (own, sent) = (held.time(now), held.time(sent));
            held.lease.renewed(own, sent);
        }
    }

    /// A node asks for the leases of those that are silent.
    fn ask_for_leases(&mut self, node: usize) {
        let now = self.now;
        if !self.reaches_etcd(node) {
            return;
        }
        let asked = self.etcd().asked.insert(node, now).filter(|asked| now < asked + ASK_EVERY);
        if let Some(asked) = asked {
            self.etcd().asked.insert(node, asked);
            return;
        }
        for (silent, incarnation) in self.cluster().hosts[node].node.silent() {
            let other = index_of(silent);
            let expires = self.etcd().expires.get(&(other, incarnation)).copied();
            let held = expires.is_some_and(|expires| expires > now);
            if LeaseState::of(expires.is_some(), held) != LeaseState::Expired {
                continue;
            }
            self.trace.note(now, &[44, node as u64, other as u64], || {
                format!("n{node} reads that the lease of n{other} has expired")
            });
            let host = &mut self.cluster().hosts[node];
            for known in [&mut host.lost, &mut host.parted] {
                if known.get(&other) == Some(&incarnation) {
                    known.remove(&other);
                }
            }
            self.tell(node, Told::LeaseExpired { node: id_of(other), incarnation });
            self.look_at_trouble();
        }
    }
}
