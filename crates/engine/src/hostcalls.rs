//! System calls of a program: the guest's side of a request to its devices.
//!
//! Invariants:
//! * the sequence number grows only after a reply has been written into the guest's memory, so a
//!   call interrupted by a freeze is made again under the same number;
//! * an interrupted call leaves one frame, its arguments, under the number of its import, and
//!   returns zeros that nobody reads.

use std::future::poll_fn;
use std::task::Poll;

use peripatos_abi::Signal;
use peripatos_abi::device::{Reply, Request};
use wasmtime::{Caller, Val};

use crate::state::State;
use crate::view::of_caller as memory;
use crate::wasi::{self, Args, Function, Kind, Parameter};

/// How a program ends itself; travels as an error through its frames.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("exit {0}")]
    Exit(u32),
    #[error("signal {0:?}")]
    Raise(Signal),
}

/// What is left to do of a call after its first half.
pub(crate) enum Step {
    /// Nothing: this is its result.
    Done(u16),
    /// Let others run, then succeed.
    Yield,
    /// Ask the devices.
    Ask(Request),
}

/// How a request went.
enum Answer {
    Reply(Reply),
    /// A freeze is wanted: the call is to be made again.
    Interrupted,
}

/// Serves one call on the process's fiber: what it returns. `import` is the function's index in the program; `words` are
/// its parameters.
pub(crate) async fn call(
    mut caller: Caller<'_, State>,
    function: &'static Function,
    import: u32,
    words: &[u64],
) -> wasmtime::Result<u16> {
    match begin(&mut caller, function, words)? {
        Step::Done(result) => Ok(result),
        Step::Yield => {
            yield_now().await;
            Ok(0)
        }
        Step::Ask(request) => match ask(&mut caller, &request).await {
            Answer::Reply(reply) if !interrupt_after_effect(&caller) => {
                Ok(finish(&mut caller, function, words, &reply))
            }
            _ => interrupt(&mut caller, import, &payload(function, words)).map(|()| 0),
        },
    }
}

/// First half: what can be done without the devices.
pub(crate) fn begin(
    caller: &mut Caller<'_, State>,
    function: &Function,
    words: &[u64],
) -> wasmtime::Result<Step> {
    let args = Args::new(words);
    match function.kind {
        Kind::Exit => Err(Ended::Exit(wasi::exit_code(args)).into()),
        Kind::Raise => match wasi::raised_signal(args) {
            Ok(Some(signal)) => Err(Ended::Raise(signal).into()),
            Ok(None) => Ok(Step::Done(0)),
            Err(errno) => Ok(Step::Done(errno.code())),
        },
        Kind::Yield => Ok(Step::Yield),
        Kind::Own(serve) => {
            let (memory, state) = memory(caller);
            Ok(Step::Done(serve(memory, args, &state.strings).map_or_else(|e| e.code(), |()| 0)))
        }
        Kind::Device(..) => Ok(match function.begin(memory(caller).0, args) {
            Ok(request) => Step::Ask(request),
            Err(errno) => Step::Done(errno.code()),
        }),
    }
}

/// Second half: the reply reaches the guest, and the request is over.
pub(crate) fn finish(
    caller: &mut Caller<'_, State>,
    function: &Function,
    words: &[u64],
    reply: &Reply,
) -> u16 {
    let (memory, state) = memory(caller);
    state.sequence += 1;
    state.again = false;
    function.finish(memory, Args::new(words), reply)
}

/// Leaves the call's frame, its arguments, and unwinds: it is made again after the thaw.
pub(crate) fn interrupt(
    caller: &mut Caller<'_, State>,
    import: u32,
    payload: &[u8],
) -> wasmtime::Result<()> {
    let hot = caller.data().hot;
    let hot = hot.ok_or_else(|| wasmtime::Error::msg("a plain process cannot be interrupted"))?;
    if !hot.save.push(&mut *caller, import, payload) {
        return Err(wasmtime::Error::msg("the save memory has no room for a host call"));
    }
    hot.flags.clear_preempt(&*caller);
    hot.flags.set_unwinding(caller, true);
    Ok(())
}

/// Asks the devices and waits, until they answer or a freeze is wanted.
async fn ask(caller: &mut Caller<'_, State>, request: &Request) -> Answer {
    poll_fn(|cx| {
        let state = caller.data_mut();
        let reply = state.devices.poll_request(cx, state.pid, state.sequence, request);
        if let Poll::Ready(reply) = reply {
            return Poll::Ready(Answer::Reply(reply));
        }
        state.shared.register(cx.waker(), &mut state.known_waker);
        if state.hot.is_some() && state.shared.freeze_wanted() {
            return Poll::Ready(Answer::Interrupted);
        }
        Poll::Pending
    })
    .await
}

/// Test mode: whether to freeze this call between its effect and its reply. Every second call that
/// is followed by a freeze, so that both orders are seen, and each call at most once.
pub(crate) fn interrupt_after_effect(caller: &Caller<'_, State>) -> bool {
    let state = caller.data();
    let Some(hot) = state.hot.filter(|_| state.freeze_every.is_some() && !state.again) else {
        return false;
    };
    state.sequence % 2 == 1 && hot.save.counter(caller) <= 1
}

/// Gives way once to whoever else the executor runs.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Each parameter's bits.
pub(crate) fn words(params: &[Val]) -> Vec<u64> {
    params
        .iter()
        .map(|param| match *param {
            Val::I32(value) => u64::from(value as u32),
            Val::I64(value) => value as u64,
            // No offered function takes anything else.
            _ => 0,
        })
        .collect()
}

/// A call's arguments as its frame has them.
pub(crate) fn payload(function: &Function, words: &[u64]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (parameter, word) in function.parameters.iter().zip(words) {
        match parameter {
            Parameter::I32 => payload.extend((*word as u32).to_le_bytes()),
            Parameter::I64 => payload.extend(word.to_le_bytes()),
        }
    }
    payload
}
