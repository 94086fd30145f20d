//! A place: where the stack and the memories of one process are. **Contains `unsafe`.**
//!
//! Invariants:
//! * A place has one owner: the [`Arc`]s of a process's memories, of its stack, and of itself while it has none. Each part
//!   is given out once at a time.
//! * When nobody has it any more it is cleaned, and goes back to the pool: whoever gets it reads zeros.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{LinearMemory, StackMemory};

use super::arena::{Parts, SAVE_BYTES, STACK_BYTES, Slot};
use super::footprint::Footprint;
use super::span::{Filled, LOOK_BYTES_MAX, Span};
use super::{InUse, give, give_fresh, wants};
use crate::engines::MEMORY_RESERVATION_BYTES;
use crate::image::PAGE_BYTES;

/// So much of a program's memory is given out in small pages: a huge one has as many bytes, and most programs need less.
const SMALL_BYTES: usize = 2 << 20;

/// Which part of a process's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The program's memory.
    Memory,
    /// The pass's, for frames.
    Save,
    /// The pass's, for preempt bytes.
    Flags,
    Stack,
    /// The stack of what the engine runs while that one stands still.
    Second,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Place {
    slot: Slot,
    /// How much of the program's memory is accessible while it lies in the pool.
    open: usize,
    /// Of the processes of the same program.
    footprint: Arc<Footprint>,
    /// It has the pages of the one before.
    has_pages: bool,
    /// Locked when a memory grows, and when all is over.
    parts: Mutex<Parts>,
    taken: [AtomicBool; 5],
    /// What was ever given out: the rest is clean, and is not looked at.
    given: [AtomicBool; 5],
    /// How large the program's memory and the save memory have become.
    used: [AtomicUsize; 2],
    _in_use: InUse,
}

impl Place {
    /// One that has just been taken, or lay in the pool, with its pages, with so much of its program's memory accessible.
    pub(super) fn of(
        slot: Slot,
        open: usize,
        footprint: &Arc<Footprint>,
        has_pages: bool,
    ) -> Arc<Place> {
        Arc::new(Place {
            slot,
            open,
            footprint: Arc::clone(footprint),
            has_pages,
            parts: Mutex::new(slot.parts()),
            taken: Default::default(),
            given: Default::default(),
            used: Default::default(),
            _in_use: InUse::new(),
        })
    }

    /// Gives out a part, unless somebody has it. Where it is.
    fn take(&self, part: Part) -> Option<usize> {
        let before = self.taken[part as usize].swap(true, Ordering::AcqRel);
        self.given[part as usize].store(true, Ordering::Relaxed);
        (!before).then(|| self.with(part, Span::start))
    }

    /// Where the program's memory can reach. `None`: it lies elsewhere, or there is none.
    pub(crate) fn memory_reach(&self) -> Option<Range<usize>> {
        let given = self.given[Part::Memory as usize].load(Ordering::Relaxed);
        let reach = |span: &Span| span.start()..span.start() + MEMORY_RESERVATION_BYTES as usize;
        given.then(|| self.with(Part::Memory, reach))
    }

    /// Where the program's memory is, and how large it has become, bytes. `None`: it lies elsewhere, or has pages that
    /// only the process before has touched.
    pub(super) fn memory(&self) -> Option<(usize, usize)> {
        let reach = self.memory_reach().filter(|_| !self.has_pages)?;
        Some((reach.start, self.memory_used()))
    }

    /// How large the program's memory has become, bytes.
    pub(crate) fn memory_used(&self) -> usize {
        self.used(0)
    }

    fn put(&self, part: Part) {
        self.taken[part as usize].store(false, Ordering::Release);
    }

    fn with<T>(&self, part: Part, act: impl FnOnce(&Span) -> T) -> T {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        act(match part {
            Part::Memory => &parts.memory,
            Part::Save => &parts.save,
            Part::Flags => &parts.flags,
            Part::Stack => &parts.stack,
            Part::Second => &parts.second,
        })
    }

    /// A memory has this size from now on.
    fn reach(&self, part: Part, size: usize) -> rustix::io::Result<()> {
        let size = size.next_multiple_of(PAGE_BYTES);
        let (index, open) = match part {
            Part::Memory => (0, self.open),
            Part::Save => (1, self.parts.lock().unwrap_or_else(PoisonError::into_inner).save_open),
            Part::Flags | Part::Stack | Part::Second => return Ok(()),
        };
        let before = self.used[index].load(Ordering::Relaxed);
        if size > before {
            let new = before.max(open).min(size)..size;
            self.with(part, |span| match part {
                Part::Memory => open_memory(span, new),
                _ => span.open(new),
            })?;
            self.used[index].store(size, Ordering::Relaxed);
        }
        Ok(())
    }

    fn used(&self, index: usize) -> usize {
        self.used[index].load(Ordering::Relaxed)
    }
}

/// Makes a part of a program's memory accessible. Its begin is of one mapping with what is before it, and so of small pages.
pub(super) fn open_memory(memory: &Span, part: Range<usize>) -> rustix::io::Result<()> {
    memory.open(part.clone())?;
    memory.keep_small(part.start..part.end.min(SMALL_BYTES).max(part.start));
    Ok(())
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((start, len)) = self.memory() {
            self.footprint.note_end(start, len);
        }
        let [memory_used, save_used] = [self.used(0), self.used(1)];
        let Place { slot, open, .. } = *self;
        let parts = self.parts.get_mut().unwrap_or_else(PoisonError::into_inner);
        let save_open = parts.save_open;
        let given = |part: Part| self.given[part as usize].load(Ordering::Relaxed);
        if !wants(open) {
            let Parts { second, stack, flags, save, memory, .. } = parts;
            let discarded = memory.close(0..memory_used.max(open))
                && (save_used <= save_open || save.close(save_open..save_used))
                && save.discard(0..save_used.min(save_open))
                && [(Part::Second, second), (Part::Stack, stack), (Part::Flags, flags)]
                    .into_iter()
                    .all(|(part, span)| !given(part) || span.discard(0..span.len()));
            if discarded {
                give_fresh(slot);
            }
            return;
        }
        // In a small one nobody leaves two pages unused before one that he uses.
        let small = save_used <= LOOK_BYTES_MAX;
        let save_filled = if small { Filled::Upwards } else { Filled::Anywhere };
        // What was opened later is closed again.
        let clean = (memory_used <= open || parts.memory.close(open..memory_used))
            && (save_used <= save_open || parts.save.close(save_open..save_used))
            && parts.memory.clean(0..memory_used.min(open), Filled::Anywhere)
            && parts.save.clean(0..save_used.min(save_open), save_filled)
            && parts.flags.clean(0..parts.flags.len(), Filled::Upwards)
            && (!given(Part::Stack) || parts.stack.clean(0..STACK_BYTES, Filled::Downwards))
            && (!given(Part::Second) || parts.second.clean(0..STACK_BYTES, Filled::Downwards));
        // If the system cannot even do that nobody may have it any more.
        if clean {
            give(slot, open);
        }
    }
}

/// A memory in a place.
pub(super) struct PlacedMemory {
    place: Arc<Place>,
    part: Part,
    start: usize,
    size: usize,
}

impl PlacedMemory {
    /// `None`: the place's memory of this kind is somebody's already, or there is not so much room.
    pub(super) fn new(place: Arc<Place>, part: Part, size: usize) -> Option<PlacedMemory> {
        let start = place.take(part)?;
        let memory = PlacedMemory { place, part, start, size };
        let PlacedMemory { place, .. } = &memory;
        if size > memory.byte_capacity() || place.reach(part, size).is_err() {
            return None;
        }
        if part == Part::Memory && !place.has_pages {
            // SAFETY: it is this memory's alone, was just made accessible, and is zero as long as nobody has had it.
            unsafe { place.footprint.give_out(start, size) };
        }
        Some(memory)
    }
}

// SAFETY: the part is this memory's alone until it is dropped, and so is what code can reach behind it, or it is trusted
// (see `arena`). It begins at `as_ptr`, is accessible up to `byte_size`, and zero at first: a place is cleaned before it
// is given out. A program's memory is inaccessible from there on.
unsafe impl LinearMemory for PlacedMemory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        match self.part {
            Part::Memory => MEMORY_RESERVATION_BYTES as usize,
            Part::Save => SAVE_BYTES,
            part => self.place.with(part, Span::len),
        }
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.byte_capacity() {
            return Err(wasmtime::Error::msg("it has no more room"));
        }
        let reached = self.place.reach(self.part, new_size);
        reached.map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.start as *mut u8
    }
}

impl Drop for PlacedMemory {
    fn drop(&mut self) {
        self.place.put(self.part);
    }
}

/// A stack in a place.
pub(super) struct PlacedStack {
    place: Arc<Place>,
    part: Part,
    start: usize,
}

impl PlacedStack {
    /// `None`: the place's stacks are somebody's already, or are smaller.
    pub(super) fn new(place: Arc<Place>, size: usize) -> Option<PlacedStack> {
        if size > STACK_BYTES {
            return None;
        }
        let found = [Part::Stack, Part::Second]
            .into_iter()
            .find_map(|part| place.take(part).map(|start| (part, start)));
        let (part, start) = found?;
        Some(PlacedStack { place, part, start })
    }

    fn open(&self) -> Range<usize> {
        self.start..self.start + STACK_BYTES
    }
}

// SAFETY: the stack is this one's alone until it is dropped; it is accessible, whole pages, and zero but for what the same
// process has left there. What is below it is inaccessible: the end of another place's program's memory, or a guard; or it
// is the second stack, on which nobody runs as long as somebody runs on this one (see `arena`).
unsafe impl StackMemory for PlacedStack {
    fn top(&self) -> *mut u8 {
        self.open().end as *mut u8
    }

    fn range(&self) -> Range<usize> {
        self.open()
    }

    fn guard_range(&self) -> Range<*mut u8> {
        (self.start - PAGE_BYTES) as *mut u8..self.start as *mut u8
    }
}

impl Drop for PlacedStack {
    fn drop(&mut self) {
        self.place.put(self.part);
    }
}
