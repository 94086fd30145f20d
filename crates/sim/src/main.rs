//! Runs simulations until one finds something, and says how to see it again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use peripatos_cluster::membership::Timing;
use peripatos_sim::{Level, Size, again, checkers, members, run};

const HELP: &str = "\
peripatos-sim [--seed N] [--seeds COUNT] [--minutes M] [--kernels | --nodes] [--large] [--trace]

  --seed N       the first seed (default 1); alone: only that one
  --seeds COUNT  so many seeds
  --minutes M    as many seeds as there is time for
  --kernels      only kernels; nodes alone: --nodes. Else each seed is run with both
  --large        thousands of processes
  --trace        prints what happens

peripatos-sim --members N [--seed N] [--loss P] [--times T] [--unreachable-after S]

  simulates membership alone, of N nodes, and measures it: P percent of the datagrams are lost, T nodes die and as many
  join (default 20), and silence is to be told in S seconds (default 3)
";

/// What `peri up` has as its own default.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Options {
    seed: Option<u64>,
    seeds: Option<u64>,
    minutes: Option<u64>,
    level: Option<Level>,
    large: bool,
    trace: bool,
    members: Option<usize>,
    loss_percent: f64,
    times: Option<usize>,
    unreachable_after: Option<f64>,
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprint!("{HELP}\nIt checks that\n");
        checkers::ALL.iter().for_each(|(name, what)| eprintln!("  {name:<8} {what}"));
        return ExitCode::FAILURE;
    };
    if let Some(count) = options.members {
        return membership(count, &options);
    }
    let size = if options.large { Size::Large } else { Size::Small };
    let first = options.seed.unwrap_or(1);
    let alone = options.seed.is_some() && options.seeds.is_none() && options.minutes.is_none();
    let count = options.seeds.unwrap_or(if alone { 1 } else { u64::MAX });
    let begun = Instant::now();
    let time = options.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let (mut runs, mut sends, mut moves) = (0, 0, 0);
    for seed in first..first.saturating_add(count) {
        if time.is_some_and(|time| begun.elapsed() >= time) {
            break;
        }
        let levels = options.level.map_or(vec![Level::Kernels, Level::Nodes], |level| vec![level]);
        for level in levels {
            match run(seed, size, level, options.trace) {
                Ok(outcome) => {
                    (runs, sends, moves) = (runs + 1, sends + outcome.sends, moves + outcome.moves);
                    if alone {
                        println!("{level:?}: {outcome:?}");
                    }
                }
                Err(found) => {
                    println!("seed {seed}: {} at {} ns: {}", found.checker, found.at, found.what);
                    println!("again: {}", again(seed, size, level));
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    println!(
        "{runs} runs from seed {first}, {sends} sends, {moves} moves, in {:.1} s: nothing found",
        begun.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

fn membership(count: usize, options: &Options) -> ExitCode {
    let silence = options.unreachable_after.map_or(UNREACHABLE_AFTER, Duration::from_secs_f64);
    let config = members::Config {
        members: count,
        seed: options.seed.unwrap_or(1),
        loss: (10.0 * options.loss_percent).round() as u64,
        timing: Timing::of(silence),
    };
    let report = members::measure(config, options.times.unwrap_or(20));
    println!("{report}");
    if report.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        if let "--loss" | "--unreachable-after" = arg.as_str() {
            let value: f64 =
                args.next()?.parse().ok().filter(|value| (0.0..=100.0).contains(value))?;
            match arg.as_str() {
                "--loss" => options.loss_percent = value,
                _ => options.unreachable_after = Some(value),
            }
            continue;
        }
        let mut number = || args.next()?.parse().ok();
        match arg.as_str() {
            "--seed" => options.seed = Some(number()?),
            "--seeds" => options.seeds = Some(number()?),
            "--minutes" => options.minutes = Some(number()?),
            "--hours" => options.minutes = Some(60 * number()?),
            "--kernels" => options.level = Some(Level::Kernels),
            "--nodes" => options.level = Some(Level::Nodes),
            "--large" => options.large = true,
            "--trace" => options.trace = true,
            "--members" => options.members = Some(number()? as usize).filter(|count| *count > 1),
            "--times" => options.times = Some(number()? as usize),
            _ => return None,
        }
    }
    Some(options)
}
