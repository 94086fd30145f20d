//! What a message takes: send, receive, reply, measured by the sender in batches.
//!
//! * `ipc.handler.p50_ns`: 32 bytes to a handler, which is called on the sender's stack, and back.
//! * `ipc.size_SIZE.copy_ratio`: longer messages to a handler, against copying so many bytes there and back.

use super::process::{Guarded, Stretch, load};
use super::sample::{Metric, Samples};
use crate::console;
use crate::exit::{Code, Failure, Result};
use crate::guests::Guest;
use crate::{directories, pids, place};
use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_engine::{CodeKind, Handler, Limits, ProcessOptions, Runtime, Settings};
use peripatos_host::talk::{self, Line, Surroundings};
use peripatos_kernel::Place;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

const ECHO_HANDLER: &str = include_str!("echo_handler.wat");
const PING: &str = include_str!("ping.wat");

/// Batches of one run.
const BATCHES: usize = 200;
/// Calls of a batch: so many that looking at the clock does not count.
const CALLS: usize = 1_000;
/// Bytes of an ordinary message.
const SHORT: usize = 32;
/// Longer messages, and what they are called.
const SIZES: [(usize, &str); 2] = [(4 << 10, "4KiB"), (64 << 10, "64KiB")];

/// All figures.
pub(crate) fn measure(rounds: usize, progress: impl Fn(&str)) -> Result<Vec<Metric>> {
    let runtime = place::with_settings(Settings::default())?;
    let mut metrics = Vec::new();
    progress("calls of a handler");
    let mut samples = Samples::default();
    for _ in 0..rounds {
        handler_calls(&runtime, CALLS, SHORT)?.into_iter().for_each(|ns| samples.push(ns));
    }
    metrics.push(Metric::of("ipc.handler.p50_ns", "ns", &samples));
    for (size, name) in SIZES {
        progress(&format!("messages of {name}"));
        let mut samples = Samples::default();
        for _ in 0..rounds {
            let calls = CALLS / 10;
            let copy = copies(calls, size);
            let took = handler_calls(&runtime, calls, size)?;
            took.into_iter().for_each(|ns| samples.push(ns / copy));
        }
        metrics.push(Metric::of(format!("ipc.size_{name}.copy_ratio"), "ratio", &samples));
    }
    Ok(metrics)
}

/// A program in the text format.
fn assembled(name: &'static str, text: &str) -> Result<Guest> {
    let wasm = wat::parse_str(text).map_err(|error| Failure::new(Code::Internal, name, error))?;
    // A few, once in the life of this command.
    Ok(Guest::foreign(name, wasm.leak()))
}

/// Nanoseconds a call, of each batch.
fn handler_calls(runtime: &Runtime, calls: usize, size: usize) -> Result<Vec<f64>> {
    let names = Arc::default();
    let place = Place { node: 0, core: 0 };
    talk::open(Surroundings {
        place,
        names,
        post: Box::new(Some),
        named: Box::new(|| {}),
        kill: Box::new(|_| {}),
        settle: Rc::new(|_| Err(Status::NotPermitted)),
        calls: Arc::default(),
    });
    let server = handler(runtime)?;
    let to = server.pid();
    talk::adopt_handler(Box::new(server), Waker::noop().clone(), None);
    let mut ping = client(runtime, to, calls, size)?;
    talk::adopt(ping.process.pid(), None);
    let ended = ping.run();
    talk::close();
    match ended? {
        Stretch::Exited(0) => Ok(times(&ping.output()?, calls)),
        other => {
            let cause = format!("ended unexpectedly: {other:?}");
            Err(Failure::new(Code::Internal, "ping", cause))
        }
    }
}

fn handler(runtime: &Runtime) -> Result<Handler> {
    let guest = assembled("echo_handler", ECHO_HANDLER)?;
    let code = load(runtime, &guest, CodeKind::Hot)?;
    let pid = draw()?;
    let (origin, _console) =
        console::captured().map_err(|error| Failure::new(Code::Resources, "console", error))?;
    origin.open(pid, &[]).map_err(|error| directories::failure(&error))?;
    let options = ProcessOptions {
        pid,
        args: Vec::new(),
        env: Vec::new(),
        devices: Box::new(origin),
        limits: Limits::default(),
        freeze_every: None,
    };
    let spawned = Handler::spawn(&code, options);
    let mut handler =
        spawned.map_err(|error| crate::program::spawn_failure("echo_handler", &error))?;
    handler.set_messages(Box::new(Line::new(pid)));
    Ok(handler)
}

fn client(runtime: &Runtime, to: Pid, calls: usize, size: usize) -> Result<Guarded> {
    let code = load(runtime, &assembled("ping", PING)?, CodeKind::Hot)?;
    let pid = to.bits().to_le_bytes().map(|byte| format!("{byte:02x}")).concat();
    let numbers = [BATCHES, calls, size].map(|number| number.to_string());
    let [batches, calls, size] = &numbers;
    let args = ["ping", &pid, batches, calls, size].map(|arg| arg.as_bytes().to_vec());
    let mut ping = Guarded::spawn(runtime, &code, args.to_vec())?;
    let line = Line::new(ping.process.pid());
    ping.process.set_messages(Box::new(line));
    Ok(ping)
}

fn draw() -> Result<Pid> {
    pids::draw().map_err(|error| Failure::new(Code::Resources, "random numbers", error))
}

/// What ping has written, as nanoseconds a call.
fn times(output: &[u8], calls: usize) -> Vec<f64> {
    let batches = output.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    batches.map(|ns| ns as f64 / calls as f64).collect()
}

/// Nanoseconds that copying so many bytes to another place and back takes.
fn copies(calls: usize, size: usize) -> f64 {
    let (mut one, mut two) = (vec![1_u8; size], vec![2_u8; size]);
    let started = Instant::now();
    for _ in 0..calls * 10 {
        black_box(&mut two).copy_from_slice(black_box(&one));
        black_box(&mut one).copy_from_slice(black_box(&two));
    }
    started.elapsed().as_nanos() as f64 / (calls * 10) as f64
}
