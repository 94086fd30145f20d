//! A request server that moves to and fro each second, under constant load: a thousand requests a second, of one caller.
//!
//! * `server_moved.lost`, `server_moved.doubled`: requests that the server has never seen, and seen twice, by its own count.
//! * `server_moved.p999_ms`, `server_moved.max_ms`: from when a request was due until its reply was there.

use super::super::ipc::in_hexadecimal;
use super::super::nodes::Nodes;
use super::super::sample::{Metric, Samples};
use super::super::{assembled, failed};
use super::{move_to, places};
use crate::exit::Result;
use std::thread;
use std::time::{Duration, Instant};

const SERVED: &str = include_str!("served.wat");
const CALLER: &str = include_str!("caller.wat");
const REQUESTS: usize = 10_000;
const INTERVAL: Duration = Duration::from_millis(1);
const MOVE_EVERY: Duration = Duration::from_secs(1);
/// Moves during the requests; fewer show nothing.
const MOVES_MIN: usize = 5;

/// All figures.
pub(super) fn measure(rounds: usize) -> Result<Vec<Metric>> {
    let [mut lost, mut doubled, mut p999, mut max] = [(); 4].map(|()| Samples::default());
    for _ in 0..rounds.div_ceil(4) {
        let served = served()?;
        lost.push(served.lost as f64);
        doubled.push(served.doubled as f64);
        p999.push(served.quantile_ms(0.999));
        max.push(served.quantile_ms(1.0));
    }
    Ok(vec![
        Metric::of("server_moved.lost", "requests", &lost),
        Metric::of("server_moved.doubled", "requests", &doubled),
        Metric::of("server_moved.p999_ms", "ms", &p999),
        Metric::of("server_moved.max_ms", "ms", &max),
    ])
}

struct Served {
    /// Ascending.
    times_ns: Vec<u64>,
    lost: u64,
    doubled: u64,
}

impl Served {
    fn quantile_ms(&self, part: f64) -> f64 {
        let last = self.times_ns.len().saturating_sub(1);
        let at = (self.times_ns.len() as f64 * part) as usize;
        self.times_ns.get(at.min(last)).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
    }
}

fn served() -> Result<Served> {
    let mut nodes = Nodes::still()?;
    nodes.start("one")?;
    nodes.start("two")?;
    let mut client = nodes.client("one")?;
    let [one, two] = places(&mut client)?;
    let server = nodes.run("two", &assembled("served", SERVED)?, &[])?;
    let (pid, mut places) = (server.pid, [two, one]);
    // Programs are compiled and read at the first time.
    for _ in 0..2 {
        move_to(&mut client, pid, places[0], places[1])?;
        places.reverse();
    }
    let args = [in_hexadecimal(pid), REQUESTS.to_string(), INTERVAL.as_nanos().to_string()];
    let args = args.each_ref().map(String::as_str);
    let caller = nodes.run("one", &assembled("caller", CALLER)?, &args)?;
    let calling = thread::spawn(move || caller.finish());
    let (mut moves, mut due) = (0, Instant::now() + MOVE_EVERY);
    while !calling.is_finished() {
        if Instant::now() >= due {
            move_to(&mut client, pid, places[0], places[1])?;
            places.reverse();
            (moves, due) = (moves + 1, due + MOVE_EVERY);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let (_, written) = calling.join().map_err(|_| failed("a thread panicked"))??;
    server.kill()?;
    let words = written.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let mut times_ns: Vec<u64> = words.collect();
    let (Some(doubled), Some(lost)) = (times_ns.pop(), times_ns.pop()) else {
        return Err(failed("the caller wrote nothing"));
    };
    if times_ns.len() != REQUESTS || moves < MOVES_MIN {
        let cause = format!("{} requests, {moves} moves", times_ns.len());
        return Err(failed(&cause));
    }
    times_ns.sort_unstable();
    Ok(Served { times_ns, lost, doubled })
}
