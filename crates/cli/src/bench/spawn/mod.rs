//! What a process takes to be made, to be there, and to be woken: measured by the process that spawns them.
//!
//! * `spawn.warm_us`, `spawn.handler_us`: a small program on a fiber, a small handler: it is spawned, answers its first
//!   message, and is ended. What others before it have used is used again.
//! * `density.processes`, `density.bytes_per_process`, `density.rss_bytes`: how many are there at a time, each of which has
//!   answered a message and waits for the next; and what memory of this OS process that takes.
//! * `wake.us`: the oldest of those are asked: send, wake, answer, reply.
//!
//! `.handler` behind a metric: the same of handlers.

mod gauge;

use super::assembled;
use super::process::load;
use super::sample::{Metric, Samples};
use crate::exit::{Code, Failure, Result};
use crate::{pids, place};
use gauge::{Gauge, Nursery, Readings};
use peripatos_engine::{Code as Program, CodeKind, Limits, Process, ProcessOptions, Settings};
use peripatos_host::cores::{CoreEvent, Cores, ProcessEnd};
use peripatos_host::talk::{Family, Line, Member, Rules};
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

const BREEDER: &str = include_str!("breeder.wat");
const CELL: &str = include_str!("cell.wat");
const CELL_HANDLER: &str = include_str!("cell_handler.wat");

/// Lives of a batch, and batches of a round.
const LIVES: u32 = 1_000;
const BATCHES: u32 = 10;
/// How many of a crowd are woken.
const WAKES: u32 = 1_000;

/// What a breeder is to do.
enum Task {
    Lives,
    Crowd(u32),
}

/// All figures.
pub(crate) fn measure(
    rounds: usize,
    processes: u32,
    progress: impl Fn(&str),
) -> Result<Vec<Metric>> {
    let runtime = place::with_settings(Settings::default())?;
    let breeder = load(&runtime, &assembled("breeder", BREEDER)?, CodeKind::Hot)?;
    let cells = [("", "a program", CELL), (".handler", "a handler", CELL_HANDLER)];
    let mut metrics = Vec::new();
    // Not again before the second crowd: it has the memory that the first one leaves.
    let before = gauge::resident_bytes();
    for (suffix, what, text) in cells {
        let cell = load(&runtime, &assembled("cell", text)?, CodeKind::Hot)?;
        progress(&format!("the spawning of {what}"));
        let mut samples = Samples::default();
        for _ in 0..rounds {
            let readings = breed(&breeder, &cell, &Task::Lives)?;
            readings
                .times_ns
                .iter()
                .for_each(|ns| samples.push(*ns as f64 / 1e3 / f64::from(LIVES)));
        }
        metrics.push(Metric::of(format!("spawn.warm_us{suffix}"), "us", &samples));
    }
    for (suffix, what, text) in cells {
        let cell = load(&runtime, &assembled("cell", text)?, CodeKind::Hot)?;
        progress(&format!("{processes} processes of {what}"));
        crowd(&breeder, &cell, processes, before, suffix, &mut metrics)?;
    }
    Ok(metrics)
}

fn crowd(
    breeder: &Program,
    cell: &Program,
    processes: u32,
    before: u64,
    suffix: &str,
    metrics: &mut Vec<Metric>,
) -> Result<()> {
    let readings = breed(breeder, cell, &Task::Crowd(processes))?;
    let grown = readings.resident_bytes.saturating_sub(before) as f64;
    let per_process = grown / f64::from(processes.max(1));
    let mut add = |metric: &str, unit, value| {
        metrics.push(Metric::derived(format!("{metric}{suffix}"), unit, value, 1));
    };
    add("density.processes", "processes", f64::from(readings.born));
    add("density.bytes_per_process", "bytes", per_process);
    add("density.rss_bytes", "bytes", readings.resident_bytes as f64);
    let mut samples = Samples::default();
    readings.times_ns.iter().for_each(|ns| samples.push(*ns as f64 / 1e3));
    metrics.push(Metric::of(format!("wake.us{suffix}"), "us", &samples));
    Ok(())
}

/// Runs a breeder to its end, on one core.
fn breed(breeder: &Program, cell: &Program, task: &Task) -> Result<Readings> {
    let failed = |cause: String| Failure::new(Code::Internal, "breeder", cause);
    let numbers = match *task {
        Task::Lives => [0, LIVES, BATCHES],
        Task::Crowd(processes) => [1, processes, WAKES.min(processes)],
    };
    let argument: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let pid =
        pids::draw().map_err(|error| Failure::new(Code::Resources, "random numbers", error))?;
    let nursery = Arc::new(Nursery::default());
    let programs = BTreeMap::from([("cell".to_owned(), cell.clone())]);
    let family = Family::new(pid, Rules::default(), programs, nursery.clone());
    let (name, nobody) = ("breeder".into(), peripatos_abi::Pid::from_bits(0));
    let member = Member::child(&family, breeder.clone(), name, nobody, argument.into())
        .map_err(|status| failed(status.to_string()))?;
    let options = ProcessOptions {
        pid,
        args: Vec::new(),
        env: Vec::new(),
        devices: Box::new(Gauge::new(&nursery)),
        limits: Limits::default(),
        freeze_every: None,
    };
    let mut process =
        Process::spawn(breeder, options).map_err(|error| failed(error.to_string()))?;
    process.set_messages(Box::new(Line::of(pid, member)));
    let (to, events) = mpsc::channel();
    let cores = Cores::start(1, move |event| {
        if let CoreEvent::Ended { pid: of, end, .. } = event
            && (of == pid || !matches!(end, ProcessEnd::Killed))
        {
            // When the breeder has ended nobody listens.
            let _ = to.send((of, end));
        }
    });
    let cores = cores.map_err(|error| Failure::new(Code::Resources, "cores", error))?;
    cores.run(process).map_err(|error| failed(error.refusal.to_string()))?;
    match events.recv() {
        Ok((of, ProcessEnd::Exited(0))) if of == pid => Ok(nursery.readings()),
        Ok((of, end)) => Err(failed(format!("{of} ended unexpectedly: {end:?}"))),
        Err(_) => Err(failed("the cores ended".to_owned())),
    }
}
