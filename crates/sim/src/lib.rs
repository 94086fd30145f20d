//! Message kernels and nodes on virtual time: the code that ships, on a network that loses, repeats, reorders and delays
//! packets, with nodes that part, crash and start again, while processes talk, move and end.
//!
//! A run has a [`Level`]. Of *kernels*: where processes are and go, and who is told so, this crate decides. Of *nodes*: that
//! is decided by `peripatos_cluster`, with its families, searches and names; this crate carries it out, as a host does, over
//! links that keep the order until they break (`nodes`). Actors, ledger and checkers are the same.
//!
//! A run is a function of its seed, its size, its level and the code: [`run`] twice gives the same [`Outcome`]. What processes are
//! told is compared with what has happened ([`ledger`]), by one checker a property ([`checkers`]). Nothing in here is
//! told to a kernel that a host could not know.
//!
//! Membership is simulated by itself ([`members`]): thousands of nodes that do nothing else.
//!
//! Of a process's memory that is simulated which others see of it: messages, replies, and what it lends; and that it is put aside while it
//! sleeps. What is not simulated: the rest of it, time that it takes, devices, origins that go away.

pub mod actor;
mod acts;
mod arrivals;
pub mod balance;
mod calls;
pub mod checkers;
pub mod config;
mod event;
mod faults;
mod groups;
mod leases;
pub mod ledger;
pub mod members;
mod moves;
mod network;
mod nodes;
mod random;
mod sleep;
mod trace;
mod watches;
mod world;

pub use config::{Config, Level, Size};
#[cfg(feature = "mutations")]
pub use nodes::Mutation as NodeMutation;
#[cfg(feature = "mutations")]
pub use sleep::Lapse;
pub use world::{Outcome, Violation, World};

/// Simulates the run of this seed, at this level. `tell`: prints what happens.
///
/// # Errors
/// What was found first that must not be.
pub fn run(seed: u64, size: Size, level: Level, tell: bool) -> Result<Outcome, Violation> {
    World::new(Config::new(seed, size, level), tell).run()
}

/// The command that shows a run again, with all that happens in it.
#[must_use]
pub fn again(seed: u64, size: Size, level: Level) -> String {
    let large = if size == Size::Large { " --large" } else { "" };
    let level = if level == Level::Nodes { "--nodes" } else { "--kernels" };
    format!("cargo xtask sim --seed {seed} {level}{large} --trace")
}
