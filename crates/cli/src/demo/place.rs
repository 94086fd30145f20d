//! One of the two places where a demo program can be: an OS process, on a core of its own where there are two.
//!
//! The first is this OS process; the second is another `peri`, which runs the same [`stay`] for each order it gets.

use super::wire::{Order, Report, Times, receive, send};
use crate::bench::process::{Guarded, Stretch, load};
use crate::exit::{Code as ExitCode, Failure, Result};
use crate::guests::ALL;
use peripatos_engine::{Code, CodeKind, Image, ImageLimits, Runtime};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::HashMap;
use std::io::{BufReader, BufWriter, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What came of a stay.
pub(super) struct Stay {
    pub(super) output: Vec<u8>,
    pub(super) times: Times,
    /// The image's bytes if it was frozen, the exit code if it ended.
    pub(super) end: std::result::Result<Vec<u8>, u8>,
}

/// Runs a process to its end, or freezes it after `limit` and writes its image. The process may end first.
pub(super) fn stay(mut guarded: Guarded, limit: Option<Duration>) -> Result<Stay> {
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

/// Ties the calling thread, and those it starts, to the `index`-th core that it may use. Does nothing on one core.
pub(super) fn tie_to_core(index: usize) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    if cores.len() < 2 {
        return;
    }
    let mut chosen = CpuSet::new();
    chosen.set(cores[index % cores.len()]);
    let _ = sched_setaffinity(None, &chosen);
}

/// The second OS process, seen from the first.
pub(super) struct Second {
    child: Child,
    orders: BufWriter<ChildStdin>,
    reports: BufReader<ChildStdout>,
    pub(super) os_process: u32,
}

impl Second {
    /// Starts it.
    pub(super) fn start() -> Result<Second> {
        let failed = |error| Failure::new(ExitCode::Resources, "second process", error);
        let own = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(own)
            .args(["demo", "--second"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(orders), Some(reports)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(
                ExitCode::Internal,
                "second process",
                "started without its pipes",
            ));
        };
        let os_process = child.id();
        let (orders, reports) = (BufWriter::new(orders), BufReader::new(reports));
        let mut second = Second { child, orders, reports, os_process };
        match second.next()? {
            Report::Ready { .. } => Ok(second),
            other => Err(unexpected(&other)),
        }
    }

    /// Has it load a built-in program.
    pub(super) fn prepare(&mut self, index: usize) -> Result<()> {
        self.order(&Order::Prepare(index as u32))?;
        match self.next()? {
            Report::Ready { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Carries an image over and lets it run there. Returns how long the carrying took, and what came of the stay.
    pub(super) fn run(
        &mut self,
        image: Vec<u8>,
        limit: Option<Duration>,
    ) -> Result<(Duration, Stay)> {
        let started = Instant::now();
        self.order(&Order::Run {
            image,
            milliseconds: limit.map(|limit| limit.as_millis() as u64),
        })?;
        match self.next()? {
            Report::Thawed => {}
            other => return Err(unexpected(&other)),
        }
        let carried = started.elapsed();
        match self.next()? {
            Report::Frozen { image, output, times } => {
                Ok((carried, Stay { output, times, end: Ok(image) }))
            }
            Report::Exited { code, output, times } => {
                Ok((carried, Stay { output, times, end: Err(code) }))
            }
            other => Err(unexpected(&other)),
        }
    }

    fn order(&mut self, order: &Order) -> Result<()> {
        send(&mut self.orders, order)
            .map_err(|error| Failure::new(ExitCode::Internal, "second process", error))
    }

    fn next(&mut self) -> Result<Report> {
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new(ExitCode::Internal, "second process", cause)
        };
        match receive(&mut self.reports) {
            Ok(Some(Report::Failed(cause))) => Err(failed(&cause)),
            Ok(Some(report)) => Ok(report),
            Ok(None) => Err(failed(&"it ended")),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It would end by itself when its orders end; after a failure it may be busy.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not printed whole: a report can hold an image.
fn unexpected(report: &Report) -> Failure {
    let what = match report {
        Report::Ready { .. } => "ready",
        Report::Thawed => "thawed",
        Report::Frozen { .. } => "frozen",
        Report::Exited { .. } => "exited",
        Report::Failed(_) => "failed",
    };
    Failure::new(ExitCode::Internal, "second process", format!("it reported `{what}` out of turn"))
}

/// The second OS process, from the inside: does what it is ordered until the orders end.
pub(super) fn serve(runtime: &Runtime) -> Result<()> {
    tie_to_core(1);
    let failed = |error| Failure::new(ExitCode::Internal, "first process", error);
    let (mut orders, mut reports) = (BufReader::new(stdin()), BufWriter::new(stdout()));
    let mut codes = HashMap::new();
    send(&mut reports, &Report::Ready { os_process: std::process::id() }).map_err(failed)?;
    while let Some(order) = receive(&mut orders).map_err(failed)? {
        let done = match order {
            Order::Prepare(index) => prepare(runtime, &mut codes, index),
            Order::Run { image, milliseconds } => {
                arrive(runtime, &codes, &image).and_then(|guarded| {
                    send(&mut reports, &Report::Thawed).map_err(failed)?;
                    let stay = stay(guarded, milliseconds.map(Duration::from_millis))?;
                    let Stay { output, times, end } = stay;
                    Ok(match end {
                        Ok(image) => Report::Frozen { image, output, times },
                        Err(code) => Report::Exited { code, output, times },
                    })
                })
            }
        };
        let report = done.unwrap_or_else(|failure| Report::Failed(failure.to_string()));
        send(&mut reports, &report).map_err(failed)?;
    }
    Ok(())
}

fn prepare(runtime: &Runtime, codes: &mut HashMap<[u8; 32], Code>, index: u32) -> Result<Report> {
    let guest = ALL
        .get(index as usize)
        .ok_or_else(|| Failure::new(ExitCode::Internal, "demo", "no such program"))?;
    let code = load(runtime, guest, CodeKind::Hot)?;
    codes.insert(code.hash(), code);
    Ok(Report::Ready { os_process: std::process::id() })
}
