//! The memory of a process, for the host. **Contains `unsafe`.**
//!
//! Where it lies is remembered: to find it by its handle takes some ten loads, each of which needs the one before (7 ns).
//! A message and its reply look for it three to six times, and take 60 to 200 ns in all.
//!
//! Invariant: what is remembered is true. A memory moves, or has another length, only after it has grown, and the limiter
//! is asked before any memory of the store grows ([`wasmtime::Store::limiter`]): it forgets the place
//! ([`crate::limits`]). The store's memory handle is set once.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::slice;

use wasmtime::{Caller, StoreContextMut};

use crate::state::State;
use crate::wasi;

/// Where a process's memory lies.
#[derive(Debug, Default)]
pub(crate) struct View(Option<(NonNull<u8>, usize)>);

// SAFETY: it is a note. What it says is used only in `memory`, by who holds the store.
unsafe impl Send for View {}
// SAFETY: as above; a shared view cannot be read outside of this file.
unsafe impl Sync for View {}

impl View {
    /// A memory of the store is about to grow.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

/// The guest's memory, and its state; empty if it shows none.
#[inline]
pub(crate) fn memory<'a>(
    store: impl Into<StoreContextMut<'a, State>>,
) -> (&'a mut [u8], &'a mut State) {
    let mut store = store.into();
    let Some((base, len)) = store.data().limiter.view.0 else { return look(store) };
    let state = ptr::from_mut(store.data_mut());
    // SAFETY: the store is borrowed for 'a, and was handed in. So for as long no guest code of it runs, no memory of it
    // grows, and nobody else reaches its state or its memory, which lie apart. (Its preempt bytes, which other threads
    // write, are in another memory.) The place is where the memory lies: see the module.
    unsafe { (slice::from_raw_parts_mut(base.as_ptr(), len), &mut *state) }
}

/// The same, when it is not known where it lies.
#[cold]
fn look<'a>(mut store: StoreContextMut<'a, State>) -> (&'a mut [u8], &'a mut State) {
    let Some(memory) = store.data().memory else {
        let state = ptr::from_mut(store.data_mut());
        // SAFETY: the store is borrowed for 'a, and was handed in.
        return (&mut [], unsafe { &mut *state });
    };
    let (data, state) = memory.data_and_store_mut(store);
    state.limiter.view.0 = NonNull::new(data.as_mut_ptr()).map(|base| (base, data.len()));
    (data, state)
}

/// The same for a host function's caller.
#[inline]
pub(crate) fn of_caller<'a>(caller: &'a mut Caller<'_, State>) -> (&'a mut [u8], &'a mut State) {
    if caller.data().memory.is_none() {
        return not_known_yet(caller);
    }
    memory(caller)
}

/// While a plain program's start function runs, its instance is not known yet.
#[cold]
fn not_known_yet<'a>(caller: &'a mut Caller<'_, State>) -> (&'a mut [u8], &'a mut State) {
    match caller.get_export(wasi::MEMORY_EXPORT).and_then(wasmtime::Extern::into_memory) {
        Some(memory) => memory.data_and_store_mut(caller),
        None => (&mut [], caller.data_mut()),
    }
}
