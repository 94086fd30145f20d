//! A process's run as a future, and its waker.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use peripatos_engine::{Outcome, Process, ProcessError, Sleeping};

use super::board::Board;
use super::here;
use super::tag::Tag;

/// How a run ended: with the process, unless it is beyond use. (In a box, for each slice hands over the room
/// for it, mostly empty.)
pub(super) type RunEnd = Box<Result<(Process, Outcome), ProcessError>>;

/// Whether it ended because it was to stand still, or a test has it do so.
pub(super) fn is_frozen(end: &RunEnd) -> bool {
    matches!(**end, Ok((_, Outcome::Frozen)))
}

/// A run that is under way: the process, its store and its stack. Dropping it ends the process where it
/// is.
///
/// In a box: each turn takes it out of its seat and puts it back.
pub(super) struct Execution(Box<Running>);

struct Running {
    body: Body,
    waker: Waker,
}

enum Body {
    Awake(Run),
    /// It goes on when it is polled.
    Asleep(Box<Sleeping>),
}

type Run = Pin<Box<dyn Future<Output = RunEnd> + Send>>;

impl Execution {
    /// Begins a run; its core is told when it can go on after a wait.
    pub(super) fn new(process: Process, tag: &Arc<Tag>, board: Weak<Board>) -> Execution {
        Execution::of(Body::Awake(run(process)), waker(tag, board))
    }

    fn of(body: Body, waker: Waker) -> Execution {
        Execution(Box::new(Running { body, waker }))
    }

    /// Puts a frozen process to sleep. If it has no image, it stays awake.
    pub(super) fn asleep(process: Process, tag: &Arc<Tag>, board: Weak<Board>) -> Execution {
        let body = match process.sleep() {
            Ok(sleeping) => Body::Asleep(Box::new(sleeping)),
            Err((process, _)) => Body::Awake(run(*process)),
        };
        Execution::of(body, waker(tag, board))
    }

    pub(super) fn is_asleep(&self) -> bool {
        matches!(self.0.body, Body::Asleep(_))
    }

    /// Runs the process on this thread until it waits, gives way or is over. A panic (of its devices,
    /// or of the engine) ends only the process. Not to be called again after it is over.
    ///
    /// Inlined: a function between the core and the guest costs 6 ns a message ([`Process::run`] says why).
    #[inline(always)]
    pub(super) fn poll(&mut self) -> Poll<RunEnd> {
        let Running { body, waker } = &mut *self.0;
        let mut context = Context::from_waker(waker);
        // Nothing of the run is looked at after a panic: it is dropped.
        let polled = catch_unwind(AssertUnwindSafe(|| body.poll(&mut context)));
        polled.unwrap_or_else(|_| {
            let message = "its devices or the engine panicked".to_owned();
            Poll::Ready(Box::new(Err(ProcessError::Internal(message))))
        })
    }
}

impl Body {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<RunEnd> {
        if let Body::Asleep(sleeping) = self {
            match sleeping.wake() {
                Ok(process) => *self = Body::Awake(run(process)),
                Err(error) => {
                    let message = format!("it could not be woken: {error}");
                    return Poll::Ready(Box::new(Err(ProcessError::Internal(message))));
                }
            }
        }
        match self {
            Body::Awake(run) => run.as_mut().poll(context),
            Body::Asleep(_) => unreachable!("it has just been woken"),
        }
    }
}

fn run(mut process: Process) -> Run {
    Box::pin(async move {
        let outcome = process.run().await;
        Box::new(outcome.map(|outcome| (process, outcome)))
    })
}

fn waker(tag: &Arc<Tag>, board: Weak<Board>) -> Waker {
    Waker::from(Arc::new(Alarm { tag: Arc::clone(tag), board }))
}

/// Wakes a process, on its own core without a packet. It may outlive it: to wake who is gone does nothing.
///
/// It holds no control, which holds wakers.
struct Alarm {
    tag: Arc<Tag>,
    board: Weak<Board>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(board) = self.board.upgrade()
            && !here::wake(&board, &self.tag)
        {
            board.wake(&self.tag);
        }
    }
}
