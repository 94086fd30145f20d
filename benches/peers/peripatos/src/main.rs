//! Workloads of the Savina suite (Imam and Sarkar, "Savina: an actor benchmark suite", AGERE 2014), as processes.
//!
//! `workloads NAME SIZE...` runs one, first a tenth of it to warm up, and prints `NAME ITEMS SECONDS`. Each module says what
//! an item is, and counts: a wrong result ends the program with a failure. The same workloads for other systems, with the
//! same command line, are beside this one.
//!
//! Savina's actors send and go on. Here a sender waits for its reply, so three of them read otherwise: what only takes
//! and answers is a handler; a token is forwarded; and who asks and is asked at the same time is a process and a handler.

mod big;
mod chameneos;
mod counting;
mod fork_join;
mod gathering;
mod part;
mod philosophers;
mod ping_pong;
mod servants;
mod thread_ring;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use peripatos::Error;

const USAGE: &str = "\
usage: workloads ping_pong ROUND_TRIPS
       workloads counting MESSAGES
       workloads thread_ring HOPS
       workloads fork_join_create PROCESSES
       workloads fork_join_throughput MESSAGES
       workloads chameneos MEETINGS
       workloads big PINGS
       workloads philosophers PHILOSOPHERS MEALS_EACH
It spawns `servant`: peri run --local --with servant.wasm workloads.wasm ...";

/// Philosophers who are too few to be divided.
const FEW: u32 = 100;

/// What was done, and in how long.
struct Done {
    items: u64,
    time: Duration,
}

impl Done {
    /// So many items, begun then and ended now.
    fn since(begun: Instant, items: u64) -> Done {
        Done { items, time: begun.elapsed() }
    }
}

#[peripatos::main]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u32>> = args.iter().skip(1).map(|text| text.parse().ok()).collect();
    let (Some(name), Some(numbers)) = (args.first(), numbers) else { return usage() };
    let Some(workload) = workload(name, &numbers) else { return usage() };
    match workload(10).and_then(|_| workload(1)) {
        Ok(Done { items, time }) => {
            println!("{name} {items} {:.6}", time.as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// What is to be done, divided by a number.
type Workload = Box<dyn Fn(u32) -> Result<Done, Error>>;

fn workload(name: &str, numbers: &[u32]) -> Option<Workload> {
    let run = match (name, numbers) {
        ("ping_pong", [_]) => ping_pong::run,
        ("counting", [_]) => counting::run,
        ("thread_ring", [_]) => thread_ring::run,
        ("fork_join_create", [_]) => fork_join::create,
        ("fork_join_throughput", [_]) => fork_join::throughput,
        ("chameneos", [_]) => chameneos::run,
        ("big", [_]) => big::run,
        ("philosophers", &[philosophers, meals]) => {
            let all = move |by: u32| {
                // Fewer of them: those who have warmed up take a while to leave.
                let some = philosophers.div_ceil(by).max(philosophers.min(FEW));
                philosophers::run(some, meals.div_ceil(by))
            };
            return Some(Box::new(all));
        }
        _ => return None,
    };
    let size = numbers[0];
    Some(Box::new(move |by| run(size.div_ceil(by))))
}
