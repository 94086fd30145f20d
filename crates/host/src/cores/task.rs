//! One process on the cores: its run as a future, its waker, and what is kept of it beside.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_engine::{Control, Outcome, Process, ProcessError};

use super::kernel::Kernel;

/// What the kernel holds of a process.
pub(super) struct Task {
    pub(super) control: Control,
    pub(super) stand: Stand,
    /// Where it runs or is queued, or ran last.
    pub(super) core: usize,
    pub(super) wish: Wish,
    /// CPU time of its slices that are over.
    pub(super) cpu: Duration,
}

/// How it stands with a process.
pub(super) enum Stand {
    /// Its waker was not called yet.
    Waiting(Execution),
    /// In the queue of its core.
    Queued(Execution),
    /// Its core has the execution. `woken`: its waker was called meanwhile.
    Running { woken: bool },
}

/// What somebody wants of a process; the stronger wish wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    None,
    Freeze,
    Kill,
}

/// How a run ended: with the process, unless it is beyond use.
pub(super) type RunEnd = Result<(Process, Outcome), ProcessError>;

/// A run that is under way. Dropping it ends the process where it is.
pub(super) struct Execution {
    run: Pin<Box<dyn Future<Output = RunEnd> + Send>>,
    waker: Waker,
}

impl Execution {
    /// Begins a run; `kernel` is told when it can go on after a wait.
    pub(super) fn new(mut process: Process, kernel: Weak<Kernel>) -> Execution {
        let waker = Waker::from(Arc::new(Alarm { pid: process.pid(), kernel }));
        let run = async move {
            let outcome = process.run().await?;
            Ok((process, outcome))
        };
        Execution { run: Box::pin(run), waker }
    }

    /// Runs the process on this thread until it waits, gives way or is over. A panic (of its devices,
    /// or of the engine) ends only the process. Not to be called again after it is over.
    pub(super) fn poll(&mut self) -> Poll<RunEnd> {
        let mut context = Context::from_waker(&self.waker);
        // Nothing of the run is looked at after a panic: it is dropped.
        let polled = catch_unwind(AssertUnwindSafe(|| self.run.as_mut().poll(&mut context)));
        polled.unwrap_or_else(|_| {
            let message = "its devices or the engine panicked".to_owned();
            Poll::Ready(Err(ProcessError::Internal(message)))
        })
    }
}

/// Wakes a process. It may outlive it: to wake who is gone does nothing, and to wake a later process
/// of the same pid makes that look once whether it can go on.
struct Alarm {
    pid: Pid,
    kernel: Weak<Kernel>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(kernel) = self.kernel.upgrade() {
            kernel.wake(self.pid);
        }
    }
}
