//! The cores of a node: kernel threads that run processes side by side, each for a slice of time.
//!
//! [`Cores::run`] takes a process; from then on it belongs to the cores, until an event hands it back
//! ([`CoreEvent::Stopped`]) or tells its end ([`CoreEvent::Ended`]). In between it is running, in a
//! queue, or waiting for a reply; it may change cores whenever it is not running, for a suspended
//! process is bound to no thread.
//!
//! Each core owns its processes (`core.rs`): the table, the queue and all that runs are reached from its own
//! thread and from nowhere else, without a lock. Between cores, and from outside, go *packets* (`packet.rs`)
//! into a core's *inbox*; a packet may carry a process whole, with its store and its stack. What all may
//! read, and what a core looks at before it lets a process run, is on the *board*.
//!
//! Invariants:
//! * Each process that was taken is followed by exactly one event of its own, unless the cores are dropped first:
//!   that tells nothing. A freeze or kill that was accepted is answered by that event.
//! * Events come from the core threads, outside of any lock, never from within a call of [`Cores`].
//! * No core is idle while another's queue holds a process that could run elsewhere, but for the time
//!   that packets travel: what runs is made to give way at its next check, so that its core reads them.
//!   (A core that delivers an event reads none; what is in its queue waits.)
//! * Freezes and kills go ahead of everything else on the process's core, wherever it was given meanwhile.
//! * A process that waits uses no CPU, a core without work parks, and the ticker sleeps unless two
//!   processes want one core.
//! * No lock is held while a process runs, an event is delivered, or something is asked of a
//!   [`Control`](peripatos_engine::Control) (which may call a waker).
//!
//! Where to begin: `turns.rs` is the loop of a core, `core.rs` what it decides, `board.rs` what others do to it.
//!
//! Considered: one lock over all queues. It is not felt while a slice is 10 ms, but by processes that talk to each
//! other a million times a second: they are to reach their core's table without asking anybody. And a lock a
//! core, with stealing from each other's queues: then no core could rely on its own table, and each step would
//! pay for the rare one.
//!
//! What it does not do: move processes between nodes, or decide who should go ([`Cores::sample`] is what
//! the balancer decides by).

mod bell;
mod board;
mod core;
mod cpus;
mod crossing;
mod execution;
mod giving;
mod habits;
mod handlers;
mod held;
mod here;
mod idle;
mod inbox;
mod lane;
mod lately;
mod letterbox;
mod lookout;
mod nested;
mod outside;
mod packet;
mod parting;
mod post;
mod queue;
mod registry;
mod sleep;
mod speed;
mod table;
mod tag;
mod talks;
mod ticker;
mod turns;
mod used;
mod watch;
mod wires;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peripatos_abi::{Pid, Signal};
use peripatos_engine::{Handler, PreCopy, Process, ProcessError};

pub use letterbox::Letterbox;
pub use outside::Outside;
pub use sleep::IDLE_MAX;
pub(crate) use used::Used;
pub(crate) use wires::Wire;

pub use crate::crowd::awake_max;

use board::Board;
use outside::Nowhere;
use peripatos_abi::EndReason;
use peripatos_kernel::Circle;
use post::Post;
use speed::Speed;
pub use talks::Talks;

use crate::talk::{Leaving, Share};

/// Processes of a node, whatever they do ([`Refusal::Full`]).
pub const PROCESSES_MAX: usize = 1_000_000;

/// Cores of a node: what Linux tells of CPUs in one mask.
pub const CORES_MAX: usize = 1024;

/// How long a process runs on while another one waits for its core.
pub const SLICE: Duration = Duration::from_millis(10);

/// The threads that run a node's processes. Dropped, it ends all of both, and has waited for it.
pub struct Cores {
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
    /// Held as long as the threads are pinned.
    cpus: Vec<cpus::Claim>,
    /// Measured when somebody asks.
    speed: Mutex<Option<Speed>>,
}

/// What became of a process.
pub enum CoreEvent {
    /// It is frozen as asked, and no longer here: capture it, run it again, or drop it.
    Stopped {
        /// The whole process.
        process: Process,
        /// What it has under way with others; to be given to [`Cores::run_on`].
        talking: Option<Box<Leaving>>,
        /// CPU time that it used since it was given to [`Cores::run`].
        cpu: Duration,
    },
    /// It has ended; nothing is left of it.
    Ended {
        /// Its name.
        pid: Pid,
        /// How.
        end: ProcessEnd,
        /// CPU time that it used since it was given to [`Cores::run`].
        cpu: Duration,
    },
    /// Processes were waiting for each other in a circle, and one of them has been told. Not of all circles is told, if
    /// there are many.
    Deadlock(Circle),
}

/// How a process ended.
#[derive(Debug)]
pub enum ProcessEnd {
    /// It exited with this code.
    Exited(u32),
    /// It raised this signal against itself.
    Raised(Signal),
    /// It trapped, or could not go on.
    Failed(ProcessError),
    /// [`Cores::kill`] ended it.
    Killed,
}

/// How one process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which.
    pub pid: Pid,
    /// The core it runs on, is queued at, or ran on last.
    pub core: usize,
    /// CPU time that it used since it was given to [`Cores::run`], what it runs now included.
    pub cpu: Duration,
    /// False: it waits for a reply. (Waiting for its own code to be compiled counts as running.)
    pub runnable: bool,
    /// It is put aside as an image until something comes for it.
    pub asleep: bool,
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// With whom it talks.
    pub talks: Talks,
}

/// A process was not taken. Nothing has happened to it.
#[derive(thiserror::Error)]
#[error("{:#} cannot run here: {refusal}", process.pid())]
pub struct RunError {
    /// The process.
    pub process: Box<Process>,
    /// What it has under way with others.
    pub talking: Option<Box<Leaving>>,
    /// Why.
    pub refusal: Refusal,
}

/// A handler was not taken. Nothing has happened to it.
#[derive(thiserror::Error)]
#[error("{:#} cannot run here: {refusal}", handler.pid())]
pub struct ServeError {
    /// The handler.
    pub handler: Box<Handler>,
    /// Why.
    pub refusal: Refusal,
}

/// Why a process was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node is full.
    #[error("the node has {PROCESSES_MAX} processes already, and takes no more")]
    Full,
    /// Its name is taken.
    #[error("a process of this pid runs here already")]
    Duplicate,
    /// It could be neither preempted nor frozen nor killed.
    #[error("its code is plain, without the checks by which processes share a core")]
    Plain,
}

/// No process of this pid is on the cores: it has been handed out, has ended, or was never here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:#} does not run on this node")]
pub struct NotHere(pub Pid);

impl Cores {
    /// Starts `count` threads, each pinned to a CPU of its own as far as this OS process may use so many and no other
    /// node has them.
    ///
    /// `events` is called on the core threads and keeps its core from working meanwhile. It may call
    /// the cores, and drop them. It must not panic: that ends the core.
    ///
    /// # Errors
    /// If a thread cannot be started, or `count` is not 1 to [`CORES_MAX`]; nothing runs then.
    pub fn start(
        count: usize,
        events: impl Fn(CoreEvent) + Send + Sync + 'static,
    ) -> io::Result<Cores> {
        Cores::start_with(count, 0, Box::new(Nowhere), awake_max(), events)
    }

    /// The same, for a node among others, of that name.
    ///
    /// # Errors
    /// As [`Cores::start`].
    pub fn start_among(
        count: usize,
        node: u128,
        outside: Box<dyn Outside>,
        events: impl Fn(CoreEvent) + Send + Sync + 'static,
    ) -> io::Result<Cores> {
        Cores::start_with(count, node, outside, awake_max(), events)
    }

    /// The same, with another limit in place of [`awake_max`]. With 0 whoever waits sleeps.
    ///
    /// # Errors
    /// As [`Cores::start`].
    pub fn start_with(
        count: usize,
        node: u128,
        outside: Box<dyn Outside>,
        awake_max: usize,
        events: impl Fn(CoreEvent) + Send + Sync + 'static,
    ) -> io::Result<Cores> {
        if !(1..=CORES_MAX).contains(&count) {
            let message = format!("a node has 1 to {CORES_MAX} cores, not {count}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let board = Arc::new(Board::new(count, node, outside, awake_max, Box::new(events))?);
        let cpus = cpus::claim(count);
        let numbers: Vec<_> = cpus.iter().map(cpus::Claim::cpu).collect();
        // If a thread cannot be started, dropping this ends those that were.
        let speed = Mutex::new(None);
        let mut cores = Cores { board, threads: Vec::new(), cpus, speed };
        let board = Arc::clone(&cores.board);
        cores.spawn("ticker".to_owned(), move || ticker::serve(&board))?;
        for core in 0..count {
            let (board, cpu) = (Arc::clone(&cores.board), numbers.get(core).copied());
            cores.spawn(format!("core-{core}"), move || turns::serve(&board, core, cpu))?;
        }
        Ok(cores)
    }

    /// What a core does in a second, in thousandths of what one of the reference does: as measured when this is first asked, less what others on
    /// this machine take. It is looked at ten times a second at most.
    pub fn speed_permille(&self) -> u32 {
        let mut speed = self.speed.lock().unwrap_or_else(PoisonError::into_inner);
        let speed = speed.get_or_insert_with(|| {
            let pinned: Vec<usize> = self.cpus.iter().map(cpus::Claim::cpu).collect();
            let all = pinned.len() == self.board.cores();
            Speed::measure(self.board.cores(), if all { pinned } else { cpus::allowed() })
        });
        speed.permille(|| {
            let times = self.board.posts().iter().map(Post::times);
            times.fold((Duration::ZERO, Duration::ZERO), |sum, one| (sum.0 + one.0, sum.1 + one.1))
        })
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Takes a new, thawed or frozen process, or a handler that was stopped or thawed: it is runnable from now on, on the core with the least
    /// to do. A frozen one goes on where it stood (thaw in place).
    ///
    /// One that freezes without being asked to (`freeze_every`) goes on at once.
    ///
    /// # Errors
    /// The process comes back if it cannot be taken.
    pub fn run(&self, process: Process) -> Result<(), RunError> {
        self.board.run(process, None, None)
    }

    /// The same, of a process that has something under way with others: it was stopped in the middle, here or elsewhere.
    ///
    /// # Errors
    /// As [`Cores::run`].
    pub fn run_on(&self, process: Process, talking: Option<Box<Leaving>>) -> Result<(), RunError> {
        self.board.run(process, talking, None)
    }

    /// The same, of a process whose family may use so much of the CPUs.
    ///
    /// # Errors
    /// As [`Cores::run`].
    pub fn run_within(
        &self,
        process: Process,
        talking: Option<Box<Leaving>>,
        share: Option<Arc<Share>>,
    ) -> Result<(), RunError> {
        self.board.run(process, talking, share)
    }

    /// Where packets for the cores are left, and their names are kept.
    #[must_use]
    pub fn letterbox(&self) -> Letterbox {
        Letterbox::of(&self.board)
    }

    /// Takes a handler: it can be called from now on.
    ///
    /// # Errors
    /// The handler comes back if it cannot be taken.
    pub fn serve(&self, handler: Handler) -> Result<(), ServeError> {
        self.board.serve(Box::new(handler))
    }

    /// Asks a handler to go to this one of the cores, with all that it has under way: nobody can tell. One that is being
    /// called goes when it has answered, or waits.
    ///
    /// # Errors
    /// No handler of this pid is here.
    pub fn shift_handler(&self, pid: Pid, core: usize) -> Result<(), NotHere> {
        self.board.shift_handler(pid, core)
    }

    /// From now on no process goes to another core by itself: for whoever measures what they cost each other where they are.
    pub fn keep_in_place(&self) {
        self.board.stay();
    }

    /// Asks a process to freeze, ahead of all that its core has to do otherwise. Returns at once; the
    /// answer is [`CoreEvent::Stopped`], or [`CoreEvent::Ended`] if that came first. Asking twice has
    /// one answer.
    ///
    /// # Errors
    /// The process is not here; no event will come.
    pub fn freeze(&self, pid: Pid) -> Result<(), NotHere> {
        self.board.freeze(pid)
    }

    /// Begins to copy the memory of a process while it runs.
    ///
    /// # Errors
    /// It is not here, sleeps, or cannot be copied here: why.
    pub fn pre_copy(&self, pid: Pid) -> Result<PreCopy, String> {
        let control = self.board.registry.control(pid).map_err(|error| error.to_string())?;
        control.pre_copy()
    }

    /// Ends a process, if it runs at its next check. Returns at once; the answer is
    /// [`CoreEvent::Ended`] with [`ProcessEnd::Killed`], or with its own end if that came first.
    ///
    /// # Errors
    /// The process is not here; no event will come.
    pub fn kill(&self, pid: Pid) -> Result<(), NotHere> {
        self.board.kill(pid)
    }

    /// How those are doing of whom something has changed since this was asked last; ordered by pid.
    #[must_use]
    pub fn sample_changed(&self) -> Vec<Sample> {
        self.board.sample_changed()
    }

    /// [`Cores::sample_changed`] is to tell of this one again, whether it has changed or not.
    pub fn sample_again(&self, pid: Pid) {
        self.board.registry.sample_again(pid);
    }

    /// How all processes are doing, ordered by pid. Stops nothing.
    #[must_use]
    pub fn sample(&self) -> Vec<Sample> {
        self.board.sample()
    }
}

impl ProcessEnd {
    /// For those who watch it.
    fn reason(&self) -> EndReason {
        match self {
            ProcessEnd::Exited(code) => EndReason::Exited(*code),
            ProcessEnd::Raised(signal) => EndReason::Raised(*signal),
            ProcessEnd::Failed(_) => EndReason::Trapped,
            ProcessEnd::Killed => EndReason::Killed,
        }
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.board.close();
        for thread in self.threads.drain(..) {
            // The last handle may be dropped by an event, on a core; that core ends after it.
            if thread.thread().id() != thread::current().id() {
                // A thread that panicked has ended, too.
                let _ = thread.join();
            }
        }
    }
}

/// Processes have no form that says more than their names.
impl std::fmt::Debug for CoreEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CoreEvent::Stopped { process, cpu, .. } => {
                let pid = process.pid();
                f.debug_struct("Stopped").field("pid", &pid).field("cpu", cpu).finish()
            }
            CoreEvent::Deadlock(circle) => f.debug_tuple("Deadlock").field(circle).finish(),
            CoreEvent::Ended { pid, end, cpu } => f
                .debug_struct("Ended")
                .field("pid", pid)
                .field("end", end)
                .field("cpu", cpu)
                .finish(),
        }
    }
}

impl std::fmt::Debug for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pid = self.process.pid();
        f.debug_struct("RunError").field("pid", &pid).field("refusal", &self.refusal).finish()
    }
}

impl std::fmt::Debug for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pid = self.handler.pid();
        f.debug_struct("ServeError").field("pid", &pid).field("refusal", &self.refusal).finish()
    }
}

impl std::fmt::Debug for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cores").field("threads", &self.threads).finish_non_exhaustive()
    }
}
