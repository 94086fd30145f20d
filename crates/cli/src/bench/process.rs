//! Running a built-in program as a process with its output kept, and taking its time.

use crate::console::{self, Console};
use crate::exit::{Code as ExitCode, Failure, Result};
use crate::guests::Guest;
use crate::{directories, pids, program};
use peripatos_abi::descriptors::DescriptorTable;
use peripatos_engine::{
    CaptureOptions, Code, CodeKind, Image, Limits, LoadOptions, Outcome, Process, ProcessOptions,
    Runtime, ThawOptions, block_on,
};
use peripatos_host::origin::Origin;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A process of a built-in program, and where its output goes.
pub(crate) struct Guarded {
    pub(crate) process: Process,
    origin: Origin,
    console: Console,
    name: String,
}

/// How a stretch of running ended.
#[derive(Debug)]
pub(crate) enum Stretch {
    /// The program exited with this code.
    Exited(u8),
    /// The process is frozen.
    Frozen,
}

/// Loads a program.
pub(crate) fn load(runtime: &Runtime, guest: &Guest, kind: CodeKind) -> Result<Code> {
    let loaded = runtime.load(guest.wasm.into(), LoadOptions { kind });
    loaded.map_err(|error| program::load_failure(guest.name, &error))
}

impl Guarded {
    /// A new process of a program, with these arguments, its name first.
    pub(crate) fn spawn(_runtime: &Runtime, code: &Code, args: Vec<Vec<u8>>) -> Result<Guarded> {
        let name =
            args.first().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
        let pid = pids::draw()
            .map_err(|error| Failure::new(ExitCode::Resources, "random numbers", error))?;
        let (origin, console) = captured()?;
        origin.open(pid, &[]).map_err(|error| directories::failure(&error))?;
        let options = ProcessOptions {
            pid,
            args,
            env: Vec::new(),
            devices: Box::new(origin.clone()),
            limits: Limits::default(),
            freeze_every: None,
        };
        let process =
            Process::spawn(code, options).map_err(|error| program::spawn_failure(&name, &error))?;
        Ok(Guarded { process, origin, console, name })
    }

    /// A process made of an image.
    pub(crate) fn thaw(_runtime: &Runtime, code: &Code, image: &Image) -> Result<Guarded> {
        let name = image
            .args()
            .first()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .unwrap_or_default();
        let table = DescriptorTable::decode(image.devices())
            .map_err(|error| Failure::new(ExitCode::DamagedImage, &name, error))?;
        let (origin, console) = captured()?;
        origin.restore(image.pid(), &table);
        let options = ThawOptions {
            pid: None,
            devices: Box::new(origin.clone()),
            limits: Limits::default(),
            freeze_every: None,
        };
        let process = Process::thaw(code, image, options)
            .map_err(|error| program::spawn_failure(&name, &error))?;
        Ok(Guarded { process, origin, console, name })
    }

    /// Runs until it exits or is frozen. Errors: it ended in any other way.
    pub(crate) fn run(&mut self) -> Result<Stretch> {
        match block_on(self.process.run()) {
            Ok(Outcome::Exited(code)) => Ok(Stretch::Exited(code as u8)),
            Ok(Outcome::Frozen) => Ok(Stretch::Frozen),
            Ok(Outcome::Raised(signal)) => Err(Failure::new(
                ExitCode::Trap,
                &self.name,
                format!("it raised signal {signal:?}"),
            )),
            Err(error) => Err(Failure::new(ExitCode::Trap, &self.name, error)),
        }
    }

    /// The image of a frozen process without its program, for a place that has it.
    pub(crate) fn capture_bare(&mut self) -> Result<Image> {
        let table =
            self.origin.snapshot(self.process.pid()).map(|(table, _)| table).unwrap_or_default();
        let captured =
            self.process.capture(CaptureOptions { devices: table.encode(), with_program: false });
        captured.map_err(|error| Failure::new(ExitCode::Internal, &self.name, error))
    }

    /// What it has written here so far.
    pub(crate) fn output(&mut self) -> Result<Vec<u8>> {
        self.console.contents().map_err(|error| Failure::new(ExitCode::Internal, &self.name, error))
    }
}

fn captured() -> Result<(Origin, Console)> {
    console::captured().map_err(|error| Failure::new(ExitCode::Resources, "console", error))
}

/// Processor time of the calling thread. Programs run on the thread that calls them, so this is theirs, undisturbed
/// by whatever else the machine does.
pub(crate) fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Runs a program undisturbed to its end: processor time of the run, and what it wrote.
pub(crate) fn timed_run(
    runtime: &Runtime,
    code: &Code,
    guest: &Guest,
) -> Result<(Duration, Vec<u8>)> {
    timed_run_with(runtime, code, guest.name, guest.arguments())
}

/// The same with these arguments, its name first.
pub(crate) fn timed_run_with(
    runtime: &Runtime,
    code: &Code,
    name: &str,
    args: Vec<Vec<u8>>,
) -> Result<(Duration, Vec<u8>)> {
    let mut guarded = Guarded::spawn(runtime, code, args)?;
    let started = thread_time();
    let end = guarded.run()?;
    let time = thread_time() - started;
    match end {
        Stretch::Exited(0) => Ok((time, guarded.output()?)),
        other => {
            let cause = format!("ended unexpectedly: {other:?}");
            Err(Failure::new(ExitCode::Internal, name, cause))
        }
    }
}
