//! Membership alone, with up to thousands of members, on virtual time: the code that ships, over a network that delays and loses
//! datagrams, with members that stop, stand still, and are cut off from each other.
//!
//! A run is a function of its [`Config`] and the code. Links are not simulated, but for what they are to a newcomer: one member
//! that he announces himself to and that tells him who is there.

mod report;
mod world;

pub use report::{Report, measure};
pub use world::World;

use peripatos_cluster::membership::Timing;

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Members at the beginning; each knows all.
    pub members: usize,
    /// What it all follows from.
    pub seed: u64,
    /// Datagrams that are lost, in a thousand.
    pub loss: u64,
    /// The times of the protocol.
    pub timing: Timing,
}
