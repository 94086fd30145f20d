//! The other nodes, as this one knows them.

use std::collections::BTreeMap;

use peripatos_balancer::Load;

use crate::event::Peer;
use crate::heard::Heard;
use crate::limits::{LOAD_AGE_MAX, NOTHING_PAUSE, PEERS_MAX, REFUSED_PAUSE};
use crate::message::{LoadSample, Member, RowOfNode};
use crate::placement::Placement;
use crate::{Incarnation, NodeId, Time};

/// What is known of one.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) peer: Peer,
    /// Whether a link stands.
    pub(crate) linked: bool,
    /// That OS process is known to have ended.
    pub(crate) gone: bool,
    /// There is no link: when those are to be told who wait for something there, if gossip does not say that it lives. `None`: there
    /// is one, or they have been.
    pub(crate) silent_at: Option<Time>,
    pub(crate) load: Option<(Time, LoadSample)>,
    /// When it last refused a process.
    pub(crate) refused_at: Option<Time>,
    /// When it last had no process to give.
    pub(crate) nothing_at: Option<Time>,
    /// When its link last carried something that is not there for its own sake.
    pub(crate) used_at: Time,
    /// It has carried only what everybody hears.
    pub(crate) told: bool,
}

/// All of them. A node that is not linked any more stays known: silence is not death.
#[derive(Debug, Default)]
pub(crate) struct Peers(pub(crate) BTreeMap<NodeId, Known>);

impl Peers {
    /// A link stands. `false`: there are too many.
    pub(crate) fn linked(&mut self, now: Time, peer: Peer) -> bool {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&peer.node) {
            return false;
        }
        let node = peer.node;
        let known = Known {
            peer,
            linked: true,
            gone: false,
            silent_at: None,
            load: None,
            refused_at: None,
            nothing_at: None,
            used_at: now,
            told: true,
        };
        self.0.insert(node, known);
        true
    }

    /// This OS process of a node has ended.
    pub(crate) fn gone(&mut self, node: NodeId, incarnation: Incarnation) {
        let known = self.0.get_mut(&node);
        if let Some(known) = known.filter(|known| known.peer.incarnation == incarnation) {
            known.gone = !known.linked;
        }
    }

    /// Whether the last that was known of a node is that it has ended.
    pub(crate) fn is_gone(&self, node: NodeId) -> bool {
        self.0.get(&node).is_some_and(|known| known.gone)
    }

    /// Those that are silent from now on. Who lives, as gossip has it, is not, whatever has become of the link.
    pub(crate) fn take_silent(&mut self, now: Time, heard: &Heard) -> Vec<NodeId> {
        let mut silent = Vec::new();
        for (node, known) in &mut self.0 {
            let is_up = heard.is_up(*node, known.peer.incarnation);
            if known.silent_at.take_if(|at| *at <= now && !is_up).is_some() && !known.gone {
                silent.push(*node);
            }
        }
        silent
    }

    /// When the next one is.
    pub(crate) fn next_silent(&self, heard: &Heard) -> Time {
        let unheard = |known: &&Known| !heard.is_up(known.peer.node, known.peer.incarnation);
        let silent = self.0.values().filter(unheard).filter_map(|known| known.silent_at);
        silent.min().unwrap_or(Time::NEVER)
    }

    /// Whether there is a link to each that is not known to have ended, those that were never met included.
    pub(crate) fn are_reached(&self, heard: &Heard) -> bool {
        let met = self.0.values().all(|known| known.linked || known.gone);
        met && !heard.misses() && heard.all().all(|node| self.is_linked(node))
    }

    pub(crate) fn is_linked(&self, node: NodeId) -> bool {
        self.0.get(&node).is_some_and(|known| known.linked)
    }

    pub(crate) fn name(&self, node: NodeId) -> String {
        self.0.get(&node).map_or_else(|| format!("{node:#}"), |known| known.peer.name.clone())
    }

    /// Those with a link.
    pub(crate) fn all_linked(&self) -> Vec<NodeId> {
        self.0.iter().filter(|(_, known)| known.linked).map(|(node, _)| *node).collect()
    }

    /// Loads that are fresh enough to go by.
    pub(crate) fn loads(&self, now: Time) -> impl Iterator<Item = (NodeId, Load)> {
        self.0.iter().filter(|(_, known)| known.linked).filter_map(move |(node, known)| {
            let (at, sample) = known.load?;
            (now.since(at) <= LOAD_AGE_MAX).then(|| (*node, load(sample)))
        })
    }

    /// Whether a node is known, and may run that.
    pub(crate) fn suits(&self, node: NodeId, placement: &Placement) -> bool {
        self.0.get(&node).is_some_and(|known| placement.suits(&known.peer.labels))
    }

    /// How much of what that prefers a node has: from 0 to 1.
    pub(crate) fn met(&self, node: NodeId, placement: &Placement) -> f64 {
        self.0.get(&node).map_or(0.0, |known| placement.met(&known.peer.labels))
    }

    /// How loaded a node last said that it is, if it has.
    pub(crate) fn load(&self, node: NodeId) -> Option<Load> {
        self.0.get(&node).and_then(|known| known.load).map(|(_, sample)| load(sample))
    }

    /// Whether a node has said that it takes no processes: it is cordoned, or being emptied.
    pub(crate) fn is_closed(&self, node: NodeId) -> bool {
        self.load(node).is_some_and(|load| load.closed)
    }

    /// A node does not take a process.
    pub(crate) fn refuses(&mut self, node: NodeId, now: Time) {
        if let Some(known) = self.0.get_mut(&node) {
            known.refused_at = Some(now);
        }
    }

    /// Whether a node has refused a process just before.
    pub(crate) fn has_refused(&self, node: NodeId, now: Time) -> bool {
        let at = self.0.get(&node).and_then(|known| known.refused_at);
        at.is_some_and(|at| now.since(at) < REFUSED_PAUSE)
    }

    /// Those that had nothing to give may be asked again.
    pub(crate) fn ask_again(&mut self) {
        self.0.values_mut().for_each(|known| known.nothing_at = None);
    }

    /// Whether a node had no process to give just before.
    pub(crate) fn had_nothing(&self, node: NodeId, now: Time) -> bool {
        let at = self.0.get(&node).and_then(|known| known.nothing_at);
        at.is_some_and(|at| now.since(at) < NOTHING_PAUSE)
    }

    /// A process has been given to a node or taken from it: its next sample will say so, but until then
    /// it must not be given everything.
    pub(crate) fn expect_one_more(&mut self, node: NodeId, memory_bytes: u64) {
        if let Some((_, sample)) = self.0.get_mut(&node).and_then(|known| known.load.as_mut()) {
            sample.runnable = sample.runnable.saturating_add(1);
            sample.demand_permille = sample.demand_permille.saturating_add(1_000);
            sample.memory_free_bytes = sample.memory_free_bytes.saturating_sub(memory_bytes);
        }
    }

    /// Those that may run something, with an address, if they can be reached there: all that were met, and of those that gossip tells of
    /// the others.
    pub(crate) fn members(&self, unmet: Option<&Heard>) -> Vec<Member> {
        let member = |known: &Known| {
            let address = if known.linked { known.peer.address.clone() } else { String::new() };
            Member { node: known.peer.node, address }
        };
        let met = self.0.values().filter(|known| !known.gone).map(member);
        let unmet = unmet.into_iter().flat_map(|heard| {
            let unmet = heard.all().filter(|node| !self.0.contains_key(node));
            unmet.map(|node| {
                let address = heard.address(node).unwrap_or_default().to_owned();
                Member { node, address }
            })
        });
        met.chain(unmet).collect()
    }

    pub(crate) fn rows(&self, heard: &Heard) -> impl Iterator<Item = RowOfNode> {
        self.0.values().map(|known| {
            let load = known.load.map(|(_, sample)| sample);
            RowOfNode {
                node: known.peer.node,
                name: known.peer.name.clone(),
                address: known.peer.address.clone(),
                own: false,
                reachable: known.linked || heard.is_up(known.peer.node, known.peer.incarnation),
                draining: load.is_some_and(|load| load.draining),
                cordoned: load.is_some_and(|load| load.cordoned),
                labels: known.peer.labels.clone(),
                cores: load.map_or(0, |load| load.cores),
                speed_permille: load.map_or(0, |load| load.speed_permille),
                runnable: load.map_or(0, |load| load.runnable),
                processes: load.map_or(0, |load| load.processes),
                move_bytes_per_s: load.and_then(|load| load.move_bytes_per_s),
                stuck: load.map_or(0, |load| load.stuck),
                left: 0,
            }
        })
    }
}

/// A sample in the balancer's terms.
pub(crate) fn load(sample: LoadSample) -> Load {
    let LoadSample { cores, speed_permille, demand_permille, memory_free_bytes, .. } = sample;
    let (draining, closed) = (sample.draining, sample.draining || sample.cordoned);
    Load { cores, speed_permille, demand_permille, memory_free_bytes, draining, closed }
}
