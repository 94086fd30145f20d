//! What a node keeps, in numbers: nothing of it may grow for ever.

use crate::node::Node;

/// How much of each. All 0: the node is as new, but for the peers that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Kept {
    /// Processes that run here, or are leaving.
    pub processes: usize,
    /// Processes whose origin is attached here, wherever they are.
    pub homes: usize,
    /// Moves from here.
    pub outgoing: usize,
    /// Moves to here that are not committed.
    pub incoming: usize,
    /// Moves to here whose sources may not know the outcome.
    pub committed: usize,
    /// Ends that the origins' nodes may not have heard of.
    pub ends: usize,
    /// Programs that are on their way here.
    pub programs: usize,
    /// Processes that began here and may not run here.
    pub misplaced: usize,
    /// Questions of clients that are not answered.
    pub questions: usize,
    /// What keepers are to be told of processes.
    pub untold: usize,
}

impl Node {
    /// See [`Kept`].
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            processes: self.processes.0.len(),
            homes: self.homes.len(),
            outgoing: self.outgoing.len(),
            incoming: self.incoming.len(),
            committed: self.committed.len(),
            ends: self.unheard.len(),
            programs: self.fetching.len(),
            misplaced: self.misplaced.len(),
            questions: self.waiting.len(),
            untold: self.directory.untold(),
        }
    }
}
