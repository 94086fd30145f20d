//! What being migratable costs while it is not used: run time, compile time and code size against plain wasmtime.
//!
//! Variants are interleaved within one OS process, so that a change of the machine's speed meets all of them; time is
//! the processor time of the thread that runs the program; a ratio is taken within each round, and the median of the
//! rounds is reported. One round before the first warms up and is not counted.

use super::process::{Guarded, Stretch, load, thread_time};
use super::sample::{Metric, Samples, geomean};
use crate::exit::{Code as ExitCode, Failure, Result};
use crate::guests::Guest;
use crate::place;
use peripatos_engine::{Backend, Code, CodeKind, Runtime, Settings};

/// The engines of the variants.
pub(crate) struct Engines {
    native: Runtime,
    epoch: Runtime,
}

impl Engines {
    /// With `cached`, compiled code may come from the disk cache: then compile times mean nothing.
    pub(crate) fn new(cached: bool) -> Result<Engines> {
        let native = if cached {
            place::runtime(Backend::Native, false)?
        } else {
            place::with_settings(Settings::default())?
        };
        let settings = Settings { epoch_interruption: true, ..native.settings().clone() };
        Ok(Engines { native, epoch: place::with_settings(settings)? })
    }
}

/// Ratios to plain wasmtime, one a round.
#[derive(Default)]
pub(crate) struct Compared {
    pub(crate) migratable: Samples,
    pub(crate) epoch: Samples,
}

/// Runs a program with these arguments, its name first, in all variants, round by round.
pub(crate) fn compare(
    engines: &Engines,
    guest: &Guest,
    args: Vec<Vec<u8>>,
    rounds: usize,
) -> Result<Compared> {
    let variants: [(&Runtime, Code); 3] = [
        (&engines.native, load(&engines.native, guest, CodeKind::Plain)?),
        (&engines.native, load(&engines.native, guest, CodeKind::Hot)?),
        (&engines.epoch, load(&engines.epoch, guest, CodeKind::Plain)?),
    ];
    let mut compared = Compared::default();
    let mut expected = None;
    for round in 0..=rounds {
        let mut seconds = [0.0; 3];
        // Another variant goes first in each round: whoever follows finds warmer or colder caches.
        for turn in 0..variants.len() {
            let index = (round + turn) % variants.len();
            let (runtime, code) = &variants[index];
            let (time, outcome) = timed(runtime, code, args.clone())?;
            seconds[index] = time;
            if *expected.get_or_insert_with(|| outcome.clone()) != outcome {
                return Err(Failure::new(
                    ExitCode::Internal,
                    guest.name,
                    "the variants' outputs differ",
                ));
            }
        }
        if round > 0 {
            compared.migratable.push(seconds[1] / seconds[0]);
            compared.epoch.push(seconds[2] / seconds[0]);
        }
    }
    Ok(compared)
}

/// Seconds of processor time, and exit code and output.
fn timed(runtime: &Runtime, code: &Code, args: Vec<Vec<u8>>) -> Result<(f64, (u8, Vec<u8>))> {
    let mut guarded = Guarded::spawn(runtime, code, args)?;
    let started = thread_time();
    let end = guarded.run()?;
    let seconds = (thread_time() - started).as_secs_f64();
    match end {
        Stretch::Exited(exit) => Ok((seconds, (exit, guarded.output()?))),
        Stretch::Frozen => Err(Failure::new(ExitCode::Internal, "bench", "frozen unasked")),
    }
}

/// All figures of these programs: run time, compile time, code size, and their geometric means.
pub(crate) fn measure(
    guests: &[(Guest, Vec<Vec<u8>>)],
    rounds: usize,
    progress: impl Fn(&str),
) -> Result<Vec<Metric>> {
    let engines = Engines::new(false)?;
    let serial =
        place::with_settings(Settings { parallel_compilation: false, ..Settings::default() })?;
    let mut metrics = Vec::new();
    for (guest, args) in guests {
        progress(guest.name);
        let compared = compare(&engines, guest, args.clone(), rounds)?;
        metrics.push(Metric::of(
            format!("overhead.{}.ratio", guest.name),
            "ratio",
            &compared.migratable,
        ));
        metrics.push(Metric::of(
            format!("overhead_epoch.{}.ratio", guest.name),
            "ratio",
            &compared.epoch,
        ));
        let (compile, code) = compile(&serial, guest, rounds)?;
        metrics.push(Metric::of(format!("compile.{}.ratio", guest.name), "ratio", &compile));
        metrics.push(Metric::of(format!("code.{}.ratio", guest.name), "ratio", &code));
    }
    for family in ["overhead", "overhead_epoch", "compile", "code"] {
        let of_family =
            metrics.iter().filter(|metric| metric.metric.split('.').next() == Some(family));
        let mean = geomean(of_family.map(|metric| metric.value));
        metrics.push(Metric::derived(format!("{family}.geomean"), "ratio", mean, guests.len()));
    }
    Ok(metrics)
}

/// Compile time (rewriting included, one thread) and code size, migratable against plain. The caller's runtime must
/// have no cache.
fn compile(runtime: &Runtime, guest: &Guest, rounds: usize) -> Result<(Samples, Samples)> {
    let (mut times, mut sizes) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let build = |kind| -> Result<(f64, usize)> {
            let started = thread_time();
            let code = load(runtime, guest, kind)?;
            Ok(((thread_time() - started).as_secs_f64(), code.size().machine_code_bytes))
        };
        let (plain, migratable) = (build(CodeKind::Plain)?, build(CodeKind::Hot)?);
        times.push(migratable.0 / plain.0);
        sizes.push(migratable.1 as f64 / plain.1 as f64);
    }
    Ok((times, sizes))
}
