//! All processes of the cores, and every step that one takes from one stand to another, under one
//! lock.
//!
//! A control is used, and a run dropped, only outside of the lock: either may call a waker, which
//! takes it.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use peripatos_abi::Pid;
use peripatos_engine::{CodeKind, Control, Outcome, Process};

use super::cpus::ThreadClock;
use super::queue::{End, Queues};
use super::task::{Execution, RunEnd, Stand, Task, Wish};
use super::{CoreEvent, NotHere, PROCESSES_MAX, ProcessEnd, Refusal, RunError, Sample};

/// What the core threads, the ticker and the callers share.
pub(super) struct Kernel {
    state: Mutex<State>,
    /// Where each core parks.
    parked: Vec<Condvar>,
    /// Where the ticker sleeps.
    ticker: Condvar,
    /// Each core's clock, once it has started.
    clocks: Vec<OnceLock<ThreadClock>>,
    events: Box<dyn Fn(CoreEvent) + Send + Sync>,
}

struct State {
    tasks: HashMap<Pid, Task>,
    queues: Queues,
    /// When the ticker looks next; `None`: when it is notified.
    tick_at: Option<Instant>,
    closing: bool,
}

/// A process whose turn it is.
pub(super) struct Turn {
    pid: Pid,
    execution: Execution,
    killed: bool,
}

impl Turn {
    /// Runs the process, unless it is to run no more.
    pub(super) fn run(&mut self) -> Poll<RunEnd> {
        if self.killed { Poll::Pending } else { self.execution.poll() }
    }
}

/// What a core or the ticker does.
impl Kernel {
    pub(super) fn new(cores: usize, events: Box<dyn Fn(CoreEvent) + Send + Sync>) -> Kernel {
        let state = State {
            tasks: HashMap::new(),
            queues: Queues::new(cores),
            tick_at: None,
            closing: false,
        };
        Kernel {
            state: Mutex::new(state),
            parked: (0..cores).map(|_| Condvar::new()).collect(),
            ticker: Condvar::new(),
            clocks: (0..cores).map(|_| OnceLock::new()).collect(),
            events,
        }
    }

    /// From now on others can read the time that this thread has used.
    pub(super) fn show_clock(&self, core: usize) {
        if let Some(clock) = ThreadClock::own() {
            let _ = self.clocks[core].set(clock);
        }
    }

    /// Parks until there is somebody to run, whose slice then begins. `cpu` is what the thread has
    /// used so far. `None`: the cores close.
    pub(super) fn next(&self, core: usize, cpu: Duration) -> Option<Turn> {
        let mut state = self.lock();
        let pid = loop {
            if state.closing {
                return None;
            }
            match state.queues.take(core, Instant::now(), cpu) {
                Some(pid) => break pid,
                None => state = wait(&self.parked[core], state),
            }
        };
        self.tell_ticker(&state, core);
        let task = state.tasks.get_mut(&pid).expect("who is queued is in the table");
        task.core = core;
        match mem::replace(&mut task.stand, Stand::Running { woken: false }) {
            Stand::Queued(execution) => {
                Some(Turn { pid, execution, killed: task.wish == Wish::Kill })
            }
            Stand::Waiting(_) | Stand::Running { .. } => {
                unreachable!("a process in a queue stands there")
            }
        }
    }

    /// A slice is over: the process is queued again, waits, or leaves with an event.
    pub(super) fn end_slice(
        self: &Arc<Self>,
        core: usize,
        turn: Turn,
        polled: Poll<RunEnd>,
        used: Duration,
    ) -> Option<CoreEvent> {
        let Turn { pid, execution, .. } = turn;
        let mut guard = self.lock();
        let state = &mut *guard;
        state.queues.end_slice(core);
        let task = state.tasks.get_mut(&pid).expect("who runs is in the table");
        task.cpu += used;
        let closing = state.closing;
        let over = closing || task.wish == Wish::Kill;
        let woken = matches!(task.stand, Stand::Running { woken: true });
        match polled {
            Poll::Pending if !over && woken => {
                self.enqueue(state, pid, execution);
                None
            }
            Poll::Pending if !over => {
                task.stand = Stand::Waiting(execution);
                None
            }
            // Nobody wants it to stand still: a test freezes it at every so many checks.
            Poll::Ready(Ok((process, Outcome::Frozen))) if !over && task.wish == Wish::None => {
                self.enqueue(state, pid, Execution::new(process, Arc::downgrade(self)));
                None
            }
            polled => {
                let cpu = task.cpu;
                state.tasks.remove(&pid);
                drop(guard);
                drop(execution);
                let event = leave(pid, polled, over, cpu);
                (!closing).then_some(event)
            }
        }
    }

    /// Delivers an event.
    pub(super) fn tell(&self, event: CoreEvent) {
        (self.events)(event);
    }

    /// Sleeps until slices are over, and names their processes. `None`: the cores close.
    pub(super) fn expired(&self) -> Option<Vec<Control>> {
        let mut state = self.lock();
        while !state.closing {
            let expired = state.queues.expired(Instant::now());
            if !expired.is_empty() {
                return Some(state.controls(expired));
            }
            state.tick_at = state.queues.next_deadline();
            state = match state.tick_at.map(|at| at.saturating_duration_since(Instant::now())) {
                None => wait(&self.ticker, state),
                Some(left) => {
                    let waited = self.ticker.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        None
    }

    /// The ticker has to look at this core, and may not know it yet.
    fn tell_ticker(&self, state: &State, core: usize) {
        let deadline = state.queues.deadline(core);
        if deadline.is_some_and(|deadline| state.tick_at.is_none_or(|at| deadline < at)) {
            self.ticker.notify_one();
        }
    }

    /// Puts a process into its core's queue; in front if it is to be frozen or killed.
    fn enqueue(&self, state: &mut State, pid: Pid, execution: Execution) {
        let task = state.tasks.get_mut(&pid).expect("the caller has just found it");
        task.stand = Stand::Queued(execution);
        let (core, end) = (task.core, if task.wish == Wish::None { End::Back } else { End::Front });
        if let Some(idle) = state.queues.push(core, pid, end) {
            self.parked[idle].notify_one();
        }
        self.tell_ticker(state, core);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a broken invariant of this module; going on with what is there
        // lets the other processes end in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What callers and wakers do.
impl Kernel {
    pub(super) fn run(self: &Arc<Self>, process: Process) -> Result<(), RunError> {
        let pid = process.pid();
        let mut guard = self.lock();
        let state = &mut *guard;
        let refusal = if process.kind() == CodeKind::Plain {
            Some(Refusal::Plain)
        } else if state.tasks.contains_key(&pid) {
            Some(Refusal::Duplicate)
        } else {
            (state.tasks.len() >= PROCESSES_MAX).then_some(Refusal::Full)
        };
        if let Some(refusal) = refusal {
            return Err(RunError { process: Box::new(process), refusal });
        }
        let task = Task {
            control: process.control(),
            // For the moment: it has no execution yet.
            stand: Stand::Running { woken: false },
            core: state.queues.least_loaded(),
            wish: Wish::None,
            cpu: Duration::ZERO,
        };
        state.tasks.insert(pid, task);
        self.enqueue(state, pid, Execution::new(process, Arc::downgrade(self)));
        Ok(())
    }

    /// A process can go on.
    pub(super) fn wake(&self, pid: Pid) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(task) = state.tasks.get_mut(&pid) else { return };
        match mem::replace(&mut task.stand, Stand::Running { woken: true }) {
            Stand::Waiting(execution) => self.enqueue(state, pid, execution),
            Stand::Queued(execution) => task.stand = Stand::Queued(execution),
            Stand::Running { .. } => {}
        }
    }

    pub(super) fn freeze(&self, pid: Pid) -> Result<(), NotHere> {
        let control = self.wish(pid, Wish::Freeze)?;
        // First the request, then the turn: else the turn might be over before it.
        control.freeze();
        self.hurry(pid);
        Ok(())
    }

    pub(super) fn kill(&self, pid: Pid) -> Result<(), NotHere> {
        self.wish(pid, Wish::Kill)?;
        self.hurry(pid);
        Ok(())
    }

    fn wish(&self, pid: Pid, wish: Wish) -> Result<Control, NotHere> {
        let mut state = self.lock();
        let task = state.tasks.get_mut(&pid).ok_or(NotHere(pid))?;
        task.wish = task.wish.max(wish);
        Ok(task.control.clone())
    }

    /// Gives a process that is to be frozen or killed the next turn on its core, at once.
    fn hurry(&self, pid: Pid) {
        self.wake(pid);
        let mut guard = self.lock();
        let state = &mut *guard;
        // It may be gone by now, or even back.
        let Some(task) = state.tasks.get(&pid).filter(|task| task.wish != Wish::None) else {
            return;
        };
        let (core, wish) = (task.core, task.wish);
        state.queues.advance(core, pid);
        // One that runs has its request to freeze already, and need not give way before.
        let running = state.queues.running(core).map(|slice| slice.pid);
        let running = running.filter(|running| *running != pid || wish == Wish::Kill);
        let controls = state.controls(running);
        drop(guard);
        controls.iter().for_each(Control::preempt);
    }

    pub(super) fn sample(&self) -> Vec<Sample> {
        let state = self.lock();
        let samples = state.tasks.iter().map(|(pid, task)| Sample {
            pid: *pid,
            core: task.core,
            cpu: task.cpu + self.used(&state, *pid, task),
            runnable: !matches!(task.stand, Stand::Waiting(_)) || task.control.waits_for_code(),
            memory_bytes: task.control.memory_bytes(),
        });
        let mut samples: Vec<_> = samples.collect();
        samples.sort_unstable_by_key(|sample| sample.pid);
        samples
    }

    /// What a process has used of its slice so far; zero if it does not run.
    fn used(&self, state: &State, pid: Pid, task: &Task) -> Duration {
        let slice = state.queues.running(task.core).filter(|slice| slice.pid == pid);
        let Some(slice) = slice else { return Duration::ZERO };
        match self.clocks[task.core].get().and_then(ThreadClock::read) {
            Some(cpu) => cpu.saturating_sub(slice.cpu_since),
            // As good as the machine is idle otherwise.
            None => slice.since.elapsed(),
        }
    }

    /// Ends all processes and lets all threads end. Those that run end at their next check.
    pub(super) fn close(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.closing = true;
        state.queues.clear();
        let still = |_: &Pid, task: &mut Task| !matches!(task.stand, Stand::Running { .. });
        let ended: Vec<Task> = state.tasks.extract_if(still).map(|(_, task)| task).collect();
        let running: Vec<Pid> = state.queues.all_running().collect();
        let controls = state.controls(running);
        drop(guard);
        drop(ended);
        controls.iter().for_each(Control::preempt);
        self.parked.iter().chain([&self.ticker]).for_each(Condvar::notify_all);
    }
}

impl State {
    fn controls(&self, pids: impl IntoIterator<Item = Pid>) -> Vec<Control> {
        let tasks = pids.into_iter().filter_map(|pid| self.tasks.get(&pid));
        tasks.map(|task| task.control.clone()).collect()
    }
}

/// The event of a process that is no longer here. It is dropped before its end is told.
fn leave(pid: Pid, polled: Poll<RunEnd>, over: bool, cpu: Duration) -> CoreEvent {
    let end = match polled {
        Poll::Ready(Ok((process, Outcome::Frozen))) if !over => {
            return CoreEvent::Stopped { process, cpu };
        }
        Poll::Ready(Ok((_, Outcome::Frozen))) | Poll::Pending => ProcessEnd::Killed,
        Poll::Ready(Ok((_, Outcome::Exited(code)))) => ProcessEnd::Exited(code),
        Poll::Ready(Ok((_, Outcome::Raised(signal)))) => ProcessEnd::Raised(signal),
        Poll::Ready(Err(error)) => ProcessEnd::Failed(error),
    };
    CoreEvent::Ended { pid, end, cpu }
}

fn wait<'a>(condvar: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condvar.wait(state).unwrap_or_else(PoisonError::into_inner)
}
