//! What happens when a check asks the host: freeze, give way, or make the missing continuation.
//!
//! The guest has saved its frame on top of the save memory before it asks. Either it is told to
//! unwind, or it calls the slot of its site, which must be filled then.

use std::future::poll_fn;
use std::task::Poll;

use wasmtime::{AsContextMut, Caller, Extern, Instance, Ref};

use crate::continuations::{Compiled, Wait};
use crate::hostcalls::yield_now;
use crate::pool;
use crate::state::{Hot, State};

/// A program's check, on its fiber.
pub(crate) async fn poll(mut caller: Caller<'_, State>) -> wasmtime::Result<()> {
    let hot = hot(&caller)?;
    loop {
        // First the bytes, then the requests: see `control`.
        hot.flags.clear_preempt(&caller);
        if caller.data().freeze_due(hot.save.counter(&caller)) {
            hot.flags.set_unwinding(caller, true);
            return Ok(());
        }
        if !caller.data().shared.take_preempt() {
            break;
        }
        yield_now().await;
    }
    reset_counter(&mut caller, hot);
    let Some(site) = hot.save.top_site(&caller) else { return Err(no_frame()) };
    if filled(&mut caller, hot, site)? {
        return Ok(());
    }
    match continuation(&mut caller, site).await? {
        Some(compiled) => link(caller, hot, &compiled).await,
        None => {
            hot.flags.clear_preempt(&caller);
            hot.flags.set_unwinding(caller, true);
            Ok(())
        }
    }
}

/// Waits for a continuation that is compiled on another thread. A freeze that is wanted meanwhile
/// wins: `None`.
pub(crate) async fn continuation(
    store: impl AsContextMut<Data = State>,
    site: u32,
) -> wasmtime::Result<Option<std::sync::Arc<Compiled>>> {
    let (code, shared) =
        (store.as_context().data().code.clone(), store.as_context().data().shared.clone());
    let found = poll_fn(|cx| match code.want(site, cx.waker()) {
        Wait::Ready(compiled) => Poll::Ready(Ok(Some(compiled))),
        Wait::Failed(message) => Poll::Ready(Err(Unavailable(message).into())),
        Wait::Pending => {
            shared.set_waits_for_code(true);
            shared.register(cx.waker(), &mut None);
            if shared.freeze_wanted() { Poll::Ready(Ok(None)) } else { Poll::Pending }
        }
    })
    .await;
    shared.set_waits_for_code(false);
    found
}

/// A continuation could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unavailable(pub(crate) String);

/// Whether the slot of a site has its continuation.
pub(crate) fn filled(
    store: impl AsContextMut<Data = State>,
    hot: Hot,
    site: u32,
) -> wasmtime::Result<bool> {
    match hot.slots.get(store, u64::from(site)) {
        Some(Ref::Func(slot)) => Ok(slot.is_some()),
        _ => Err(wasmtime::Error::msg("no such site")),
    }
}

/// As [`link`], in a handler's store.
pub(crate) fn link_now(
    mut store: impl AsContextMut<Data = State>,
    hot: Hot,
    compiled: &Compiled,
) -> wasmtime::Result<()> {
    let imports = imports(&mut store, hot, compiled)?;
    Instance::new(store, &compiled.module, &imports).map(drop)
}

/// Makes an instance of a continuation module, which fills its slots.
pub(crate) async fn link(
    mut store: impl AsContextMut<Data = State>,
    hot: Hot,
    compiled: &Compiled,
) -> wasmtime::Result<()> {
    let imports = imports(&mut store, hot, compiled)?;
    let place = store.as_context().data().place.clone();
    let made = Instance::new_async(store, &compiled.module, &imports);
    pool::on_its_stack(place, made).await.map(drop)
}

/// What a continuation module imports, from the hot instance or from the host.
fn imports(
    mut store: impl AsContextMut<Data = State>,
    hot: Hot,
    compiled: &Compiled,
) -> wasmtime::Result<Vec<Extern>> {
    let code = store.as_context().data().code.clone();
    let mut imports = Vec::with_capacity(compiled.imports.len());
    for name in &compiled.imports {
        let import = match name.strip_prefix("import.") {
            Some(host) => code.host_function(&mut store, host),
            None => hot.instance.get_export(&mut store, name),
        };
        imports.push(import.ok_or_else(|| {
            wasmtime::Error::msg(format!("a continuation wants `{name}`, which is not there"))
        })?);
    }
    Ok(imports)
}

/// Starts the count-down again if it has ended.
pub(crate) fn reset_counter(caller: &mut Caller<'_, State>, hot: Hot) {
    if hot.save.counter(&*caller) <= 0 {
        let count = caller.data().count();
        hot.save.set_counter(caller, count);
    }
}

/// The handles on the hot instance.
pub(crate) fn hot(caller: &Caller<'_, State>) -> wasmtime::Result<Hot> {
    caller.data().hot.ok_or_else(|| wasmtime::Error::msg("a check before the process is there"))
}

/// The guest's part of the contract is broken.
pub(crate) fn no_frame() -> wasmtime::Error {
    wasmtime::Error::msg("a check without a frame")
}
