//! The second OS process of a demo: started by the first, and served from the inside.

use super::place::{Stay, arrive, stay};
use super::wire::{Order, Report, receive, send};
use crate::bench::process::load;
use crate::exit::{Code as ExitCode, Failure, Result};
use crate::guests::ALL;
use peripatos_engine::{Code, CodeKind, Runtime};
use std::collections::HashMap;
use std::io::{BufReader, BufWriter, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The core that it runs programs on, counted among those it may use; the first OS process takes core 0.
const CORE: usize = 1;

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
            (Report::Ready, _) => Ok(second),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Has it load a built-in program.
    pub(super) fn prepare(&mut self, index: usize) -> Result<()> {
        self.order(&Order::Prepare(index as u32), &[])?;
        match self.next()? {
            (Report::Ready, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Carries an image over and lets it run there. Returns how long the carrying took, and what came of the stay.
    pub(super) fn run(
        &mut self,
        image: &[u8],
        limit: Option<Duration>,
    ) -> Result<(Duration, Stay)> {
        let started = Instant::now();
        let milliseconds = limit.map(|limit| limit.as_millis() as u64);
        self.order(&Order::Run { milliseconds }, image)?;
        match self.next()? {
            (Report::Thawed, _) => {}
            (other, _) => return Err(unexpected(&other)),
        }
        let carried = started.elapsed();
        let (output, times, end) = match self.next()? {
            (Report::Frozen { output, times }, image) => (output, times, Ok(image)),
            (Report::Exited { code, output, times }, _) => (output, times, Err(code)),
            (other, _) => return Err(unexpected(&other)),
        };
        Ok((carried, Stay { output, times, end }))
    }

    fn order(&mut self, order: &Order, image: &[u8]) -> Result<()> {
        send(&mut self.orders, order, image)
            .map_err(|error| Failure::new(ExitCode::Internal, "second process", error))
    }

    fn next(&mut self) -> Result<(Report, Vec<u8>)> {
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new(ExitCode::Internal, "second process", cause)
        };
        match receive(&mut self.reports) {
            Ok(Some((Report::Failed(cause), _))) => Err(failed(&cause)),
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

fn unexpected(report: &Report) -> Failure {
    let cause = format!("out of turn it reported {report:?}");
    Failure::new(ExitCode::Internal, "second process", cause)
}

/// The second OS process, from the inside: does what it is ordered until the orders end.
pub(super) fn serve(runtime: &Runtime) -> Result<()> {
    let failed = |error| Failure::new(ExitCode::Internal, "first process", error);
    let (mut orders, mut reports) = (BufReader::new(stdin()), BufWriter::new(stdout()));
    let mut codes = HashMap::new();
    send(&mut reports, &Report::Ready, &[]).map_err(failed)?;
    while let Some((order, image)) = receive(&mut orders).map_err(failed)? {
        let done = match order {
            Order::Prepare(index) => prepare(runtime, &mut codes, index),
            Order::Run { milliseconds } => arrive(runtime, &codes, &image).and_then(|guarded| {
                send(&mut reports, &Report::Thawed, &[]).map_err(failed)?;
                stay(guarded, milliseconds.map(Duration::from_millis), CORE).map(report)
            }),
        };
        let (report, image) =
            done.unwrap_or_else(|failure| (Report::Failed(failure.to_string()), Vec::new()));
        send(&mut reports, &report, &image).map_err(failed)?;
    }
    Ok(())
}

fn prepare(
    runtime: &Runtime,
    codes: &mut HashMap<[u8; 32], Code>,
    index: u32,
) -> Result<(Report, Vec<u8>)> {
    let unknown = || Failure::new(ExitCode::Internal, "demo", "no such program");
    let guest = ALL.get(index as usize).ok_or_else(unknown)?;
    let code = load(runtime, guest, CodeKind::Hot)?;
    codes.insert(code.hash(), code);
    Ok((Report::Ready, Vec::new()))
}

fn report(stay: Stay) -> (Report, Vec<u8>) {
    let Stay { output, times, end } = stay;
    match end {
        Ok(image) => (Report::Frozen { output, times }, image),
        Err(code) => (Report::Exited { code, output, times }, Vec::new()),
    }
}
