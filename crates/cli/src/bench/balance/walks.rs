//! When a node has nothing to do any more, when one joins, and when there is nothing to be done.

use super::{Against, Pair, metric};
use crate::bench::nodes::{Nodes, Running, id, processes, wait_for};
use crate::bench::sample::{Metric, Samples};
use crate::exit::Result;
use crate::guests::Guest;
use peripatos_cluster::message::{ProcessRow, RowState};
use std::thread;
use std::time::{Duration, Instant};

/// Units of the two that go on, and of the two that end early.
const LONG: u32 = 3_000;
const SHORT: u32 = 500;
/// So many for as long as a part of this bench takes.
const ENDLESS: u32 = 1_000_000;
/// Until the nodes have seen what runs, and nobody rests any more.
const SETTLE: Duration = Duration::from_millis(1_500);
/// How long moves are counted.
const STEADY: Duration = Duration::from_secs(10);

pub(super) fn stuck(spin: &Guest, rounds: usize) -> Result<Vec<Metric>> {
    let [mut ratio, mut moved, mut off] = [(); 3].map(|()| Samples::default());
    let mut pair = Pair::new()?;
    for round in 0..rounds {
        let before = pair.unit(spin)?;
        let (took, moved_after) = run_stuck(&mut pair, spin, true)?;
        let after = pair.unit(spin)?;
        let against = Against { units: 2 * (LONG + SHORT), unit: (before + after) / 2 };
        ratio.push(against.ratio(took));
        moved_after.into_iter().for_each(|after| moved.push(after.as_secs_f64() * 1e3));
        if round % 4 == 0 {
            pair.balance(false)?;
            off.push(against.ratio(run_stuck(&mut pair, spin, false)?.0));
            pair.balance(true)?;
        }
    }
    Ok(vec![
        metric("stuck.makespan_ratio", "ratio", &ratio),
        metric("stuck.moved_ms", "ms", &moved),
        metric("stuck.off_ratio", "ratio", &off),
    ])
}

/// How long all four took, and when one had moved after the short ones' end.
fn run_stuck(pair: &mut Pair, spin: &Guest, on: bool) -> Result<(Duration, Option<Duration>)> {
    let started = Instant::now();
    let run = |pair: &Pair, node: &str, units: u32| {
        let units = units.to_string();
        Ok([pair.nodes.run(node, spin, &[&units])?, pair.nodes.run(node, spin, &[&units])?])
    };
    let long = run(pair, "one", LONG)?;
    let short = run(pair, "two", SHORT)?;
    let ended = Pair::finish(short.into())?;
    let two = pair.two;
    let moved = if on {
        let there = |row: &ProcessRow| row.node == two && row.state == RowState::Running;
        wait_for("a move", || Ok(pair.rows()?.iter().any(there).then_some(())))?;
        Some(ended.elapsed())
    } else {
        None
    };
    Ok((Pair::finish(long.into())? - started, moved))
}

pub(super) fn join(spin: &Guest, rounds: usize) -> Result<Vec<Metric>> {
    let mut samples = Samples::default();
    let mut nodes = Nodes::new()?;
    nodes.start("one")?;
    let mut client = nodes.client("one")?;
    let one = id(&mut client, "one")?;
    let programs = (0..4).map(|_| nodes.run("one", spin, &[&ENDLESS.to_string()]));
    let programs = programs.collect::<Result<Vec<_>>>()?;
    for _ in 0..rounds {
        thread::sleep(SETTLE);
        nodes.start("two")?;
        let up = Instant::now();
        wait_for("work for the newcomer", || {
            let there = |row: &ProcessRow| row.node != one && row.state == RowState::Running;
            Ok(processes(&mut client)?.iter().any(there).then_some(()))
        })?;
        samples.push(up.elapsed().as_secs_f64() * 1e3);
        nodes.end("two")?;
    }
    programs.into_iter().try_for_each(Running::kill)?;
    Ok(vec![metric("join.work_ms", "ms", &samples)])
}

pub(super) fn steady(spin: &Guest, _rounds: usize) -> Result<Vec<Metric>> {
    let mut pair = Pair::new()?;
    let programs = ["one", "one", "one", "two", "two", "two"];
    let programs = programs.map(|node| pair.nodes.run(node, spin, &[&ENDLESS.to_string()]));
    let programs = programs.into_iter().collect::<Result<Vec<_>>>()?;
    thread::sleep(SETTLE);
    let moves = |rows: &[ProcessRow]| rows.iter().map(|row| row.moves).sum::<u32>();
    let before = moves(&pair.rows()?);
    thread::sleep(STEADY);
    let mut samples = Samples::default();
    let more = moves(&pair.rows()?).saturating_sub(before);
    samples.push(f64::from(more) / STEADY.as_secs_f64());
    programs.into_iter().try_for_each(Running::kill)?;
    Ok(vec![metric("steady.moves_per_s", "1/s", &samples)])
}
