//! What freezing and thawing take.
//!
//! * `freeze_thaw.small.us`: a small process is frozen, captured and thawed into a fresh store: wall time from the
//!   request until it can run again. What the old store takes to be dropped afterwards is not in it.
//! * `unwind.ns_per_frame`: from the request to standing still, by the depth of the call stack.
//! * `resume.PROGRAM.ms`: image to running, where the program's code is there and its continuations are not.
//! * `resume_cached.PROGRAM.ms`: the same where the continuations are in the disk cache.
//! * `after_thaw.PROGRAM.ratio`: processor time of the rest of the run after a thaw, against the same rest undisturbed.

use super::process::{Guarded, Stretch, load, thread_time, timed_run};
use super::sample::{Metric, Samples};
use super::scratch::Scratch;
use crate::exit::{Code as ExitCode, Failure, Result};
use crate::guests::{ALL, Guest, RECURSION};
use crate::place;
use peripatos_engine::{CacheSettings, Code, CodeKind, Image, Runtime, Settings, ThawTimings};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Cycles behind `freeze_thaw.small.us`, and those before them that are not counted.
const CYCLES: usize = 200;
const CYCLES_WARM_UP: usize = 20;
/// Call depths between which the cost of a frame is taken.
const DEPTHS: [u32; 2] = [1_000, 20_000];
/// A process is frozen after this part of its run: enough must be left to compare speeds.
const FROZEN_AFTER: f64 = 0.2;
/// The cache of a bench is thrown away; it need not be trimmed.
const CACHE_BYTES_MAX: u64 = 8 << 30;

/// All figures of these programs.
pub(crate) fn measure(
    guests: &[Guest],
    rounds: usize,
    progress: impl Fn(&str),
) -> Result<Vec<Metric>> {
    progress("freeze and thaw of a small process");
    let mut metrics = vec![small_process()?];
    progress("the cost of a frame");
    metrics.push(frames(rounds)?);
    for guest in guests {
        progress(guest.name);
        metrics.extend(program(guest, rounds)?);
    }
    Ok(metrics)
}

fn small_process() -> Result<Metric> {
    let runtime = place::with_settings(Settings::default())?;
    let code = load(&runtime, &ALL[0], CodeKind::Hot)?;
    let mut guarded = Guarded::spawn(&runtime, &code, ALL[0].arguments())?;
    let mut samples = Samples::default();
    for cycle in 0..CYCLES_WARM_UP + CYCLES {
        // The process runs on a little, so that each cycle freezes what the one before has thawed.
        let control = guarded.process.control();
        let asking = thread::spawn(move || {
            thread::sleep(Duration::from_millis(1));
            control.freeze();
        });
        let end = guarded.run()?;
        let _ = asking.join();
        if matches!(end, Stretch::Exited(_)) {
            guarded = Guarded::spawn(&runtime, &code, ALL[0].arguments())?;
            continue;
        }
        let image = guarded.capture_bare()?;
        let frozen = guarded.process.freeze_timings();
        guarded = Guarded::thaw(&runtime, &code, &image)?;
        if cycle >= CYCLES_WARM_UP {
            let total = frozen.stop + frozen.capture + to_running(guarded.process.thaw_timings());
            samples.push(total.as_secs_f64() * 1e6);
        }
    }
    Ok(Metric::of("freeze_thaw.small.us", "us", &samples))
}

/// The slope between a shallow and a deep stack.
fn frames(rounds: usize) -> Result<Metric> {
    let runtime = place::with_settings(Settings::default())?;
    let code = load(&runtime, &RECURSION, CodeKind::Hot)?;
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let [shallow, deep] =
            [stop_at(&runtime, &code, DEPTHS[0])?, stop_at(&runtime, &code, DEPTHS[1])?];
        let frames = deep.1.saturating_sub(shallow.1).max(1);
        samples.push((deep.0.as_secs_f64() - shallow.0.as_secs_f64()) * 1e9 / frames as f64);
    }
    Ok(Metric::of("unwind.ns_per_frame", "ns", &samples))
}

/// Freezes a recursion of this depth near its deepest point. Returns how long stopping took and how many frames there
/// were.
fn stop_at(runtime: &Runtime, code: &Code, depth: u32) -> Result<(Duration, usize)> {
    let args = || vec![b"recursion".to_vec(), depth.to_string().into_bytes()];
    let mut deepest = (Duration::ZERO, 0);
    // The moment of the freeze is not in our hands: of several, the one that found most frames counts.
    for attempt in 0..20_u32 {
        let mut guarded = Guarded::spawn(runtime, code, args())?;
        let control = guarded.process.control();
        let asking = thread::spawn(move || {
            spin(Duration::from_micros(u64::from(attempt) * u64::from(depth) / 100));
            control.freeze();
        });
        let end = guarded.run()?;
        let _ = asking.join();
        let found = (guarded.process.freeze_timings().stop, guarded.process.frames());
        if matches!(end, Stretch::Frozen) && found.1 > deepest.1 {
            deepest = found;
        }
    }
    Ok(deepest)
}

/// Sleeping is too coarse for microseconds.
fn spin(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn program(guest: &Guest, rounds: usize) -> Result<[Metric; 3]> {
    let directory = Scratch::new()?;
    let (mut resume, mut cached, mut after) =
        (Samples::default(), Samples::default(), Samples::default());
    for round in 0..rounds {
        let cache = directory.path.join(round.to_string());
        let runtime = with_cache(&cache)?;
        let code = load(&runtime, guest, CodeKind::Hot)?;
        let (whole, expected) = timed_run(&runtime, &code, guest)?;
        let part = whole.mul_f64(FROZEN_AFTER + 0.3 * round as f64 / rounds as f64);
        let Some(frozen) = freeze_after(&runtime, &code, guest, part)? else { continue };
        let first = finish(&runtime, &code, &frozen, &expected)?;
        resume.push(first.to_running.as_secs_f64() * 1e3);
        // Another engine on the same cache: code and continuations are on disk, nothing is in memory.
        let runtime = with_cache(&cache)?;
        let code = load(&runtime, guest, CodeKind::Hot)?;
        let second = finish(&runtime, &code, &frozen, &expected)?;
        cached.push(second.to_running.as_secs_f64() * 1e3);
        let rest = whole.saturating_sub(frozen.before).as_secs_f64();
        if rest > 0.0 {
            after.push(second.rest.as_secs_f64() / rest);
        }
    }
    Ok([
        Metric::of(format!("resume.{}.ms", guest.name), "ms", &resume),
        Metric::of(format!("resume_cached.{}.ms", guest.name), "ms", &cached),
        Metric::of(format!("after_thaw.{}.ratio", guest.name), "ratio", &after),
    ])
}

/// A process that was frozen in mid-run.
struct FrozenRun {
    image: Image,
    output: Vec<u8>,
    /// Processor time that it had used.
    before: Duration,
}

/// `None`: it ended before it was frozen.
fn freeze_after(
    runtime: &Runtime,
    code: &Code,
    guest: &Guest,
    part: Duration,
) -> Result<Option<FrozenRun>> {
    let mut guarded = Guarded::spawn(runtime, code, guest.arguments())?;
    let control = guarded.process.control();
    let asking = thread::spawn(move || {
        thread::sleep(part);
        control.freeze();
    });
    let started = thread_time();
    let end = guarded.run()?;
    let before = thread_time() - started;
    let _ = asking.join();
    if matches!(end, Stretch::Exited(_)) {
        return Ok(None);
    }
    Ok(Some(FrozenRun { image: guarded.capture_bare()?, output: guarded.output()?, before }))
}

/// What the second half of a run took.
struct Finished {
    /// From the image to the first instruction.
    to_running: Duration,
    /// Processor time of the rest.
    rest: Duration,
}

fn finish(runtime: &Runtime, code: &Code, frozen: &FrozenRun, expected: &[u8]) -> Result<Finished> {
    let mut guarded = Guarded::thaw(runtime, code, &frozen.image)?;
    let started = thread_time();
    let end = guarded.run()?;
    let rest = thread_time() - started;
    let output = [frozen.output.clone(), guarded.output()?].concat();
    if !matches!(end, Stretch::Exited(0)) || output != expected {
        return Err(Failure::new(ExitCode::Internal, "bench", "the thawed run's output differs"));
    }
    Ok(Finished { to_running: to_running(guarded.process.thaw_timings()), rest })
}

fn to_running(times: ThawTimings) -> Duration {
    times.instantiate + times.restore + times.generate + times.compile + times.link
}

fn with_cache(directory: &Path) -> Result<Runtime> {
    let cache = CacheSettings { directory: directory.into(), size_bytes_max: CACHE_BYTES_MAX };
    place::with_settings(Settings { cache: Some(cache), ..Settings::default() })
}
