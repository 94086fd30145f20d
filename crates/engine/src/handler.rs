//! Handlers: servers that are called for each message, on the stack of whoever sends it.
//!
//! A handler's store is synchronous: where a program would wait on its fiber, a handler unwinds,
//! is parked, and is resumed by another synchronous call when its waker has been woken. Parked and
//! frozen are the same state of the guest; only the reason differs, and it is told out of band of
//! the reply.

use std::task::{Context, Poll, Waker};

use wasmtime::{AsContextMut, Caller, Func, Ref, Val};

use crate::checks::{self, Unavailable, filled, link_now};
use crate::continuations::Wait;
use crate::engines::one_line;
use crate::hostcalls::{self, Step};
use crate::process::{START, Status, new_state};
use crate::state::{Hot, State};
use crate::wasi::{Function, Strings};
use crate::{
    CaptureOptions, Code, Control, Form, HANDLER_EXPORT, Image, ImageError, Outcome, Process,
    ProcessError, ProcessOptions, SpawnError, ThawOptions,
};

/// A handler server.
pub struct Handler(Process);

/// How a call of a handler came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It has answered with this number.
    Reply(u32),
    /// It waits, and is parked. Call [`Handler::resume`] when the waker has been woken.
    Pending,
    /// It is frozen as asked: [`Handler::capture`] it, or resume it.
    Frozen,
    /// It has ended itself.
    Ended(Outcome),
}

impl Handler {
    /// A new handler. Its start function, if it has one, runs now and may not wait.
    ///
    /// # Errors
    /// See [`SpawnError`]; nothing is left behind.
    pub fn spawn(code: &Code, options: ProcessOptions) -> Result<Handler, SpawnError> {
        let ProcessOptions { pid, args, env, devices, limits, freeze_every } = options;
        let state = new_state(code, pid, Strings { args, env }, devices, limits, freeze_every);
        let mut process = Process::new(code, state, Form::Handler)?;
        let hot = process.instantiate()?;
        let mut handler = Handler(process);
        if let Some(start) = hot.instance.get_func(&mut handler.0.store, START) {
            let failed = |_| SpawnError::Instantiate("its start function failed".to_owned());
            match handler.call(hot, start, &[]).map_err(failed)? {
                Handled::Reply(_) => {}
                _ => {
                    let message = "a handler's start function may not wait".to_owned();
                    return Err(SpawnError::Instantiate(message));
                }
            }
        }
        handler.0.status = Status::New;
        Ok(handler)
    }

    /// A handler made of an image, parked where it was: [`Handler::resume`] continues it.
    ///
    /// # Errors
    /// As [`Process::thaw`].
    pub fn thaw(code: &Code, image: &Image, options: ThawOptions) -> Result<Handler, SpawnError> {
        Process::thaw_as(code, image, options, Form::Handler).map(Handler)
    }

    /// Calls the handler with a number (the length of the message that lies in its memory).
    /// `waker` is woken when a parked call can go on.
    ///
    /// # Errors
    /// See [`ProcessError`]. A trap ends the handler; calling one that is parked is refused and
    /// changes nothing.
    pub fn handle(&mut self, waker: &Waker, argument: u32) -> Result<Handled, ProcessError> {
        let hot = self.0.store.data().hot.filter(|_| self.0.status == Status::New);
        let hot = hot.ok_or(ProcessError::Ended)?;
        let entry = hot.instance.get_func(&mut self.0.store, HANDLER_EXPORT);
        let entry = entry.ok_or(ProcessError::Ended)?;
        self.0.store.data_mut().waker = waker.clone();
        self.call(hot, entry, &[Val::I32(argument as i32)])
    }

    /// Continues a parked or frozen call.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    pub fn resume(&mut self, waker: &Waker) -> Result<Handled, ProcessError> {
        let hot = self.0.store.data().hot.filter(|_| self.0.status == Status::Frozen);
        let hot = hot.ok_or(ProcessError::Ended)?;
        self.0.store.data_mut().waker = waker.clone();
        if self.0.store.data().shared.freeze_wanted() {
            self.0.store.data().shared.take_freeze();
            return Ok(Handled::Frozen);
        }
        for site in self.0.prepare_resume(hot)? {
            if !slot_ready(&mut self.0.store, hot, site).map_err(internal)? {
                return Ok(Handled::Pending);
            }
        }
        let outermost = hot.save.top_site(&self.0.store);
        let slot = outermost.and_then(|site| hot.slots.get(&mut self.0.store, u64::from(site)));
        let Some(Ref::Func(Some(continuation))) = slot else {
            return Err(ProcessError::Internal("a frame without a continuation".to_owned()));
        };
        self.0.begin_resume(hot);
        self.call(hot, continuation, &[])
    }

    /// The image of a parked or frozen handler.
    ///
    /// # Errors
    /// As [`Process::capture`].
    pub fn capture(&mut self, options: CaptureOptions) -> Result<Image, ImageError> {
        self.0.capture(options)
    }

    /// A handle for other threads.
    pub fn control(&self) -> Control {
        self.0.control()
    }

    fn call(&mut self, hot: Hot, entry: Func, params: &[Val]) -> Result<Handled, ProcessError> {
        self.0.status = Status::Ended;
        let mut results = vec![Val::I32(0); entry.ty(&self.0.store).results().len()];
        if let Err(error) = entry.call(&mut self.0.store, params, &mut results) {
            return self.0.classify(error).map(Handled::Ended);
        }
        if hot.flags.unwinding(&self.0.store) {
            self.0.status = Status::Frozen;
            if std::mem::take(&mut self.0.store.data_mut().parked) {
                return Ok(Handled::Pending);
            }
            self.0.note_stopped();
            return Ok(Handled::Frozen);
        }
        self.0.status = Status::New;
        let reply = results.first().and_then(Val::i32).unwrap_or_default();
        Ok(Handled::Reply(reply as u32))
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
                    hostcalls::interrupt(&mut caller, import, params)?;
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
