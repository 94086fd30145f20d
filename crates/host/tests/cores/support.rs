//! Programs, their streams, and cores whose events come through a channel.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_engine::{
    CaptureOptions, Code, CodeKind, Image, ImageLimits, Limits, LoadOptions, Process,
    ProcessOptions, Runtime, Settings, ThawOptions,
};
use peripatos_host::cores::{CoreEvent, Cores, ProcessEnd, Sample};
use peripatos_host::origin::{Origin, Streams};

/// Longer than anything here takes on the slowest machine: then something is lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Counts until there is something on standard input, or its end; then prints the count and what was
/// computed on the way, as 16 bytes. Looks at the input every 2^16 rounds.
const COUNTING: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $flags (param i32 i32) (result i32)))
    (memory (export "memory") 3)
    ;; At 0 the buffer of the output, at 8 that of the input.
    (data (i32.const 0) "\20\00\00\00\10\00\00\00\40\00\00\00\01\00\00\00")
    (func $step (param i64) (result i64)
        (i64.add (i64.mul (local.get 0) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
    (func (export "_start") (local $count i64) (local $value i64)
        ;; Not to wait for input.
        (if (call $flags (i32.const 0) (i32.const 4)) (then unreachable))
        (loop $again
            (local.set $value (call $step (local.get $value)))
            (local.set $count (i64.add (local.get $count) (i64.const 1)))
            (br_if $again (i64.ne (i64.and (local.get $count) (i64.const 0xffff)) (i64.const 0)))
            (br_if $again (i32.ne (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 16)) (i32.const 0))))
        (i64.store (i32.const 32) (local.get $count))
        (i64.store (i32.const 40) (local.get $value))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Waits for a byte of input, and prints it.
const WAITING: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\20\00\00\00\01\00\00\00")
    (func (export "_start")
        (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)) (then unreachable))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Traps at once.
const TRAPPING: &str =
    r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;

/// The programs, compiled.
pub(crate) struct Programs {
    pub(crate) counting: Code,
    /// The same, for [`Guest::spawn_frozen`].
    pub(crate) counting_down: Code,
    pub(crate) counting_plain: Code,
    pub(crate) waiting: Code,
    pub(crate) trapping: Code,
}

impl Programs {
    pub(crate) fn new() -> Programs {
        let settings = Settings { stack_bytes: 1 << 20, ..Settings::default() };
        let runtime = Runtime::new(settings).unwrap();
        let load = |text: &str, kind| {
            let wasm = wat::parse_str(text).unwrap();
            runtime.load(wasm.into(), LoadOptions { kind }).unwrap()
        };
        Programs {
            counting: load(COUNTING, CodeKind::Hot),
            counting_down: load(COUNTING, CodeKind::CountDown),
            counting_plain: load(COUNTING, CodeKind::Plain),
            waiting: load(WAITING, CodeKind::Hot),
            trapping: load(TRAPPING, CodeKind::Hot),
        }
    }
}

/// A process's other end: its streams, and who serves it.
pub(crate) struct Guest {
    pub(crate) pid: Pid,
    code: Code,
    origin: Origin,
    input: PipeWriter,
    output: PipeReader,
}

impl Guest {
    /// A new process with streams of its own.
    pub(crate) fn spawn(code: &Code, number: u64) -> (Guest, Process) {
        Guest::spawn_frozen(code, number, None)
    }

    /// One that freezes by itself at every so many checks.
    pub(crate) fn spawn_frozen(
        code: &Code,
        number: u64,
        freeze_every: Option<u32>,
    ) -> (Guest, Process) {
        let (stdin, input) = std::io::pipe().unwrap();
        let (output, stdout) = std::io::pipe().unwrap();
        let stderr = stdout.try_clone().unwrap();
        let file = |fd: OwnedFd| File::from(fd);
        let files = [file(stdin.into()), file(stdout.into()), file(stderr.into())];
        let origin = Origin::with_streams(Streams::Files(files));
        let pid = Pid::new(number, 7);
        origin.open(pid, &[]).unwrap();
        let options = ProcessOptions {
            pid,
            args: vec![b"program".to_vec()],
            env: Vec::new(),
            devices: Box::new(origin.clone()),
            limits: Limits::default(),
            freeze_every,
        };
        let process = Process::spawn(code, options).unwrap();
        (Guest { pid, code: code.clone(), origin, input, output }, process)
    }

    /// Gives the process the byte that it ends on.
    pub(crate) fn finish(&mut self) {
        self.input.write_all(b"!").unwrap();
    }

    /// What the process has printed. Only to be called after its end.
    pub(crate) fn output(&mut self) -> Vec<u8> {
        self.origin.close(self.pid);
        // Of the writing ends, one is the origin's own.
        self.origin = Origin::new();
        let mut output = Vec::new();
        self.output.read_to_end(&mut output).unwrap();
        output
    }

    /// That the counting program's output is right; how far it has counted.
    pub(crate) fn check_count(&mut self) -> u64 {
        let output = self.output();
        let word = |at: usize| u64::from_le_bytes(output[at..at + 8].try_into().unwrap());
        assert_eq!(output.len(), 16);
        let (count, value) = (word(0), word(8));
        assert!(count > 0 && count.is_multiple_of(1 << 16), "{count}");
        assert_eq!(value, steps(count));
        count
    }

    /// The same process in a fresh store, by way of an image's bytes.
    pub(crate) fn through_image(&self, mut process: Process) -> Process {
        let image = process.capture(CaptureOptions::default()).unwrap();
        let mut bytes = Vec::new();
        image.write_to(&mut bytes).unwrap();
        let image = Image::read_from(&mut bytes.as_slice(), ImageLimits::default()).unwrap();
        let options = ThawOptions {
            pid: None,
            devices: process.into_devices(),
            limits: Limits::default(),
            freeze_every: None,
        };
        Process::thaw(&self.code, &image, options).unwrap()
    }
}

/// So many steps of the counting program's generator at once: the step is an affine map, and so is any
/// number of them.
fn steps(mut count: u64) -> u64 {
    let (mut factor, mut summand) = (6_364_136_223_846_793_005_u64, 1_442_695_040_888_963_407_u64);
    let mut value = 0_u64;
    while count > 0 {
        if count & 1 == 1 {
            value = value.wrapping_mul(factor).wrapping_add(summand);
        }
        summand = summand.wrapping_mul(factor).wrapping_add(summand);
        factor = factor.wrapping_mul(factor);
        count >>= 1;
    }
    value
}

/// Cores, and their events.
pub(crate) struct Node {
    pub(crate) cores: Cores,
    events: Receiver<CoreEvent>,
    /// Those that came before the one that was waited for.
    early: VecDeque<CoreEvent>,
}

impl Node {
    pub(crate) fn new(count: usize) -> Node {
        let (sender, events) = channel();
        let cores = Cores::start(count, move |event| drop(sender.send(event))).unwrap();
        Node { cores, events, early: VecDeque::new() }
    }

    /// Runs a new process.
    pub(crate) fn spawn(&self, code: &Code, number: u64) -> Guest {
        let (guest, process) = Guest::spawn(code, number);
        self.cores.run(process).unwrap();
        guest
    }

    /// The next event of this process.
    pub(crate) fn event(&mut self, pid: Pid) -> CoreEvent {
        if let Some(at) = self.early.iter().position(|event| of(event) == pid) {
            return self.early.remove(at).unwrap();
        }
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap();
            if of(&event) == pid {
                return event;
            }
            self.early.push_back(event);
        }
    }

    /// Asks for a freeze, which must be answered with the process.
    pub(crate) fn freeze(&mut self, pid: Pid) -> Process {
        self.cores.freeze(pid).unwrap();
        match self.event(pid) {
            CoreEvent::Stopped { process, .. } => process,
            event => panic!("{event:?}"),
        }
    }

    /// Waits for the end of a process.
    pub(crate) fn end(&mut self, pid: Pid) -> ProcessEnd {
        match self.event(pid) {
            CoreEvent::Ended { end, .. } => end,
            event => panic!("{event:?}"),
        }
    }

    /// That a process ends by itself, as it should.
    pub(crate) fn exits(&mut self, pid: Pid) {
        let end = self.end(pid);
        assert!(matches!(end, ProcessEnd::Exited(0)), "{end:?}");
    }

    pub(crate) fn sample(&self, pid: Pid) -> Sample {
        *self.cores.sample().iter().find(|sample| sample.pid == pid).unwrap()
    }

    /// Samples until there is what is wanted.
    pub(crate) fn wait_for<T>(&self, wanted: impl Fn(&[Sample]) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let samples = self.cores.sample();
            if let Some(found) = wanted(&samples) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{samples:?}");
            std::thread::yield_now();
        }
    }

    /// Samples until this process is as wanted.
    pub(crate) fn wait_until(&self, pid: Pid, wanted: impl Fn(&Sample) -> bool) {
        self.wait_for(|samples| {
            samples.iter().any(|sample| sample.pid == pid && wanted(sample)).then_some(())
        });
    }

    /// Waits until this process has used CPU time beyond what it has used now.
    pub(crate) fn wait_for_progress(&self, pid: Pid) {
        let before = self.sample(pid).cpu;
        self.wait_until(pid, |sample| sample.cpu > before + Duration::from_millis(5));
    }

    /// That no process is left, and nothing is told of one.
    pub(crate) fn is_empty(&self) -> bool {
        self.cores.sample().is_empty() && self.early.is_empty() && self.events.try_recv().is_err()
    }
}

fn of(event: &CoreEvent) -> Pid {
    match event {
        CoreEvent::Stopped { process, .. } => process.pid(),
        CoreEvent::Ended { pid, .. } => *pid,
        CoreEvent::Deadlock(circle) => circle.pids[0],
    }
}
