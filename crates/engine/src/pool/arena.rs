//! Where places are: slots of the same size, each behind the other.
//!
//! ```text
//! slot      | second stack | stack | flags | save memory, 1 GiB | program's memory: 4 GiB and a guard ... | next slot
//!           `-------- accessible --------------------------------------´  then inaccessible
//! place i   its stacks and its program's memory are in slot i, its save memory in slot i+1, its flags in slot i+2
//! ```
//!
//! The second stack is for what the engine runs while the first one stands still: it makes an instance of a continuation on a
//! stack of its own. So nothing inaccessible need be between the two: whoever leaves the first one by its lower end is on one that
//! nobody runs on.
//!
//! wasmtime leaves out the checks of where code reaches if 4 GiB and a guard behind each memory are that memory's or
//! inaccessible, and asserts of a fault that it is in one memory of the instance only. Three times that would be 12 GiB a
//! process, and 10,000 processes would fill an address space. So the 4 GiB behind a save or flags memory are slots of others,
//! and only those behind the program's are its own. No code of a program can name the other two. The code that the pass
//! adds reaches into the flags at fixed addresses, and into the save memory where it has made room (`slow` in
//! `instrument/src/helpers.rs`), or where frames are that were looked through before they were taken (`restore.rs`).

use std::ops::Range;

use super::span::Span;
use crate::engines::{HOST_STACK_BYTES, MEMORY_GUARD_BYTES, MEMORY_RESERVATION_BYTES};
use crate::image::PAGE_BYTES;
use crate::runtime::STACK_BYTES_DEFAULT;

/// Room for a stack. A larger one lies elsewhere.
pub(super) const STACK_BYTES: usize = STACK_BYTES_DEFAULT + HOST_STACK_BYTES;
/// All there is of a flags memory: one page of WebAssembly's.
pub(super) const FLAGS_BYTES: usize = 64 << 10;
/// The most that a save memory can have.
pub(super) const SAVE_BYTES: usize = (peripatos_instrument::layout::SAVE_PAGES_MAX << 16) as usize;
/// What code can reach from the begin of a memory on.
pub(super) const REACH_BYTES: usize = (MEMORY_RESERVATION_BYTES + MEMORY_GUARD_BYTES) as usize;

const STACK: usize = STACK_BYTES;
const FLAGS: usize = STACK + STACK_BYTES;
const SAVE: usize = FLAGS + FLAGS_BYTES;
const MEMORY: usize = SAVE + SAVE_BYTES;
/// From slot to slot.
const STRIDE: usize = MEMORY + REACH_BYTES;

/// Places for which address space is taken at a time.
const PLACES_AT_ONCE: usize = 64;
/// Slots behind the last one's, for its save and flags memory.
const SLOTS_BEHIND: usize = 2;
/// Below the first slot's stack. Those of the others have a memory's below them.
const GUARD_BYTES: usize = 64 << 10;
/// What of a save memory is accessible at first where the system does not give out more than it has.
const SAVE_BYTES_MIN: usize = 64 << 10;

// What code reaches from one of a place's memories on is disjoint with the other two.
const _: () = {
    let (memory, save, flags) = (MEMORY, STRIDE + SAVE, 2 * STRIDE + FLAGS);
    assert!(memory + REACH_BYTES <= save && save + REACH_BYTES <= flags);
    assert!(STRIDE.is_multiple_of(PAGE_BYTES) && MEMORY.is_multiple_of(PAGE_BYTES));
};

/// Where a place begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    start: usize,
    /// How much of its save memory is accessible.
    save_open: usize,
}

/// The parts of a place.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) second: Span,
    pub(super) stack: Span,
    pub(super) flags: Span,
    pub(super) save: Span,
    /// Inaccessible.
    pub(super) memory: Span,
    /// How much of the save memory is accessible.
    pub(super) save_open: usize,
}

/// Slots that nobody has. All is zero in them, and their program's memory inaccessible.
#[derive(Debug, Default)]
pub(super) struct Arena {
    free: Vec<Slot>,
}

impl Arena {
    /// One of them.
    pub(super) fn take(&mut self) -> rustix::io::Result<Slot> {
        if self.free.is_empty() {
            // It may be that there is not so much any more, or that the user may not have it.
            self.map(PLACES_AT_ONCE).or_else(|_| self.map(1))?;
        }
        Ok(self.free.pop().expect("some were mapped"))
    }

    /// It is as it was when it was taken.
    pub(super) fn put(&mut self, slot: Slot) {
        self.free.push(slot);
    }

    fn map(&mut self, places: usize) -> rustix::io::Result<()> {
        let slots = places + SLOTS_BEHIND;
        let span = Span::reserve(GUARD_BYTES + slots * STRIDE)?;
        let starts = (0..slots).map(|slot| GUARD_BYTES + slot * STRIDE);
        let open = |save_open: usize| {
            let open = |start: usize| {
                let part = start..start + SAVE + save_open;
                span.open(part.clone())?;
                span.keep_small(part);
                Ok(())
            };
            starts.clone().try_for_each(open).map(|()| save_open)
        };
        // Where the system gives out no more than it has a save memory becomes accessible as it grows.
        match open(SAVE_BYTES).or_else(|_| open(SAVE_BYTES_MIN)) {
            Ok(save_open) => {
                let slot = |start| Slot { start: span.start() + start, save_open };
                self.free.extend(starts.take(places).rev().map(slot));
                Ok(())
            }
            Err(error) => {
                span.unmap();
                Err(error)
            }
        }
    }
}

impl Slot {
    /// The parts of the place that begins here. Who took the slot calls this, and has one such value at a time.
    pub(super) fn parts(self) -> Parts {
        let part = |slots: usize, range: Range<usize>| {
            Span::part_of_arena(self.start + slots * STRIDE + range.start, range.len())
        };
        Parts {
            second: part(0, 0..STACK),
            stack: part(0, STACK..FLAGS),
            memory: part(0, MEMORY..STRIDE),
            save: part(1, SAVE..MEMORY),
            flags: part(2, FLAGS..SAVE),
            save_open: self.save_open,
        }
    }
}
