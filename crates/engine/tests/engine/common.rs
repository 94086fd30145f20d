//! What the engine's tests share: devices that live in memory, and one way to run a program to its
//! end with or without freezes.
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use peripatos_abi::device::{Devices, Reply, Request};
use peripatos_abi::{Errno, FdFlags, Fdstat, FileType, Pid, Rights};
use peripatos_engine::{
    CaptureOptions, Code, CodeKind, Image, ImageLimits, Limits, LoadOptions, Outcome, Process,
    ProcessError, ProcessOptions, Runtime, Settings, ThawOptions, block_on,
};
use peripatos_guests::Work;

/// Freezes of one run; more means that it does not get on.
pub(crate) const FREEZES_MAX: usize = 2_000_000;

/// What the devices of a process have seen; shared, so that it survives thaws.
#[derive(Clone, Default)]
pub(crate) struct Origin(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    output: HashMap<Pid, Vec<u8>>,
    last: HashMap<Pid, (u64, Reply)>,
    clock: u64,
    /// Each request is pending so often before it is answered.
    pending: u32,
    asked: u32,
}

impl Origin {
    /// Devices whose every answer takes `pending` polls.
    pub(crate) fn slow(pending: u32) -> Origin {
        let origin = Origin::default();
        origin.0.lock().unwrap().pending = pending;
        origin
    }

    /// Devices that never answer.
    pub(crate) fn silent() -> Origin {
        Origin::slow(u32::MAX)
    }

    /// What a process wrote to its standard output and error.
    pub(crate) fn output(&self, pid: Pid) -> Vec<u8> {
        self.0.lock().unwrap().output.get(&pid).cloned().unwrap_or_default()
    }

    /// A fork's output begins as a copy.
    pub(crate) fn fork(&self, from: Pid, to: Pid) {
        let mut world = self.0.lock().unwrap();
        let output = world.output.get(&from).cloned().unwrap_or_default();
        world.output.insert(to, output);
        let last = world.last.get(&from).cloned();
        world.last.extend(last.map(|last| (to, last)));
    }
}

impl Devices for Origin {
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply> {
        let mut world = self.0.lock().unwrap();
        if let Some((number, reply)) = world.last.get(&pid) {
            assert!(*number <= sequence, "a request of the past");
            if *number == sequence {
                return Poll::Ready(reply.clone());
            }
        }
        if world.asked < world.pending {
            world.asked += 1;
            if world.pending != u32::MAX {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        world.asked = 0;
        let reply = world.serve(pid, request);
        world.last.insert(pid, (sequence, reply.clone()));
        Poll::Ready(reply)
    }
}

impl World {
    fn serve(&mut self, pid: Pid, request: &Request) -> Reply {
        match request {
            Request::Write { fd, data, offset: None } if matches!(fd.0, 1 | 2) => {
                self.output.entry(pid).or_default().extend(data);
                Reply::Number(data.len() as u64)
            }
            Request::ClockTime(_) => {
                self.clock += 1_000_000;
                Reply::Number(self.clock)
            }
            Request::ClockResolution(_) => Reply::Number(1),
            Request::Random(len) => Reply::Data(Arc::new(vec![7; *len as usize])),
            Request::FdstatGet(fd) if fd.0 < 3 => Reply::Fdstat(Fdstat {
                file_type: FileType::CharacterDevice,
                flags: FdFlags::NONE,
                rights: Rights::ALL,
                rights_inheriting: Rights::ALL,
            }),
            Request::Read { .. } => Reply::Data(Arc::default()),
            Request::Close(_) => Reply::Done,
            _ => Reply::Failed(Errno::BadF),
        }
    }
}

/// How a run ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) end: String,
    pub(crate) output: Vec<u8>,
}

/// Short, whatever the program printed.
impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = String::from_utf8_lossy(&self.output);
        write!(f, "{}, {} bytes of output: {output:.300}", self.end, self.output.len())
    }
}

/// A runtime without a cache.
pub(crate) fn runtime() -> Runtime {
    runtime_with(Settings::default())
}

/// A runtime with these settings and a small stack.
pub(crate) fn runtime_with(settings: Settings) -> Runtime {
    Runtime::new(Settings { stack_bytes: 2 << 20, ..settings }).unwrap()
}

pub(crate) fn load(runtime: &Runtime, wasm: &[u8], kind: CodeKind) -> Code {
    runtime.load(wasm.into(), LoadOptions { kind }).unwrap()
}

pub(crate) fn pid() -> Pid {
    Pid::new(1, 2)
}

pub(crate) fn options(origin: &Origin, freeze_every: Option<u32>) -> ProcessOptions {
    ProcessOptions {
        pid: pid(),
        args: vec![b"program".to_vec()],
        env: vec![b"KEY=VALUE".to_vec()],
        devices: Box::new(origin.clone()),
        limits: Limits { memory_bytes: 1 << 30, ..Limits::default() },
        freeze_every,
    }
}

pub(crate) fn thaw_options(origin: &Origin, freeze_every: Option<u32>) -> ThawOptions {
    let ProcessOptions { devices, limits, .. } = options(origin, freeze_every);
    ThawOptions { pid: None, devices, limits, freeze_every }
}

/// The image through its form as bytes.
pub(crate) fn through_bytes(image: &Image) -> Image {
    let mut bytes = Vec::new();
    image.write_to(&mut bytes).unwrap();
    Image::read_from(&mut &bytes[..], ImageLimits::default()).unwrap()
}

/// Runs undisturbed.
pub(crate) fn run_plain(runtime: &Runtime, case: &Case) -> Run {
    let code = load(runtime, &case.wasm, CodeKind::Plain);
    let origin = Origin::default();
    let options = ProcessOptions { args: case.args.clone(), ..options(&origin, None) };
    let mut process = Process::spawn(&code, options).unwrap();
    let end = end(&block_on(process.run()));
    Run { end, output: origin.output(pid()) }
}

/// Runs with a freeze at every n-th check, each thawed into a fresh store, `codes` taking turns.
pub(crate) fn run_frozen(
    case: &Case,
    codes: &[&Code],
    every: u32,
    origin: &Origin,
) -> (Run, usize) {
    let code = codes[0];
    let options = ProcessOptions { args: case.args.clone(), ..options(origin, Some(every)) };
    let mut process = Process::spawn(code, options).unwrap();
    for freezes in 0..FREEZES_MAX {
        let result = block_on(process.run());
        if !matches!(result, Ok(Outcome::Frozen)) {
            return (Run { end: end(&result), output: origin.output(pid()) }, freezes);
        }
        let capture = CaptureOptions { devices: vec![1, 2, 3], with_program: freezes % 2 == 0 };
        let image = through_bytes(&process.capture(capture).unwrap());
        let code = codes[(freezes + 1) % codes.len()];
        process = Process::thaw(code, &image, thaw_options(origin, Some(every))).unwrap();
    }
    panic!("too many freezes");
}

fn end(result: &Result<Outcome, ProcessError>) -> String {
    match result {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => error.to_string(),
    }
}

/// A run of a guest that needs nothing but arguments.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) wasm: Vec<u8>,
}

/// All runs of all guests that take milliseconds and no files.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for guest in peripatos_guests::all().unwrap() {
        for run in &guest.runs {
            if run.work == Work::Large || run.directory || !run.stdin.is_empty() {
                continue;
            }
            let Ok(wasm) = guest.module() else { continue };
            let words = std::iter::once(&guest.name).chain(&run.args);
            let args = words.map(|word| word.clone().into_bytes()).collect();
            cases.push(Case { name: guest.name.clone(), args, wasm });
        }
    }
    cases
}

/// The module of one guest.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let guests = peripatos_guests::all().unwrap();
    guests.into_iter().find(|guest| guest.name == name).unwrap().module().unwrap()
}
