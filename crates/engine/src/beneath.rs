//! Who waits beneath, on the same stack, for the process that runs: so its memory is at hand.
//! **Contains `unsafe`.**
//!
//! Invariants:
//! * What is noted is the memory of a process in a call of the host, on this thread, which holds it borrowed and does not
//!   touch it until the note is withdrawn ([`Noted`]). So its code does not run meanwhile, and it does not grow.
//! * A reference is made of it for a moment only, and the note is taken out as long as it is there.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;

use peripatos_abi::Pid;

thread_local! {
    static BENEATH: Cell<Option<Beneath>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, Debug)]
struct Beneath {
    pid: Pid,
    memory: *mut [u8],
}

/// That a process waits beneath, until this is dropped; then who waited beneath it again.
#[derive(Debug)]
pub struct Noted<'a> {
    before: Option<Beneath>,
    _memory: PhantomData<&'a mut [u8]>,
}

/// This process, whose memory this is, waits beneath whoever runs next on this thread.
#[inline]
#[must_use]
pub fn note(pid: Pid, memory: &mut [u8]) -> Noted<'_> {
    let before = BENEATH.replace(Some(Beneath { pid, memory }));
    Noted { before, _memory: PhantomData }
}

impl Drop for Noted<'_> {
    #[inline]
    fn drop(&mut self) {
        BENEATH.set(self.before);
    }
}

/// Does something with who waits beneath. `None`: nobody does.
pub fn with<T>(act: impl FnOnce(Pid, &mut [u8]) -> Option<T>) -> Option<T> {
    struct Back(Beneath);
    impl Drop for Back {
        fn drop(&mut self) {
            BENEATH.set(Some(self.0));
        }
    }
    let back = Back(BENEATH.take()?);
    // SAFETY: whoever has noted it holds this memory borrowed, does not touch it until the note is withdrawn, which
    // happens on this thread after we are back, and nobody else finds the note meanwhile.
    let memory = unsafe { &mut *back.0.memory };
    act(back.0.pid, memory)
}
