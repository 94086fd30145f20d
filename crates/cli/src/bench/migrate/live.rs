//! A process of 256 MiB that writes to 32 MiB of them while it moves to and fro.
//!
//! * `move.256MiB.freeze_ms`: how long it stands still, as the source counts it, if it writes to some 24,000 pages a second,
//!   at random: 100 MB a second, were they all others.
//! * `move.256MiB.total_ratio`: from the offer to the target until it runs there, against what it takes to carry so many
//!   bytes over a connection of its own, from memory to memory, neither sealed nor checked.
//! * `move.256MiB.throughput_loss`: how much slower it gets on while it is copied than before, as a part of one.
//! * `move.256MiB.busy.freeze_ms`: how long it stands still if it does nothing but write.

use super::super::failed;
use super::super::nodes::{Nodes, Running, wait_for};
use super::super::sample::{Metric, Samples};
use super::{move_to, places};
use crate::exit::{Failure, Result};
use crate::guests::BALLAST;
use peripatos_cluster::NodeId;
use peripatos_cluster::message::MoveCost;
use peripatos_host::node::NodeClient;
use std::io::{self, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 256;
const HOT_MIB: &str = "32";
/// Steps between two writes.
const WORK: &str = "30000";
const NO_WORK: &str = "0";
/// Moves before those that count.
const MOVES_WARM_UP: usize = 2;
/// How long its speed is measured before a move.
const BEFORE: Duration = Duration::from_millis(500);
/// Between two looks at how far it has come. It shows each 5 ms.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// What is carried at once for comparison.
const PIECE_BYTES: usize = 256 << 10;

/// All figures.
pub(super) fn measure(rounds: usize) -> Result<Vec<Metric>> {
    let (mut freezes, mut totals, mut losses) = <(Samples, Samples, Samples)>::default();
    each_move(WORK, rounds, |moved| {
        let bare = bare_connection().map_err(|error| failed(&error.to_string()))?;
        freezes.push(moved.cost.freeze_us as f64 / 1e3);
        totals.push(moved.cost.total_us as f64 / 1e6 / bare.as_secs_f64());
        losses.push(1.0 - moved.speed_while_copied / moved.speed_before);
        Ok(())
    })?;
    let mut busy = Samples::default();
    each_move(NO_WORK, rounds, |moved| {
        busy.push(moved.cost.freeze_us as f64 / 1e3);
        Ok(())
    })?;
    Ok(vec![
        Metric::of("move.256MiB.freeze_ms", "ms", &freezes),
        Metric::of("move.256MiB.total_ratio", "ratio", &totals),
        Metric::of("move.256MiB.throughput_loss", "ratio", &losses),
        Metric::of("move.256MiB.busy.freeze_ms", "ms", &busy),
    ])
}

struct Moved {
    cost: MoveCost,
    /// Turns a second.
    speed_before: f64,
    speed_while_copied: f64,
}

/// Moves one process to and fro.
fn each_move(work: &str, count: usize, mut each: impl FnMut(Moved) -> Result<()>) -> Result<()> {
    let mut nodes = Nodes::still()?;
    nodes.start("one")?;
    nodes.start("two")?;
    let mut client = nodes.client("one")?;
    let places = places(&mut client)?;
    let mut running = nodes.run("one", &BALLAST, &[&MIB.to_string(), "0", HOT_MIB, work])?;
    // It shows for the first time when its memory is filled.
    wait_for("the first turn", || Ok((running.written()? > 0).then_some(())))?;
    for turn in 0..MOVES_WARM_UP + count {
        let (at, to) = (places[turn % 2], places[(turn + 1) % 2]);
        let moved = moved(&mut client, &mut running, at, to)?;
        if moved.cost.image_bytes + moved.cost.copied_bytes < (MIB as u64) << 20 {
            return Err(failed("fewer bytes were moved than there are"));
        }
        if turn >= MOVES_WARM_UP {
            each(moved)?;
        }
    }
    running.kill()
}

fn moved(client: &mut NodeClient, running: &mut Running, at: NodeId, to: NodeId) -> Result<Moved> {
    let speed_before = speed(&watch(running, |begun| begun.elapsed() < BEFORE)?);
    let pid = running.pid;
    let (cost, mut looks) = thread::scope(|scope| {
        let moving = scope.spawn(|| move_to(client, pid, at, to));
        let looks = watch(running, |_| !moving.is_finished());
        let cost = moving.join().map_err(|_| failed("a thread panicked"))??;
        Ok::<_, Failure>((cost, looks?))
    })?;
    // At the end it stood still.
    let copied = Duration::from_micros(cost.total_us.saturating_sub(cost.freeze_us));
    if let Some((begun, _)) = looks.first().copied() {
        looks.retain(|(at, _)| *at - begun <= copied);
    }
    Ok(Moved { cost, speed_before, speed_while_copied: speed(&looks) })
}

/// When it had come how far.
fn watch(running: &mut Running, goes_on: impl Fn(Instant) -> bool) -> Result<Vec<(Instant, u64)>> {
    let begun = Instant::now();
    let mut looks = Vec::new();
    while goes_on(begun) {
        let written = running.written()?;
        if looks.last().is_none_or(|(_, before)| *before != written) {
            looks.push((Instant::now(), written));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(looks)
}

/// Turns a second, from when the first one was over to when the last one was.
fn speed(looks: &[(Instant, u64)]) -> f64 {
    match looks {
        [_, (begun, first), .., (ended, last)] => {
            (last - first) as f64 / (*ended - *begun).as_secs_f64()
        }
        _ => f64::NAN,
    }
}

/// How long it takes to carry as many bytes from memory to memory.
fn bare_connection() -> io::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let mut far = listener.accept()?.0;
    let from = vec![0x5a_u8; MIB << 20];
    let mut to = vec![0xa5_u8; MIB << 20];
    let begun = Instant::now();
    let sending = thread::spawn(move || {
        from.chunks(PIECE_BYTES).try_for_each(|piece| near.write_all(piece)).map(|()| from)
    });
    for piece in to.chunks_mut(PIECE_BYTES) {
        far.read_exact(piece)?;
    }
    let took = begun.elapsed();
    sending.join().map_err(|_| io::Error::other("a thread panicked"))??;
    Ok(took)
}
