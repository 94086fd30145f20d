//! The message kernels of many nodes on virtual time: the code that ships, on a network that loses, repeats, reorders
//! and delays packets, with nodes that part and crash, while processes talk, move and end.
//!
//! A run is a function of its seed, its size and the code: [`run`] twice gives the same [`Outcome`]. What processes are
//! told is compared with what has happened ([`ledger`]), by one checker a property ([`checkers`]). Nothing in here is
//! told to a kernel that a host could not know.
//!
//! What is not simulated: the nodes' own protocol (`crates/cluster` has its tests), memory, time that a process takes.

pub mod actor;
mod acts;
mod arrivals;
mod calls;
pub mod checkers;
pub mod config;
mod event;
mod faults;
pub mod ledger;
mod moves;
mod network;
mod random;
mod trace;
mod watches;
mod world;

pub use config::{Config, Size};
pub use world::{Outcome, Violation, World};

/// Simulates the run of this seed. `tell`: prints what happens.
///
/// # Errors
/// What was found first that must not be.
pub fn run(seed: u64, size: Size, tell: bool) -> Result<Outcome, Violation> {
    World::new(Config::new(seed, size), tell).run()
}
