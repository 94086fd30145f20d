//! With whom a process talks, and what that costs where it is: a call to another node takes the caller's time.

use std::time::Duration;

use peripatos_abi::Pid;

use crate::limits::{AWAY_PATIENCE, CALL_AWAY};
use crate::{NodeId, Time};

/// What was so long ago counts a third (1/e).
const MEMORY: Duration = Duration::from_secs(1);
/// Who would go to a node with a higher name waits so many times as long: of two who call each other one goes first.
const PATIENCE_UP: u32 = 4;

/// What a core has counted of a process's messages since it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talks {
    /// To processes of this node.
    pub near: u64,
    /// Whom of them it calls.
    pub partner: Option<Pid>,
    /// To processes of other nodes, less those to others than the next one.
    pub away: u64,
    /// The node that most of them are for.
    pub away_node: Option<NodeId>,
}

/// The same, each second, over the last moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    last: Talks,
    at: Time,
    near: f64,
    away: f64,
    away_since: Option<Time>,
}

impl Traffic {
    pub(crate) fn note(&mut self, now: Time, talks: Talks) {
        let seconds = now.since(self.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let left = (-seconds / MEMORY.as_secs_f64()).exp();
        let age = |was: f64, count: u64| was * left + count as f64 / seconds * (1.0 - left);
        self.near = age(self.near, talks.near.saturating_sub(self.last.near));
        let same = talks.away_node == self.last.away_node;
        let away = if same { talks.away.saturating_sub(self.last.away) } else { 0 };
        self.away = age(if same { self.away } else { 0.0 }, away);
        let calls = same && away > 0;
        self.away_since = if calls { self.away_since.or(Some(now)) } else { None };
        (self.last, self.at) = (talks, now);
    }

    /// Seconds that it would lose in a second if those whom it calls here were elsewhere.
    pub(crate) fn near_s(&self) -> f64 {
        self.near * CALL_AWAY.as_secs_f64()
    }

    /// Whom it calls here.
    pub(crate) fn partner(&self) -> Option<Pid> {
        self.last.partner
    }

    /// Seconds that it would gain in a second at that node.
    pub(crate) fn away_s(&self, node: NodeId) -> f64 {
        let there = self.last.away_node == Some(node);
        if there { self.away * CALL_AWAY.as_secs_f64() } else { 0.0 }
    }

    /// The node that it has called for so long that it may go there.
    pub(crate) fn drawn_to(&self, own: NodeId, now: Time) -> Option<NodeId> {
        let up = self.last.away_node.is_some_and(|node| node > own);
        let patience = if up { AWAY_PATIENCE * PATIENCE_UP } else { AWAY_PATIENCE };
        // Who does nothing any more is not looked at.
        let fresh = now.since(self.at) < MEMORY;
        let patient = self.away_since.is_some_and(|since| fresh && now.since(since) >= patience);
        self.last.away_node.filter(|_| patient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_each_second_is_known_after_some() {
        let mut traffic = Traffic::default();
        let two = NodeId(2);
        let talks = |tick: u64| Talks {
            near: 5 * tick,
            partner: None,
            away: 100 * tick,
            away_node: Some(two),
        };
        let time = |tick: u64| Time(Duration::from_millis(100 * tick));
        (1..100).for_each(|tick| traffic.note(time(tick), talks(tick)));
        assert!((traffic.away - 1_000.0).abs() < 1.0 && (traffic.near - 50.0).abs() < 1.0);
        assert!((traffic.away_s(two) - 1_000.0 * CALL_AWAY.as_secs_f64()).abs() < 1e-3);
        assert!(traffic.away_s(NodeId(3)) == 0.0);
        assert_eq!(traffic.drawn_to(NodeId(1), time(100)), Some(two));
        // It calls nobody there any more.
        (100..150).for_each(|tick| traffic.note(time(tick), talks(99)));
        assert!(traffic.away < 10.0);
        assert_eq!(traffic.drawn_to(NodeId(1), time(150)), None);
    }
}
