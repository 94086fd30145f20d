//! The requests of one process that runs elsewhere, as they come in from the network.
//!
//! Requests arrive late, twice, in another order, or never; what makes that harmless is the
//! origin's duplicate filter, and here the rule which of two requests is the one under way: that of
//! the higher sequence number, for a process asks nothing before it has the reply to what it asked
//! last.
//!
//! It does not know how requests and replies travel, and no thread is its own: what waits is tried
//! again when whoever owns it calls [`Service::retry`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use peripatos_abi::descriptors::{DescriptorTable, Warning};
use peripatos_abi::device::{Ahead, Reply, Request};
use peripatos_abi::{Errno, Pid};

use super::Origin;

/// Serves one process from its origin. All calls may come from any thread.
#[derive(Debug)]
pub struct Service {
    origin: Origin,
    pid: Pid,
    /// The request that waits, if one does.
    waiting: Mutex<Option<Waiting>>,
    ready: Waker,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    sequence: u64,
    ahead: Ahead,
    request: Request,
}

impl Service {
    /// Serves `pid`, which the origin knows already ([`Origin::open`], [`Origin::restore`]).
    ///
    /// `ready` is called once whenever the request that waits should be tried again. It is called
    /// from a thread of the origin, which holds locks: it only notes the fact, and calls nothing
    /// here.
    #[must_use]
    pub fn new(origin: Origin, pid: Pid, ready: impl Fn() + Send + Sync + 'static) -> Self {
        Self { origin, pid, waiting: Mutex::new(None), ready: Waker::from(Arc::new(Ready(ready))) }
    }

    /// Tries a request. `None`: it waits, and its reply will come from [`Self::retry`].
    ///
    /// What happens depends on the sequence number, as compared with the request that waits and, if
    /// none does, with the last that was answered:
    /// * a higher one is tried, and takes the place of what waits, which has had no effect;
    /// * the same one is what waits, or was answered: it goes on waiting, or gets the same reply.
    ///   What it asks is not looked at;
    /// * a lower one gets the same reply if it was the last that was answered, else
    ///   `Errno::NotRecoverable`; it leaves what waits alone.
    ///
    /// A request that is over the limits has no effect and fails; so does one whose reply is too
    /// long to travel, which only a listing's can be (`Errno::Overflow`).
    pub fn request(&self, sequence: u64, request: Request) -> Option<(u64, Reply)> {
        self.request_ahead(sequence, Ahead::default(), request)
    }

    /// The same, with what goes with the request: the reply to a read may have more than was asked for.
    pub fn request_ahead(
        &self,
        sequence: u64,
        ahead: Ahead,
        request: Request,
    ) -> Option<(u64, Reply)> {
        if let Err(limit) = request.check() {
            return Some((sequence, Reply::Failed(limit.errno())));
        }
        let mut waiting = self.lock();
        match &*waiting {
            Some(under_way) if sequence < under_way.sequence => {
                return Some((sequence, self.answered(sequence)));
            }
            Some(under_way) if sequence == under_way.sequence => {}
            _ => *waiting = Some(Waiting { sequence, ahead, request }),
        }
        self.attempt(&mut waiting)
    }

    /// Tries again what waits. `None`: it still does, or nothing does.
    pub fn retry(&self) -> Option<(u64, Reply)> {
        self.attempt(&mut self.lock())
    }

    /// The process's descriptors as data, to go into an image: see [`Origin::snapshot`]. A request
    /// that waits has had no effect in it, and descriptors have not passed what was sent ahead: who asked for that brings along
    /// what was used.
    #[must_use]
    pub fn snapshot(&self) -> Option<(DescriptorTable, Vec<Warning>)> {
        self.origin.snapshot(self.pid)
    }

    fn attempt(&self, waiting: &mut Option<Waiting>) -> Option<(u64, Reply)> {
        let Waiting { sequence, ahead, request } = waiting.as_ref()?;
        let sequence = *sequence;
        let mut cx = Context::from_waker(&self.ready);
        match self.origin.poll_ahead(&mut cx, self.pid, sequence, *ahead, request) {
            Poll::Pending => None,
            Poll::Ready(reply) => {
                *waiting = None;
                Some((sequence, portable(reply)))
            }
        }
    }

    /// What the duplicate filter says to a request that is older than the one that waits.
    fn answered(&self, sequence: u64) -> Reply {
        let state = self.origin.lock();
        let last = state.processes.get(&self.pid).and_then(|process| process.last_reply.as_ref());
        match last {
            Some((last, reply)) if *last == sequence => portable(reply.clone()),
            _ => Reply::Failed(Errno::NotRecoverable),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reply, or an error in place of one that cannot travel.
fn portable(reply: Reply) -> Reply {
    match reply.check() {
        Ok(()) => reply,
        Err(limit) => Reply::Failed(limit.errno()),
    }
}

struct Ready<F>(F);

impl<F: Fn() + Send + Sync> Wake for Ready<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        (self.0)();
    }
}
