//! Access to the save memory from the host. **Contains `unsafe`.**
//!
//! Other threads write the preempt bytes while the guest runs. Rust must therefore never see a slice
//! that covers them: everything here goes through raw pointers and atomics.
//!
//! Invariants: the memory is 32-bit and its engine reserves its whole address space
//! ([`crate::engines::MEMORY_RESERVATION_BYTES`]), so its base never moves; it never shrinks; only
//! the thread that holds the store touches anything but the preempt bytes.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use peripatos_instrument::layout;
use wasmtime::{AsContext, AsContextMut, Memory};

/// The save memory of one instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SaveMemory(Memory);

impl SaveMemory {
    /// `memory` is what the hot module exports as its save memory; `None` if it is not one.
    pub(crate) fn new(store: impl AsContext, memory: Memory) -> Option<SaveMemory> {
        let ty = memory.ty(&store);
        let fits = memory.data_size(&store) > layout::DROPPED as usize;
        (!ty.is_64() && !ty.is_shared() && fits).then_some(SaveMemory(memory))
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
    pub(crate) fn set_unwinding(self, mut store: impl AsContextMut, unwinding: bool) {
        self.write(&mut store, layout::UNWINDING, &[u8::from(unwinding)]);
    }

    /// Whether frames are being saved, or lie there complete.
    pub(crate) fn unwinding(self, store: impl AsContext) -> bool {
        let mut byte = [0];
        self.read(store, layout::UNWINDING, &mut byte);
        byte[0] != 0
    }

    /// What is left of the count-down.
    pub(crate) fn counter(self, store: impl AsContext) -> i32 {
        self.word(store, layout::COUNTER) as i32
    }

    /// Starts the count-down at `count`.
    pub(crate) fn set_counter(self, store: impl AsContextMut, count: i32) {
        self.write(store, layout::COUNTER, &count.to_le_bytes());
    }

    /// First free byte above the topmost frame.
    pub(crate) fn stack_pointer(self, store: impl AsContext) -> u32 {
        self.word(store, layout::STACK_POINTER)
    }

    /// Sets the first free byte above the topmost frame.
    pub(crate) fn set_stack_pointer(self, store: impl AsContextMut, at: u32) {
        self.write(store, layout::STACK_POINTER, &at.to_le_bytes());
    }

    /// Site of the frame on top; `None` if there is none.
    pub(crate) fn top_site(self, store: impl AsContext) -> Option<u32> {
        let at = self.stack_pointer(&store).checked_sub(layout::FRAME_HEADER)?;
        (at >= layout::DROPPED).then(|| self.word(store, at))
    }

    /// The bytes from [`layout::DROPPED`] up to the stack pointer.
    pub(crate) fn contents(self, store: impl AsContext) -> Vec<u8> {
        let end = self.stack_pointer(&store).min(self.len(&store));
        let mut bytes = vec![0; end.saturating_sub(layout::DROPPED) as usize];
        self.read(store, layout::DROPPED, &mut bytes);
        bytes
    }

    /// Writes what [`SaveMemory::contents`] read, sets the stack pointer behind it and makes room
    /// for one more frame. `false`: the memory cannot grow that far.
    pub(crate) fn restore(self, mut store: impl AsContextMut, bytes: &[u8]) -> bool {
        let Some(end) =
            u32::try_from(bytes.len()).ok().and_then(|n| n.checked_add(layout::DROPPED))
        else {
            return false;
        };
        let wanted = u64::from(end) + u64::from(layout::FRAME_SIZE_MAX);
        let missing = wanted.saturating_sub(u64::from(self.len(&store))).div_ceil(1 << 16);
        if missing > 0 && self.0.grow(&mut store, missing).is_err() {
            return false;
        }
        self.write(&mut store, layout::DROPPED, bytes);
        self.set_stack_pointer(&mut store, end);
        true
    }

    /// Pushes a frame: `payload`, then the site and the size. `false`: no room, nothing changed.
    pub(crate) fn push(self, mut store: impl AsContextMut, site: u32, payload: &[u8]) -> bool {
        let size = payload.len() as u32 + layout::FRAME_HEADER;
        let at = self.stack_pointer(&store);
        let Some(end) = at.checked_add(size).filter(|end| *end <= self.len(&store)) else {
            return false;
        };
        self.write(&mut store, at, payload);
        self.write(&mut store, end - layout::FRAME_HEADER, &site.to_le_bytes());
        self.write(&mut store, end - layout::FRAME_HEADER + 4, &size.to_le_bytes());
        self.set_stack_pointer(store, end);
        true
    }

    fn len(self, store: impl AsContext) -> u32 {
        u32::try_from(self.0.data_size(store)).unwrap_or(u32::MAX)
    }

    fn word(self, store: impl AsContext, at: u32) -> u32 {
        let mut word = [0; 4];
        self.read(store, at, &mut word);
        u32::from_le_bytes(word)
    }

    fn read(self, store: impl AsContext, at: u32, to: &mut [u8]) {
        self.check(&store, at, to.len());
        // SAFETY: `check` has shown that the range lies within the memory and outside of the bytes
        // that other threads write; the store is borrowed, so no guest code runs meanwhile; `to`
        // cannot overlap, as nobody makes references into this memory.
        unsafe {
            let from = self.0.data_ptr(store).add(at as usize);
            std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len());
        }
    }

    fn write(self, store: impl AsContextMut, at: u32, from: &[u8]) {
        self.check(&store, at, from.len());
        // SAFETY: as in `read`; the store is borrowed mutably, so nobody else reads.
        unsafe {
            let to = self.0.data_ptr(store).add(at as usize);
            std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
        }
    }

    /// Panics where `at..at + len` is out of the memory or covers a preempt byte: a defect of this
    /// crate, since every caller has checked what came from outside.
    fn check(self, store: impl AsContext, at: u32, len: usize) {
        let private = at == layout::UNWINDING && len == 1 || at >= layout::LOOP_CLASSES_END;
        let end = (at as usize).checked_add(len);
        assert!(private && end.is_some_and(|end| end <= self.0.data_size(store)));
    }
}

/// The preempt bytes of a process, for other threads. See [`crate::control`] for how they stay
/// valid.
#[derive(Debug)]
pub(crate) struct PreemptBytes(NonNull<u8>);

// SAFETY: the bytes are only touched by atomic stores, from whatever thread.
unsafe impl Send for PreemptBytes {}

impl PreemptBytes {
    /// Makes the next check of every kind ask the host (1), or lets checks go by (0).
    ///
    /// Must only be called while the store lives: by its owner, or under the lock of
    /// [`crate::control::Shared`].
    pub(crate) fn write(&self, value: u8) {
        let loops = layout::LOOP_CLASSES..layout::LOOP_CLASSES_END;
        for offset in std::iter::once(layout::PREEMPT).chain(loops) {
            // SAFETY: the save memory is larger than the preempt bytes (`SaveMemory::new`), never
            // moves, and lives as long as the store, which the caller vouches for. An `AtomicU8`
            // has the layout of a byte, and all concurrent accesses on the Rust side are atomic.
            let byte = unsafe { AtomicU8::from_ptr(self.0.as_ptr().add(offset as usize)) };
            byte.store(value, Ordering::SeqCst);
        }
    }
}
