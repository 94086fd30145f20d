//! Two processes that talk, on cores as a node has them, and what a round trip of theirs takes.

use super::far::in_hexadecimal;
use super::stopwatch::Stopwatch;
use crate::exit::{Code as ExitCode, Failure, Result};
use crate::{pids, program};
use peripatos_abi::Pid;
use peripatos_engine::{
    Code, CodeKind, Handler, Limits, LoadOptions, Process, ProcessOptions, Runtime,
};
use peripatos_host::cores::{CoreEvent, Cores, ProcessEnd};
use peripatos_host::talk::Line;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub(super) const PING: &str = include_str!("ping.wat");
const ECHO_HANDLER: &str = include_str!("echo_handler.wat");
pub(super) const ECHO_SERVER: &str = include_str!("echo_server.wat");
const LEASE_HANDLER: &str = include_str!("lease_handler.wat");
const BUSY: &str = include_str!("busy.wat");

/// Longer than all batches together take.
const PATIENCE: Duration = Duration::from_secs(60);
/// So often two processes are started to be on two cores.
const TRIES_MAX: usize = 20;
/// Batches before those that count.
pub(super) const WARM_UP: usize = 2;

/// Who serves, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// A handler, on the core of whoever calls.
    Handler,
    /// One that reads and writes what is lent with the message.
    Borrower,
    /// A receive loop, on the same core.
    Fiber,
    /// A receive loop, on another core.
    FiberBeside,
}

/// How much is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Talk {
    pub(super) batches: usize,
    /// Of a batch: so many that looking at the clock does not count.
    pub(super) calls: usize,
    /// Bytes of a message, and of its reply.
    pub(super) size: usize,
    /// Bytes that are lent with it.
    pub(super) lent: usize,
}

/// Nanoseconds a round trip, of each batch.
pub(super) fn round_trips(runtime: &Runtime, server: Server, talk: Talk) -> Result<Vec<f64>> {
    // Rarely a core is not seen to be free yet, and both are on one.
    let begun = (0..TRIES_MAX).find_map(|_| begin(runtime, server, talk).transpose());
    let never = || Err(failure("two processes were never on two cores".to_owned()));
    let Pair { place, ping, laps } = begun.unwrap_or_else(never)?;
    let (ended, end) = place.next_end()?;
    if ended != ping || !matches!(end, ProcessEnd::Exited(0)) {
        return Err(failure(format!("{ended:#} ended unexpectedly: {end:?}")));
    }
    drop(place);
    let laps: Vec<Instant> = laps.into_iter().skip(WARM_UP).collect();
    let times = laps.windows(2).map(|pair| (pair[1] - pair[0]).as_nanos() as f64);
    Ok(times.map(|ns| ns / talk.calls as f64).collect())
}

/// A process that calls another one, and when it began its batches.
struct Pair {
    place: Place,
    ping: Pid,
    laps: Receiver<Instant>,
}

/// Lets a process call another one. `None`: they are not where they were to be.
fn begin(runtime: &Runtime, server: Server, talk: Talk) -> Result<Option<Pair>> {
    let place = Place::new(server)?;
    let beside = server == Server::FiberBeside;
    // A process is put on the least busy core, the first of several: the server on the second, and ping on the first.
    let busy = if beside { Some(place.occupy(runtime)?) } else { None };
    let (to, _) = match server {
        Server::Handler => place.serve(runtime, "echo_handler", ECHO_HANDLER)?,
        Server::Borrower => place.serve(runtime, "lease_handler", LEASE_HANDLER)?,
        Server::Fiber | Server::FiberBeside => place.run(runtime, "echo", ECHO_SERVER, &[])?,
    };
    if let Some(busy) = busy {
        // Else the caller would soon be where the server is, and the figure that of one core.
        place.cores.keep_in_place();
        place.kill(busy)?;
    }
    let pid = in_hexadecimal(to);
    let batches = talk.batches + WARM_UP;
    let numbers = [batches, talk.calls, talk.size, 0, talk.lent].map(|number| number.to_string());
    let args = [&pid, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &numbers[4]];
    let args = args.map(String::as_str);
    let (ping, laps) = place.run(runtime, "ping", PING, &args)?;
    let apart = place.core_of(ping) != place.core_of(to);
    Ok((apart || !beside).then_some(Pair { place, ping, laps }))
}

/// Two cores, and a third one that is idle where there is a CPU for it: as mostly in a node, and who sends looks after it.
fn beside() -> usize {
    std::thread::available_parallelism().map_or(2, |cpus| cpus.get().clamp(2, 3))
}

/// Cores, and how their processes end.
struct Place {
    cores: Cores,
    ends: Receiver<(Pid, ProcessEnd)>,
}

impl Place {
    fn new(server: Server) -> Result<Place> {
        let (sender, ends) = channel();
        let count = if server == Server::FiberBeside { beside() } else { 1 };
        let cores = Cores::start(count, move |event| {
            if let CoreEvent::Ended { pid, end, .. } = event {
                // Whoever does not listen has given up.
                let _ = sender.send((pid, end));
            }
        });
        let cores = cores.map_err(|error| Failure::new(ExitCode::Resources, "cores", error))?;
        Ok(Place { cores, ends })
    }

    /// Runs a program in the text format. When it has asked for the time will be known.
    fn run(
        &self,
        runtime: &Runtime,
        name: &str,
        text: &str,
        args: &[&str],
    ) -> Result<(Pid, Receiver<Instant>)> {
        let code = load(runtime, name, text)?;
        let (options, laps) = options(name, args)?;
        let pid = options.pid;
        let spawned = Process::spawn(&code, options);
        let mut process = spawned.map_err(|error| program::spawn_failure(name, &error))?;
        process.set_messages(Box::new(Line::new(pid)));
        self.cores.run(process).map_err(|error| failure(error.to_string()))?;
        Ok((pid, laps))
    }

    /// Has the first core run something.
    fn occupy(&self, runtime: &Runtime) -> Result<Pid> {
        let (pid, _) = self.run(runtime, "busy", BUSY, &[])?;
        while !self.cores.sample().iter().any(|one| one.pid == pid && one.cpu > Duration::ZERO) {
            std::thread::yield_now();
        }
        Ok(pid)
    }

    fn core_of(&self, pid: Pid) -> Option<usize> {
        self.cores.sample().iter().find(|one| one.pid == pid).map(|one| one.core)
    }

    fn serve(&self, runtime: &Runtime, name: &str, text: &str) -> Result<(Pid, Receiver<Instant>)> {
        let code = load(runtime, name, text)?;
        let (options, laps) = options(name, &[])?;
        let pid = options.pid;
        let spawned = Handler::spawn(&code, options);
        let mut handler = spawned.map_err(|error| program::spawn_failure(name, &error))?;
        handler.set_messages(Box::new(Line::new(pid)));
        self.cores.serve(handler).map_err(|error| failure(error.to_string()))?;
        Ok((pid, laps))
    }

    fn kill(&self, pid: Pid) -> Result<()> {
        self.cores.kill(pid).map_err(|error| failure(error.to_string()))?;
        self.next_end().map(drop)
    }

    fn next_end(&self) -> Result<(Pid, ProcessEnd)> {
        let end = self.ends.recv_timeout(PATIENCE);
        end.map_err(|_| failure("no process has ended in time".to_owned()))
    }
}

/// A program in the text format.
fn load(runtime: &Runtime, name: &str, text: &str) -> Result<Code> {
    let wasm = wat::parse_str(text).map_err(|error| failure(error.to_string()))?;
    let loaded = runtime.load(wasm.into(), LoadOptions { kind: CodeKind::Hot });
    loaded.map_err(|error| program::load_failure(name, &error))
}

fn options(name: &str, args: &[&str]) -> Result<(ProcessOptions, Receiver<Instant>)> {
    let (watch, laps) = channel();
    let args = [name].iter().chain(args).map(|arg| arg.as_bytes().to_vec()).collect();
    let pid = pids::draw();
    let pid = pid.map_err(|error| Failure::new(ExitCode::Resources, "random numbers", error))?;
    let options = ProcessOptions {
        pid,
        args,
        env: Vec::new(),
        devices: Box::new(Stopwatch(watch)),
        limits: Limits::default(),
        freeze_every: None,
    };
    Ok((options, laps))
}

fn failure(cause: String) -> Failure {
    Failure::new(ExitCode::Internal, "bench", cause)
}
