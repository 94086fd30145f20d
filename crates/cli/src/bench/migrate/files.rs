//! A program that reads a file of 16 MiB from its beginning to its end in pieces of 4 KiB, and one that writes 4 MiB in pieces of 256 bytes.
//!
//! * `files.remote_read_MBps`, `files.remote_write_MBps`: it runs on another node than the one to which its origin is attached.
//! * `files.local_read_MBps`, `files.local_write_MBps`: on that one. Each piece still goes to the command that has the file.

use super::super::nodes::{Nodes, Running, wait_for};
use super::super::sample::{Metric, Samples};
use super::super::{assembled, failed};
use super::{move_to, places};
use crate::exit::Result;
use peripatos_host::origin::Preopen;
use std::fs;
use std::time::{Duration, Instant};

const READER: &str = include_str!("reader.wat");
const BYTES: usize = 16 << 20;
const WRITER: &str = include_str!("writer.wat");
const WRITTEN_BYTES: usize = 4 << 20;
/// Times that it is read or written, at least, and how long.
const PASSES_MIN: u64 = 2;
const TIME_MIN: Duration = Duration::from_millis(500);

/// All figures.
pub(super) fn measure(rounds: usize) -> Result<Vec<Metric>> {
    let mut nodes = Nodes::new()?;
    nodes.start("one")?;
    nodes.start("two")?;
    let mut client = nodes.client("one")?;
    let [one, two] = places(&mut client)?;
    let directory = nodes.directory().join("files");
    let written = fs::create_dir(&directory)
        .and_then(|()| fs::write(directory.join("data"), vec![0x5a_u8; BYTES]));
    written.map_err(|error| failed(&error.to_string()))?;
    let preopen = Preopen { host_path: directory, guest_path: "/".to_owned() };
    let mut metrics = Vec::new();
    for (name, program, bytes, [remotely, locally]) in [
        ("reader", READER, BYTES, ["files.remote_read_MBps", "files.local_read_MBps"]),
        ("writer", WRITER, WRITTEN_BYTES, ["files.remote_write_MBps", "files.local_write_MBps"]),
    ] {
        let (mut local, mut remote) = <(Samples, Samples)>::default();
        let preopens = std::slice::from_ref(&preopen);
        let mut running = nodes.run_with("one", &assembled(name, program)?, &[], preopens)?;
        for _ in 0..rounds {
            local.push(mbps(&mut running, bytes)?);
            move_to(&mut client, running.pid, one, two)?;
            remote.push(mbps(&mut running, bytes)?);
            move_to(&mut client, running.pid, two, one)?;
        }
        running.kill()?;
        metrics.push(Metric::of(remotely, "MB/s", &remote));
        metrics.push(Metric::of(locally, "MB/s", &local));
    }
    Ok(metrics)
}

/// From the end of one pass to that of a later one.
fn mbps(running: &mut Running, bytes: usize) -> Result<f64> {
    let before = running.written()?;
    let first = after(running, before)?;
    let begun = Instant::now();
    let mut last = first;
    while last < first + PASSES_MIN || begun.elapsed() < TIME_MIN {
        last = after(running, last)?;
    }
    let bytes = (last - first) * bytes as u64;
    Ok(bytes as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

/// Waits for the end of a pass: how many there have been.
fn after(running: &mut Running, before: u64) -> Result<u64> {
    wait_for("the end of a file", || {
        let written = running.written()?;
        Ok((written > before).then_some(written))
    })
}
