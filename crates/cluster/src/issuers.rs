//! Who of a cluster's nodes has the token, and so signs for the others.
//!
//! A node that joins has the token: it has come with it. It gives it up when it is linked with [`ISSUERS`] nodes that have it and
//! whose ids are less than its own; and where there are fewer than that in all, the least of them gives it to the least node that does
//! not have it. Nobody has to agree on anything for that: each goes by its own links.
//!
//! Invariant: of all nodes that have the token, the [`ISSUERS`] least ones keep it, for none of them can see so many that are less.
//! So it is lost only with all of them at once.

use std::collections::BTreeMap;

use crate::NodeId;
use crate::limits::ISSUERS;

/// What a node that has the token is to do about that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerStep {
    /// Nothing.
    Keep,
    /// Give it up: there are enough.
    Drop,
    /// Give it to that one, too: there are too few.
    Give(NodeId),
}

/// The step of the node `own`, which has the token. `others`: those that it is linked with, and whether they have it.
#[must_use]
pub fn issuer_step(own: NodeId, others: &BTreeMap<NodeId, bool>) -> IssuerStep {
    let issuers = || others.iter().filter(|(_, issues)| **issues);
    let lesser = issuers().filter(|(node, _)| **node < own).count();
    if lesser >= ISSUERS {
        return IssuerStep::Drop;
    }
    let next = others.iter().find(|(_, issues)| !**issues);
    match next {
        Some((node, _)) if lesser == 0 && issuers().count() + 1 < ISSUERS => {
            IssuerStep::Give(*node)
        }
        _ => IssuerStep::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that are linked with each other where nothing else is said.
    struct Nodes {
        issues: BTreeMap<u128, bool>,
        cut: Vec<[u128; 2]>,
    }

    impl Nodes {
        fn new(count: u128) -> Nodes {
            Nodes { issues: (0..count).map(|node| (node, true)).collect(), cut: Vec::new() }
        }

        fn issuers(&self) -> Vec<u128> {
            self.issues.iter().filter(|(_, issues)| **issues).map(|(node, _)| *node).collect()
        }

        fn step(&mut self, own: u128) {
            let linked = |other: &u128| {
                *other != own
                    && !self.cut.iter().any(|cut| cut.contains(&own) && cut.contains(other))
            };
            let others = self.issues.iter().filter(|(other, _)| linked(other));
            let others = others.map(|(other, issues)| (NodeId(*other), *issues)).collect();
            match issuer_step(NodeId(own), &others) {
                IssuerStep::Keep => {}
                IssuerStep::Drop => {
                    self.issues.insert(own, false);
                }
                IssuerStep::Give(NodeId(to)) => {
                    self.issues.insert(to, true);
                }
            }
        }

        /// Each that has it makes a step, in an order that the seed says, until nothing changes.
        fn settle(&mut self, mut seed: u64) {
            for _ in 0..100 {
                let before = self.issues.clone();
                let mut order = self.issuers();
                while !order.is_empty() {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let own = order.swap_remove((seed >> 33) as usize % order.len());
                    self.step(own);
                    assert!(!self.issuers().is_empty());
                }
                if self.issues == before {
                    return;
                }
            }
            panic!("it goes on for ever");
        }
    }

    #[test]
    fn so_many_are_left_and_are_replaced_when_they_go() {
        for seed in 0..50 {
            let mut nodes = Nodes::new(9);
            nodes.settle(seed);
            assert_eq!(nodes.issuers(), [0, 1, 2]);
            for gone in [[1, 2], [0, 3], [4, 5]] {
                nodes.issues.retain(|node, _| !gone.contains(node));
                nodes.settle(seed);
                assert_eq!(nodes.issuers().len(), ISSUERS);
            }
            // Fewer nodes than that all have it.
            nodes.issues.retain(|node, _| [6, 7].contains(node));
            nodes.settle(seed);
            assert_eq!(nodes.issuers(), [6, 7]);
        }
    }

    #[test]
    fn it_is_not_lost_in_a_partition() {
        for seed in 0..50 {
            let mut nodes = Nodes::new(8);
            // 0 to 3 here, 4 to 7 there; those in the middle see all.
            for one in 0..3 {
                nodes.cut.extend((5..8).map(|other| [one, other]));
            }
            nodes.settle(seed);
            let issuers = nodes.issuers();
            assert!([0, 1, 2].iter().all(|node| issuers.contains(node)), "{issuers:?}");
            nodes.cut.clear();
            nodes.settle(seed);
            assert_eq!(nodes.issuers(), [0, 1, 2]);
        }
    }
}
