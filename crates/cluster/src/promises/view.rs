//! How loaded others are, as far as this node has heard of late.

use std::time::Duration;

use peripatos_balancer::Load;
use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::wire::Heard;
use crate::limits::{NOTHING_PAUSE, SAMPLE_AGE_MAX, SAMPLE_FRESH, SAMPLES_MAX};
use crate::{NodeId, Time};

/// The newest of each node, of the last moments. At most [`SAMPLES_MAX`].
#[derive(Debug, Default)]
pub(super) struct View(Vec<Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    node: NodeId,
    load: Load,
    /// When it was so loaded.
    at: Time,
    /// When it had nothing to give.
    nothing_at: Option<Time>,
}

impl View {
    /// A node was so loaded, so long ago.
    pub(super) fn note(&mut self, now: Time, node: NodeId, load: Load, age: Duration) {
        let at = Time(now.0.saturating_sub(age));
        if let Some(seen) = self.0.iter_mut().find(|seen| seen.node == node) {
            if seen.at <= at {
                (seen.load, seen.at) = (load, at);
            }
            return;
        }
        if self.0.len() >= SAMPLES_MAX {
            let oldest = (0..self.0.len()).min_by_key(|index| self.0[*index].at);
            match oldest.filter(|index| self.0[*index].at < at) {
                Some(index) => self.0.swap_remove(index),
                None => return,
            };
        }
        self.0.push(Seen { node, load, at, nothing_at: None });
    }

    /// It had nothing to give just now.
    pub(super) fn had_nothing(&mut self, now: Time, node: NodeId) {
        if let Some(seen) = self.0.iter_mut().find(|seen| seen.node == node) {
            seen.nothing_at = Some(now);
        }
    }

    pub(super) fn forget_old(&mut self, now: Time) {
        self.0.retain(|seen| now.since(seen.at) < SAMPLE_AGE_MAX);
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        self.0.retain(|seen| seen.node != node);
    }

    /// Those that are fresh enough to go by.
    pub(super) fn fresh(&self, now: Time) -> impl Iterator<Item = (NodeId, Load)> {
        let fresh = self.0.iter().filter(move |seen| now.since(seen.at) < SAMPLE_FRESH);
        fresh.map(|seen| (seen.node, seen.load))
    }

    /// Some of those, by lot, that may have something to give. Some: were all to ask the heaviest that they know they would ask the same
    /// few, and the others would wait.
    pub(super) fn some_to_ask(
        &self,
        now: Time,
        count: usize,
        random: &mut Xoshiro256PlusPlus,
    ) -> Vec<(NodeId, Load)> {
        let had = move |at| now.since(at) < NOTHING_PAUSE;
        let fresh = self.0.iter().filter(move |seen| now.since(seen.at) < SAMPLE_FRESH);
        let asked = fresh.filter(move |seen| !seen.nothing_at.is_some_and(had));
        let mut all: Vec<(NodeId, Load)> = asked.map(|seen| (seen.node, seen.load)).collect();
        // The beginning of a shuffle (Fisher and Yates).
        for at in 0..count.min(all.len()) {
            let drawn = random.random_range(at..all.len());
            all.swap(at, drawn);
        }
        all.truncate(count);
        all
    }

    /// Some of the fresh ones, by lot, each with its age.
    pub(super) fn some_fresh(
        &self,
        now: Time,
        count: usize,
        random: &mut Xoshiro256PlusPlus,
    ) -> Vec<Heard> {
        let mut told: Vec<Heard> = Vec::with_capacity(count);
        // Most are fresh; who draws one that is not, or the same one again, tells of one less.
        for _ in 0..count.min(self.0.len()) {
            let seen = self.0[random.random_range(0..self.0.len())];
            let age = now.since(seen.at);
            let node = Some(seen.node);
            if age < SAMPLE_FRESH && told.iter().all(|one| one.node != node) {
                told.push(Heard { node, load: seen.load, age });
            }
        }
        told
    }
}
