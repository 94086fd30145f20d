//! What processes do just now: each core that is asked says what it knows of those that are its own.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use peripatos_abi::Pid;
use peripatos_kernel::{Slot, State};

use super::with;

/// What a process does, in QNX's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It has a core.
    Running,
    /// It could run.
    Ready,
    /// It has sent, and this one has not taken the message.
    Sends(Pid),
    /// It waits for this one's reply. If that is on another node it may not have taken the message.
    WaitsForReply(Pid),
    /// It waits for a message: of this one, or of anybody. A handler: it can be called.
    Receives(Option<Pid>),
    /// It waits for its devices: for its origin.
    Asks,
}

/// A question to all cores. Who has answered drops it.
pub struct Survey {
    pids: HashSet<Pid>,
    found: Mutex<Vec<(Pid, Doing)>>,
    done: Option<Done>,
}

/// Is told of what was found, when all have answered, or cannot.
type Done = Box<dyn FnOnce(Vec<(Pid, Doing)>) + Send + Sync>;

impl Survey {
    /// After these.
    #[must_use]
    pub fn new(
        pids: Vec<Pid>,
        done: impl FnOnce(Vec<(Pid, Doing)>) + Send + Sync + 'static,
    ) -> Survey {
        let pids = pids.into_iter().collect();
        Survey { pids, found: Mutex::default(), done: Some(Box::new(done)) }
    }

    /// Answers for this thread's kernel; `ready` says what one does that waits for no other process.
    pub(crate) fn answer(&self, ready: impl Fn(Pid) -> Doing) {
        let mut found = Vec::new();
        let mut queued = Vec::new();
        let _ = with(|talk| {
            let here = |pid: &Pid| Some((*pid, talk.kernel.find(*pid)?));
            found.extend(self.pids.iter().filter_map(here).collect::<Vec<(Pid, Slot)>>());
            let wanted = |(from, _): &(Pid, Pid)| self.pids.contains(from);
            queued.extend(talk.kernel.queued().filter(wanted));
        });
        let doing = |(pid, slot): (Pid, Slot)| {
            let state = with(|talk| (talk.kernel.state(slot), talk.kernel.receives_from(slot)));
            let doing = match state? {
                (Some(State::SendBlocked(to)), _) => Doing::Sends(to),
                (Some(State::ReplyBlocked(to)), _) => Doing::WaitsForReply(to),
                (Some(State::ReceiveBlocked), from) => Doing::Receives(from),
                (Some(State::Ready), _) => ready(pid),
                (None, _) => return None,
            };
            Some((pid, doing))
        };
        let mut all: Vec<(Pid, Doing)> = found.into_iter().filter_map(doing).collect();
        all.extend(queued.into_iter().map(|(from, to)| (from, Doing::Sends(to))));
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        let found = self.found.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut found = std::mem::take(found);
        // The sender's core does not know that its message waits on another one; that one does.
        found.sort_by_key(|(pid, doing)| (*pid, !matches!(doing, Doing::Sends(_))));
        found.dedup_by_key(|(pid, _)| *pid);
        if let Some(done) = self.done.take() {
            done(found);
        }
    }
}
