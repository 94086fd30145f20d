//! The ticker: a thread that ends slices. It sleeps until the next one is over, and while nobody waits for
//! a core that runs something, it sleeps without end.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::SLICE;
use super::board::Board;

const SLICE_NS: u64 = SLICE.as_nanos() as u64;
/// No time.
const NEVER: u64 = u64::MAX;

/// Where the ticker is reached.
#[derive(Default)]
pub(super) struct Ticker {
    /// Until when it sleeps; 0: it is awake, and looks at all cores before it sleeps again.
    until_ns: AtomicU64,
    closing: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    /// Has it look at the cores at this time. The caller has a fence between what it has written there and
    /// this: either it sees that the ticker sleeps, or the ticker sees what is to be seen.
    pub(super) fn look_at(&self, deadline_ns: u64) {
        if deadline_ns < self.until_ns.load(Ordering::SeqCst) {
            self.rouse();
        }
    }

    /// Lets the thread end.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.rouse();
    }

    fn rouse(&self) {
        // Without a thread, it has not looked at anything yet.
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// Ends slices until the board closes.
pub(super) fn serve(board: &Board) {
    let ticker = &board.ticker;
    // There is one ticker.
    let _ = ticker.thread.set(thread::current());
    // Of each core the slice that was told to end, and when. Each slice's length later it is told again: what runs may be
    // another one by then, a handler that was called instead of looking.
    let mut told = vec![(NEVER, 0); board.posts().len()];
    let mut lingers = false;
    while !ticker.closing.load(Ordering::SeqCst) {
        let now_ns = board.time_ns(Instant::now());
        for (core, told) in told.iter_mut().enumerate() {
            if let Some(began_ns) = due(board, core, *told, now_ns) {
                *told = (began_ns, now_ns);
                // If its process has left the core in the meantime, another one gives way for nothing.
                board.post(core).preempt(None);
            }
        }
        let mut until_ns = next(board, &told, now_ns);
        // Before it sleeps without end it sleeps for a slice: processes that talk across cores press often, for moments, and
        // would else rouse it each time.
        lingers = until_ns == NEVER && !lingers;
        if lingers {
            until_ns = now_ns + SLICE_NS;
        }
        ticker.until_ns.store(until_ns, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if next(board, &told, now_ns) >= until_ns && !ticker.closing.load(Ordering::SeqCst) {
            match until_ns {
                NEVER => thread::park(),
                _ => thread::park_timeout(Duration::from_nanos(until_ns - now_ns)),
            }
        }
        ticker.until_ns.store(0, Ordering::SeqCst);
    }
}

/// The slice on this core, if it has to end by now and was not told.
fn due(board: &Board, core: usize, told: (u64, u64), now_ns: u64) -> Option<u64> {
    let (began_ns, due_ns) = ends(board, core, told)?;
    (due_ns <= now_ns).then_some(began_ns)
}

/// When the slice on a core began, and when it is to be told to end.
fn ends(board: &Board, core: usize, (told_ns, at_ns): (u64, u64)) -> Option<(u64, u64)> {
    let post = board.post(core);
    let began_ns = post.slice_began_ns()?;
    let pressed = (post.load() >= 2).then_some(began_ns + SLICE_NS);
    let due_ns = pressed.into_iter().chain(post.deadline_ns()).chain(post.share_ns()).min()?;
    let again = if began_ns == told_ns { at_ns + SLICE_NS } else { 0 };
    Some((began_ns, due_ns.max(again)))
}

/// When to look at the cores again.
fn next(board: &Board, told: &[(u64, u64)], now_ns: u64) -> u64 {
    let deadlines = told.iter().enumerate();
    let deadlines = deadlines.filter_map(|(core, told)| Some(ends(board, core, *told)?.1));
    deadlines.min().map_or(NEVER, |deadline_ns| deadline_ns.max(now_ns))
}
