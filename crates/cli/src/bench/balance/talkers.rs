//! Pairs that talk with each other, and begin apart.

use super::{Pair, metric};
use crate::bench::assembled;
use crate::bench::nodes::Running;
use crate::bench::sample::{Metric, Samples};
use crate::exit::Result;
use crate::guests::Guest;
use std::thread;
use std::time::{Duration, Instant};

/// Where each pair's caller and server begin. (Were some together, they would have the CPUs for which those that are apart only wait,
/// and hide them.)
const APART: [[&str; 2]; 4] = [["one", "two"], ["one", "two"], ["two", "one"], ["two", "one"]];
/// The best there is: each with its server, and as many on each node.
const BEST: [[&str; 2]; 4] = [["one", "one"], ["one", "one"], ["two", "two"], ["two", "two"]];
/// They are given so long, and then their calls are counted.
const SETTLE: Duration = Duration::from_secs(5);
const COUNTED: Duration = Duration::from_secs(3);

pub(super) fn measure(_spin: &Guest, rounds: usize) -> Result<Vec<Metric>> {
    let [mut ratio, mut off] = [(); 2].map(|()| Samples::default());
    let mut pair = Pair::new()?;
    for _ in 0..rounds.div_ceil(4) {
        pair.balance(false)?;
        let best = calls_each_second(&pair, BEST)?;
        off.push(calls_each_second(&pair, APART)? / best);
        pair.balance(true)?;
        ratio.push(calls_each_second(&pair, APART)? / best);
    }
    Ok(vec![
        metric("talkers.throughput_ratio", "ratio", &ratio),
        metric("talkers.off_ratio", "ratio", &off),
    ])
}

/// In thousands, of all together.
fn calls_each_second(pair: &Pair, places: [[&str; 2]; 4]) -> Result<f64> {
    let server = assembled("server", include_str!("../ipc/echo_server.wat"))?;
    let talker = assembled("talker", include_str!("talker.wat"))?;
    let (mut servers, mut talkers) = (Vec::new(), Vec::new());
    for [caller_at, server_at] in places {
        let server = pair.nodes.run(server_at, &server, &[])?;
        let bytes = server.pid.bits().to_le_bytes();
        let pid: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        talkers.push(pair.nodes.run(caller_at, &talker, &[&pid])?);
        servers.push(server);
    }
    thread::sleep(SETTLE);
    let (began, before) = (Instant::now(), written(&mut talkers)?);
    thread::sleep(COUNTED);
    let calls = written(&mut talkers)? - before;
    let rate = calls as f64 / began.elapsed().as_secs_f64();
    talkers.into_iter().chain(servers).try_for_each(Running::kill)?;
    Ok(rate)
}

fn written(talkers: &mut [Running]) -> Result<u64> {
    talkers.iter_mut().map(Running::written).sum()
}
