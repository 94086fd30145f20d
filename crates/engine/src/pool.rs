//! Address space of processes that have gone, kept for those that come. **Contains `unsafe`.**
//!
//! To map a memory, touch its first pages and unmap it again took 40 us here, and a process has three memories and a stack:
//! most of what spawning cost. So a *region* (address space with guards around its open part) goes back to the pool, with
//! its pages, and the next process that wants one of its shape writes no page table.
//!
//! Invariants:
//! * Whoever gets a region reads zeros in it, whatever was in it before: it is cleaned when it is given back. What the
//!   operating system would have to be asked about is looked at instead: pages that are zero stay as they are.
//! * A region has one owner, or lies in the pool. What is outside of its open part cannot be reached.
//! * The pool is the OS process's, and bounded: [`FREE_MAX`] regions.
//!
//! Considered: wasmtime's pooling allocator. It takes the address space of all that may ever be there when an engine is
//! made (as much as there is for some 10,000 processes), has one limit for the tables of all programs, and refuses what is
//! beyond; nothing of it can be had again by another engine.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType, StackCreator, StackMemory};

use crate::image::PAGE_BYTES;
use crate::pages;

/// Regions that lie in the pool. More are unmapped: mappings are what an OS process has least of (65,530 on Linux), and a
/// region takes two.
const FREE_MAX: usize = 2_048;
/// A memory of this size or less is looked through when it is given back; of a larger one the operating system is asked
/// which pages were touched.
const LOOK_BYTES_MAX: usize = 128 << 10;
/// Pages that a region may keep in the pool. If it has more, all go back to the system.
const KEPT_PAGES_MAX: usize = 32;
/// Stacks and the pass's memories are filled from one end. Behind so many pages that are zero nobody has been; and if
/// somebody has, no program can read what he left there: of a stack and of those memories it reads what it has written.
const UNTOUCHED_PAGES: usize = 2;

thread_local! {
    /// Maxima of the memories that the pass has added to what is instantiated on this thread, bytes.
    static PRIVATE: Cell<[Option<usize>; 2]> = const { Cell::new([None; 2]) };
}

/// While `act` runs, memories with these maxima are known to be the pass's own.
pub(crate) fn with_private<T>(maxima: [Option<usize>; 2], act: impl FnOnce() -> T) -> T {
    struct Reset([Option<usize>; 2]);
    impl Drop for Reset {
        fn drop(&mut self) {
            PRIVATE.set(self.0);
        }
    }
    let _reset = Reset(PRIVATE.replace(maxima));
    act()
}

/// What makes regions alike, bytes: guard, open part, and what behind that can be opened or is guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shape {
    before: usize,
    open: usize,
    behind: usize,
}

impl Shape {
    fn len(self) -> usize {
        self.before + self.open + self.behind
    }
}

/// Some address space. Its open part begins at `open`.
#[derive(Debug)]
struct Region {
    shape: Shape,
    open: usize,
}

/// The pool: addresses of open parts by shape.
#[derive(Default)]
struct Free {
    regions: HashMap<Shape, Vec<usize>>,
    count: usize,
}

fn free() -> MutexGuard<'static, Free> {
    static FREE: OnceLock<Mutex<Free>> = OnceLock::new();
    // Nothing under the lock can panic half-way.
    FREE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Free {
    fn take(&mut self, shape: Shape) -> Option<Region> {
        let open = self.regions.get_mut(&shape)?.pop()?;
        self.count -= 1;
        Some(Region { shape, open })
    }

    /// One of any shape.
    fn take_any(&mut self) -> Option<Region> {
        let shape = *self.regions.iter().find(|(_, regions)| !regions.is_empty())?.0;
        self.take(shape)
    }
}

impl Region {
    /// From the pool, or new.
    fn get(shape: Shape) -> Result<Region, String> {
        if let Some(region) = free().take(shape) {
            return Ok(region);
        }
        Region::map(shape).or_else(|error| {
            // There may be no mapping left, but for those in the pool.
            let mut old = free();
            std::iter::from_fn(|| old.take_any()).for_each(Region::unmap);
            drop(old);
            Region::map(shape).map_err(|_| error)
        })
    }

    fn map(shape: Shape) -> Result<Region, String> {
        let failed = |error: rustix::io::Errno| format!("no address space for a memory: {error}");
        // SAFETY: a new mapping, wherever the system has room, touches nothing that is there.
        let start =
            unsafe { mmap_anonymous(null_mut(), shape.len(), ProtFlags::empty(), map_flags()) };
        let region = Region { shape, open: start.map_err(failed)? as usize + shape.before };
        match region.unlock(0..shape.open) {
            Ok(()) => Ok(region),
            Err(error) => {
                region.unmap();
                Err(failed(error))
            }
        }
    }

    fn unmap(self) {
        // SAFETY: the mapping is this region's, and nobody refers to it any more.
        let unmapped =
            unsafe { munmap((self.open - self.shape.before) as *mut _, self.shape.len()) };
        // What cannot be unmapped only stays.
        let _ = unmapped;
    }

    /// Makes a part accessible, counted from the open part's begin.
    fn unlock(&self, part: Range<usize>) -> rustix::io::Result<()> {
        assert!(part.end <= self.shape.open + self.shape.behind);
        if part.is_empty() {
            return Ok(());
        }
        // SAFETY: the part lies in this region, and no more is allowed than before.
        unsafe {
            mprotect(
                (self.open + part.start) as *mut _,
                part.len(),
                MprotectFlags::READ | MprotectFlags::WRITE,
            )
        }
    }

    /// Gives a part's pages back to the system: it is zero then, and accessible as said. `false`: it could not.
    fn renew(&self, part: Range<usize>, protection: ProtFlags) -> bool {
        assert!(part.end <= self.shape.open + self.shape.behind);
        let (start, len) = (self.open + part.start, part.len());
        // SAFETY: the part lies in this region, which nobody uses: it is on its way into the pool.
        len == 0
            || unsafe {
                mmap_anonymous(start as *mut _, len, protection, map_flags() | MapFlags::FIXED)
            }
            .is_ok()
    }

    /// The page at this offset of the open part.
    fn page(&mut self, at: usize) -> &mut [u8] {
        assert!(at.is_multiple_of(PAGE_BYTES) && at + PAGE_BYTES <= self.shape.open);
        // SAFETY: the page lies in the open part, which is accessible, and `self` is its only owner.
        unsafe { std::slice::from_raw_parts_mut((self.open + at) as *mut u8, PAGE_BYTES) }
    }

    /// Cleans a page, if it has to be. Whether it had.
    fn clean(&mut self, at: usize) -> bool {
        let page = self.page(at);
        let dirty = !crate::memory::is_zero(page);
        if dirty {
            page.fill(0);
        }
        dirty
    }

    /// Cleans these pages, the most used first. `bounded`: behind some that are zero nobody has been. `false`: they are
    /// too many to be kept.
    fn clean_all(&mut self, pages: impl Iterator<Item = usize>, bounded: bool) -> bool {
        let (mut dirty, mut untouched) = (0, 0);
        for at in pages {
            if self.clean(at) {
                (dirty, untouched) = (dirty + 1, 0);
            } else {
                untouched += 1;
            }
            if dirty > KEPT_PAGES_MAX {
                return false;
            }
            if bounded && untouched >= UNTOUCHED_PAGES {
                break;
            }
        }
        true
    }

    /// Into the pool, clean. `kept`: the open part's pages are few, and clean.
    fn give(self, kept: bool) {
        let whole = 0..self.shape.open;
        if !kept && !self.renew(whole, ProtFlags::READ | ProtFlags::WRITE) {
            return self.unmap();
        }
        let mut free = free();
        if free.count < FREE_MAX {
            free.count += 1;
            free.regions.entry(self.shape).or_default().push(self.open);
            return;
        }
        // Room for the shape that is in use now, at the expense of one that may not be.
        let other = free.take_any();
        free.count += 1;
        free.regions.entry(self.shape).or_default().push(self.open);
        drop(free);
        other.into_iter().for_each(Region::unmap);
    }
}

fn map_flags() -> MapFlags {
    MapFlags::PRIVATE | MapFlags::NORESERVE
}

/// How a memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// The program's: anywhere.
    Program,
    /// The pass's: from its begin on.
    Private,
}

/// A linear memory.
struct PooledMemory {
    /// Always there; taken out when it is dropped, or moves.
    region: Option<Region>,
    usage: Use,
    guard: usize,
    size: usize,
}

impl PooledMemory {
    fn new(size: usize, reserved: usize, guard: usize, usage: Use) -> Result<PooledMemory, String> {
        let open = size.next_multiple_of(PAGE_BYTES);
        let reserved = reserved.max(open);
        let shape = Shape { before: guard, open, behind: reserved - open + guard };
        Ok(PooledMemory { region: Some(Region::get(shape)?), usage, guard, size })
    }

    fn region(&self) -> &Region {
        self.region.as_ref().expect("only dropping takes it")
    }
}

// SAFETY: the region is this memory's alone until it is dropped. It begins at `as_ptr`, is accessible up to `byte_size`
// (whole pages, which a WebAssembly memory always is), inaccessible from there to `byte_capacity` and for the guard
// behind that, and zero at first: a new mapping is, and a region from the pool has been cleaned.
unsafe impl LinearMemory for PooledMemory {
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
        let end = |size: usize| size.next_multiple_of(PAGE_BYTES);
        let part = end(self.size)..end(new_size);
        if !part.is_empty() {
            self.region().unlock(part).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        }
        self.size = new_size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.region().open as *mut u8
    }
}

impl PooledMemory {
    /// Only memories that code reaches through a base that may change become so large (64-bit ones).
    fn move_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        let reserved = new_size.saturating_mul(2).max(self.byte_capacity());
        let larger = PooledMemory::new(new_size, reserved, self.guard, self.usage)
            .map_err(wasmtime::Error::msg)?;
        // SAFETY: both are accessible for so many bytes, and lie apart.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), larger.as_ptr(), self.size) };
        *self = larger;
        Ok(())
    }
}

impl Drop for PooledMemory {
    fn drop(&mut self) {
        let Some(mut region) = self.region.take() else { return };
        let (open, size) = (region.shape.open, self.size.next_multiple_of(PAGE_BYTES));
        // What was opened later is closed again.
        if size > open && !region.renew(open..size, ProtFlags::empty()) {
            return region.unmap();
        }
        let all = || (0..open).step_by(PAGE_BYTES);
        let kept = if self.usage == Use::Private {
            region.clean_all(all(), true)
        } else if open <= LOOK_BYTES_MAX {
            region.clean_all(all(), false)
        } else {
            let touched = pages::touched(region.open, open);
            touched.is_some_and(|runs| {
                let starts = runs.iter().flat_map(|run| run.bytes().step_by(PAGE_BYTES));
                region.clean_all(starts, false)
            })
        };
        region.give(kept);
    }
}

/// Makes linear memories.
pub(crate) struct Memories;

// SAFETY: see `PooledMemory`; what is reserved and guarded is what was asked for.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let private = maximum.is_some() && PRIVATE.get().contains(&maximum);
        let usage = if private { Use::Private } else { Use::Program };
        let reserved = reserved_size_in_bytes.unwrap_or_default();
        let memory = PooledMemory::new(minimum, reserved, guard_size_in_bytes, usage)?;
        Ok(Box::new(memory))
    }
}

/// A fiber's stack, with one page of guard below it.
struct PooledStack(Option<Region>);

impl PooledStack {
    fn open(&self) -> Range<usize> {
        let region = self.0.as_ref().expect("only dropping takes it");
        region.open..region.open + region.shape.open
    }
}

// SAFETY: the region is this stack's alone until it is dropped; it is accessible, whole pages, zero, and has a page below
// it that is not accessible.
unsafe impl StackMemory for PooledStack {
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

impl Drop for PooledStack {
    fn drop(&mut self) {
        let Some(mut region) = self.0.take() else { return };
        let pages = (0..region.shape.open).step_by(PAGE_BYTES).rev();
        let kept = region.clean_all(pages, true);
        region.give(kept);
    }
}

/// Makes stacks.
pub(crate) struct Stacks;

// SAFETY: see `PooledStack`.
unsafe impl StackCreator for Stacks {
    fn new_stack(&self, size: usize, _zeroed: bool) -> wasmtime::Result<Box<dyn StackMemory>> {
        let open = size.next_multiple_of(PAGE_BYTES);
        let region = Region::get(Shape { before: PAGE_BYTES, open, behind: 0 });
        Ok(Box::new(PooledStack(Some(region.map_err(wasmtime::Error::msg)?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64 << 10;

    fn memory(size: usize, usage: Use) -> PooledMemory {
        PooledMemory::new(size, 1 << 20, 64 << 10, usage).unwrap()
    }

    fn bytes(memory: &mut PooledMemory) -> &mut [u8] {
        // SAFETY: it is accessible for so many bytes, and borrowed.
        unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.byte_size()) }
    }

    /// Whatever was written where: who gets the region next reads zeros.
    #[test]
    fn nothing_of_a_memory_is_left_for_the_next() {
        for size in [SIZE, 2 * LOOK_BYTES_MAX] {
            for step in [size / 2 + 1, 8192, 4096, 100] {
                let mut first = memory(size, Use::Program);
                bytes(&mut first).iter_mut().skip(17).step_by(step).for_each(|byte| *byte = 7);
                first.grow_to(size + SIZE).unwrap();
                bytes(&mut first)[size + 5] = 7;
                drop(first);
                for _ in 0..FREE_MAX.min(3) {
                    let mut next = memory(size, Use::Program);
                    assert!(bytes(&mut next).iter().all(|byte| *byte == 0), "{size} {step}");
                    next.grow_to(size + SIZE).unwrap();
                    assert!(bytes(&mut next).iter().all(|byte| *byte == 0), "{size} {step}");
                }
            }
        }
        for used in [100, 5 * PAGE_BYTES, SIZE] {
            let mut first = memory(SIZE, Use::Private);
            bytes(&mut first)[..used].fill(7);
            drop(first);
            let mut next = memory(SIZE, Use::Private);
            assert!(bytes(&mut next).iter().all(|byte| *byte == 0), "{used}");
        }
    }

    #[test]
    fn nothing_of_a_stack_is_left_for_the_next() {
        for used in [100, 3 * PAGE_BYTES, 100 * PAGE_BYTES, 1 << 20] {
            let write = |stack: &dyn StackMemory, byte: u8| {
                let range = stack.range();
                // SAFETY: a stack's range is accessible, and nobody runs on it.
                let all =
                    unsafe { std::slice::from_raw_parts_mut(range.start as *mut u8, range.len()) };
                let clean = all.iter().all(|byte| *byte == 0);
                let len = all.len();
                all[len - used..].fill(byte);
                clean
            };
            let first = Stacks.new_stack(1 << 20, false).unwrap();
            write(&*first, 7);
            drop(first);
            let next = Stacks.new_stack(1 << 20, false).unwrap();
            assert!(write(&*next, 0), "{used}");
        }
    }

    #[test]
    fn a_memory_that_outgrows_its_reservation_moves() {
        let mut moved = memory(SIZE, Use::Program);
        bytes(&mut moved)[100] = 7;
        moved.grow_to(3 << 20).unwrap();
        assert_eq!((bytes(&mut moved)[100], moved.byte_size()), (7, 3 << 20));
        bytes(&mut moved)[(3 << 20) - 1] = 7;
    }
}
