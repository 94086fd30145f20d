//! Memories and stacks that are not in a place. **Contains `unsafe`.**
//!
//! A second memory of a program, one of 64 bits, a stack that is larger than a place's. Their address space is kept, too, when
//! they have gone.
//!
//! Invariants:
//! * A region has one owner, or lies in the pool; there it is clean.
//! * A memory's region lies in the pool only when nobody has it any more, who only reads included ([`Site`]).
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::{LinearMemory, StackMemory};

use super::span::{Filled, Span};
use super::{InUse, give_region, region};
use crate::image::{PAGE_BYTES, Run};
use crate::pages;

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

/// Where a memory is, or was before it moved.
#[derive(Debug)]
pub(crate) struct Site {
    /// Always there; taken out when it is dropped.
    region: Option<Region>,
    guard: usize,
    /// How large the memory has become here, bytes.
    used: AtomicUsize,
    _in_use: InUse,
}

impl Site {
    fn new(size: usize, reserved: usize, guard: usize) -> Result<Site, String> {
        let open = size.next_multiple_of(PAGE_BYTES);
        let reserved = reserved.max(open);
        let shape = Shape { before: guard, open, behind: reserved - open + guard };
        let (region, used) = (Some(region(shape)?), AtomicUsize::new(size));
        Ok(Site { region, guard, used, _in_use: InUse::new() })
    }

    fn region(&self) -> &Region {
        self.region.as_ref().expect("only dropping takes it")
    }

    fn capacity(&self) -> usize {
        let Shape { open, behind, .. } = self.region().shape;
        open + behind - self.guard
    }

    /// Where the memory can reach as long as it is here.
    pub(crate) fn reach(&self) -> Range<usize> {
        let start = self.region().start();
        start..start + self.capacity()
    }

    /// How large the memory has become here, bytes.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let used = self.used().next_multiple_of(PAGE_BYTES);
        if let Some(region) = self.region.take() {
            region.give(used, Filled::Anywhere);
        }
    }
}

/// Where a memory is now.
#[derive(Debug)]
pub(crate) struct Address(Mutex<Arc<Site>>);

impl Address {
    pub(crate) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Site>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A linear memory.
pub(super) struct LoneMemory {
    address: Arc<Address>,
    size: usize,
}

impl LoneMemory {
    pub(super) fn new(size: usize, reserved: usize, guard: usize) -> Result<LoneMemory, String> {
        let site = Arc::new(Site::new(size, reserved, guard)?);
        Ok(LoneMemory { address: Arc::new(Address(Mutex::new(site))), size })
    }

    pub(super) fn address(&self) -> &Arc<Address> {
        &self.address
    }

    /// Only memories that code reaches through a base that may change become so large (64-bit ones).
    fn move_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        let before = self.address.site();
        let reserved = new_size.saturating_mul(2).max(before.capacity());
        let larger = Site::new(new_size, reserved, before.guard).map_err(wasmtime::Error::msg)?;
        let (from, to) = (before.region().start(), larger.region().start());
        // What was never touched is zero at both places, and stays so without taking memory.
        let len = self.size.next_multiple_of(PAGE_BYTES);
        let all = || vec![Run { first: 0, count: (len / PAGE_BYTES) as u64 }];
        for run in pages::touched(from, len).unwrap_or_else(all) {
            let part = run.bytes();
            let (from, to) = ((from + part.start) as *const u8, (to + part.start) as *mut u8);
            // SAFETY: both are accessible for so many bytes (whole pages, which a WebAssembly memory always is), and lie apart.
            unsafe { std::ptr::copy_nonoverlapping(from, to, part.len()) };
        }
        *self.address.lock() = Arc::new(larger);
        self.size = new_size;
        Ok(())
    }
}

// SAFETY: the site is this memory's until it is dropped or moves, and others only read there. It begins at `as_ptr`, is
// accessible up to `byte_size` (whole pages, which a WebAssembly memory always is), inaccessible from there to
// `byte_capacity` and for the guard behind that, and zero at first: a new mapping is, and a region from the pool has been
// cleaned.
unsafe impl LinearMemory for LoneMemory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.address.lock().capacity()
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        let site = self.address.site();
        if new_size > site.capacity() {
            return self.move_to(new_size);
        }
        let Region { span, shape } = site.region();
        let end = |size: usize| shape.before + size.next_multiple_of(PAGE_BYTES);
        let opened = span.open(end(self.size)..end(new_size));
        opened.map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        site.used.store(new_size, Ordering::Relaxed);
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.address.lock().region().start() as *mut u8
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
