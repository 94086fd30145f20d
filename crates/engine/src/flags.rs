//! Access to the flags memory from the host. **Contains `unsafe`.**
//!
//! Other threads write the preempt bytes while the guest runs. Rust must therefore never see a slice
//! that covers them: everything here goes through raw pointers and atomics.
//!
//! Invariant: nobody ever grows this memory, so its base never moves. (Its declared maximum is beyond
//! what an engine reserves only so that Cranelift does not keep the base in a register: see
//! [`peripatos_instrument::layout`].)
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

use peripatos_instrument::layout;
use wasmtime::{AsContext, AsContextMut, Memory};

/// The flags memory of one instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags(Memory);

impl Flags {
    /// `memory` is what the hot module exports as its flags memory; `None` if it is not one.
    pub(crate) fn new(store: impl AsContext, memory: Memory) -> Option<Flags> {
        let ty = memory.ty(&store);
        let fits = memory.data_size(&store) >= layout::LOOP_CLASSES_END as usize;
        (ty.is_64() && !ty.is_shared() && fits).then_some(Flags(memory))
    }

    /// The bytes by which other threads ask for attention. Valid as long as the store.
    pub(crate) fn preempt_bytes(self, store: impl AsContext) -> PreemptBytes {
        // Linear memory is never at address 0; `new` has seen that it is not empty.
        PreemptBytes(NonNull::new(self.0.data_ptr(store)).unwrap_or(NonNull::dangling()))
    }

    /// Clears the preempt bytes, so that checks go by until somebody asks again.
    pub(crate) fn clear_preempt(self, store: impl AsContext) {
        self.preempt_bytes(store).write(0);
    }

    /// Makes every check unwind from here on, or no longer.
    pub(crate) fn set_unwinding(self, store: impl AsContextMut, unwinding: bool) {
        self.preempt_bytes(store).byte(layout::UNWINDING).store(unwinding.into(), Ordering::SeqCst);
    }

    /// Whether frames are being saved, or lie there complete.
    pub(crate) fn unwinding(self, store: impl AsContext) -> bool {
        self.preempt_bytes(store).unwinding()
    }
}

/// The preempt bytes of a process, for other threads. See [`crate::control`] for how they stay
/// valid.
#[derive(Debug)]
pub(crate) struct PreemptBytes(NonNull<u8>);

// SAFETY: the bytes are only touched by atomic operations, from whatever thread.
unsafe impl Send for PreemptBytes {}

impl PreemptBytes {
    /// Makes the next check of every kind ask the host (1), or lets checks go by (0).
    ///
    /// The guest reads these bytes all the time, so every store is a fight for a cache line: as few as
    /// there can be, and one fence for all of them.
    ///
    /// Must only be called while the store lives: by its owner, or under the lock of
    /// [`crate::control::Shared`].
    pub(crate) fn write(&self, value: u8) {
        const WORDS: u32 = size_of::<u64>() as u32;
        // The unwinding byte among the first eight is not ours to write.
        const { assert!(layout::LOOP_CLASSES < WORDS && layout::LOOP_CLASSES_END.is_multiple_of(WORDS)) };
        fence(Ordering::SeqCst);
        self.byte(layout::PREEMPT).store(value, Ordering::Relaxed);
        for offset in layout::LOOP_CLASSES..WORDS {
            self.byte(offset).store(value, Ordering::Relaxed);
        }
        for offset in (WORDS..layout::LOOP_CLASSES_END).step_by(WORDS as usize) {
            self.word(offset).store(u64::from_ne_bytes([value; 8]), Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }

    /// As [`Flags::unwinding`]. Must only be called while the store lives.
    pub(crate) fn unwinding(&self) -> bool {
        self.byte(layout::UNWINDING).load(Ordering::SeqCst) != 0
    }

    fn byte(&self, offset: u32) -> &AtomicU8 {
        assert!(offset < layout::LOOP_CLASSES_END);
        // SAFETY: the memory is at least that large (`Flags::new`), never moves, and lives as long as
        // the store, which the caller of this type's methods vouches for. An `AtomicU8` has the
        // layout of a byte, and all accesses on the Rust side are atomic.
        unsafe { AtomicU8::from_ptr(self.0.as_ptr().add(offset as usize)) }
    }

    fn word(&self, offset: u32) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < layout::LOOP_CLASSES_END);
        // SAFETY: as for `byte`; a linear memory begins at a page, so the offset's alignment is the
        // address's. No word that is used holds a byte that is also accessed alone.
        unsafe { AtomicU64::from_ptr(self.0.as_ptr().add(offset as usize).cast()) }
    }
}
