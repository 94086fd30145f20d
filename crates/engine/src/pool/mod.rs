//! Address space of processes that have gone, kept for those that come.
//!
//! To map a memory, touch its first pages and unmap it again took 40 us here, and a process has three memories and a stack:
//! most of what spawning cost. So they lie in one [place](mod@place), which goes back to the pool, with its pages, and the next process
//! that wants one of its kind writes no page table. A place is two mappings, one that is accessible and one that is not, and
//! 5 GiB of address space, so that an OS process can have tens of thousands ([arena]).
//!
//! Who instantiates a module says which memories are those of one process ([`in_one_place`]), and who calls one
//! whose stack a new one is ([`on_its_stack`]). Whatever else is made lies [alone].
//!
//! Invariants:
//! * What wasmtime is given is zero, whoever had it before.
//! * The pool is the OS process's, and bounded: [`FREE_MAX`] places with their pages, and as many regions.
//!
//! Considered: wasmtime's pooling allocator. It takes the address space of all that may ever be there when an engine is
//! made (as much as there is for some 10,000 processes), has one limit for the tables of all programs, and refuses what is
//! beyond; nothing of it can be had again by another engine.
#![allow(unsafe_code)]

mod alone;
mod arena;
mod footprint;
mod ground;
mod place;
mod span;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use wasmtime::{LinearMemory, MemoryCreator, MemoryType, StackCreator, StackMemory};

use crate::engines::{MEMORY_GUARD_BYTES, MEMORY_RESERVATION_BYTES};
use crate::image::PAGE_BYTES;
use alone::{LoneMemory, LoneStack, Region, Shape};
use arena::{Arena, SAVE_BYTES, Slot};
pub(crate) use footprint::Footprint;
pub(crate) use ground::{Ground, Whereabouts};
pub(crate) use place::Place;
use place::{Part, PlacedMemory, PlacedStack, open_memory};

/// Places that lie in the pool with their pages, and regions. The others are closed, or unmapped.
const FREE_MAX: usize = 1_024;
/// Of a kind that is in use so many are kept at the expense of others.
const FREE_OF_KIND: usize = 128;

thread_local! {
    static PLAN: RefCell<Option<Plan>> = const { RefCell::new(None) };
    /// Whose stack a new one is.
    static STACK: RefCell<Option<Arc<Place>>> = const { RefCell::new(None) };
}

/// What is to lie together.
struct Plan {
    /// Maxima of the save and the flags memory, bytes.
    maxima: [Option<usize>; 2],
    footprint: Arc<Footprint>,
    /// Found when the first memory was.
    place: Option<Arc<Place>>,
    /// Memories beside it.
    alone: Vec<Whereabouts>,
}

/// What was made together.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) place: Option<Arc<Place>>,
    /// Where memories are, but for the pass's own, in no particular order.
    pub(crate) memories: Vec<Whereabouts>,
}

/// While `act` runs, memories that are made on this thread are those of one process: its program's, which has this footprint, and the
/// pass's own, which have these maxima.
pub(crate) fn in_one_place<T>(
    maxima: [Option<usize>; 2],
    footprint: &Arc<Footprint>,
    act: impl FnOnce() -> T,
) -> (T, Made) {
    struct Before(Option<Plan>);
    impl Drop for Before {
        fn drop(&mut self) {
            PLAN.set(self.0.take());
        }
    }
    let footprint = Arc::clone(footprint);
    let plan = Plan { maxima, footprint, place: None, alone: Vec::new() };
    let before = Before(PLAN.replace(Some(plan)));
    let done = act();
    let plan = PLAN.take();
    drop(before);
    let made = plan.map(|Plan { footprint, place, alone: mut memories, .. }| {
        if let Some(place) = &place {
            footprint.note_birth(place);
        }
        memories.extend(place.as_ref().map(Whereabouts::in_place));
        Made { place, memories }
    });
    (done, made.unwrap_or_default())
}

/// Awaits what needs a stack of a process: if the engine has none for it yet, it gets one of the process's place.
pub(crate) async fn on_its_stack<T>(place: Option<Arc<Place>>, call: impl Future<Output = T>) -> T {
    struct Before(Option<Arc<Place>>);
    impl Drop for Before {
        fn drop(&mut self) {
            STACK.set(self.0.take());
        }
    }
    let (mut place, mut call) = (place, pin!(call));
    poll_fn(|cx| {
        // It is made when the call is polled for the first time.
        let _before = place.take().map(|place| Before(STACK.replace(Some(place))));
        call.as_mut().poll(cx)
    })
    .await
}

/// Counts a place, or a region beside, that is in use.
#[derive(Debug)]
struct InUse;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

impl InUse {
    fn new() -> InUse {
        IN_USE.fetch_add(1, Ordering::Relaxed);
        InUse
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        IN_USE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Places that are in use in this OS process: one for each process that is awake, and for each memory or stack beside.
#[must_use]
pub fn places() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// What lies there, by kind.
struct Free<K, T> {
    of: HashMap<K, Vec<T>>,
    count: usize,
}

impl<K: Copy + Eq + Hash, T> Free<K, T> {
    fn new() -> Free<K, T> {
        Free { of: HashMap::new(), count: 0 }
    }

    fn take(&mut self, kind: K) -> Option<T> {
        let one = self.of.get_mut(&kind)?.pop()?;
        self.count -= 1;
        Some(one)
    }

    /// One of the kind that has most.
    fn take_any(&mut self) -> Option<(K, T)> {
        let kind = *self.of.iter().max_by_key(|(_, all)| all.len())?.0;
        self.take(kind).map(|one| (kind, one))
    }

    /// Whether another one of this kind is to be put here.
    fn wants(&self, kind: K) -> bool {
        self.count < FREE_MAX || self.of.get(&kind).map_or(0, Vec::len) < FREE_OF_KIND
    }

    /// Given back: another one that is too much. There is room for the kind that is in use now, at the expense of one that
    /// may not be.
    fn put(&mut self, kind: K, one: T) -> Option<(K, T)> {
        let other = if self.count < FREE_MAX { None } else { self.take_any() };
        self.count += 1;
        self.of.entry(kind).or_default().push(one);
        other
    }
}

/// The pool.
struct Pool {
    arena: Arena,
    /// By how much of the program's memory is accessible, bytes.
    places: Free<usize, Slot>,
    regions: Free<Shape, Region>,
}

fn pool() -> MutexGuard<'static, Pool> {
    static POOL: OnceLock<Mutex<Pool>> = OnceLock::new();
    let new = || Pool { arena: Arena::default(), places: Free::new(), regions: Free::new() };
    // Nothing under the lock can panic half-way.
    POOL.get_or_init(|| Mutex::new(new())).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A place that has no pages.
    fn fresh(&mut self) -> rustix::io::Result<Slot> {
        self.arena.take().or_else(|error| {
            let (open, slot) = self.places.take_any().ok_or(error)?;
            if close(slot, open) { Ok(slot) } else { Err(error) }
        })
    }
}

/// Closes a clean place's program's memory, of which so much is accessible, and gives all its pages back to the system.
/// `false`: nobody may have it any more.
fn close(slot: Slot, open: usize) -> bool {
    let mut parts = slot.parts();
    let save_open = parts.save_open;
    parts.memory.close(0..open)
        && parts.save.discard(0..save_open)
        && [&mut parts.stack, &mut parts.second, &mut parts.flags]
            .into_iter()
            .all(|part| part.discard(0..part.len()))
}

/// A place, of whose program's memory so much will be accessible.
fn place(open: usize, footprint: &Arc<Footprint>) -> Result<Arc<Place>, String> {
    let mut pool = pool();
    if let Some(slot) = pool.places.take(open) {
        return Ok(Place::of(slot, open, footprint, true));
    }
    let fresh = pool.fresh();
    drop(pool);
    let failed = |error| format!("no address space for a process: {error}");
    let slot = fresh.map_err(failed)?;
    match open_memory(&slot.parts().memory, 0..open) {
        Ok(()) => Ok(Place::of(slot, open, footprint, false)),
        Err(error) => {
            self::pool().arena.put(slot);
            Err(failed(error))
        }
    }
}

/// Whether a place that goes is to be cleaned and given to the pool: of thousands that end most had better go back to the system
/// as they are.
fn wants(open: usize) -> bool {
    pool().places.wants(open)
}

/// A place has gone, is clean, and has no pages; nor is its program's memory accessible.
fn give_fresh(slot: Slot) {
    pool().arena.put(slot);
}

/// A place has gone, and is clean.
fn give(slot: Slot, open: usize) {
    let other = pool().places.put(open, slot);
    if let Some((open, slot)) = other
        && close(slot, open)
    {
        pool().arena.put(slot);
    }
}

/// A region, from the pool or new.
fn region(shape: Shape) -> Result<Region, String> {
    if let Some(region) = pool().regions.take(shape) {
        return Ok(region);
    }
    let mapped = Region::map(shape).or_else(|_| {
        // There may be no mapping left, but for those in the pool.
        let mut pool = pool();
        while let Some((_, region)) = pool.regions.take_any() {
            region.span.unmap();
        }
        drop(pool);
        Region::map(shape)
    });
    mapped.map_err(|error| format!("no address space for a memory: {error}"))
}

/// A region has gone, and is clean.
fn give_region(region: Region) {
    let other = pool().regions.put(region.shape, region);
    if let Some((_, region)) = other {
        region.span.unmap();
    }
}

impl Plan {
    /// Which part of the process's place a memory is, of which so much is reserved and guarded.
    fn part(&self, ty: &MemoryType, maximum: Option<usize>, reach: [usize; 2]) -> Option<Part> {
        let [save, flags] = self.maxima;
        let fits = reach == [MEMORY_RESERVATION_BYTES as usize, MEMORY_GUARD_BYTES as usize];
        match maximum {
            Some(bytes) if maximum == save => (bytes <= SAVE_BYTES && fits).then_some(Part::Save),
            Some(_) if maximum == flags => Some(Part::Flags),
            // A 64-bit one may have to move. The engine's own, for objects that references lead to, comes first and is empty:
            // a program's that is empty is taken for it, and lies alone.
            _ => (!ty.is_64() && ty.minimum() > 0 && fits).then_some(Part::Memory),
        }
    }

    /// The process's place. `open`: what of its program's memory is to be accessible, if it is found now.
    fn place(&mut self, open: usize) -> Result<Arc<Place>, String> {
        if let Some(place) = &self.place {
            return Ok(Arc::clone(place));
        }
        let place = place(open.next_multiple_of(PAGE_BYTES), &self.footprint)?;
        self.place = Some(Arc::clone(&place));
        Ok(place)
    }

    fn memory(
        &mut self,
        ty: &MemoryType,
        size: usize,
        maximum: Option<usize>,
        reach: [usize; 2],
    ) -> Result<Option<PlacedMemory>, String> {
        let Some(part) = self.part(ty, maximum, reach) else { return Ok(None) };
        let place = self.place(if part == Part::Memory { size } else { 0 })?;
        Ok(PlacedMemory::new(place, part, size))
    }
}

/// Makes linear memories.
pub(crate) struct Memories;

// SAFETY: see `PlacedMemory` and `LoneMemory`; what is reserved and guarded is what was asked for.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let reserved = reserved_size_in_bytes.unwrap_or_default();
        let placed = PLAN.with_borrow_mut(|plan| {
            plan.as_mut().map(|plan| plan.memory(&ty, minimum, maximum, [reserved, guard]))
        });
        match placed.transpose()?.flatten() {
            Some(placed) => Ok(Box::new(placed)),
            None => {
                let memory = LoneMemory::new(minimum, reserved, guard)?;
                PLAN.with_borrow_mut(|plan| {
                    let plan = plan.as_mut()?;
                    plan.alone.push(Whereabouts::alone(memory.address()));
                    Some(())
                });
                Ok(Box::new(memory))
            }
        }
    }
}

/// Makes stacks.
pub(crate) struct Stacks;

// SAFETY: see `PlacedStack` and `LoneStack`.
unsafe impl StackCreator for Stacks {
    fn new_stack(&self, size: usize, _zeroed: bool) -> wasmtime::Result<Box<dyn StackMemory>> {
        // To instantiate may take one, too, when the memories have been made.
        let planned = PLAN.with_borrow(|plan| plan.as_ref().and_then(|plan| plan.place.clone()));
        let its = planned.or_else(|| STACK.with_borrow(Option::clone));
        if let Some(stack) = its.and_then(|place| PlacedStack::new(place, size)) {
            return Ok(Box::new(stack));
        }
        Ok(Box::new(LoneStack::new(size).map_err(wasmtime::Error::msg)?))
    }
}

#[cfg(test)]
mod tests;
