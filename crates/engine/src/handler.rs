//! Handlers: servers that are called for each message, on the stack of whoever sends it.
//!
//! A handler's store is synchronous: where a program would wait on its fiber, a handler unwinds,
//! is parked, and is resumed by another synchronous call when its waker has been woken. Parked and
//! frozen are the same state of the guest; only the reason differs, and it is told out of band of
//! the reply.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use peripatos_abi::Pid;
use peripatos_abi::message::{self, Envelope, LATER};
use wasmtime::{AsContextMut, Caller, Func, Ref, TypedFunc, Val};

use crate::checks::{self, Unavailable, filled, link_now};
use crate::continuations::Wait;
use crate::engines::one_line;
use crate::flags::PreemptBytes;
use crate::hostcalls::{self, Step};
use crate::messages::Messages;
use crate::process::{START, Status, new_state};
use crate::state::{Hot, State};
use crate::view;
use crate::wasi::{Function, Strings};
use crate::{
    CaptureOptions, Code, Control, Form, HANDLER_EXPORT, Image, ImageError, Outcome, Process,
    ProcessError, ProcessOptions, SpawnError, ThawOptions,
};

/// What the constructors of a module without a main function are called (WASI's reactors).
const INITIALIZE: &str = "_initialize";

/// A handler server.
pub struct Handler {
    pub(crate) process: Process,
    /// What is called for each message. `None` until the instance has been made.
    pub(crate) entry: Option<TypedFunc<u32, u32>>,
    /// Where it is seen whether it unwinds.
    pub(crate) bytes: Option<PreemptBytes>,
}

/// How a call of a handler came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It has answered with this number.
    Reply(u32),
    /// It will reply by itself ([`LATER`]).
    Later,
    /// It waits, and is parked. Call [`Handler::resume`] when the waker has been woken.
    Pending,
    /// It is frozen as asked: [`Handler::capture`] it, or resume it.
    Frozen,
    /// It has ended itself.
    Ended(Outcome),
}

impl Handler {
    /// A new handler. Its start function and its `_initialize`, if it has them, run now and may not wait.
    ///
    /// # Errors
    /// See [`SpawnError`]; nothing is left behind.
    pub fn spawn(code: &Code, options: ProcessOptions) -> Result<Handler, SpawnError> {
        let ProcessOptions { pid, args, env, devices, limits, freeze_every } = options;
        let strings = Strings { args, env };
        let state = new_state(code, pid, strings, devices, limits, freeze_every, Arc::default());
        let mut process = Process::new(code, state, Form::Handler)?;
        let hot = process.instantiate()?;
        let bytes = Some(hot.flags.preempt_bytes(&process.store));
        let mut handler = Handler { process, entry: None, bytes };
        let starts = [START, INITIALIZE];
        for start in starts.map(|name| hot.instance.get_func(&mut handler.process.store, name)) {
            let Some(start) = start else { continue };
            let failed = |_| SpawnError::Instantiate("its start function failed".to_owned());
            match handler.call(start, &[]).map_err(failed)? {
                Handled::Reply(_) | Handled::Later => {}
                _ => {
                    let message = "a handler's start function may not wait".to_owned();
                    return Err(SpawnError::Instantiate(message));
                }
            }
        }
        handler.process.status = Status::New;
        handler.find_entry(hot)?;
        handler.ask_for_buffer(hot)?;
        Ok(handler)
    }

    /// A handler made of an image: at rest, or parked where it was and continued by [`Handler::resume`].
    ///
    /// # Errors
    /// As [`Process::thaw`].
    pub fn thaw(code: &Code, image: &Image, options: ThawOptions) -> Result<Handler, SpawnError> {
        let process = Process::thaw_as(code, image, options, Form::Handler)?;
        Handler::of(process).map_err(|(_, error)| error)
    }

    /// The handler that a process is: one that was made of an image, or [`Handler::into_process`] has given. Its kernel,
    /// if it has one, stays; its waker is to be set.
    ///
    /// # Errors
    /// It is none: the process comes back.
    pub fn of(process: Process) -> Result<Handler, (Box<Process>, SpawnError)> {
        let Some(hot) = process.store.data().hot.filter(|_| process.form() == Form::Handler) else {
            let error = SpawnError::NoEntry(HANDLER_EXPORT.to_owned());
            return Err((Box::new(process), error));
        };
        let bytes = Some(hot.flags.preempt_bytes(&process.store));
        let mut handler = Handler { process, entry: None, bytes };
        match handler.find_entry(hot) {
            Ok(()) => Ok(handler),
            Err(error) => Err((Box::new(handler.process), error)),
        }
    }

    /// The process that it is, which stands still: at rest, parked or frozen. If it was to freeze, it has.
    #[must_use]
    pub fn into_process(self) -> Process {
        let mut process = self.process;
        process.note_stopped();
        process
    }

    fn find_entry(&mut self, hot: Hot) -> Result<(), SpawnError> {
        let failed = |error: wasmtime::Error| SpawnError::Instantiate(one_line(&error));
        let store = &mut self.process.store;
        let entry = hot.instance.get_typed_func(&mut *store, HANDLER_EXPORT).map_err(failed)?;
        self.entry = Some(entry);
        Ok(())
    }

    /// Once, before all messages: later its image knows.
    fn ask_for_buffer(&mut self, hot: Hot) -> Result<(), SpawnError> {
        let failed = |error: wasmtime::Error| SpawnError::Instantiate(one_line(&error));
        let store = &mut self.process.store;
        let told = hot.instance.get_typed_func::<(), u64>(&mut *store, message::HANDLER_BUFFER);
        if let Ok(told) = told {
            let told = told.call(&mut *store, ()).map_err(failed)?;
            let (address, size) = (told as u32, (told >> 32) as u32);
            let end = address as usize + size as usize;
            if end > self.process.memory_len() || (size as usize) < Envelope::BYTES {
                let message = "its message buffer is not in its memory".to_owned();
                return Err(SpawnError::Instantiate(message));
            }
            self.process.buffer = (address, size);
        }
        Ok(())
    }

    /// Gives it a message: what goes before it, and the message itself.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    pub fn deliver(&mut self, envelope: Envelope, message: &[u8]) -> Result<Handled, ProcessError> {
        if !self.put(envelope, message) {
            return Err(ProcessError::Ended);
        }
        self.run(message.len() as u32)
    }

    /// The first half of that: puts it into its memory. `false`: it cannot take it.
    #[inline]
    pub fn put(&mut self, envelope: Envelope, message: &[u8]) -> bool {
        if self.process.status != Status::New || message.len() > self.room() {
            return false;
        }
        let (memory, _) = view::memory(&mut self.process.store);
        let buffer = memory.get_mut(self.process.buffer.0 as usize..);
        let Some((head, rest)) = buffer.and_then(<[u8]>::split_first_chunk_mut) else {
            return false;
        };
        let Some(body) = rest.get_mut(..message.len()) else { return false };
        envelope.write_to(head);
        body.copy_from_slice(message);
        true
    }

    /// The second half: it is called for the message of this length that lies there.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    pub fn run(&mut self, len: u32) -> Result<Handled, ProcessError> {
        let entry = self.entry.as_ref().filter(|_| self.process.status == Status::New);
        let entry = entry.ok_or(ProcessError::Ended)?;
        self.process.status = Status::Ended;
        let called = entry.call(&mut self.process.store, len);
        self.over(called)
    }

    /// Bytes that a message for it may have. 0 if it tells no buffer.
    #[must_use]
    #[inline]
    pub fn room(&self) -> usize {
        (self.process.buffer.1 as usize).saturating_sub(Envelope::BYTES)
    }

    /// Its reply of this length. `None`: there is no such reply.
    #[must_use]
    #[inline]
    pub fn reply(&mut self, len: u32) -> Option<&[u8]> {
        let begin = self.process.buffer.0 as usize + Envelope::BYTES;
        let len = Some(len as usize).filter(|len| *len <= self.room())?;
        view::memory(&mut self.process.store).0.get(begin..begin + len)
    }

    /// From now on it can talk to others, through this kernel.
    pub fn set_messages(&mut self, messages: Box<dyn Messages>) {
        self.process.set_messages(messages);
    }

    /// Its name.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// From now on this one is woken when a parked call can go on.
    pub fn set_waker(&mut self, waker: Waker) {
        self.process.store.data_mut().waker = waker;
    }

    /// Whom to wake when it can go on.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.process.store.data().waker.clone()
    }

    /// Whether a call of it is parked or frozen.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.process.status == Status::Frozen
    }

    /// Calls the handler with a number (the length of the message that lies in its memory).
    /// `waker` is woken when a parked call can go on.
    ///
    /// # Errors
    /// See [`ProcessError`]. A trap ends the handler; calling one that is parked is refused and
    /// changes nothing.
    pub fn handle(&mut self, waker: &Waker, argument: u32) -> Result<Handled, ProcessError> {
        self.set_waker(waker.clone());
        self.run(argument)
    }

    /// Continues a parked or frozen call.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    pub fn resume(&mut self, waker: &Waker) -> Result<Handled, ProcessError> {
        self.set_waker(waker.clone());
        self.go_on()
    }

    /// The same, with the waker that it has.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    pub fn go_on(&mut self) -> Result<Handled, ProcessError> {
        let hot = self.process.store.data().hot.filter(|_| self.process.status == Status::Frozen);
        let hot = hot.ok_or(ProcessError::Ended)?;
        if self.process.store.data().shared.freeze_wanted() {
            self.process.store.data().shared.take_freeze();
            return Ok(Handled::Frozen);
        }
        for site in self.process.prepare_resume(hot)? {
            if !slot_ready(&mut self.process.store, hot, site).map_err(internal)? {
                return Ok(Handled::Pending);
            }
        }
        let outermost = hot.save.top_site(&self.process.store);
        let slot =
            outermost.and_then(|site| hot.slots.get(&mut self.process.store, u64::from(site)));
        let Some(Ref::Func(Some(continuation))) = slot else {
            return Err(ProcessError::Internal("a frame without a continuation".to_owned()));
        };
        self.process.begin_resume(hot);
        self.call(continuation, &[])
    }

    /// The image of a handler that rests, or is parked or frozen.
    ///
    /// # Errors
    /// As [`Process::capture`].
    pub fn capture(&mut self, options: CaptureOptions) -> Result<Image, ImageError> {
        self.process.capture(options)
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        self.process.control()
    }

    fn call(&mut self, entry: Func, params: &[Val]) -> Result<Handled, ProcessError> {
        self.process.status = Status::Ended;
        let mut results = vec![Val::I32(0); entry.ty(&self.process.store).results().len()];
        let called = entry.call(&mut self.process.store, params, &mut results);
        let reply = results.first().and_then(Val::i32).unwrap_or_default();
        self.over(called.map(|()| reply as u32))
    }

    /// A call has returned, with this.
    fn over(&mut self, called: wasmtime::Result<u32>) -> Result<Handled, ProcessError> {
        let reply = match called {
            Ok(reply) => reply,
            Err(error) => return self.process.classify(error).map(Handled::Ended),
        };
        if self.bytes.as_ref().is_some_and(PreemptBytes::unwinding) {
            self.process.status = Status::Frozen;
            if std::mem::take(&mut self.process.store.data_mut().parked) {
                return Ok(Handled::Pending);
            }
            self.process.note_stopped();
            return Ok(Handled::Frozen);
        }
        self.process.status = Status::New;
        Ok(if reply as i32 == LATER { Handled::Later } else { Handled::Reply(reply) })
    }
}

/// A handler's system call: the devices answer at once, or the handler is parked.
pub(crate) fn call(
    mut caller: Caller<'_, State>,
    function: &'static Function,
    import: u32,
    params: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let words = hostcalls::words(params);
    let result = match hostcalls::begin(&mut caller, function, &words)? {
        Step::Done(result) => result,
        Step::Yield => 0,
        Step::Ask(request) => {
            let state = caller.data_mut();
            let waker = state.waker.clone();
            let mut cx = Context::from_waker(&waker);
            let reply = state.devices.poll_request(&mut cx, state.pid, state.sequence, &request);
            match reply {
                Poll::Ready(reply) if !hostcalls::interrupt_after_effect(&caller) => {
                    hostcalls::finish(&mut caller, function, &words, &reply)
                }
                reply => {
                    caller.data_mut().parked = reply.is_pending();
                    hostcalls::interrupt(
                        &mut caller,
                        import,
                        &hostcalls::payload(function, &words),
                    )?;
                    0
                }
            }
        }
    };
    if let [slot] = results {
        *slot = Val::I32(i32::from(result));
    }
    Ok(())
}

/// A handler's check: freeze, park, or go on.
pub(crate) fn poll(mut caller: Caller<'_, State>) -> wasmtime::Result<()> {
    let hot = checks::hot(&caller)?;
    hot.flags.clear_preempt(&caller);
    if caller.data().freeze_due(hot.save.counter(&caller)) {
        hot.flags.set_unwinding(&mut caller, true);
        return Ok(());
    }
    checks::reset_counter(&mut caller, hot);
    let site = hot.save.top_site(&caller).ok_or_else(checks::no_frame)?;
    let preempted = caller.data().shared.take_preempt();
    if preempted {
        // It goes on as soon as its caller has done something else.
        caller.data().waker.wake_by_ref();
        // Its core may have been told to see to that, and so has told what runs there to give way: that is this one,
        // which does. If it were told again where it goes on, it would never get further.
        caller.data().shared.take_preempt();
        hot.flags.clear_preempt(&caller);
    }
    if preempted || !slot_ready(&mut caller, hot, site)? {
        caller.data_mut().parked = true;
        hot.flags.set_unwinding(&mut caller, true);
    }
    Ok(())
}

/// Fills a site's slot if its continuation is at hand. `false`: it is being made, and the waker
/// will be woken.
fn slot_ready(
    mut store: impl AsContextMut<Data = State>,
    hot: Hot,
    site: u32,
) -> wasmtime::Result<bool> {
    if filled(&mut store, hot, site)? {
        return Ok(true);
    }
    let state = store.as_context().data().waker.clone();
    let code = store.as_context().data().code.clone();
    match code.want(site, &state) {
        Wait::Ready(compiled) => link_now(store, hot, &compiled).map(|()| true),
        Wait::Failed(message) => Err(Unavailable(message).into()),
        Wait::Pending => Ok(false),
    }
}

fn internal(error: wasmtime::Error) -> ProcessError {
    match error.downcast_ref() {
        Some(Unavailable(message)) => ProcessError::Continuation(message.clone()),
        None => ProcessError::Internal(one_line(&error)),
    }
}
