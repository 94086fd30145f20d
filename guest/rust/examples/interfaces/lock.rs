//! What the lock's users and the lock have in common.

/// Only one has it at a time.
#[peripatos::service]
pub(crate) trait Lock {
    fn take(&mut self);
    /// Gives it back: how many have had it.
    fn give(&mut self) -> u32;
}
