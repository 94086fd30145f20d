//! Memories and stacks that are not in a place. **Contains `unsafe`.**
//!
//! A second memory of a program, one of 64 bits, a stack that is larger than a place's. Their address space is kept, too, when
//! they have gone.
//!
//! Invariant: a region has one owner, or lies in the pool; there it is clean.
#![allow(unsafe_code)]

use std::ops::Range;

use wasmtime::{LinearMemory, StackMemory};

use super::span::{Filled, Span};
use super::{InUse, give_region, region};
use crate::image::PAGE_BYTES;

/// What makes regions alike, bytes: guard, open part, and what behind that can be opened or is guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    before: usize,
    open: usize,
    behind: usize,
}

/// Some address space with guards around its open part, which begins at `shape.before`.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) shape: Shape,
    pub(super) span: Span,
}

impl Region {
    pub(super) fn map(shape: Shape) -> rustix::io::Result<Region> {
        let Shape { before, open, behind } = shape;
        let span = Span::reserve(before + open + behind)?;
        match span.open(before..before + open) {
            Ok(()) => Ok(Region { shape, span }),
            Err(error) => {
                span.unmap();
                Err(error)
            }
        }
    }

    /// Where the open part begins.
    fn start(&self) -> usize {
        self.span.start() + self.shape.before
    }

    /// Into the pool. `size`: how large the open part has become.
    fn give(mut self, size: usize, filled: Filled) {
        let Shape { before, open, .. } = self.shape;
        // What was opened later is closed again.
        let closed = size <= open || self.span.close(before + open..before + size);
        if closed && self.span.clean(before..before + open, filled) {
            give_region(self);
        } else {
            self.span.unmap();
        }
    }
}

/// A linear memory.
pub(super) struct LoneMemory {
    /// Always there; taken out when it is dropped, or moves.
    region: Option<Region>,
    guard: usize,
    size: usize,
    _in_use: InUse,
}

impl LoneMemory {
    pub(super) fn new(size: usize, reserved: usize, guard: usize) -> Result<LoneMemory, String> {
        let open = size.next_multiple_of(PAGE_BYTES);
        let reserved = reserved.max(open);
        let shape = Shape { before: guard, open, behind: reserved - open + guard };
        Ok(LoneMemory { region: Some(region(shape)?), guard, size, _in_use: InUse::new() })
    }

    fn region(&self) -> &Region {
        self.region.as_ref().expect("only dropping takes it")
    }

    /// Only memories that code reaches through a base that may change become so large (64-bit ones).
    fn move_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        let reserved = new_size.saturating_mul(2).max(self.byte_capacity());
        let larger =
            LoneMemory::new(new_size, reserved, self.guard).map_err(wasmtime::Error::msg)?;
        // SAFETY: both are accessible for so many bytes, and lie apart.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), larger.as_ptr(), self.size) };
        *self = larger;
        Ok(())
    }
}

// SAFETY: the region is this memory's alone until it is dropped. It begins at `as_ptr`, is accessible up to `byte_size`
// (whole pages, which a WebAssembly memory always is), inaccessible from there to `byte_capacity` and for the guard
// behind that, and zero at first: a new mapping is, and a region from the pool has been cleaned.
unsafe impl LinearMemory for LoneMemory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        let Shape { open, behind, .. } = self.region().shape;
        open + behind - self.guard
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.byte_capacity() {
            return self.move_to(new_size);
        }
        let before = self.region().shape.before;
        let end = |size: usize| before + size.next_multiple_of(PAGE_BYTES);
        let opened = self.region().span.open(end(self.size)..end(new_size));
        opened.map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.region().start() as *mut u8
    }
}

impl Drop for LoneMemory {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            region.give(self.size.next_multiple_of(PAGE_BYTES), Filled::Anywhere);
        }
    }
}

/// A fiber's stack, with one page of guard below it.
pub(super) struct LoneStack {
    region: Option<Region>,
    _in_use: InUse,
}

impl LoneStack {
    pub(super) fn new(size: usize) -> Result<LoneStack, String> {
        let open = size.next_multiple_of(PAGE_BYTES);
        let region = region(Shape { before: PAGE_BYTES, open, behind: 0 })?;
        Ok(LoneStack { region: Some(region), _in_use: InUse::new() })
    }

    fn open(&self) -> Range<usize> {
        let region = self.region.as_ref().expect("only dropping takes it");
        region.start()..region.start() + region.shape.open
    }
}

// SAFETY: the region is this stack's alone until it is dropped; it is accessible, whole pages, zero, and has a page below
// it that is not accessible.
unsafe impl StackMemory for LoneStack {
    fn top(&self) -> *mut u8 {
        self.open().end as *mut u8
    }

    fn range(&self) -> Range<usize> {
        self.open()
    }

    fn guard_range(&self) -> Range<*mut u8> {
        let start = self.open().start;
        (start - PAGE_BYTES) as *mut u8..start as *mut u8
    }
}

impl Drop for LoneStack {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            let open = region.shape.open;
            region.give(open, Filled::Downwards);
        }
    }
}
