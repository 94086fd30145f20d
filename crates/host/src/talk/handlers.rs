//! Handlers: called on a sender's stack, or from the thread's loop.

use std::task::Waker;

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_engine::{Answer, Handled, Handler, Outcome as GuestOutcome, ProcessError};
use peripatos_kernel::{Form, Outcome, Slot};

use super::{Talk, Work, deliver, ended, with};

/// How a handler came to its end.
#[derive(Debug)]
pub enum HandlerEnd {
    /// It has ended itself.
    Ended(GuestOutcome),
    /// It has trapped, or has broken its part of the contract.
    Failed(ProcessError),
}

/// A handler lives on this thread from now on. `waker` brings [`resume_handler`] about, on this thread. `false`: one of
/// its pid is here already, or the thread has no kernel.
pub fn adopt_handler(mut handler: Box<Handler>, waker: Waker) -> bool {
    handler.set_waker(waker);
    let adopted = with(|talk| {
        let slot = talk.kernel.add(handler.pid(), Form::Handler)?;
        talk.surroundings.calls.set(slot.index(), Some(handler.control()));
        talk.seat(slot).handler = Some(handler);
        Some(())
    });
    adopted.flatten().is_some()
}

/// A handler's waker was called: what it waited for may be there.
pub fn resume_handler(pid: Pid) {
    let _ = with(|talk| {
        if let Some(slot) = talk.kernel.find(pid) {
            talk.work.push_back(Work::Resume(slot));
        }
    });
}

/// The next handler that has ended, and how; each once.
pub fn next_over() -> Option<(Pid, HandlerEnd)> {
    with(|talk| talk.over.pop_front()).flatten()
}

/// Whether somebody of this pid is here, and is a handler.
#[must_use]
pub fn is_handler(pid: Pid) -> bool {
    let form = with(|talk| talk.kernel.find(pid).and_then(|slot| talk.kernel.form(slot)));
    form.flatten() == Some(Form::Handler)
}

/// Ends a handler, which is not being called.
pub fn end_handler(pid: Pid) {
    ended(pid);
}

/// Whether [`work`] has something to do.
#[must_use]
pub fn has_work() -> bool {
    with(|talk| !talk.work.is_empty()).unwrap_or(false)
}

/// A call on a sender's stack that has begun.
pub(super) struct Begun {
    to: Slot,
    /// Taken out of its seat, so that nobody else can call it. `None`: it serves nobody, and yet is not there.
    handler: Option<Box<Handler>>,
    /// Whether it could take the message.
    taken: bool,
    /// What ran before it.
    before: usize,
}

impl Talk {
    /// Begins a call, for a sender whose message this is: puts it into the handler's memory.
    #[inline]
    pub(super) fn begin(&mut self, to: Slot, message: &[u8]) -> Begun {
        let before = self.surroundings.calls.enter(to.index());
        let mut handler = self.seat(to).handler.take();
        let envelope = self.kernel.envelope(to, message.len() as u32);
        let taken = handler.as_mut().is_some_and(|handler| handler.put(envelope, message));
        Begun { to, handler, taken, before }
    }
}

/// Calls the handler on this stack, for a message of this length, of a sender whose memory this is.
#[inline]
pub(super) fn call(from: Slot, begun: Begun, memory: &mut [u8], len: u32) -> Answer {
    let Begun { to, handler, taken, before } = begun;
    let Some(mut handler) = handler else {
        let answer = with(|talk| {
            talk.surroundings.calls.leave(before);
            talk.kernel.end_call(from, to, Outcome::Ended, memory)
        });
        return answer.unwrap_or(Err(Status::NoProcess));
    };
    let handled = if taken { handler.run(len) } else { Err(ProcessError::Ended) };
    let mut left = None;
    let ended = with(|talk| {
        talk.surroundings.calls.leave(before);
        let answer = talk.kernel.end_call(from, to, outcome(&handled, &mut handler), memory);
        // What nearly always happens, in one borrow.
        if matches!(answer, Ok(_) | Err(Status::Wait)) {
            talk.seat(to).handler = Some(handler);
        } else {
            left = Some(handler);
        }
        (answer, talk.kernel.is_quiet())
    });
    let Some((answer, quiet)) = ended else { return Err(Status::NoProcess) };
    if let Some(handler) = left {
        put_back(to, handler, handled);
    }
    if !quiet {
        deliver();
    }
    answer
}

/// Calls or resumes the next handler that has something to do and nobody on whose stack. `false`: there is none.
pub fn work() -> bool {
    let Some(work) = with(|talk| talk.work.pop_front()).flatten() else { return false };
    match work {
        Work::Call(slot) => call_alone(slot),
        Work::Resume(slot) => resume(slot),
    }
    deliver();
    true
}

fn call_alone(slot: Slot) {
    let begun = with(|talk| {
        let len = talk.kernel.next_call(slot, &mut talk.message)?;
        let message = &talk.message[..len as usize];
        let mut handler = talk.seats.get_mut(slot.index())?.handler.take()?;
        talk.surroundings.calls.enter(slot.index());
        let taken = handler.put(talk.kernel.envelope(slot, len), message);
        Some((handler, taken, len))
    });
    let Some((mut handler, taken, len)) = begun.flatten() else { return };
    let handled = if taken { handler.run(len) } else { Err(ProcessError::Ended) };
    let _ = with(|talk| {
        talk.surroundings.calls.leave(0);
        talk.kernel.finish_call(slot, outcome(&handled, &mut handler));
    });
    put_back(slot, handler, handled);
}

fn resume(slot: Slot) {
    let parked = with(|talk| {
        let handler = talk.seat(slot).handler.take_if(|handler| handler.is_parked())?;
        talk.surroundings.calls.enter(slot.index());
        Some(handler)
    });
    let Some(mut handler) = parked.flatten() else { return };
    let handled = handler.go_on();
    let _ = with(|talk| {
        talk.surroundings.calls.leave(0);
        talk.kernel.resumed(slot, outcome(&handled, &mut handler));
    });
    put_back(slot, handler, handled);
}

/// After a call: to its seat, or to its end.
fn put_back(slot: Slot, mut handler: Box<Handler>, handled: Result<Handled, ProcessError>) {
    let end = match handled {
        Ok(Handled::Reply(len)) if handler.reply(len).is_some() => None,
        Ok(Handled::Pending | Handled::Frozen) => None,
        Ok(Handled::Reply(_)) => {
            let message = "its reply is longer than its buffer".to_owned();
            Some(HandlerEnd::Failed(ProcessError::Internal(message)))
        }
        Ok(Handled::Ended(outcome)) => Some(HandlerEnd::Ended(outcome)),
        Err(error) => Some(HandlerEnd::Failed(error)),
    };
    let pid = handler.pid();
    match end {
        None => {
            let _ = with(|talk| talk.seat(slot).handler = Some(handler));
        }
        Some(end) => {
            drop(handler);
            let _ = with(|talk| talk.surroundings.calls.set(slot.index(), None));
            ended(pid);
            let _ = with(|talk| talk.over.push_back((pid, end)));
        }
    }
}

/// What the kernel is told of what a handler has done.
#[inline]
fn outcome<'a>(handled: &Result<Handled, ProcessError>, handler: &'a mut Handler) -> Outcome<'a> {
    match handled {
        Ok(Handled::Reply(len)) => handler.reply(*len).map_or(Outcome::Ended, Outcome::Replied),
        Ok(Handled::Pending | Handled::Frozen) => Outcome::Parked,
        Ok(Handled::Ended(_)) | Err(_) => Outcome::Ended,
    }
}
