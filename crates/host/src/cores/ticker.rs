//! The ticker: a thread that ends slices. It sleeps until the next one is over, and while nobody waits for
//! a core that runs something, it sleeps without end.
//!
//! A core that runs a process reads no wires ([`super::wires`]). When its slice has lasted for [`WATCH_NS`], the ticker
//! looks at them in its place, and ends the slice when something has come; at once, if packets wait there to leave.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::SLICE;
use super::bell::Bell;
use super::board::Board;
use super::post::Post;

const SLICE_NS: u64 = SLICE.as_nanos() as u64;
/// How long a core with wires runs a process until the ticker looks after them. Processes that talk have waited again long
/// before, and cost nothing.
pub(super) const WATCH_NS: u64 = 4_000_000;
/// No time.
const NEVER: u64 = u64::MAX;

/// Where the ticker is reached.
pub(super) struct Ticker {
    /// Until when it sleeps; 0: it is awake, and looks at all cores before it sleeps again.
    until_ns: AtomicU64,
    closing: AtomicBool,
    bell: Bell,
}

impl Ticker {
    /// # Errors
    /// The system has no bell for it.
    pub(super) fn new() -> io::Result<Ticker> {
        let bell = Bell::new()?;
        Ok(Ticker { until_ns: AtomicU64::new(0), closing: AtomicBool::new(false), bell })
    }

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
        // Once: who finds it awake need not ring.
        if self.until_ns.swap(0, Ordering::SeqCst) != 0 {
            self.bell.ring();
        }
    }
}

/// Ends slices until the board closes.
pub(super) fn serve(board: &Board) {
    let ticker = &board.ticker;
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
        let wired = board.posts().iter().any(Post::is_wired);
        let mut until_ns = next(board, &told, now_ns);
        // Before it sleeps without end it sleeps for a slice: processes that talk across cores press often, for moments, and
        // would else rouse it each time.
        lingers = until_ns == NEVER && !lingers;
        if lingers {
            until_ns = now_ns + if wired { WATCH_NS } else { SLICE_NS };
        }
        ticker.until_ns.store(until_ns, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if next(board, &told, now_ns) >= until_ns && !ticker.closing.load(Ordering::SeqCst) {
            let watched = if wired { watched(board, &told, now_ns) } else { Vec::new() };
            for (core, began_ns) in sleep(&ticker.bell, &watched, until_ns - now_ns) {
                let now_ns = board.time_ns(Instant::now());
                told[core] = (began_ns, now_ns);
                board.post(core).note_came(now_ns);
                board.post(core).preempt(None);
            }
        }
        ticker.until_ns.store(0, Ordering::SeqCst);
    }
}

/// The wires of a core whose slice lasts, and when it began.
struct Watched {
    core: usize,
    began_ns: u64,
    wires: Vec<Arc<TcpStream>>,
}

/// Sleeps for so long, or until the bell is rung or something comes for a core: which ones, and when their slices began.
fn sleep(bell: &Bell, watched: &[Watched], for_ns: u64) -> Vec<(usize, u64)> {
    let wires = || watched.iter().flat_map(|one| one.wires.iter().map(move |wire| (one, wire)));
    let mut all = vec![PollFd::new(bell, PollFlags::IN)];
    all.extend(wires().map(|(_, wire)| PollFd::new(wire, PollFlags::IN)));
    let timeout = Timespec::try_from(Duration::from_nanos(for_ns)).ok();
    // Interrupted or not, all is looked at again.
    let _ = poll(&mut all, timeout.as_ref());
    bell.quiet();
    let ready = all[1..].iter().zip(wires()).filter(|(one, _)| !one.revents().is_empty());
    let mut cores: Vec<_> = ready.map(|(_, (one, _))| (one.core, one.began_ns)).collect();
    cores.dedup();
    cores
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
    let unsent = post.has_unsent().then_some(began_ns + WATCH_NS);
    let due_ns = pressed.into_iter().chain(unsent).chain(post.deadline_ns()).chain(post.share_ns());
    let due_ns = due_ns.min()?;
    Some((began_ns, due_ns.max(again(began_ns, (told_ns, at_ns)))))
}

/// Before that it is not told again.
fn again(began_ns: u64, (told_ns, at_ns): (u64, u64)) -> u64 {
    if began_ns == told_ns { at_ns + SLICE_NS } else { 0 }
}

/// When the slice on a core began, and from when on its wires are watched.
fn watched_from(board: &Board, core: usize, told: (u64, u64)) -> Option<(u64, u64)> {
    let post = board.post(core);
    let began_ns = post.slice_began_ns().filter(|_| post.is_wired())?;
    Some((began_ns, (began_ns + WATCH_NS).max(again(began_ns, told))))
}

/// Whose wires are to be watched now.
fn watched(board: &Board, told: &[(u64, u64)], now_ns: u64) -> Vec<Watched> {
    let cores = told.iter().enumerate().filter_map(|(core, told)| {
        let (began_ns, _) = watched_from(board, core, *told).filter(|(_, from)| *from <= now_ns)?;
        Some(Watched { core, began_ns, wires: board.post(core).wires() })
    });
    cores.collect()
}

/// When to look at the cores again.
fn next(board: &Board, told: &[(u64, u64)], now_ns: u64) -> u64 {
    let ends = told.iter().enumerate().filter_map(|(core, told)| Some(ends(board, core, *told)?.1));
    let ends = ends.min().map_or(NEVER, |deadline_ns| deadline_ns.max(now_ns));
    let watches = told.iter().enumerate();
    let watches = watches.filter_map(|(core, told)| Some(watched_from(board, core, *told)?.1));
    // Those that are watched already are no reason to look.
    watches.filter(|from_ns| *from_ns > now_ns).min().unwrap_or(NEVER).min(ends)
}
