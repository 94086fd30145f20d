//! The workloads of `benches/peers/peripatos` with actors of kameo: `peer NAME SIZE...` runs one, a tenth of it first, and prints
//! `NAME ITEMS SECONDS`. What waits for a reply in Peripatos and need not here does not wait. Memory is shared.

mod crowds;
mod pairs;
mod philosophers;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What was done, and in how long.
struct Done {
    items: u64,
    time: Duration,
}

impl Done {
    fn since(begun: Instant, items: u64) -> Done {
        Done { items, time: begun.elapsed() }
    }
}

type Outcome = Result<Done, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<u64>> = args.iter().skip(1).map(|text| text.parse().ok()).collect();
    let (Some(name), Some(numbers)) = (args.first().cloned(), numbers) else {
        eprintln!("usage: peer NAME SIZE...");
        return ExitCode::from(2);
    };
    // As a task, so that it is where its actors are.
    let ran = tokio::spawn(async move {
        run(&name, &numbers, 10).await?;
        let done = run(&name, &numbers, 1).await?;
        println!("{name} {} {:.6}", done.items, done.time.as_secs_f64());
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    });
    match ran.await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("peer: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("peer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(name: &str, numbers: &[u64], by: u64) -> Outcome {
    match (name, numbers) {
        ("ping_pong", &[size]) => pairs::ping_pong(size.div_ceil(by)).await,
        ("call", &[size]) => pairs::call(size.div_ceil(by)).await,
        ("counting", &[size]) => pairs::counting(size.div_ceil(by)).await,
        ("thread_ring", &[size]) => crowds::thread_ring(size.div_ceil(by)).await,
        ("fork_join_create", &[size]) => crowds::create(size.div_ceil(by)).await,
        ("fork_join_throughput", &[size]) => crowds::throughput(size.div_ceil(by)).await,
        ("big", &[size]) => crowds::big(size.div_ceil(by)).await,
        ("philosophers", &[count, meals]) => philosophers::dine(count, meals.div_ceil(by)).await,
        _ => Err(format!("no such workload: {name} {numbers:?}").into()),
    }
}
