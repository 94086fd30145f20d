//! What it takes for nodes to come and go, on this machine, over the loopback.
//!
//! * `join.ready_s`: from the start of a second node until the first one lists it with a core to run something.
//! * `drain.1000.s`: a thousand small processes that wait are on one of two nodes, which is drained: until it says that it
//!   is empty. They go to and fro; the first time, when the other node compiles their program, does not count.
//! * `death.detected_s`: from the moment in which a node falls silent until a process that waits for a reply from there hears so.

mod death;

use super::assembled;
use super::nodes::{Nodes, id, wait_for};
use super::sample::{Metric, Samples};
use crate::cluster::failure;
use crate::commands::drain::until_empty;
use crate::exit::{Code, Failure, Result};
use peripatos_cluster::NodeId;
use peripatos_cluster::message::{Command, RowOfNode};
use peripatos_host::node::NodeClient;
use std::thread;
use std::time::{Duration, Instant};

/// See the file.
const CROWD: &str = include_str!("crowd.wat");
const CROWD_PROCESSES: u32 = 1_000;
/// Between two rounds: what was left behind is taken down meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// All figures.
pub(crate) fn measure(rounds: usize, progress: impl Fn(&str)) -> Result<Vec<Metric>> {
    progress("a node that joins");
    let join = join(rounds)?;
    progress("a node that is drained");
    let drain = drain(rounds)?;
    progress("a node that falls silent");
    Ok(vec![join, drain, death::measure(rounds)?])
}

fn join(rounds: usize) -> Result<Metric> {
    let mut nodes = Nodes::new()?;
    nodes.start("one")?;
    let mut client = nodes.client("one")?;
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let begun = Instant::now();
        nodes.start("two")?;
        wait_for("a node that is ready", || {
            let ready = |row: &RowOfNode| row.name == "two" && row.reachable && row.cores > 0;
            Ok(rows(&mut client)?.iter().any(ready).then_some(()))
        })?;
        samples.push(begun.elapsed().as_secs_f64());
        nodes.end("two")?;
    }
    Ok(Metric::of("join.ready_s", "s", &samples))
}

fn drain(rounds: usize) -> Result<Metric> {
    let crowd = assembled("crowd", CROWD)?;
    let mut nodes = Nodes::new()?;
    nodes.start("one")?;
    let mut client = nodes.client("one")?;
    let running = nodes.run("one", &crowd, &[])?;
    wait_for("a thousand processes", || {
        let all = rows(&mut client)?.iter().any(|row| row.processes == CROWD_PROCESSES);
        Ok(all.then_some(()))
    })?;
    nodes.start("two")?;
    let places = [id(&mut client, "one")?, id(&mut client, "two")?];
    let mut samples = Samples::default();
    for round in 0..=rounds {
        let from = places[round % 2];
        let begun = Instant::now();
        set_draining(&mut client, from, true)?;
        let left = until_empty(&mut client, from, None);
        let left = left.map_err(|error| Failure::new(error.code(), "drain", error))?;
        let took = begun.elapsed();
        // The first look may come when some have left already.
        if left == 0 || left > CROWD_PROCESSES {
            let cause = format!("{left} processes have left a node that had {CROWD_PROCESSES}");
            return Err(Failure::new(Code::Internal, "bench", cause));
        }
        if round > 0 {
            samples.push(took.as_secs_f64());
        }
        set_draining(&mut client, from, false)?;
        thread::sleep(PAUSE);
    }
    let all: u32 = rows(&mut client)?.iter().map(|row| row.processes).sum();
    if all != CROWD_PROCESSES {
        let cause = format!("{all} processes are left of {CROWD_PROCESSES}");
        return Err(Failure::new(Code::Internal, "bench", cause));
    }
    running.kill()?;
    Ok(Metric::of("drain.1000.s", "s", &samples))
}

fn set_draining(client: &mut NodeClient, node: NodeId, on: bool) -> Result<()> {
    client.command(node, Command::Drain { on }).map_err(|error| failure("drain", &error)).map(drop)
}

fn rows(client: &mut NodeClient) -> Result<Vec<RowOfNode>> {
    client.nodes().map_err(|error| failure("nodes", &error))
}
