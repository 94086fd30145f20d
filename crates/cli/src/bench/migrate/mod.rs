//! What moving takes, between two nodes of one core each on this machine, over the loopback.
//!
//! * `move.SIZE.freeze_ms`: a process with so much memory that does not compress moves to and fro; how long it stands
//!   still, as the source counts it: from the request to freeze until the target has said that it runs.
//! * `move.256MiB.…`: see `live`; `server_moved.…`: see `server`.
//! * `files.…`: see `files`.
//! * `walk.idle_node_ms`: two long programs run on a node and a second node is started: from that start until `ps`
//!   shows one of them running there.
//! * `walk.makespan_ratio`: four equal long programs are started on one of two nodes: from the first start to the last
//!   end, against what two CPUs need for four of them: twice the processor time of a run while another one runs beside
//!   it, before and after the four, for the machine's speed changes.

mod files;
mod live;
mod server;

use super::nodes::{Nodes, Running, id, processes, wait_for};
use super::process::{load, timed_run_with};
use super::sample::{Metric, Samples};
use crate::cluster::failure;
use crate::exit::{Code, Failure, Result};
use crate::guests::{ALL, BALLAST};
use crate::place;
use peripatos_abi::Pid;
use peripatos_cluster::NodeId;
use peripatos_cluster::message::{Answer, Command, Hold, MoveCost, ProcessRow, RowState};
use peripatos_engine::{CodeKind, Runtime, Settings};
use peripatos_host::node::NodeClient;
use std::thread;
use std::time::{Duration, Instant};

/// Memory of the processes that are moved.
const SIZES_MIB: [u32; 2] = [1, 64];
/// Moves a round, there and back.
const MOVES: usize = 2;
/// Moves before those that count.
const MOVES_WARM_UP: usize = 4;
/// Between two moves: what was left behind is taken down meanwhile.
const PAUSE: Duration = Duration::from_millis(50);
/// Between two rounds of walking: a process rests where it has come before it moves again.
const REST: Duration = Duration::from_millis(1_500);
/// What walks: the first built-in program, with some seconds of work.
const LONG: &str = "42";
/// Programs that share two nodes.
const WALKERS: usize = 4;

/// All figures.
pub(crate) fn measure(rounds: usize, progress: impl Fn(&str)) -> Result<Vec<Metric>> {
    let mut metrics = Vec::new();
    for mib in SIZES_MIB {
        progress(&format!("moves of {mib} MiB"));
        metrics.push(moves(mib, rounds * MOVES)?);
    }
    progress("moves of 256 MiB, live");
    metrics.extend(live::measure(rounds)?);
    progress("a server that moves each second");
    metrics.extend(server::measure(rounds)?);
    progress("a file that is read on another node");
    metrics.extend(files::measure(rounds.div_ceil(2))?);
    progress("the way to an idle node");
    metrics.push(idle_node(rounds.div_ceil(2))?);
    progress("four programs on two nodes");
    metrics.push(makespan(rounds.div_ceil(4))?);
    Ok(metrics)
}

fn moves(mib: u32, count: usize) -> Result<Metric> {
    let mut nodes = Nodes::still()?;
    nodes.start("one")?;
    nodes.start("two")?;
    let mut client = nodes.client("one")?;
    let places = places(&mut client)?;
    let running = nodes.run("one", &BALLAST, &[&mib.to_string()])?;
    let mut samples = Samples::default();
    for turn in 0..MOVES_WARM_UP + count {
        thread::sleep(PAUSE);
        let (at, to) = (places[turn % 2], places[(turn + 1) % 2]);
        let cost = move_to(&mut client, running.pid, at, to)?;
        if turn >= MOVES_WARM_UP {
            let bytes = cost.image_bytes + cost.copied_bytes;
            if bytes < u64::from(mib) << 20 {
                let cause = format!("only {bytes} bytes were moved");
                return Err(Failure::new(Code::Internal, "bench", cause));
            }
            samples.push(cost.freeze_us as f64 / 1e3);
        }
    }
    running.kill()?;
    Ok(Metric::of(format!("move.{mib}MiB.freeze_ms"), "ms", &samples))
}

/// The two nodes that processes move between.
fn places(client: &mut NodeClient) -> Result<[NodeId; 2]> {
    Ok([id(client, "one")?, id(client, "two")?])
}

fn move_to(client: &mut NodeClient, pid: Pid, at: NodeId, to: NodeId) -> Result<MoveCost> {
    let command = Command::Migrate { pid, to, hold: Hold::UntilReleased };
    match client.command(at, command).map_err(|error| failure("migrate", &error))? {
        Answer::Moved(cost) => Ok(cost),
        _ => Err(Failure::new(Code::Internal, "bench", "a process was not moved")),
    }
}

fn idle_node(rounds: usize) -> Result<Metric> {
    let mut nodes = Nodes::new()?;
    nodes.start("one")?;
    let mut client = nodes.client("one")?;
    let programs = [nodes.run("one", &BALLAST, &["0"])?, nodes.run("one", &BALLAST, &["0"])?];
    let one = id(&mut client, "one")?;
    let mut samples = Samples::default();
    for _ in 0..rounds {
        // Also long enough for the node to see that two programs run.
        thread::sleep(REST);
        let started = Instant::now();
        nodes.start("two")?;
        wait_for("the walk to an idle node", || {
            let processes = processes(&mut client)?;
            let there = |row: &ProcessRow| row.node != one && row.state == RowState::Running;
            Ok(processes.iter().any(there).then_some(()))
        })?;
        samples.push(started.elapsed().as_secs_f64() * 1e3);
        nodes.end("two")?;
    }
    programs.into_iter().try_for_each(Running::kill)?;
    Ok(Metric::of("walk.idle_node_ms", "ms", &samples))
}

fn makespan(rounds: usize) -> Result<Metric> {
    let walker = &ALL[0];
    let runtime = place::with_settings(Settings::default())?;
    let code = load(&runtime, walker, CodeKind::Hot)?;
    let args = || [walker.name, LONG].iter().map(|arg| arg.as_bytes().to_vec()).collect();
    let mut nodes = Nodes::new()?;
    nodes.start("one")?;
    nodes.start("two")?;
    // Once they are linked.
    id(&mut nodes.client("one")?, "two")?;
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let (before, expected) = beside_each_other(&runtime, &code, walker.name, args)?;
        let started = Instant::now();
        let mut programs = Vec::new();
        for _ in 0..WALKERS {
            programs.push(nodes.run("one", walker, &[LONG])?);
        }
        let mut ended = started;
        for program in programs {
            let (at, output) = program.finish()?;
            if output != expected {
                return Err(Failure::new(Code::Internal, "bench", "a walker's output differs"));
            }
            ended = ended.max(at);
        }
        let (after, _) = beside_each_other(&runtime, &code, walker.name, args)?;
        let alone = (before + after).as_secs_f64() / 2.0;
        samples.push((ended - started).as_secs_f64() / (alone * WALKERS as f64 / 2.0));
    }
    Ok(Metric::of("walk.makespan_ratio", "ratio", &samples))
}

/// Runs a program on two threads at once: the mean of their processor times, and what they wrote.
fn beside_each_other(
    runtime: &Runtime,
    code: &peripatos_engine::Code,
    name: &str,
    args: impl Fn() -> Vec<Vec<u8>> + Sync,
) -> Result<(Duration, Vec<u8>)> {
    let run = || timed_run_with(runtime, code, name, args());
    let (one, two) = thread::scope(|scope| {
        let other = scope.spawn(run);
        (run(), other.join())
    });
    let panicked = |_| Failure::new(Code::Internal, "bench", "a thread panicked");
    let ((one, output), (two, _)) = (one?, two.map_err(panicked)??);
    Ok(((one + two) / 2, output))
}
