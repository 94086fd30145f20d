//! What all who deal with a process share of it: where it is, how it is doing, and what is wanted of
//! it. A tag is made by [`Cores::run`](super::Cores::run) and ends with the event that follows; who runs
//! again under the same pid has another one.
//!
//! Invariants:
//! * Only the core that has the process writes where it is and what it has used; who gives it away
//!   writes the new core first, then sends it.
//! * Wishes, shifts and wakes are noted here before a packet tells of them. A packet is only a hint to look, and
//!   may come too late, or overtake its process on the way to another core: nothing is lost by it.
//! * There is at most one packet a wish, one a shift, and one a wake that the process has not seen yet: what lies
//!   in the inboxes is bounded by the number of processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use peripatos_abi::Pid;

use super::talks::Counts;
use crate::talk::Share;

/// See the module.
#[derive(Debug)]
pub(super) struct Tag {
    pid: Pid,
    handler: bool,
    /// Where it runs, is ready, waits, or is on its way to; [`GONE`] once it has left.
    core: AtomicUsize,
    /// A [`Wish`].
    wish: AtomicU8,
    /// Its waker was called since its last slice began.
    woken: AtomicBool,
    /// It runs, or could.
    runnable: AtomicBool,
    /// What its family may use of the CPUs; `None`: all there is.
    share: Option<Arc<Share>>,
    /// A handler: the core that it is to go to. [`GONE`]: none.
    shift: AtomicUsize,
    /// CPU time of its slices that are over.
    used_ns: AtomicU64,
    /// While it runs: its core's clock when the slice began, less what it had used by then, so that
    /// the clock less this is what it has used so far. Else [`NO_SLICE`].
    slice_ns: AtomicU64,
    /// With whom it talks.
    pub(super) counts: Counts,
}

const GONE: usize = usize::MAX;
const NO_SLICE: u64 = u64::MAX;

/// What somebody wants of a process; the stronger wish wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    None,
    Freeze,
    Kill,
}

impl Tag {
    /// Of a process that is about to be sent to a core.
    pub(super) fn new(pid: Pid, core: usize, share: Option<Arc<Share>>) -> Tag {
        Tag {
            pid,
            handler: false,
            core: AtomicUsize::new(core),
            wish: AtomicU8::new(Wish::None as u8),
            woken: AtomicBool::new(false),
            runnable: AtomicBool::new(true),
            share,
            shift: AtomicUsize::new(GONE),
            used_ns: AtomicU64::new(0),
            slice_ns: AtomicU64::new(NO_SLICE),
            counts: Counts::default(),
        }
    }

    /// Of a handler, which runs on others' slices.
    pub(super) fn of_handler(pid: Pid, core: usize) -> Tag {
        let tag = Tag::new(pid, core, None);
        tag.set_runnable(false);
        Tag { handler: true, ..tag }
    }

    pub(super) fn is_handler(&self) -> bool {
        self.handler
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn share(&self) -> Option<&Share> {
        self.share.as_deref()
    }

    /// Where it is, or will be when all packets have arrived. `None`: it has left the cores.
    pub(super) fn core(&self) -> Option<usize> {
        Some(self.core.load(Ordering::Acquire)).filter(|core| *core != GONE)
    }

    pub(super) fn move_to(&self, core: usize) {
        self.core.store(core, Ordering::Release);
    }

    /// It has left the cores.
    pub(super) fn leave(&self) {
        self.core.store(GONE, Ordering::Release);
    }

    pub(super) fn wish(&self) -> Wish {
        // Sequentially consistent, as the engine's own note of a freeze is: who has seen the freeze sees
        // that it was wished for.
        match self.wish.load(Ordering::SeqCst) {
            0 => Wish::None,
            1 => Wish::Freeze,
            _ => Wish::Kill,
        }
    }

    /// Notes a wish. False: it was known already, and a packet tells of it.
    pub(super) fn raise(&self, wish: Wish) -> bool {
        self.wish.fetch_max(wish as u8, Ordering::SeqCst) < wish as u8
    }

    /// Notes to which core it is to go. False: there was such a note already, and a packet tells of it.
    pub(super) fn ask_shift(&self, core: usize) -> bool {
        self.shift.swap(core, Ordering::SeqCst) == GONE
    }

    /// To which core it is to go, asked once.
    pub(super) fn take_shift(&self) -> Option<usize> {
        Some(self.shift.swap(GONE, Ordering::SeqCst)).filter(|core| *core != GONE)
    }

    /// Notes a wake. False: it was noted already, and a packet tells of it or the process runs.
    pub(super) fn wake(&self) -> bool {
        !self.woken.swap(true, Ordering::SeqCst)
    }

    /// Whether a wake came during the slice.
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    pub(super) fn is_runnable(&self) -> bool {
        self.runnable.load(Ordering::Acquire)
    }

    pub(super) fn set_runnable(&self, runnable: bool) {
        self.runnable.store(runnable, Ordering::Release);
    }

    /// A slice begins; its core's clock shows this. What it was woken for it will see now: the swap
    /// makes visible what was written before the wakes.
    pub(super) fn begin_slice(&self, clock: Duration) {
        self.woken.swap(false, Ordering::SeqCst);
        let used_ns = self.used_ns.load(Ordering::Relaxed);
        self.slice_ns.store(ns(clock).wrapping_sub(used_ns), Ordering::Release);
    }

    /// The slice is over.
    pub(super) fn end_slice(&self, used: Duration) {
        let used_ns = self.used_ns.load(Ordering::Relaxed);
        self.used_ns.store(used_ns + ns(used), Ordering::Release);
        self.slice_ns.store(NO_SLICE, Ordering::Release);
        if let Some(share) = &self.share {
            share.charge(used);
        }
    }

    /// CPU time of its slices that are over.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Ordering::Acquire))
    }

    /// What it has used so far; `clock` reads the clock of a core.
    pub(super) fn used_by_now(&self, clock: impl Fn(usize) -> Duration) -> Duration {
        // Slices that end while the clock is read are so short that their sum is good enough.
        for _ in 0..3 {
            let slice_ns = self.slice_ns.load(Ordering::Acquire);
            let Some(core) = self.core().filter(|_| slice_ns != NO_SLICE) else { break };
            let so_far_ns = ns(clock(core)).wrapping_sub(slice_ns).cast_signed();
            if self.slice_ns.load(Ordering::Acquire) == slice_ns {
                // The clock may be behind what was read when the slice began.
                return self.used().max(Duration::from_nanos(so_far_ns.max(0).cast_unsigned()));
            }
        }
        self.used()
    }
}

fn ns(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    #[test]
    fn time_is_counted_once() {
        let tag = Tag::new(Pid::new(1, 0), 0, None);
        for (clock, used) in [(5, 3), (100, 20)] {
            let before = tag.used();
            tag.begin_slice(us(clock));
            assert_eq!(tag.used_by_now(|_| us(clock + 2)), before + us(2));
            // A clock that lags.
            assert_eq!(tag.used_by_now(|_| us(clock - 1)), before);
            tag.end_slice(us(used));
            assert_eq!(tag.used_by_now(|_| us(1000)), before + us(used));
        }
        assert_eq!(tag.used(), us(23));
    }

    #[test]
    fn wishes_and_wakes_are_told_once() {
        let tag = Tag::new(Pid::new(1, 0), 0, None);
        let raised = [Wish::Freeze, Wish::Freeze, Wish::Kill, Wish::Freeze].map(|w| tag.raise(w));
        assert_eq!((raised, tag.wish()), ([true, false, true, false], Wish::Kill));
        assert!(tag.wake() && !tag.wake() && tag.is_woken());
        tag.begin_slice(us(0));
        assert!(!tag.is_woken() && tag.wake());
    }
}
