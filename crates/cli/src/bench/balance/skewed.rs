//! Many programs that are all started on one of two nodes. Two CPUs that all share fairly, at no cost, would take 1.051 times the ideal for
//! this list: the longest one runs alone in the end.

use super::{Against, Pair, metric};
use crate::bench::sample::{Metric, Samples};
use crate::exit::{Code, Failure, Result};
use crate::guests::Guest;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many.
const PROGRAMS: u32 = 200;
/// The least work of one, and the distribution's shape: the mean is three times the least, the longest some sixty times.
const UNITS_MIN: f64 = 40.0;
const SHAPE: f64 = 1.5;

pub(super) fn measure(spin: &Guest, rounds: usize) -> Result<Vec<Metric>> {
    let durations = durations();
    let [mut on, mut off, mut xargs] = [(); 3].map(|()| Samples::default());
    let mut pair = Pair::new()?;
    for round in 0..rounds {
        let before = pair.unit(spin)?;
        let took = run_all(&mut pair, spin, &durations)?;
        let after = pair.unit(spin)?;
        let against = Against { units: durations.iter().sum(), unit: (before + after) / 2 };
        on.push(against.ratio(took));
        // Twice as long: not each time.
        if round % 4 == 0 {
            pair.balance(false)?;
            off.push(against.ratio(run_all(&mut pair, spin, &durations)?));
            pair.balance(true)?;
            xargs.push(against.ratio(by_xargs(&pair, spin, &durations)?));
        }
    }
    Ok(vec![
        metric("skewed.makespan_ratio", "ratio", &on),
        metric("skewed.off_ratio", "ratio", &off),
        metric("skewed.xargs_ratio", "ratio", &xargs),
    ])
}

/// Units of each: the distribution's quantiles, in an order that says nothing.
fn durations() -> Vec<u32> {
    let quantile = |number: u32| {
        let above = 1.0 - (f64::from(number) + 0.5) / f64::from(PROGRAMS);
        (UNITS_MIN * above.powf(-1.0 / SHAPE)) as u32
    };
    // 77 and 200 have no common divisor: each comes once.
    (0..PROGRAMS).map(|number| quantile(number * 77 % PROGRAMS)).collect()
}

/// From the first start to the last end.
fn run_all(pair: &mut Pair, spin: &Guest, durations: &[u32]) -> Result<Duration> {
    let started = Instant::now();
    let programs = durations.iter().map(|units| pair.nodes.run("one", spin, &[&units.to_string()]));
    let programs = programs.collect::<Result<Vec<_>>>()?;
    Ok(Pair::finish(programs)? - started)
}

/// The same list, two at a time, without nodes.
fn by_xargs(pair: &Pair, spin: &Guest, durations: &[u32]) -> Result<Duration> {
    let failed = |error: std::io::Error| Failure::new(Code::Internal, "xargs", error);
    let directory = pair.nodes.directory().join("xargs");
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let program = directory.join("spin.wasm");
    std::fs::write(&program, spin.wasm).map_err(failed)?;
    let peri = std::env::current_exe().map_err(failed)?;
    let started = Instant::now();
    let mut xargs = Command::new("xargs")
        .args(["-P2", "-n1"])
        .arg(peri)
        .arg("run")
        .arg(program)
        .env("XDG_RUNTIME_DIR", &directory)
        .env("PERI_CACHE_DIR", directory.join("cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let list: String = durations.iter().map(|units| format!("{units}\n")).collect();
    // Dropped, it is the list's end.
    let written = xargs.stdin.take().map(|mut stdin| stdin.write_all(list.as_bytes()));
    written.unwrap_or(Ok(())).map_err(failed)?;
    let status = xargs.wait().map_err(failed)?;
    if !status.success() {
        return Err(Failure::new(Code::Internal, "xargs", status));
    }
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_work_for_twenty_seconds() {
        let durations = super::durations();
        let (sum, longest) = (durations.iter().sum::<u32>(), durations.iter().max().copied());
        assert!((20_000..30_000).contains(&sum), "{sum}");
        assert!(longest.is_some_and(|longest| longest < sum / 8), "{longest:?}");
    }
}
