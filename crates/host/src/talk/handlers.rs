//! Handlers: called on a sender's stack, or from the thread's loop.

use std::task::Waker;

use peripatos_abi::message::{Envelope, Kind, Status};
use peripatos_abi::{EndReason, Pid};
use peripatos_engine::{
    Answer, Handled, Handler, Outcome as GuestOutcome, ProcessError, Span, beneath,
};
use peripatos_kernel::{Form, Outcome, Place, Slot};

use super::sleep::Server;
use super::{Leaving, Seat, Talk, Work, deliver, ended, extract, with};

/// How a handler came to its end.
#[derive(Debug)]
pub enum HandlerEnd {
    /// It has ended itself.
    Ended(GuestOutcome),
    /// It has trapped, or has broken its part of the contract.
    Failed(ProcessError),
}

impl HandlerEnd {
    /// For those who watch it.
    fn reason(&self) -> EndReason {
        match self {
            HandlerEnd::Ended(GuestOutcome::Exited(code)) => EndReason::Exited(*code),
            HandlerEnd::Ended(GuestOutcome::Raised(signal)) => EndReason::Raised(*signal),
            HandlerEnd::Ended(GuestOutcome::Frozen) | HandlerEnd::Failed(_) => EndReason::Trapped,
        }
    }
}

/// A handler lives on this thread from now on. `waker` brings [`resume_handler`] about, on this thread. `false`: one of
/// its pid is here already, or the thread has no kernel.
pub fn adopt_handler(mut handler: Box<Handler>, waker: Waker, parent: Option<Pid>) -> bool {
    handler.set_waker(waker);
    let adopted = with(|talk| {
        let slot = talk.add(handler.pid(), Form::Handler, parent)?;
        talk.surroundings.calls.set(slot.index(), Some(handler.control()));
        talk.kernel.set_room(slot, handler.room());
        talk.note_awake(slot);
        let now_ns = talk.now_ns;
        let seat = talk.seat(slot);
        (seat.handler, seat.since_ns) = (Some(handler), now_ns);
        Some(())
    });
    adopted.flatten().is_some()
}

/// A handler leaves for another kernel, with what it has under way: at rest or parked. `None`: it is not here, or is being
/// called.
pub(crate) fn extract_handler(pid: Pid, to: Place) -> Option<(Server, Leaving)> {
    let server = with(|talk| {
        let slot = talk.kernel.find(pid)?;
        let seat = talk.seat(slot);
        if seat.handler.is_none() && seat.asleep.is_none() {
            return None;
        }
        let Seat { handler, asleep, .. } = std::mem::take(seat);
        talk.surroundings.calls.set(slot.index(), None);
        handler.map(Server::Awake).or(asleep.map(Server::Asleep))
    });
    let server = server.flatten()?;
    // It was found a moment ago.
    Some((server, extract(pid, to)?))
}

/// The same, awake. `None`: without room for it it has ended ([`next_over`]).
pub(crate) fn extract_awake(pid: Pid, to: Place) -> Option<(Box<Handler>, Leaving)> {
    let slot = with(|talk| talk.kernel.find(pid)).flatten()?;
    let handler = match with(|talk| talk.take_handler(slot)).flatten()?.ready() {
        Ok(handler) => handler,
        Err(error) => {
            cannot_wake(slot, error);
            return None;
        }
    };
    let _ = with(|talk| {
        talk.surroundings.calls.set(slot.index(), None);
        // It is awake where it goes.
        talk.sleepers.remove(&pid);
        *talk.seat(slot) = Seat::default();
    });
    Some((handler, extract(pid, to)?))
}

/// A handler is here from now on; it comes from another kernel, unless it has nothing under way.
pub(crate) fn adopt_server(server: Server, talking: Option<Leaving>) {
    let _ = with(|talk| {
        let slot = match talking {
            Some(leaving) => talk.take_in(leaving),
            None => talk.add(server.pid(), Form::Handler, None),
        }?;
        talk.surroundings.calls.set(slot.index(), Some(server.control()));
        if let Server::Awake(handler) = &server {
            talk.note_awake(slot);
            talk.kernel.set_room(slot, handler.room());
            if handler.is_parked() {
                // What it waits for may have come meanwhile.
                talk.work.push_back(Work::Resume(slot));
            }
        }
        let since_ns = talk.now_ns;
        let (handler, asleep) = match server {
            Server::Awake(handler) => (Some(handler), None),
            Server::Asleep(sleeping) => (None, Some(sleeping)),
        };
        *talk.seat(slot) = Seat { handler, asleep, since_ns, ..Seat::default() };
        Some(())
    });
    deliver();
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
    ended(pid, EndReason::Killed);
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
    server: Option<Server>,
    /// Whether it has taken the message.
    taken: bool,
    envelope: Envelope,
    /// What ran before it.
    before: usize,
}

impl Talk {
    /// Begins a call, for a sender whose message this is: puts it into the handler's memory, if that is awake.
    #[inline]
    pub(super) fn begin(&mut self, to: Slot, message: &[u8]) -> Begun {
        let before = self.surroundings.calls.enter(to.index());
        let mut server = self.take_handler(to);
        let envelope = self.kernel.envelope(to, message.len() as u32);
        let taken = match &mut server {
            Some(Server::Awake(handler)) => handler.put(envelope, message),
            _ => false,
        };
        Begun { to, server, taken, envelope, before }
    }
}

/// Calls the handler on this stack, for that message of a sender whose memory this is.
#[inline]
pub(super) fn call(
    (pid, from): (Pid, Slot),
    begun: Begun,
    memory: &mut [u8],
    message: Span,
) -> Answer {
    let Begun { to, server, mut taken, envelope, before } = begun;
    let awake = matches!(server, Some(Server::Awake(_)));
    let mut handler = match server.ok_or(ProcessError::Ended).and_then(Server::ready) {
        Ok(handler) => handler,
        Err(error) => {
            let answer = with(|talk| {
                talk.surroundings.calls.leave(before);
                talk.kernel.end_call(from, to, Outcome::Ended, memory)
            });
            cannot_wake(to, error);
            deliver();
            return answer.unwrap_or(Err(Status::NoProcess));
        }
    };
    if !awake {
        let (start, len) = (message.0 as usize, message.1 as usize);
        taken = handler.put(envelope, &memory[start..start + len]);
    }
    let len = message.1;
    let beneath = beneath::note(pid, memory);
    let handled = if taken { handler.run(len) } else { Err(ProcessError::Ended) };
    drop(beneath);
    let mut left = None;
    let ended = with(|talk| {
        talk.surroundings.calls.leave(before);
        let answer = talk.kernel.end_call(from, to, outcome(&handled, &mut handler), memory);
        // What nearly always happens, in one borrow.
        let seats = matches!(answer, Ok(_) | Err(Status::Wait));
        if seats && !matches!(handled, Ok(Handled::Frozen)) {
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
        let envelope = talk.kernel.next_call(slot, &mut talk.message)?;
        let handler = talk.take_handler(slot)?;
        talk.surroundings.calls.enter(slot.index());
        Some((envelope, handler, std::mem::take(&mut talk.message)))
    });
    let Some((envelope, handler, buffer)) = begun.flatten() else { return };
    let mut handler = match handler.ready() {
        Ok(handler) => handler,
        Err(error) => {
            let _ = with(|talk| {
                talk.surroundings.calls.leave(0);
                talk.message = buffer;
                talk.kernel.finish_call(slot, Outcome::Ended);
            });
            return cannot_wake(slot, error);
        }
    };
    let taken = handler.put(envelope, &buffer[..envelope.len as usize]);
    // A word is no message, whatever lies in the buffer.
    let len = if envelope.kind == Kind::Message { envelope.len } else { 0 };
    let handled = if taken { handler.run(len) } else { Err(ProcessError::Ended) };
    let _ = with(|talk| {
        talk.surroundings.calls.leave(0);
        talk.message = buffer;
        talk.kernel.finish_call(slot, outcome(&handled, &mut handler));
    });
    put_back(slot, handler, handled);
}

fn resume(slot: Slot) {
    let parked = with(|talk| {
        // Another one may have its seat by now.
        talk.kernel.pid(slot)?;
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
    // Whoever wants it to stand still comes for it; else it goes on, for a test has frozen it.
    let frozen = matches!(handled, Ok(Handled::Frozen)).then(|| handler.waker());
    let end = match handled {
        Ok(Handled::Reply(len)) if handler.reply(len).is_some() => None,
        Ok(Handled::Pending | Handled::Frozen | Handled::Later) => None,
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
            frozen.into_iter().for_each(Waker::wake);
        }
        Some(end) => {
            drop(handler);
            let _ = with(|talk| talk.surroundings.calls.set(slot.index(), None));
            ended(pid, end.reason());
            let _ = with(|talk| talk.over.push_back((pid, end)));
        }
    }
}

/// There is no room to wake a handler: it has ended.
fn cannot_wake(slot: Slot, error: ProcessError) {
    let end = HandlerEnd::Failed(error);
    let _ = with(|talk| talk.surroundings.calls.set(slot.index(), None));
    if let Some(pid) = with(|talk| talk.kernel.pid(slot)).flatten() {
        ended(pid, end.reason());
        let _ = with(|talk| talk.over.push_back((pid, end)));
    }
}

/// What the kernel is told of what a handler has done.
#[inline]
fn outcome<'a>(handled: &Result<Handled, ProcessError>, handler: &'a mut Handler) -> Outcome<'a> {
    match handled {
        Ok(Handled::Reply(len)) => handler.reply(*len).map_or(Outcome::Ended, Outcome::Replied),
        Ok(Handled::Pending | Handled::Frozen) => Outcome::Parked,
        Ok(Handled::Later) => Outcome::Later,
        Ok(Handled::Ended(_)) | Err(_) => Outcome::Ended,
    }
}
