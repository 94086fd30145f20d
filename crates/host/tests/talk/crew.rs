//! Processes on this thread, run in turn as long as somebody can go on.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use peripatos_abi::message::Status;
use peripatos_abi::{EndReason, Pid};
use peripatos_engine::{
    Code, CodeKind, Control, Handler, Limits, LoadOptions, Outcome, Process, ProcessError,
    ProcessOptions, Runtime, Settings,
};
use peripatos_host::origin::Origin;
use peripatos_host::talk::{self, HandlerEnd, Line, Looked, Surroundings};
use peripatos_kernel::Place;

/// How a program ended.
pub(crate) type End = Result<Outcome, ProcessError>;

type Run = Pin<Box<dyn Future<Output = (Box<Process>, End)>>>;

pub(crate) struct Crew {
    runs: BTreeMap<Pid, (Run, Arc<Flag>)>,
    pub(crate) ended: BTreeMap<Pid, (Box<Process>, End)>,
    handlers: Vec<(Pid, Arc<Flag>)>,
    pub(crate) over: Vec<(Pid, HandlerEnd)>,
    controls: BTreeMap<Pid, Control>,
    last: u64,
}

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says that somebody can go on, and wakes this thread.
struct Flag(AtomicBool, Thread);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        self.1.unpark();
    }
}

impl Flag {
    fn new(set: bool) -> Arc<Flag> {
        Arc::new(Flag(AtomicBool::new(set), thread::current()))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(Settings::default()).unwrap())
}

fn load(text: &str) -> Code {
    let wasm = wat::parse_str(text).unwrap();
    runtime().load(wasm.into(), LoadOptions { kind: CodeKind::Hot }).unwrap()
}

impl Crew {
    /// Nobody, and a kernel on this thread.
    pub(crate) fn new() -> Crew {
        talk::open(Surroundings {
            deadlock: Box::new(|_| ()),
            place: Place { node: 0, core: 0 },
            era: 0,
            names: Arc::default(),
            post: Box::new(Some),
            locate: Box::new(|_| None),
            named: Box::new(|| {}),
            kill: Box::new(|_| {}),
            settle: Rc::new(|_| Err(Status::NotPermitted)),
            calls: Arc::default(),
            turn: |_, _| false,
            begin_looking: || {},
            look_out: || Looked::NotNow,
            again: Rc::new(|_| {}),
        });
        Crew {
            runs: BTreeMap::new(),
            ended: BTreeMap::new(),
            handlers: Vec::new(),
            over: Vec::new(),
            controls: BTreeMap::new(),
            last: 0,
        }
    }

    fn options(&mut self) -> (Pid, ProcessOptions) {
        self.last += 1;
        let pid = Pid::new(self.last, 0x5eed_0000 + self.last);
        let origin = Origin::new();
        origin.open(pid, &[]).unwrap();
        let options = ProcessOptions {
            pid,
            args: vec![b"program".to_vec()],
            env: Vec::new(),
            devices: Box::new(origin),
            limits: Limits::default(),
            freeze_every: None,
        };
        (pid, options)
    }

    /// A program in the text format.
    pub(crate) fn program(&mut self, text: &str) -> Pid {
        let (pid, options) = self.options();
        let mut process = Process::spawn(&load(text), options).unwrap();
        process.set_messages(Box::new(Line::new(pid)));
        talk::adopt(pid, None);
        self.run_on(Box::new(process));
        pid
    }

    /// A process goes on, from its beginning or where it was frozen.
    pub(crate) fn run_on(&mut self, mut process: Box<Process>) {
        let pid = process.pid();
        self.controls.insert(pid, process.control());
        let run = async move {
            let end = process.run().await;
            (process, end)
        };
        let flag = Flag::new(true);
        self.runs.insert(pid, (Box::pin(run), flag));
    }

    /// A handler in the text format.
    pub(crate) fn handler(&mut self, text: &str) -> Pid {
        let (pid, options) = self.options();
        let mut handler = Handler::spawn(&load(text), options).unwrap();
        handler.set_messages(Box::new(Line::new(pid)));
        let flag = Flag::new(false);
        assert!(talk::adopt_handler(Box::new(handler), Waker::from(Arc::clone(&flag)), None));
        self.handlers.push((pid, flag));
        pid
    }

    /// Runs whoever can go on, until nobody can.
    pub(crate) fn run(&mut self) {
        loop {
            let mut went_on = false;
            let ready: Vec<Pid> = self
                .runs
                .iter()
                .filter(|(_, (_, flag))| flag.take())
                .map(|(pid, _)| *pid)
                .collect();
            for pid in ready {
                went_on = true;
                self.poll(pid);
            }
            for (pid, flag) in &self.handlers {
                if flag.take() {
                    talk::resume_handler(*pid);
                }
            }
            while talk::work() {
                went_on = true;
            }
            while let Some(over) = talk::next_over() {
                self.over.push(over);
            }
            if !went_on {
                return;
            }
        }
    }

    fn poll(&mut self, pid: Pid) {
        let Some((run, flag)) = self.runs.get_mut(&pid) else { return };
        let waker = Waker::from(Arc::clone(flag));
        if let Poll::Ready((process, end)) = run.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.runs.remove(&pid);
            if !matches!(end, Ok(Outcome::Frozen)) {
                talk::ended(pid, EndReason::Killed);
            }
            self.ended.insert(pid, (process, end));
        }
    }

    /// Runs all until this one has ended, and says with what code it has exited. Its code may be compiled meanwhile.
    pub(crate) fn exit_code(&mut self, pid: Pid) -> u32 {
        let started = Instant::now();
        self.run();
        while !self.ended.contains_key(&pid) && started.elapsed() < PATIENCE {
            let next = talk::next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            thread::park_timeout(next.unwrap_or(PATIENCE));
            talk::expire(Instant::now());
            self.run();
        }
        match self.ended.get(&pid) {
            Some((_, Ok(Outcome::Exited(code)))) => *code,
            Some((_, end)) => panic!("{pid} ended otherwise: {end:?}"),
            None => panic!("{pid} has not ended"),
        }
    }

    /// Freezes a process that waits.
    pub(crate) fn freeze(&mut self, pid: Pid) {
        self.controls[&pid].freeze();
        self.run();
    }

    /// One that was frozen goes on.
    pub(crate) fn go_on(&mut self, pid: Pid) {
        let (process, _) = self.ended.remove(&pid).expect("it was frozen");
        self.run_on(process);
    }

    /// Whether it waits for something.
    pub(crate) fn waits(&self, pid: Pid) -> bool {
        self.runs.contains_key(&pid)
    }

    /// Ends a process where it is.
    pub(crate) fn kill(&mut self, pid: Pid) {
        self.runs.remove(&pid);
        talk::ended(pid, EndReason::Killed);
    }
}
