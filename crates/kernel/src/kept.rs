//! What a kernel keeps for others: how much, for whoever looks.

use crate::kernel::Kernel;

/// How much a kernel remembers beside its processes. All of it has a limit, and is forgotten in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Senders of other kernels.
    pub aliens: usize,
    /// Of them, those of other nodes whose answers are kept in case they were lost.
    pub answers: usize,
    /// Where processes are, or went.
    pub routes: usize,
    /// How processes have ended.
    pub ends: usize,
    /// Words on their way that nobody waits for.
    pub errands: usize,
    /// Those of other kernels that were done.
    pub errands_done: usize,
    /// Replies that were not acknowledged.
    pub unacknowledged: usize,
}

impl Kernel {
    /// See [`Kept`]. Looks at all aliens.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            aliens: self.aliens.len(),
            answers: self.aliens.answers(self.place),
            routes: self.routes.len(),
            ends: self.ends.len(),
            errands: self.errands.len(),
            errands_done: self.errands.done(),
            unacknowledged: self.heard.len(),
        }
    }
}
