//! Benchmarks of the Savina suite (Imam and Sarkar, 2014), as processes that talk.
//!
//! `peri run --local --with savina_servers.wasm savina.wasm NAME [ITEMS]` prints `NAME ITEMS SECONDS PER_SECOND`. A send here
//! waits for its reply, so an item is a round trip where the suite counts messages: each benchmark says what its items are.

mod benchmarks;
mod services;

use std::process::ExitCode;
use std::time::Instant;

use peripatos::Error;

/// A benchmark: its name, what it counts, how many if nobody says, and itself.
type Benchmark = (&'static str, &'static str, u64, fn(u64) -> Result<u64, Error>);

const ALL: [Benchmark; 7] = [
    ("ping-pong", "round trips of two processes", 200_000, benchmarks::ping_pong),
    ("thread-ring", "hops of a token around 100 processes", 100_000, benchmarks::thread_ring),
    ("counting", "increments of a server's counter", 1_000_000, benchmarks::counting),
    ("fork-join", "processes that are made, compute and end", 10_000, benchmarks::fork_join),
    ("chameneos", "meetings of two of 100 processes", 100_000, benchmarks::chameneos),
    ("big", "pings, each from one of 120 processes to a random one", 240_000, benchmarks::big),
    ("philosophers", "meals of 20 processes with one arbiter", 200_000, benchmarks::philosophers),
];

#[peripatos::main]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted = args.first().map_or("", String::as_str);
    let items: Option<u64> = args.get(1).and_then(|text| text.parse().ok());
    let chosen: Vec<_> =
        ALL.iter().filter(|(name, ..)| wanted == "all" || wanted == *name).collect();
    if chosen.is_empty() || args.len() > 1 && items.is_none() {
        eprintln!("usage: savina NAME [ITEMS]\n       savina all");
        for (name, what, items, _) in ALL {
            eprintln!("  {name:13} {items:8} {what}");
        }
        return ExitCode::from(2);
    }
    for (name, _, usual, run) in chosen {
        let begun = Instant::now();
        match run(items.unwrap_or(*usual)) {
            Ok(items) => {
                let seconds = begun.elapsed().as_secs_f64();
                println!("{name} {items} {seconds:.6} {:.0}", items as f64 / seconds);
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
