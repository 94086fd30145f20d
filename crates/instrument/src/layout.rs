//! Where things lie in the two private memories that the pass adds to a program.
//!
//! The **flags memory** holds bytes by which the host makes checks act:
//!
//! | offset | size | what | written by |
//! |---|---|---|---|
//! | 0 | 1 | preempt byte of call checks | other threads (1), the host (0) |
//! | 1 | 1 | unwinding byte | the running thread only |
//! | 2..256 | 254 | preempt bytes of loops and entries, one a class | as byte 0 |
//! | 256 | 1 | stored to where classes come round again, never read | the running thread |
//!
//! Preempt and unwinding are two bytes because two threads write them: in one byte a request that
//! arrives during unwinding would be lost.
//!
//! Loops read bytes of their own because Cranelift may replace a load by an earlier load of the same
//! address when it sees no store between them; a loop without stores would then never look again.
//!
//! The flags have a memory to themselves, a 64-bit one that declares more than its engine reserves,
//! for the code that comes of it: the base of a memory that cannot move is loaded once and kept
//! in a register (or saved and restored) through the whole function; the base of this one is loaded
//! at each check. (Naive fib: 1.16 times the plain time with the one, 0.92 with the other.)
//!
//! The **save memory** holds the frames:
//!
//! | offset | size | what | written by |
//! |---|---|---|---|
//! | 0 | 4 | count-down of `Options::count_down` | guest and host |
//! | 4 | 4 | stack pointer: first free byte above the topmost frame | guest and host |
//! | 8.. | n | one byte a droppable segment, 1 = dropped | guest |
//! | `frames_base` | | frames, innermost lowest | guest, host |

use wasmparser::{RefType, ValType};

/// Preempt byte of the checks after calls; [`UNWINDING`] is its neighbour, so that one 16-bit load reads both.
pub const PREEMPT: u32 = 0;
/// Not zero while frames are being saved.
pub const UNWINDING: u32 = 1;
/// First preempt byte of the loop classes.
pub const LOOP_CLASSES: u32 = 2;
/// First byte behind the preempt bytes.
pub const LOOP_CLASSES_END: u32 = 256;
/// Maximum of the flags memory in 64 KiB pages, or the next below ([`maximum`]): more than any engine
/// reserves, though one page is all there is.
pub const FLAGS_PAGES_MAX: u64 = 1 << 18;
/// The count-down (i32).
pub const COUNTER: u32 = 0;
/// The stack pointer (u32).
pub const STACK_POINTER: u32 = 4;
/// First of the bytes that remember dropped segments.
pub const DROPPED: u32 = 8;
/// Bytes at the end of each frame: site id and size of the frame, two u32.
pub const FRAME_HEADER: u32 = 8;
/// Upper limit of the save memory, in 64 KiB pages: 1 GiB, or the next below ([`maximum`]).
pub const SAVE_PAGES_MAX: u64 = 16_384;
/// A frame holds at most this many bytes; a function that needs more is refused.
pub const FRAME_SIZE_MAX: u32 = 1 << 20;

/// The maximum that a private memory declares: the largest up to `most` that no memory of the program
/// declares. So an engine that is asked to let a memory grow, and is told no more than its maximum,
/// knows whether it is the program's.
pub fn maximum(most: u64, declared: impl Iterator<Item = u64>) -> u64 {
    let mut taken: Vec<u64> = declared.filter(|pages| *pages <= most).collect();
    taken.sort_unstable();
    taken.dedup();
    let run = taken.iter().rev().zip((0..=most).rev()).take_while(|(taken, free)| **taken == *free);
    most.saturating_sub(run.count() as u64)
}

/// Bytes that a value of type `ty` takes in a frame. References are handles that the host gave out.
pub fn value_size(ty: ValType) -> u32 {
    match ty {
        ValType::I32 | ValType::F32 | ValType::Ref(_) => 4,
        ValType::I64 | ValType::F64 => 8,
        ValType::V128 => 16,
    }
}

/// Size in bytes of a frame that holds values of these types, header included.
pub fn frame_size(types: impl IntoIterator<Item = ValType>) -> u32 {
    types.into_iter().map(value_size).fold(FRAME_HEADER, u32::saturating_add)
}

/// The nullable, abstract reference type in which a local can hold a value of type `ty`.
pub(crate) fn widen(ty: ValType) -> ValType {
    match ty {
        ValType::Ref(r) if r.is_extern_ref() => ValType::Ref(RefType::EXTERNREF),
        ValType::Ref(r) if reference_kind(r) == ReferenceKind::Exn => ValType::Ref(RefType::EXNREF),
        ValType::Ref(_) => ValType::Ref(RefType::FUNCREF),
        other => other,
    }
}

/// The three kinds of references a program can hold once GC types are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ReferenceKind {
    Func,
    Extern,
    Exn,
}

pub(crate) fn reference_kind(ty: RefType) -> ReferenceKind {
    use wasmparser::{AbstractHeapType as A, HeapType};
    match ty.heap_type() {
        HeapType::Abstract { ty: A::Extern | A::NoExtern, .. } => ReferenceKind::Extern,
        HeapType::Abstract { ty: A::Exn | A::NoExn, .. } => ReferenceKind::Exn,
        _ => ReferenceKind::Func,
    }
}

/// Converts a value type from the parser's form to the encoder's.
pub(crate) fn encode_type(ty: ValType) -> wasm_encoder::ValType {
    match ty {
        ValType::I32 => wasm_encoder::ValType::I32,
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        ValType::V128 => wasm_encoder::ValType::V128,
        ValType::Ref(r) => wasm_encoder::ValType::Ref(match reference_kind(r) {
            ReferenceKind::Func => wasm_encoder::RefType::FUNCREF,
            ReferenceKind::Extern => wasm_encoder::RefType::EXTERNREF,
            ReferenceKind::Exn => wasm_encoder::RefType::EXNREF,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::maximum;

    #[test]
    fn a_private_maximum_is_nobody_elses() {
        for (declared, expected) in [
            (&[][..], 9),
            (&[8, 10, 1 << 40], 9),
            (&[9], 8),
            (&[8, 9, 9, 6], 7),
            (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 0),
        ] {
            assert_eq!(maximum(9, declared.iter().copied()), expected, "{declared:?}");
        }
    }
}
