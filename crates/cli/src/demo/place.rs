//! A place where a demo program can be: an OS process, on a core of its own where there are two. Both places do the
//! same: take a process in, let it run for a while, and give its image or its end.

use super::wire::Times;
use crate::bench::process::{Guarded, Stretch};
use crate::exit::{Code as ExitCode, Failure, Result};
use peripatos_engine::{Code, Image, ImageLimits, Runtime};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

/// What came of a stay.
pub(super) struct Stay {
    pub(super) output: Vec<u8>,
    pub(super) times: Times,
    /// The image's bytes if it was frozen, the exit code if it ended.
    pub(super) end: std::result::Result<Vec<u8>, u8>,
}

/// Runs a process to its end, or freezes it after `limit` and writes its image; the process may end first. It runs on a
/// thread that is tied to this core; the threads that compile keep all of them.
pub(super) fn stay(guarded: Guarded, limit: Option<Duration>, core: usize) -> Result<Stay> {
    thread::scope(|scope| {
        let runs = scope.spawn(|| {
            tie_to_core(core);
            run(guarded, limit)
        });
        let failed =
            |_| Err(Failure::new(ExitCode::Internal, "demo", "the program's thread failed"));
        runs.join().unwrap_or_else(failed)
    })
}

fn run(mut guarded: Guarded, limit: Option<Duration>) -> Result<Stay> {
    if let Some(limit) = limit {
        let control = guarded.process.control();
        thread::spawn(move || {
            thread::sleep(limit);
            control.freeze();
        });
    }
    let stretch = guarded.run()?;
    let thawing = guarded.process.thaw_timings();
    let mut times = Times {
        continue_us: (thawing.generate + thawing.compile + thawing.link).as_micros() as u64,
        ..Times::default()
    };
    let end = match stretch {
        Stretch::Exited(code) => Err(code),
        Stretch::Frozen => {
            let started = Instant::now();
            let image = guarded.capture()?;
            let mut bytes = Vec::new();
            image
                .write_to(&mut bytes)
                .map_err(|error| Failure::new(ExitCode::Internal, "image", error))?;
            times.capture_us = started.elapsed().as_micros() as u64;
            times.stop_us = guarded.process.freeze_timings().stop.as_micros() as u64;
            Ok(bytes)
        }
    };
    Ok(Stay { output: guarded.output()?, times, end })
}

/// The process of an image, whose program must be among those loaded.
pub(super) fn arrive(
    runtime: &Runtime,
    codes: &HashMap<[u8; 32], Code>,
    bytes: &[u8],
) -> Result<Guarded> {
    let damaged =
        |cause: &dyn std::fmt::Display| Failure::new(ExitCode::DamagedImage, "image", cause);
    let image =
        Image::read_from(&mut &*bytes, ImageLimits::default()).map_err(|error| damaged(&error))?;
    let code = codes
        .get(&image.module_hash())
        .ok_or_else(|| damaged(&"of a program that was not announced"))?;
    Guarded::thaw(runtime, code, &image)
}

/// Ties the calling thread to the `index`-th core that it may use. Does nothing on one core.
fn tie_to_core(index: usize) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    if cores.len() < 2 {
        return;
    }
    let mut chosen = CpuSet::new();
    chosen.set(cores[index % cores.len()]);
    let _ = sched_setaffinity(None, &chosen);
}
