//! The balance of thousands of nodes and hundreds of thousands of processes, on virtual time: the policy that ships, in a world of
//! machines that share their cores among processes, and networks that take their time.
//!
//! A run is a function of its [`Config`] and the code. What ships here is what decides: `peripatos_cluster::promises` whom to ask,
//! what to promise and when to redeem it, `peripatos_balancer` what goes. What is modelled: membership's datagrams, which carry the
//! samples (its own bytes are measured beside, by [`members`](crate::members)), links, moves by the bytes that they carry, and
//! processes that want a core or do not. Processes are not run, and nodes see each other die at once.
//!
//! The same work is given to other schemes ([`Scheme`]) in the same world, to compare.

mod machine;
mod plot;
mod promised;
mod report;
mod rivals;
mod workload;
mod world;

use std::time::Duration;

pub use plot::plot;
pub use report::{Curve, Outcome, Point, Report};
pub use workload::Workload;

use world::World;

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Nodes at the beginning.
    pub nodes: usize,
    /// Processes at the beginning, or, if they end, about as many at a time.
    pub processes: usize,
    /// What they do.
    pub workload: Workload,
    /// What it all follows from.
    pub seed: u64,
    /// How long it is looked at.
    pub span: Duration,
}

/// Who decides where processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// What ships: promises that settle first.
    Peripatos,
    /// Each begins on a node that is drawn by lot, and stays there.
    Random,
    /// Each begins on the less loaded of two that are drawn by lot, and stays there (Mitzenmacher 2001).
    TwoChoices,
    /// A node that has a core to spare takes half of what waits at another one, drawn by lot.
    Stealing,
    /// One place knows all and moves the fewest that do, once a second: like GreedyRefine of Charm++.
    Central,
    /// As if all were spread evenly at any time.
    Ideal,
}

impl Scheme {
    /// All of them, the one that ships first.
    pub const ALL: [Scheme; 6] = [
        Scheme::Peripatos,
        Scheme::Random,
        Scheme::TwoChoices,
        Scheme::Stealing,
        Scheme::Central,
        Scheme::Ideal,
    ];

    /// In a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Peripatos => "peripatos",
            Scheme::Random => "random",
            Scheme::TwoChoices => "two choices",
            Scheme::Stealing => "stealing",
            Scheme::Central => "central",
            Scheme::Ideal => "ideal",
        }
    }
}

/// Simulates it, with all schemes. `tell`: is told which one comes next.
#[must_use]
pub fn simulate(config: Config, mut tell: impl FnMut(Scheme)) -> Report {
    let outcomes =
        Scheme::ALL.into_iter().filter(|scheme| *scheme != Scheme::Ideal).map(|scheme| {
            tell(scheme);
            World::new(config, scheme).run()
        });
    Report::new(config, outcomes.collect())
}
