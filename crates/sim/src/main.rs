//! Runs simulations until one finds something, and says how to see it again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use peripatos_sim::{Level, Size, again, checkers, run};

const HELP: &str = "\
peripatos-sim [--seed N] [--seeds COUNT] [--minutes M] [--kernels | --nodes] [--large] [--trace]

  --seed N       the first seed (default 1); alone: only that one
  --seeds COUNT  so many seeds
  --minutes M    as many seeds as there is time for
  --kernels      only kernels; nodes alone: --nodes. Else each seed is run with both
  --large        thousands of processes
  --trace        prints what happens
";

#[derive(Default)]
struct Options {
    seed: Option<u64>,
    seeds: Option<u64>,
    minutes: Option<u64>,
    level: Option<Level>,
    large: bool,
    trace: bool,
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprint!("{HELP}\nIt checks that\n");
        checkers::ALL.iter().for_each(|(name, what)| eprintln!("  {name:<8} {what}"));
        return ExitCode::FAILURE;
    };
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

fn parse(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
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
            _ => return None,
        }
    }
    Some(options)
}
