//! What lies outside of these cores: other nodes, if there are any.

use std::sync::{Mutex, PoisonError};

use peripatos_kernel::{Names, Packet};

/// The way to processes that are not on these cores. Called on the core threads; must not wait.
pub trait Outside: Send + Sync {
    /// Takes what is for a process that is not here, or gives it back: nobody has it.
    fn packet(&self, packet: Packet) -> Option<Packet>;
    /// A process here has a name, or has it no more ([`Names::take_changes`]).
    fn named(&self, names: &Mutex<Names>);
}

/// There is nothing.
pub(super) struct Nowhere;

impl Outside for Nowhere {
    fn packet(&self, packet: Packet) -> Option<Packet> {
        Some(packet)
    }

    fn named(&self, names: &Mutex<Names>) {
        names.lock().unwrap_or_else(PoisonError::into_inner).take_changes();
    }
}
