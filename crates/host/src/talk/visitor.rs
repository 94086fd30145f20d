//! Messages of somebody who is no process: a command's.
//!
//! A *visitor* has a place in the kernel of a core for as long as it waits for its reply.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use peripatos_abi::message::Status;
use peripatos_abi::{EndReason, Pid};
use peripatos_kernel::Form;

use super::{deliver, ended, with};

/// Is told of the reply, or why there is none.
pub type Done = Box<dyn FnOnce(Result<Vec<u8>, Status>) + Send>;

/// A message, and who is told of the reply.
pub struct Visit {
    /// Under which name the kernel is to know the visitor.
    pub pid: Pid,
    /// The name of the process that it is for.
    pub name: Vec<u8>,
    /// What it says.
    pub message: Vec<u8>,
    /// Is told once: not at all, if the visitor leaves before.
    pub done: Done,
}

/// Sends the message, from this thread's kernel.
pub fn visit(visit: Visit) {
    let Visit { pid, name, message, done } = visit;
    let waiting = Arc::new(Waiting { pid, done: Mutex::new(Some(done)) });
    let asked = with(|talk| {
        let to = talk.names().lookup(&name)?;
        let slot = talk.kernel.add(pid, Form::Fiber).ok_or(Status::NotNow)?;
        talk.seat(slot).waker = Some(Waker::from(Arc::clone(&waiting)));
        talk.kernel.ask(slot, to, &message)
    });
    if let Err(status) = asked.unwrap_or(Err(Status::NoProcess)) {
        waiting.tell(Err(status));
    }
    deliver();
}

/// A visitor does not wait any more.
pub fn leave(pid: Pid) {
    ended(pid, EndReason::Killed);
}

struct Waiting {
    pid: Pid,
    done: Mutex<Option<Done>>,
}

impl Waiting {
    fn tell(&self, answer: Result<Vec<u8>, Status>) {
        ended(self.pid, EndReason::Exited(0));
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(done) = done {
            done(answer);
        }
    }
}

/// Called by the kernel's thread, outside of its borrow.
impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        let answer = with(|talk| {
            let slot = talk.kernel.find(self.pid)?;
            talk.kernel.asked(slot)
        });
        if let Some(answer) = answer.flatten() {
            self.tell(answer);
        }
    }
}
