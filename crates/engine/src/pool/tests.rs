use std::ops::Range;

use super::arena::FLAGS_BYTES;
use super::*;
use crate::image::Run;
use crate::pages;

const SIZE: usize = 64 << 10;
const STACK_BYTES: usize = 1 << 20;
const MAXIMA: [Option<usize>; 2] = [Some(SAVE_BYTES), Some(16 << 30)];
const REACH: [usize; 2] = [MEMORY_RESERVATION_BYTES as usize, MEMORY_GUARD_BYTES as usize];

type Memory = Box<dyn LinearMemory>;

fn memory_of(ty: MemoryType, size: usize, maximum: Option<usize>, reach: [usize; 2]) -> Memory {
    Memories.new_memory(ty, size, maximum, Some(reach[0]), reach[1]).unwrap()
}

fn memory(size: usize, maximum: Option<usize>) -> Memory {
    memory_of(MemoryType::new((size >> 16) as u32, None), size, maximum, REACH)
}

fn lone(size: usize) -> Memory {
    memory_of(MemoryType::new64((size >> 16) as u64, None), size, None, [1 << 20, 64 << 10])
}

fn bytes(memory: &mut Memory) -> &mut [u8] {
    // SAFETY: it is accessible for so many bytes, and borrowed.
    unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.byte_size()) }
}

/// Its upper end, more than was asked for.
fn stack_bytes(stack: &mut dyn StackMemory) -> &mut [u8] {
    let range = stack.range();
    let len = range.len().min(2 * STACK_BYTES);
    // SAFETY: a stack's range is accessible, nobody runs on it, and each test has one such slice at a time.
    unsafe { std::slice::from_raw_parts_mut((range.end - len) as *mut u8, len) }
}

/// The program's memory, save and flags memory of a process.
fn process(size: usize) -> ([Memory; 3], Arc<Place>) {
    let [save, flags] = MAXIMA;
    let (memories, made) = in_one_place(MAXIMA, &Arc::default(), || {
        [memory(size, None), memory(SIZE, save), memory(FLAGS_BYTES, flags)]
    });
    (memories, made.place.unwrap())
}

fn stack_in(place: Arc<Place>) -> Box<dyn StackMemory> {
    STACK.set(Some(place));
    let stack = Stacks.new_stack(STACK_BYTES, false).unwrap();
    STACK.set(None);
    stack
}

fn is_zero(memory: &mut Memory) -> bool {
    bytes(memory).iter().all(|byte| *byte == 0)
}

/// Whatever was written where: who gets the place next reads zeros.
#[test]
fn nothing_of_a_memory_is_left_for_the_next() {
    for size in [SIZE, 4 * SIZE] {
        for step in [size / 2 + 1, 8192, 4096, 100] {
            for make in [(|size| process(size).0.into_iter().next().unwrap()) as fn(_) -> _, lone] {
                let mut first = make(size);
                bytes(&mut first).iter_mut().skip(17).step_by(step).for_each(|byte| *byte = 7);
                first.grow_to(size + SIZE).unwrap();
                bytes(&mut first)[size + 5] = 7;
                drop(first);
                for _ in 0..3 {
                    let mut next = make(size);
                    assert!(is_zero(&mut next), "{size} {step}");
                    next.grow_to(size + SIZE).unwrap();
                    assert!(is_zero(&mut next), "{size} {step}");
                }
            }
        }
    }
    for used in [100, 5 * PAGE_BYTES, SIZE] {
        let mut first = process(SIZE).0;
        first[1].grow_to(2 * SIZE).unwrap();
        first[1..].iter_mut().for_each(|memory| bytes(memory)[..used].fill(7));
        drop(first);
        let mut next = process(SIZE).0;
        next[1].grow_to(2 * SIZE).unwrap();
        assert!(next[1..].iter_mut().all(is_zero), "{used}");
    }
}

#[test]
fn nothing_of_a_stack_is_left_for_the_next() {
    for used in [100, 3 * PAGE_BYTES, 100 * PAGE_BYTES, STACK_BYTES] {
        for alone in [false, true] {
            let make = || match alone {
                true => Stacks.new_stack(STACK_BYTES, false).unwrap(),
                false => stack_in(process(SIZE).1),
            };
            let mut first = make();
            let all = stack_bytes(&mut *first);
            let end = all.len();
            all[end - used..].fill(7);
            drop(first);
            assert!(stack_bytes(&mut *make()).iter().all(|byte| *byte == 0), "{used} {alone}");
        }
    }
}

#[test]
fn nothing_of_a_second_stack_is_left_for_the_next() {
    let both = || {
        let place = process(SIZE).1;
        [(); 2].map(|()| stack_in(Arc::clone(&place)))
    };
    let mut first = both();
    stack_bytes(&mut *first[1]).fill(7);
    drop(first);
    // Whoever else takes places meanwhile: of those that come, one is that one.
    let mut all: Vec<_> = (0..50).map(|_| both()).collect();
    for stack in all.iter_mut().flatten() {
        assert!(stack_bytes(&mut **stack).iter().all(|byte| *byte == 0));
    }
}

/// wasmtime asserts that a fault is in one memory of an instance only.
#[test]
fn what_code_reaches_from_a_processs_memories_is_disjoint() {
    // Of all that come from one piece of address space, and of the next.
    let processes: Vec<_> = (0..100).map(|_| process(SIZE)).collect();
    for (memories, _) in &processes {
        let mut starts = memories.each_ref().map(|memory| memory.as_ptr() as usize);
        starts.sort_unstable();
        assert!(starts.windows(2).all(|two| two[0] + REACH.iter().sum::<usize>() <= two[1]));
    }
    let mut parts: Vec<Range<usize>> = Vec::new();
    for (memories, place) in &processes {
        let stacks = [(); 2].map(|()| stack_in(Arc::clone(place)));
        parts.extend(stacks.map(|stack| stack.range()));
        let lens = [REACH.iter().sum(), SAVE_BYTES, FLAGS_BYTES];
        let starts = memories.iter().map(|memory| memory.as_ptr() as usize);
        parts.extend(starts.zip(lens).map(|(start, len)| start..start + len));
    }
    parts.sort_unstable_by_key(|part| part.start);
    assert!(parts.windows(2).all(|two| two[0].end <= two[1].start), "each has its own");
}

#[test]
fn a_save_memory_grows_to_its_maximum_and_no_further() {
    let mut memories = process(SIZE).0;
    assert_eq!(
        memories.each_ref().map(|memory| memory.byte_capacity()),
        [REACH[0], SAVE_BYTES, FLAGS_BYTES]
    );
    memories[1].grow_to(SAVE_BYTES).unwrap();
    bytes(&mut memories[1])[SAVE_BYTES - 1] = 7;
    assert!(is_zero(&mut memories[0]));
    assert!(memories[1].grow_to(SAVE_BYTES + SIZE).is_err());
    assert!(memories[2].grow_to(2 * FLAGS_BYTES).is_err());
}

#[test]
fn each_part_is_given_out_once_at_a_time() {
    let (memories, place) = process(SIZE);
    let [first, second, third] = [(); 3].map(|()| stack_in(Arc::clone(&place)));
    // It has two; another one lies alone.
    assert_eq!(second.range().end, first.range().start);
    assert!(third.range().end < second.range().start || third.range().start > first.range().end);
    let range = first.range();
    drop(first);
    assert_eq!(stack_in(place).range(), range);
    // Of two memories of a program the second lies alone.
    let (two, place) =
        in_one_place(MAXIMA, &Arc::default(), || [memory(SIZE, None), memory(SIZE, None)]);
    assert_ne!(two[0].as_ptr(), two[1].as_ptr());
    drop((memories, two, place));
}

#[test]
fn a_memory_that_outgrows_its_reservation_moves() {
    let mut moved = lone(SIZE);
    bytes(&mut moved)[100] = 7;
    moved.grow_to(3 << 20).unwrap();
    assert_eq!((bytes(&mut moved)[100], moved.byte_size()), (7, 3 << 20));
    bytes(&mut moved)[(3 << 20) - 1] = 7;
}

/// Who reads a memory beside its process keeps what it had, where it was.
#[test]
fn nobody_gets_what_somebody_still_has() {
    let (mut memory, made) = in_one_place(MAXIMA, &Arc::default(), || lone(SIZE));
    let [whereabouts] = &made.memories[..] else { panic!("there is one") };
    let first = whereabouts.ground().unwrap();
    assert_eq!(first.reach(), memory.as_ptr() as usize..memory.as_ptr() as usize + (1 << 20));
    bytes(&mut memory).fill(7);
    memory.grow_to(3 << 20).unwrap();
    let second = whereabouts.ground().unwrap();
    assert_eq!(second.reach().start, memory.as_ptr() as usize);
    drop(memory);
    assert!(whereabouts.ground().is_none());
    let others: Vec<Memory> = (0..20).map(|_| lone(SIZE)).collect();
    let mut starts = others.iter().map(|one| one.as_ptr() as usize);
    assert!(starts.all(|start| start != first.reach().start && start != second.reach().start));
    // SAFETY: `first` keeps it, and nobody writes there any more.
    let kept = unsafe { std::slice::from_raw_parts(first.reach().start as *const u8, SIZE) };
    assert!(kept.iter().all(|byte| *byte == 7));
    drop((first, second));
    assert!((0..20).map(|_| lone(SIZE)).all(|mut one| is_zero(&mut one)));
}

#[test]
fn what_has_another_form_lies_alone() {
    let (memories, made) = in_one_place(MAXIMA, &Arc::default(), || {
        let ty = || MemoryType::new(1, None);
        [lone(SIZE), memory_of(ty(), SIZE, None, [1 << 20, REACH[1]])]
    });
    assert!(made.place.is_none() && made.memories.len() == 2);
    assert!(memories.iter().all(|memory| memory.byte_size() == SIZE));
    assert!(Stacks.new_stack(1 << 30, false).unwrap().range().len() == 1 << 30);
}

#[test]
fn what_is_in_use_is_counted() {
    let before = places();
    let held = (process(SIZE), lone(SIZE), Stacks.new_stack(STACK_BYTES, false).unwrap());
    // Other tests have some, too.
    assert!(places() >= 3);
    drop(held);
    assert!(before < 10_000);
}

/// A place that nobody has had is given the pages that others of its program have touched: of this size only this test has places.
#[test]
fn who_is_new_has_the_pages_that_others_have_touched() {
    const SIZE: usize = 5 << 16;
    let born = |footprint: &Arc<Footprint>| {
        let (memory, made) = in_one_place(MAXIMA, footprint, || memory(SIZE, None));
        (memory, made.place)
    };
    let bear =
        |footprint: &Arc<Footprint>, count| (0..count).map(|_| born(footprint)).collect::<Vec<_>>();
    let touched = |memory: &Memory| pages::touched(memory.as_ptr() as usize, SIZE);
    let run = |first| Run { first, count: 1 };
    // The fourth shows it when the eighth is born.
    let footprint = Arc::default();
    let mut four = bear(&footprint, 4);
    let Some(none) = touched(&four[3].0) else { return };
    assert_eq!(none, Vec::new());
    [3, 70].into_iter().for_each(|page| bytes(&mut four[3].0)[page * PAGE_BYTES + 5] = 1);
    let mut others = bear(&footprint, 5);
    assert_eq!(touched(&others[3].0), Some(Vec::new()));
    assert_eq!(touched(&others[4].0), Some(vec![run(3), run(70)]));
    assert!(is_zero(&mut others[4].0));
    drop((four, others));
    // Who ends shows it as well, unless it is too much. Who lies in the pool is nobody's who is new.
    let mut kept: Vec<_> = (0..9).map(|_| super::place(SIZE, &footprint).unwrap()).collect();
    for (used, expected) in [(9..10, vec![run(9)]), (0..SIZE / PAGE_BYTES, Vec::new())] {
        let footprint: Arc<Footprint> = Arc::default();
        let (mut memory, place) = born(&footprint);
        bytes(&mut memory)[used.start * PAGE_BYTES..used.end * PAGE_BYTES].fill(1);
        drop((memory, place));
        kept.push(super::place(SIZE, &footprint).unwrap());
        let next = born(&footprint);
        assert_eq!(touched(&next.0), Some(expected));
        drop(next);
        kept.push(super::place(SIZE, &footprint).unwrap());
    }
}
