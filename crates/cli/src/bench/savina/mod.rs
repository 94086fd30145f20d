//! Workloads that are known from other systems, on all cores of this machine: those of `benches/peers/peripatos`, which counts and
//! fails if a count is wrong. How much is to be done is found out first, so that each round takes about a second.
//!
//! * `savina.ping_pong.per_s`: round trips between two receive loops.
//! * `savina.counting.per_s`: messages to a handler, each with its reply.
//! * `savina.thread_ring.per_s`: hops of a token that a hundred processes forward.
//! * `savina.fork_join_create.per_s`: processes that are made, tell so and end.
//! * `savina.fork_join_throughput.per_s`: messages to sixty handlers in turn.
//! * `savina.chameneos.per_s`: meetings of a hundred at one handler.
//! * `savina.big.per_s`: pings among a hundred.
//! * `philosophers.N.meals_per_s`: meals of N philosophers, with a fork for each; everybody eats as often.

mod run;

use super::sample::{Metric, Samples};
use crate::exit::Result;
use crate::place;
use peripatos_engine::Settings;
use run::Programs;

/// All of Savina that is measured here.
const WORKLOADS: [&str; 7] = [
    "ping_pong",
    "counting",
    "thread_ring",
    "fork_join_create",
    "fork_join_throughput",
    "chameneos",
    "big",
];
/// So many dine.
const PHILOSOPHERS: [u32; 3] = [5, 100, 10_000];

/// What is measured.
struct Figure {
    metric: String,
    workload: &'static str,
    /// What it is told before its size.
    before: Option<u32>,
}

/// Savina's figures, or those whose names begin so.
pub(crate) fn measure(
    rounds: usize,
    only: &[String],
    progress: impl Fn(&str),
) -> Result<Vec<Metric>> {
    let figure =
        |workload| Figure { metric: format!("savina.{workload}.per_s"), workload, before: None };
    figures(rounds, only, WORKLOADS.map(figure).into(), "1/s", progress)
}

/// The philosophers' figures, or those whose names begin so.
pub(crate) fn philosophers(
    rounds: usize,
    only: &[String],
    progress: impl Fn(&str),
) -> Result<Vec<Metric>> {
    let figure = |count| Figure {
        metric: format!("philosophers.{count}.meals_per_s"),
        workload: "philosophers",
        before: Some(count),
    };
    figures(rounds, only, PHILOSOPHERS.map(figure).into(), "meals/s", progress)
}

fn figures(
    rounds: usize,
    only: &[String],
    mut figures: Vec<Figure>,
    unit: &'static str,
    progress: impl Fn(&str),
) -> Result<Vec<Metric>> {
    figures.retain(|Figure { metric, .. }| {
        only.is_empty() || only.iter().any(|name| metric.starts_with(name))
    });
    let programs = Programs::load(&place::with_settings(Settings::default())?)?;
    let mut metrics = Vec::new();
    for Figure { metric, workload, before } in figures {
        progress(&metric);
        let size = programs.size(workload, before)?;
        let mut samples = Samples::default();
        for _ in 0..rounds {
            samples.push(programs.run(workload, before, size)?.per_s());
        }
        metrics.push(Metric::of(metric, unit, &samples));
    }
    Ok(metrics)
}
