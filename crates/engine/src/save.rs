//! Access to the save memory from the host: its frames, its stack pointer and its count-down.
//!
//! Only the thread that holds the store touches it; what other threads write is in [`crate::flags`].

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

    /// Panics out of bounds, as `write` does: a defect of this crate, since every caller has checked
    /// what came from outside.
    fn read(self, store: impl AsContext, at: u32, to: &mut [u8]) {
        let at = at as usize;
        to.copy_from_slice(&self.0.data(&store)[at..at + to.len()]);
    }

    fn write(self, mut store: impl AsContextMut, at: u32, from: &[u8]) {
        let at = at as usize;
        self.0.data_mut(&mut store)[at..at + from.len()].copy_from_slice(from);
    }
}
