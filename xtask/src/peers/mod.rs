//! `cargo xtask bench peers`: the workloads of `peri bench savina` and `philosophers` beside the same ones in Erlang, Go and
//! a library of actors for Rust, as far as they are installed: `benches/DATE-peers.json`, and the same as a table.
//!
//! All run on the same CPUs, in turn, so that a slow minute of the machine is everybody's. Each run does a tenth of its work
//! first, then about a second's; a figure is the median of the rounds, a ratio the median of the ratios of each round.
//! A system that is not there is absent; one that fails at a workload is said to fail there.

mod record;
mod run;
pub(crate) mod spread;
mod systems;

use crate::shell::step;
use anyhow::{Context as _, Result, bail, ensure};
use record::Figure;
use run::{Cpus, allowed_cpus};
use std::collections::BTreeMap;
use systems::{System, Work};

const USAGE: &str =
    "usage: cargo xtask bench peers [--rounds N] [--cpus N] [--quick] [--only ROW]...";

/// One workload as it is compared.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// On one CPU; else on all that are to be used.
    pub(super) on_one: bool,
    /// Bench and metric of `peri`.
    pub(super) ours: Option<(&'static str, &'static str)>,
    /// What the others call it, and what comes before its size.
    pub(super) theirs: (&'static str, Option<u32>),
}

const fn row(
    name: &'static str,
    what: &'static str,
    ours: (&'static str, &'static str),
    theirs: &'static str,
) -> Row {
    Row { name, what, on_one: false, ours: Some(ours), theirs: (theirs, None) }
}

const fn dinner(name: &'static str, metric: &'static str, count: u32) -> Row {
    let what = "meals; a fork is a process, in Go a channel";
    Row {
        theirs: ("philosophers", Some(count)),
        ..row(name, what, ("philosophers", metric), "philosophers")
    }
}

const PING_PONG: (&str, &str) = ("savina", "savina.ping_pong.per_s");
const COUNTING: (&str, &str) = ("savina", "savina.counting.per_s");

const ROWS: [Row; 13] = [
    Row {
        on_one: true,
        ..row("ping_pong, one CPU", "round trips between two loops", PING_PONG, "ping_pong")
    },
    Row {
        on_one: true,
        ..row("call, one CPU", "calls of a server: handler, gen_server, ask", COUNTING, "call")
    },
    row("ping_pong", "round trips between two loops", PING_PONG, "ping_pong"),
    row("call", "calls of a server: handler, gen_server, ask", COUNTING, "call"),
    Row {
        ours: None,
        ..row(
            "cross_process",
            "round trips to another process of the operating system",
            PING_PONG,
            "cross_process",
        )
    },
    row("counting", "messages to a counter; only ours wait for replies", COUNTING, "counting"),
    row("thread_ring", "hops of a token", ("savina", "savina.thread_ring.per_s"), "thread_ring"),
    row(
        "fork_join_create",
        "processes made, that tell so and end",
        ("savina", "savina.fork_join_create.per_s"),
        "fork_join_create",
    ),
    row(
        "fork_join_throughput",
        "messages to sixty counters; only ours wait for replies",
        ("savina", "savina.fork_join_throughput.per_s"),
        "fork_join_throughput",
    ),
    row("big", "pings among a hundred", ("savina", "savina.big.per_s"), "big"),
    dinner("philosophers.5", "philosophers.5.meals_per_s", 5),
    dinner("philosophers.100", "philosophers.100.meals_per_s", 100),
    dinner("philosophers.10000", "philosophers.10000.meals_per_s", 10_000),
];

struct Options {
    rounds: usize,
    cpus: Option<usize>,
    profile: &'static str,
    only: Vec<String>,
}

fn options(mut args: &[&str]) -> Result<Options> {
    let mut options = Options { rounds: 5, cpus: None, profile: "release", only: Vec::new() };
    loop {
        args = match args {
            [] => return Ok(options),
            ["--quick", rest @ ..] => {
                options.profile = "quick";
                rest
            }
            ["--rounds", number, rest @ ..] => {
                options.rounds = number.parse().context(USAGE)?;
                ensure!(options.rounds > 0, USAGE);
                rest
            }
            ["--cpus", number, rest @ ..] => {
                options.cpus = Some(number.parse().context(USAGE)?);
                rest
            }
            ["--only", name, rest @ ..] => {
                options.only.push((*name).to_owned());
                rest
            }
            _ => bail!(USAGE),
        };
    }
}

/// Builds all that can be built, measures in turn, writes the record of today.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let options = options(args)?;
    let allowed = allowed_cpus();
    let count = options.cpus.unwrap_or(allowed.len()).clamp(1, allowed.len());
    let (one, all) = (Cpus::new(&allowed[..1]), Cpus::new(&allowed[..count]));
    step(
        &format!("build ({})", options.profile),
        crate::shell::cargo().args([
            "build",
            "--profile",
            options.profile,
            "-p",
            "peri",
            "--locked",
        ]),
    )?;
    let systems = systems::all(options.profile);
    for system in systems.iter().filter(|system| system.version.is_none()) {
        eprintln!("xtask: {} is not installed", system.name);
    }
    let mut figures = Vec::new();
    for row in &ROWS {
        if options.only.is_empty() || options.only.iter().any(|name| row.name.starts_with(name)) {
            let cpus = if row.on_one { &one } else { &all };
            figures.extend(measure(row, &systems, cpus, options.rounds));
        }
    }
    record::write(&systems, &figures, count, options.rounds, options.profile)
}

/// All systems' figures of a row; the first one is ours.
fn measure(row: &Row, systems: &[System], cpus: &Cpus, rounds: usize) -> Vec<Figure> {
    eprintln!("xtask: {} ({})", row.name, row.what);
    let mut outcomes: BTreeMap<&str, Result<(Work, Vec<f64>)>> = BTreeMap::new();
    for system in systems {
        if let Some(work) = system.work(row, cpus).transpose() {
            outcomes.insert(system.name, work.map(|work| (work, Vec::new())));
        }
    }
    for _ in 0..rounds {
        for outcome in outcomes.values_mut() {
            let Ok((work, rates)) = outcome else { continue };
            match work.rate(cpus) {
                Ok(rate) => rates.push(rate),
                Err(error) => *outcome = Err(error),
            }
        }
    }
    let figures = systems.iter().map(|system| {
        let outcome = outcomes.remove(system.name);
        let result = match outcome {
            None => Err("-".to_owned()),
            Some(Ok((_, rates))) => Ok(rates),
            Some(Err(error)) => {
                eprintln!("xtask: {}: {}: {error:#}", row.name, system.name);
                Err("fails".to_owned())
            }
        };
        Figure { row: row.name, what: row.what, system: system.name, result }
    });
    figures.collect()
}
