//! Leases of nodes: how a node makes sure that it has ended before others may take it for gone.
//!
//! Where a fleet uses etcd each OS process of a node holds a lease there. While it is renewed the node is not gone, whoever hears
//! nothing of it; when it has expired the node is, for it has ended before.
//!
//! Invariants:
//! * A lease counts from the moment in which the request was sent that has granted or renewed it last: etcd counts from a later one.
//!   The node ends earlier than that by a margin: for clocks that do not go at the same rate, and for a deposed leader of etcd,
//!   which may answer for a moment more (its election timeout, a second unless somebody says otherwise).
//! * A lease that is over is never taken for renewed, whatever answer comes late.
//! * Gone is only an OS process that was registered together with its lease, and whose lease is not there any more. Of a node that
//!   does not use this etcd nothing follows.
//! * Whoever was taken for gone so is not taken in again: a machine whose clock stood still does not know yet that it is.
//!
//! Time is that of a clock that goes on while the machine is suspended.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::Action;
use crate::limits::{
    LEASE_MARGIN_MIN, LEASE_RETRY_MAX, LEASE_RETRY_MIN, LEASE_TTL_MAX, LEASE_TTL_MIN, PEERS_MAX,
};
use crate::mutation::Mutation;
use crate::node::Node;
use crate::{Incarnation, NodeId, Time};

/// How long leases are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    ttl: Duration,
}

impl LeaseTerms {
    /// Leases of this time to live: whole seconds, as etcd counts. `None`: it is less than [`LEASE_TTL_MIN`], or more than
    /// [`LEASE_TTL_MAX`].
    #[must_use]
    pub fn new(ttl: Duration) -> Option<LeaseTerms> {
        let good = (LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) && ttl.subsec_nanos() == 0;
        good.then_some(LeaseTerms { ttl })
    }

    /// How long one is good that is not renewed.
    #[must_use]
    pub fn ttl(self) -> Duration {
        self.ttl
    }

    /// How much earlier the node ends than its lease may.
    #[must_use]
    pub fn margin(self) -> Duration {
        (self.ttl / 4).max(LEASE_MARGIN_MIN)
    }

    /// After so long without a renewal the node ends.
    #[must_use]
    pub fn fenced_after(self) -> Duration {
        self.ttl.saturating_sub(self.margin())
    }

    /// How long a renewal may take that fails: two more can be tried before the node ends.
    #[must_use]
    pub fn answer_max(self) -> Duration {
        self.fenced_after() / 5
    }
}

/// Why a node ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fenced {
    /// The lease was not renewed in time. This OS process has to be ended before it does anything else.
    #[error("its lease in etcd was not renewed for {:.1} s ({cause})", since.as_secs_f64())]
    Late {
        /// How long ago the request was sent that was the last to renew it.
        since: Duration,
        /// What became of the last attempt.
        cause: String,
    },
    /// etcd does not know the lease: others may have been told already.
    #[error("its lease is not in etcd any more: it has expired there, or somebody has revoked it")]
    Lost,
}

/// What a node is to do about its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Nothing before then.
    Wait(Time),
    /// Renew it.
    Renew,
    /// End, at once.
    End(Fenced),
}

/// The lease of this OS process. See the module.
#[derive(Clone, Debug)]
pub struct NodeLease {
    terms: LeaseTerms,
    /// When the request was sent that has granted or renewed it last.
    sent: Time,
    next: Time,
    trouble: Option<String>,
    lost: bool,
}

impl NodeLease {
    /// It was granted, on these terms or better ones, upon a request that was sent then.
    #[must_use]
    pub fn granted(sent: Time, terms: LeaseTerms) -> NodeLease {
        NodeLease { terms, sent, next: sent + terms.ttl / 3, trouble: None, lost: false }
    }

    /// From then on this OS process must do nothing that others could see.
    #[must_use]
    pub fn ends_at(&self) -> Time {
        self.sent + self.terms.fenced_after()
    }

    /// It was renewed upon a request that was sent at `sent`.
    pub fn renewed(&mut self, now: Time, sent: Time) {
        if now < self.ends_at() && sent > self.sent {
            (self.sent, self.trouble) = (sent, None);
            self.next = sent + self.terms.ttl / 3;
        }
    }

    /// A renewal has failed, or nobody answered: why.
    pub fn not_renewed(&mut self, now: Time, cause: String) {
        self.next = now + (self.terms.ttl / 20).clamp(LEASE_RETRY_MIN, LEASE_RETRY_MAX);
        self.trouble = Some(cause);
    }

    /// etcd says that there is no such lease.
    pub fn lost(&mut self) {
        self.lost = true;
    }

    /// What is to be done now.
    #[must_use]
    pub fn step(&self, now: Time) -> LeaseStep {
        if now >= self.ends_at() {
            let cause = self.trouble.clone();
            let cause = cause.unwrap_or_else(|| "this node or its machine stood still".to_owned());
            return LeaseStep::End(Fenced::Late { since: now.since(self.sent), cause });
        }
        if self.lost {
            return LeaseStep::End(Fenced::Lost);
        }
        if now >= self.next { LeaseStep::Renew } else { LeaseStep::Wait(self.next) }
    }
}

/// What etcd says of an OS process of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It was never registered there: nothing is known of it.
    Unknown,
    /// Its lease is good.
    Held,
    /// It had one, and it has expired.
    Expired,
}

impl LeaseState {
    /// Of what is there, both read at once: that it was registered, which stays, and its lease's key.
    #[must_use]
    pub fn of(registered: bool, held: bool) -> LeaseState {
        match (registered, held) {
            (_, true) => LeaseState::Held,
            (true, false) => LeaseState::Expired,
            (false, false) => LeaseState::Unknown,
        }
    }
}

/// OS processes of nodes whose leases are known to have expired.
#[derive(Debug, Default)]
pub(crate) struct Expired(BTreeSet<(NodeId, Incarnation)>);

impl Node {
    /// OS processes of other nodes that are silent: whether they are gone etcd may know.
    #[must_use]
    pub fn silent(&self) -> Vec<(NodeId, Incarnation)> {
        let told = self.peers.0.values().filter(|known| !known.linked && !known.gone);
        let one = told.filter(|known| known.silent_at.is_none());
        let one = one.map(|known| (known.peer.node, known.peer.incarnation));
        one.filter(|(node, incarnation)| !self.heard.is_up(*node, *incarnation)).collect()
    }

    /// Whether that OS process is to be refused, because its lease has expired.
    #[must_use]
    pub fn is_expired(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.expired.0.contains(&(node, incarnation)) && !self.does_wrong(Mutation::ExpiredHeard)
    }

    /// The lease of an OS process to which there is no link has expired.
    pub(crate) fn lease_expired(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        out: &mut Vec<Action>,
    ) {
        if self.expired.0.len() >= PEERS_MAX {
            self.expired.0.pop_first();
        }
        if !self.expired.0.insert((node, incarnation)) {
            return;
        }
        let known = self.peers.0.get(&node);
        if known.is_some_and(|known| known.peer.incarnation == incarnation && !known.gone) {
            let name = self.peers.name(node);
            out.push(Action::Log(format!("node {name} is gone: its lease in etcd has expired")));
            self.gone(node, incarnation, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time(Duration::from_millis(milliseconds))
    }

    fn terms(seconds: u64) -> LeaseTerms {
        LeaseTerms::new(Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn times_follow_from_the_time_to_live() {
        for (seconds, fenced_ms) in [(6, 4_000), (8, 6_000), (10, 7_500), (60, 45_000)] {
            let terms = terms(seconds);
            assert_eq!(terms.fenced_after(), Duration::from_millis(fenced_ms));
            // A renewal that fails, its pause and another one have time.
            let renewal = terms.ttl() / 3 + terms.answer_max() * 2 + LEASE_RETRY_MIN;
            assert!(renewal < terms.fenced_after(), "{seconds}");
        }
        for wrong in [0, 5_000, 6_500, 3_600_001] {
            assert_eq!(LeaseTerms::new(Duration::from_millis(wrong)), None);
        }
    }

    #[test]
    fn it_is_renewed_at_a_third_and_counts_from_what_was_sent() {
        let mut lease = NodeLease::granted(at(1_000), terms(9));
        assert_eq!(lease.step(at(1_500)), LeaseStep::Wait(at(4_000)));
        assert_eq!(lease.step(at(4_000)), LeaseStep::Renew);
        assert_eq!(lease.ends_at(), at(7_750));
        // Sent at 4 s, answered at 6 s.
        lease.renewed(at(6_000), at(4_000));
        assert_eq!(lease.ends_at(), at(10_750));
        assert_eq!(lease.step(at(6_000)), LeaseStep::Wait(at(7_000)));
        // An answer to what was asked before says nothing new.
        lease.renewed(at(6_100), at(3_500));
        assert_eq!(lease.ends_at(), at(10_750));
    }

    #[test]
    fn who_is_not_renewed_tries_again_and_then_ends() {
        let mut lease = NodeLease::granted(at(0), terms(10));
        let mut tries = 0;
        let mut now = at(0);
        let fenced = loop {
            match lease.step(now) {
                LeaseStep::Wait(until) => now = until,
                LeaseStep::Renew => {
                    tries += 1;
                    now = now + Duration::from_millis(100);
                    lease.not_renewed(now, format!("try {tries}"));
                }
                LeaseStep::End(fenced) => break fenced,
            }
        };
        assert!(tries > 3, "{tries}");
        let Fenced::Late { since, cause } = fenced else { panic!("{fenced}") };
        assert!(since >= Duration::from_millis(7_500) && since < Duration::from_secs(9));
        assert_eq!(cause, format!("try {tries}"));
    }

    #[test]
    fn who_stood_still_ends_before_anything_else_whatever_has_come_meanwhile() {
        let mut lease = NodeLease::granted(at(0), terms(10));
        // The answer lay there while the machine was suspended.
        lease.renewed(at(20_000), at(3_400));
        assert!(matches!(lease.step(at(20_000)), LeaseStep::End(Fenced::Late { .. })));
        // One that came in time and was read late.
        let mut lease = NodeLease::granted(at(0), terms(10));
        lease.renewed(at(7_500), at(7_400));
        assert!(matches!(lease.step(at(7_500)), LeaseStep::End(Fenced::Late { .. })));
    }

    #[test]
    fn a_lease_that_etcd_does_not_know_is_over() {
        let mut lease = NodeLease::granted(at(0), terms(10));
        lease.lost();
        lease.renewed(at(20), at(10));
        assert_eq!(lease.step(at(30)), LeaseStep::End(Fenced::Lost));
    }

    #[test]
    fn gone_is_only_who_was_registered() {
        assert_eq!(LeaseState::of(false, false), LeaseState::Unknown);
        assert_eq!(LeaseState::of(true, false), LeaseState::Expired);
        assert_eq!(LeaseState::of(true, true), LeaseState::Held);
        assert_eq!(LeaseState::of(false, true), LeaseState::Held);
    }
}
