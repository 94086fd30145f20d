//! What a message takes: send, receive, reply.
//!
//! A program sends messages and takes the replies, in batches; the host takes the time of each batch, and a figure is
//! the median of all batches, or of all rounds if it is a ratio. The processes run on cores, as those of a node do.
//!
//! * `ipc.handler.p50_ns`: 32 bytes to a handler, which is called on the sender's stack, and back.
//! * `ipc.same_core.p50_ns`: to a receive loop that shares the sender's core.
//! * `ipc.cross_core.p50_ns`: to a receive loop on another core.
//! * `ipc.cross_node.p50_us`: to a receive loop on another node of this machine, over the loopback, encrypted.
//! * `ipc.cross_node.c_tcp_ratio`: that against 32 bytes there and back over plain TCP, between two OS processes on the same
//!   two CPUs, which is measured before and after each round.
//! * `ipc.cross_node.calls64_per_s`: calls of 64 callers at once, to another node.
//! * `ipc.size_SIZE.copy_ratio`: longer messages to a handler, against copying so many bytes there and back, which is
//!   measured before and after each round.
//! * `ipc.same_core.size_SIZE.copy_ratio`: the same to a receive loop on the same core.
//! * `ipc.lease_SIZE.copy_ratio`: a short message with which so many bytes are lent, to a handler that reads and writes all of
//!   them.

mod far;
mod pair;
mod stopwatch;
mod tcp;

pub(super) use far::in_hexadecimal;
pub(crate) use tcp::echo;

use super::sample::{Metric, Samples};
use crate::exit::Result;
use crate::place;

use pair::{Server, Talk, round_trips};
use peripatos_engine::{Runtime, Settings};
use std::hint::black_box;
use std::time::Instant;

/// Batches of a round.
const BATCHES: usize = 200;
/// Round trips of a batch.
const CALLS: usize = 1_000;
/// Bytes of an ordinary message.
const SHORT: usize = 32;
/// Longer messages, and what they are called.
const SIZES: [(usize, &str); 2] = [(4 << 10, "4KiB"), (64 << 10, "64KiB")];
/// Batches of a round of longer ones, and round trips of a batch.
const BATCHES_LONG: usize = 50;
const CALLS_LONG: usize = 100;

/// Batches of a round between nodes, and round trips of a batch: the time of each comes from this command, over a link.
const BATCHES_FAR: usize = 40;
const CALLS_FAR: usize = 500;
/// Callers at once, their batches, and calls of a batch.
const CALLERS: usize = 64;
const BATCHES_CROWD: usize = 60;
const CALLS_CROWD: usize = 200;

/// All figures, or those whose names begin so.
pub(crate) fn measure(
    rounds: usize,
    only: &[String],
    progress: impl Fn(&str),
) -> Result<Vec<Metric>> {
    let wanted = |metric: &str| only.is_empty() || only.iter().any(|one| metric.starts_with(one));
    let runtime = place::with_settings(Settings::default())?;
    let mut metrics = Vec::new();
    for (server, name, what) in [
        (Server::Handler, "handler", "calls of a handler"),
        (Server::Fiber, "same_core", "messages on one core"),
        (Server::FiberBeside, "cross_core", "messages between cores"),
    ] {
        let metric = format!("ipc.{name}.p50_ns");
        if !wanted(&metric) {
            continue;
        }
        progress(what);
        let talk = Talk { batches: BATCHES, calls: CALLS, size: SHORT, lent: 0 };
        let mut samples = Samples::default();
        for _ in 0..rounds {
            round_trips(&runtime, server, talk)?.into_iter().for_each(|ns| samples.push(ns));
        }
        metrics.push(Metric::of(metric, "ns", &samples));
    }
    if wanted("ipc.cross_node.p50_us") || wanted("ipc.cross_node.c_tcp_ratio") {
        progress("messages between nodes");
        metrics.extend(cross_node(rounds)?);
    }
    if wanted("ipc.cross_node.calls64_per_s") {
        progress("many callers between nodes");
        let mut samples = Samples::default();
        for _ in 0..rounds {
            samples.push(far::calls_per_second(CALLERS, BATCHES_CROWD, CALLS_CROWD)?);
        }
        metrics.push(Metric::of("ipc.cross_node.calls64_per_s".to_owned(), "1/s", &samples));
    }
    for (server, name) in
        [(Server::Handler, "size"), (Server::Fiber, "same_core.size"), (Server::Borrower, "lease")]
    {
        for (size, size_name) in SIZES {
            let metric = format!("ipc.{name}_{size_name}.copy_ratio");
            if !wanted(&metric) {
                continue;
            }
            let what = if server == Server::Borrower { "leases" } else { "messages" };
            progress(&format!("{what} of {size_name}"));
            let samples = copy_ratio(&runtime, server, size, rounds)?;
            metrics.push(Metric::of(metric, "ratio", &samples));
        }
    }
    Ok(metrics)
}

/// What round trips between nodes take, by themselves and against plain TCP, of each round.
fn cross_node(rounds: usize) -> Result<[Metric; 2]> {
    let (mut trips, mut ratios) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let mut plain = tcp::round_trips(BATCHES_FAR, CALLS_FAR)?;
        let round = of(far::round_trips(BATCHES_FAR, CALLS_FAR)?).median();
        plain.extend(tcp::round_trips(BATCHES_FAR, CALLS_FAR)?);
        trips.push(round / 1e3);
        ratios.push(round / of(plain).median());
    }
    Ok([
        Metric::of("ipc.cross_node.p50_us".to_owned(), "us", &trips),
        Metric::of("ipc.cross_node.c_tcp_ratio".to_owned(), "ratio", &ratios),
    ])
}

/// What round trips take, against the copies that they need, of each round.
fn copy_ratio(runtime: &Runtime, server: Server, size: usize, rounds: usize) -> Result<Samples> {
    let (size_of_message, lent) =
        if server == Server::Borrower { (SHORT, size) } else { (size, 0) };
    let talk = Talk { batches: BATCHES_LONG, calls: CALLS_LONG, size: size_of_message, lent };
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let mut copy = copies(size);
        let trips = of(round_trips(runtime, server, talk)?);
        copy.extend(copies(size));
        samples.push(trips.median() / of(copy).median());
    }
    Ok(samples)
}

/// Nanoseconds that copying so many bytes to another place and back takes, of each batch.
fn copies(size: usize) -> Vec<f64> {
    let (mut one, mut two) = (vec![1_u8; size], vec![2_u8; size]);
    let mut batch = || {
        let started = Instant::now();
        for _ in 0..CALLS_LONG {
            black_box(&mut two).copy_from_slice(black_box(&one));
            black_box(&mut one).copy_from_slice(black_box(&two));
        }
        started.elapsed().as_nanos() as f64 / CALLS_LONG as f64
    };
    (0..BATCHES_LONG).map(|_| batch()).collect()
}

fn of(values: Vec<f64>) -> Samples {
    let mut samples = Samples::default();
    values.into_iter().for_each(|value| samples.push(value));
    samples
}
