//! One process from its start or thaw to its end, as `peri run` and `peri thaw` see it.
//!
//! The process runs on the thread that calls [`Session::run`]. Other threads may ask for it: the control socket's
//! (somebody wants the image) and the ticker's (`--freeze-random`). They meet in [`Attention`].
//!
//! Invariants: a request for the image that has come in is answered, or its socket closed, before the session ends; a
//! process whose image was handed over never runs on here; one that could not be handed over runs on undisturbed.

use crate::exit::{Code, End, Failure, Result, say};
use crate::leftovers::Leftover;
use crate::{program, signals};
use peripatos_abi::Pid;
use peripatos_engine::{
    CaptureOptions, Code as Program, CodeKind, Control, Image, ImageLimits, Limits, Outcome,
    Process, ProcessError, ThawOptions, block_on,
};
use peripatos_host::control::{
    ControlError, Delivery, FreezeRequest, RuntimeDirectory, Server, Status,
};
use peripatos_host::origin::Origin;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether the process is frozen and thawed on the way, to show that it does not notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    None,
    /// At every N-th check, into a fresh store.
    Every(u32),
    /// At random times from this seed, through the bytes of an image.
    Random(u64),
}

/// What a session needs.
pub(crate) struct Session {
    pub(crate) code: Program,
    pub(crate) process: Process,
    pub(crate) origin: Origin,
    /// The program's name and arguments, for `peri ps` and messages.
    pub(crate) command: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) disturbance: Disturbance,
}

/// A process that is frozen more often than this within a second is not being moved, it is being tested.
const RANDOM_PAUSE_US_MAX: u64 = 20_000;

impl Session {
    /// Runs the process to its end here. Returns the end and how often it was frozen on the way.
    pub(crate) fn run(mut self) -> (Result<End>, u64) {
        let attention = Arc::new(Attention::new(self.process.control()));
        let _socket = self.listen(&attention);
        if let Disturbance::Random(seed) = self.disturbance {
            tick(Arc::downgrade(&attention), seed);
        }
        let ended = loop {
            match block_on(self.process.run()) {
                Ok(Outcome::Exited(code)) => break Ok(End::Exit(code as u8)),
                Ok(Outcome::Raised(signal)) => break Ok(End::Signal(signals::number(signal))),
                Ok(Outcome::Frozen) => {}
                Err(error) => break Err(self.failure(&error)),
            }
            self = match self.frozen(&attention) {
                Ok(Some(session)) => session,
                Ok(None) => break Ok(End::Exit(Code::Frozen.number())),
                Err(failure) => break Err(failure),
            };
        };
        (ended, attention.freezes.load(Ordering::Relaxed))
    }

    /// The process stands frozen: hand it over if somebody waits for it (then `None`), or move it to a fresh store.
    fn frozen(mut self, attention: &Attention) -> Result<Option<Self>> {
        if let Some(request) = attention.next_request() {
            return Ok(if self.hand_over(request) { None } else { Some(self) });
        }
        if self.disturbance == Disturbance::None {
            return Ok(Some(self));
        }
        attention.freezes.fetch_add(1, Ordering::Relaxed);
        let moved = self.into_fresh_store()?;
        attention.control_is(moved.process.control());
        Ok(Some(moved))
    }

    /// Whether the process has left.
    fn hand_over(&mut self, request: FreezeRequest) -> bool {
        let pid = self.process.pid();
        let Some((table, warnings)) = self.origin.snapshot(pid) else {
            request.refuse("its descriptors are not known here");
            return false;
        };
        let devices = table.encode();
        let image = match self.process.capture(CaptureOptions { devices, with_program: true }) {
            Ok(image) => image,
            Err(error) => {
                request.refuse(&error.to_string());
                return false;
            }
        };
        let delivery = request.deliver(|to| image.write_to(to));
        // Failing to write is told to the receiver by `deliver`; here the process simply goes on.
        let left = matches!(delivery, Ok(Delivery::Committed));
        if left {
            for warning in &warnings {
                say(format_args!("{}: {warning}", self.name()));
            }
            say(format_args!("{}: {pid:#} was frozen and goes on where it is thawed", self.name()));
        }
        left
    }

    fn into_fresh_store(mut self) -> Result<Self> {
        let name = self.name();
        let captured =
            self.process.capture(CaptureOptions { devices: Vec::new(), with_program: false });
        let mut image = captured.map_err(|error| Failure::new(Code::Internal, &name, error))?;
        if matches!(self.disturbance, Disturbance::Random(_)) {
            image = through_bytes(&image)
                .map_err(|error| Failure::new(Code::Internal, &name, error))?;
        }
        let freeze_every = match self.disturbance {
            Disturbance::Every(count) => Some(count),
            _ => None,
        };
        let options = ThawOptions {
            pid: None,
            devices: self.process.into_devices(),
            limits: self.limits,
            freeze_every,
        };
        let process = Process::thaw(&self.code, &image, options)
            .map_err(|error| program::spawn_failure(&name, &error))?;
        Ok(Session { process, ..self })
    }

    fn name(&self) -> String {
        self.command.first().cloned().unwrap_or_default()
    }

    /// Makes the process known to `peri ps` and `peri freeze`. Where that is not possible it runs all the same;
    /// `peri doctor` tells why.
    fn listen(&self, attention: &Arc<Attention>) -> Option<(Server, Leftover)> {
        let directory = RuntimeDirectory::open().ok()?;
        let freezable = self.code.kind() != CodeKind::Plain;
        let started =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (pid, command) = (self.process.pid(), self.command.clone());
        let asked = attention.clone();
        let status = move || {
            status(pid, &command, started, freezable, asked.freezes.load(Ordering::Relaxed))
        };
        let asked = attention.clone();
        let freeze = move |request: FreezeRequest| match freezable {
            true => asked.push(request),
            false => request.refuse("it runs --plain and cannot be frozen"),
        };
        let server = Server::start(&directory, pid, status, freeze).ok()?;
        let leftover = Leftover::new(server.socket().to_owned());
        Some((server, leftover))
    }

    fn failure(&self, error: &ProcessError) -> Failure {
        Failure::new(program::end_code(error), self.name(), error)
    }
}

/// A pid is free if no `peri` of this user answers to it.
pub(crate) fn is_running(pid: Pid) -> bool {
    let asked = RuntimeDirectory::open()
        .and_then(|directory| peripatos_host::control::status(&directory, pid));
    !matches!(
        asked,
        Err(ControlError::NoProcess
            | ControlError::Directory { .. }
            | ControlError::NotPrivate { .. })
    )
}

fn through_bytes(image: &Image) -> std::result::Result<Image, peripatos_engine::ImageError> {
    let mut bytes = Vec::new();
    image.write_to(&mut bytes)?;
    Image::read_from(&mut bytes.as_slice(), ImageLimits::default())
}

fn status(
    pid: Pid,
    command: &[String],
    started_unix_seconds: u64,
    freezable: bool,
    freezes: u64,
) -> Status {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Status {
        pid,
        os_process: std::process::id(),
        program: command.first().cloned().unwrap_or_default(),
        args: command.iter().skip(1).cloned().collect(),
        started_unix_seconds,
        cpu_ms: cpu.tv_sec as u64 * 1_000 + cpu.tv_nsec as u64 / 1_000_000,
        freezes,
        freezable,
    }
}

/// Where threads that want something of the process meet the one that runs it.
struct Attention {
    wanted: Mutex<Wanted>,
    freezes: AtomicU64,
}

struct Wanted {
    control: Control,
    requests: VecDeque<FreezeRequest>,
}

impl Attention {
    fn new(control: Control) -> Attention {
        Attention {
            wanted: Mutex::new(Wanted { control, requests: VecDeque::new() }),
            freezes: AtomicU64::new(0),
        }
    }

    fn push(&self, request: FreezeRequest) {
        let mut wanted = self.wanted();
        wanted.requests.push_back(request);
        wanted.control.freeze();
    }

    fn next_request(&self) -> Option<FreezeRequest> {
        self.wanted().requests.pop_front()
    }

    /// The process has a new store. Who asked the old one meanwhile is not forgotten.
    fn control_is(&self, control: Control) {
        let mut wanted = self.wanted();
        if !wanted.requests.is_empty() {
            control.freeze();
        }
        wanted.control = control;
    }

    fn freeze(&self) {
        self.wanted().control.freeze();
    }

    /// A queue and a handle are whole after any panic.
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for a freeze at random times, until the session has ended.
fn tick(attention: std::sync::Weak<Attention>, seed: u64) {
    let mut state = seed;
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_micros(next_random(&mut state) % RANDOM_PAUSE_US_MAX));
            match attention.upgrade() {
                Some(attention) => attention.freeze(),
                None => return,
            }
        }
    });
}

/// SplitMix64 (Steele, Lea, Flood 2014): any seed will do, also 0.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
