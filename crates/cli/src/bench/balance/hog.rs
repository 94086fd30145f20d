//! A program that is none of ours takes half of a node's CPU.

use super::{Pair, metric};
use crate::bench::nodes::{Running, wait_for};
use crate::bench::sample::{Metric, Samples};
use crate::cpus;
use crate::exit::{Code, Failure, Result};
use crate::guests::Guest;
use peripatos_cluster::message::{ProcessRow, RowState};
use std::fs;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ENDLESS: &str = "1000000";
/// Until the nodes have seen what runs, and nobody rests any more.
const SETTLE: Duration = Duration::from_millis(2_500);

pub(super) fn measure(spin: &Guest, rounds: usize) -> Result<Vec<Metric>> {
    let [mut left, mut back] = [(); 2].map(|()| Samples::default());
    let mut pair = Pair::new()?;
    let programs = ["one", "one", "two", "two"];
    let programs = programs.map(|node| pair.nodes.run(node, spin, &[ENDLESS]));
    let programs = programs.into_iter().collect::<Result<Vec<_>>>()?;
    let cpu = cpu_of(pair.nodes.os_process("one")?)?;
    for _ in 0..rounds {
        thread::sleep(SETTLE);
        until(&mut pair, |there| there == 2)?;
        let ends = AtomicBool::new(false);
        thread::scope(|scope| -> Result<()> {
            let hog = || {
                while !ends.load(Ordering::Relaxed) {
                    spin_loop()
                }
            };
            cpus::on(Some(cpu), || scope.spawn(hog));
            let began = Instant::now();
            let gone = until(&mut pair, |there| there < 2);
            left.push(began.elapsed().as_secs_f64() * 1e3);
            if gone.is_ok() {
                thread::sleep(SETTLE);
            }
            ends.store(true, Ordering::Relaxed);
            gone
        })?;
        let ended = Instant::now();
        until(&mut pair, |there| there == 2)?;
        back.push(ended.elapsed().as_secs_f64() * 1e3);
    }
    programs.into_iter().try_for_each(Running::kill)?;
    Ok(vec![metric("hog.left_ms", "ms", &left), metric("hog.back_ms", "ms", &back)])
}

/// Waits until the first node has so many.
fn until(pair: &mut Pair, enough: impl Fn(usize) -> bool) -> Result<()> {
    wait_for("a move", || {
        let one = pair.one;
        let there = |row: &&ProcessRow| row.node == one && row.state == RowState::Running;
        Ok(enough(pair.rows()?.iter().filter(there).count()).then_some(()))
    })
}

/// The CPU that a node's core is bound to.
fn cpu_of(os_process: u32) -> Result<usize> {
    let tasks = fs::read_dir(format!("/proc/{os_process}/task"));
    let tasks = tasks.map_err(|error| Failure::new(Code::Internal, "hog", error))?;
    let core = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let cpu = core.filter(|status| status.starts_with("Name:\tcore-0\n")).find_map(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        line.trim().parse().ok()
    });
    cpu.ok_or_else(|| Failure::new(Code::Internal, "hog", "the node's core has no CPU of its own"))
}
