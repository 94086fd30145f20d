//! How well work is spread over two nodes of one core each on this machine, all by itself.
//!
//! Programs of a known amount of work are started; *ideal* is all their work, at the speed of programs of the same kind that run
//! alone on both nodes at once before and after, divided by two.
//!
//! * `balance.skewed.makespan_ratio`: 200 programs, Pareto durations, all started on one node: from the first start to the last
//!   end, against the ideal. `.off_ratio`: the same while balancing is off: what a system does that starts things and leaves
//!   them. `.xargs_ratio`: the same list by `xargs -P2`, each a `peri run` of its own.
//! * `balance.stuck.makespan_ratio`: four long programs, two on each node; those on one node end early.
//!   `.moved_ms`: from then until one of the others runs there. `.off_ratio` as before.
//! * `balance.join.work_ms`: four programs run on a node, a second one joins: from when it is up until something runs there.
//! * `balance.hog.left_ms`, `.back_ms`: two programs run on each node, and another program takes half of one node's CPU: until
//!   work has left there; and has come back after that program's end.
//! * `balance.talkers.throughput_ratio`: four callers and their servers, which begin apart: calls a second after five seconds,
//!   against those where each is with its server. `.off_ratio` as before.
//! * `balance.steady.moves_per_s`: two nodes that have as much to do, for ten seconds.

mod hog;
mod skewed;
mod talkers;
mod walks;

use super::assembled;
use super::nodes::{Nodes, Running, id, processes};
use super::sample::{Metric, Samples};
use crate::cluster::failure;
use crate::exit::{Code, Failure, Result};
use crate::guests::Guest;
use peripatos_cluster::NodeId;
use peripatos_cluster::message::{Command, ProcessRow};
use peripatos_host::node::NodeClient;
use std::time::{Duration, Instant};

/// Units of work, about a millisecond each, by which the speed is measured.
const GAUGE_UNITS: u32 = 1_000;

/// All figures.
pub(crate) fn measure(
    rounds: usize,
    only: &[String],
    progress: impl Fn(&str),
) -> Result<Vec<Metric>> {
    let wanted =
        |name: &str| only.is_empty() || only.iter().any(|one| name.starts_with(one.as_str()));
    let spin = assembled("spin", include_str!("spin.wat"))?;
    let mut metrics = Vec::new();
    let parts: [(&str, Part); 6] = [
        ("balance.skewed", skewed::measure),
        ("balance.stuck", walks::stuck),
        ("balance.join", walks::join),
        ("balance.hog", hog::measure),
        ("balance.talkers", talkers::measure),
        ("balance.steady", walks::steady),
    ];
    for (name, part) in parts.into_iter().filter(|(name, _)| wanted(name)) {
        progress(name);
        metrics.extend(part(&spin, rounds)?);
    }
    Ok(metrics)
}

type Part = fn(&Guest, usize) -> Result<Vec<Metric>>;

/// Two nodes that know each other.
struct Pair {
    nodes: Nodes,
    client: NodeClient,
    one: NodeId,
    two: NodeId,
}

impl Pair {
    fn new() -> Result<Pair> {
        let mut nodes = Nodes::new()?;
        nodes.start("one")?;
        nodes.start("two")?;
        let mut client = nodes.client("one")?;
        let (one, two) = (id(&mut client, "one")?, id(&mut client, "two")?);
        Ok(Pair { nodes, client, one, two })
    }

    /// Turns balancing on or off everywhere.
    fn balance(&mut self, on: bool) -> Result<()> {
        for node in [self.one, self.two] {
            let done = self.client.command(node, Command::Balance { on });
            done.map_err(|error| failure("balance", &error))?;
        }
        Ok(())
    }

    /// How long a unit takes, while both nodes are busy.
    fn unit(&mut self, spin: &Guest) -> Result<Duration> {
        let started = Instant::now();
        let units = GAUGE_UNITS.to_string();
        let both =
            [self.nodes.run("one", spin, &[&units])?, self.nodes.run("two", spin, &[&units])?];
        let mut last = started;
        for one in both {
            last = last.max(one.finish()?.0);
        }
        Ok((last - started) / GAUGE_UNITS)
    }

    /// Waits for the ends of programs: when the last one was.
    fn finish(programs: Vec<Running>) -> Result<Instant> {
        let mut last = Instant::now();
        for program in programs {
            let (at, output) = program.finish()?;
            if output != b"." {
                return Err(Failure::new(Code::Internal, "bench", "a program's output differs"));
            }
            last = last.max(at);
        }
        Ok(last)
    }

    fn rows(&mut self) -> Result<Vec<ProcessRow>> {
        processes(&mut self.client)
    }
}

/// What a list of programs took against the ideal.
struct Against {
    units: u32,
    unit: Duration,
}

impl Against {
    fn ratio(&self, took: Duration) -> f64 {
        took.as_secs_f64() / (self.unit.as_secs_f64() * f64::from(self.units) / 2.0)
    }
}

fn metric(name: &str, unit: &'static str, samples: &Samples) -> Metric {
    Metric::of(format!("balance.{name}"), unit, samples)
}
