//! Who sleeps, and when: processes that only wait are put aside as images, so that a node holds more of them than the
//! operating system has mappings for.
//!
//! A process that waits for its kernel is frozen where it waits, and its image takes the place of its run
//! ([`Execution::asleep`]); a handler, which has no run, sleeps between two calls. Whatever would have made it go on
//! makes it ready, and it wakes when it has its turn. The kernel's state of it is not touched: messages come, time runs out,
//! others end as if it were awake. It is moved, killed and frozen as any other.
//!
//! Who waits for its devices is let alone: it is woken by somebody else than its kernel.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::board::Board;
use super::core::Nap;
use super::execution::{Execution, is_frozen};
use super::tag::Wish;
use super::{here, turns};
use crate::crowd;
use crate::talk::{self, Idle};

/// Who has waited so long sleeps.
pub const IDLE_MAX: Duration = Duration::from_secs(10);
/// How often a core looks for those that have waited [`IDLE_MAX`].
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When too many are awake and none of a core's can sleep, it looks again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Of those that may be awake this part is kept free for those who are woken within a slice: only handlers can make room
/// for them then.
const SPARE_PART: usize = 64;
/// How many fall asleep between two turns while too many are awake.
const AT_ONCE: usize = 8;
/// At so many of each kind it looks then for each one.
const LOOKS_MAX: usize = 64;
/// How many do when a core looks for those that have waited long. More wait for the next look.
const LOOK_MAX: usize = 256;

/// When a core looks.
pub(super) struct Sleep {
    next_look: Instant,
    /// Who has not run since sleeps by then.
    settled: Instant,
    /// Before then it does not look, although too many are awake.
    not_before: Instant,
}

impl Sleep {
    pub(super) fn new() -> Sleep {
        let now = Instant::now();
        Sleep { next_look: now, settled: now, not_before: now }
    }

    /// Somebody runs.
    pub(super) fn note_turn(&mut self, now: Instant) {
        self.settled = now + IDLE_MAX + LOOK_EVERY;
    }

    /// Until when a core without work may rest. `None`: whoever can sleep does.
    pub(super) fn next_look(&self) -> Option<Instant> {
        (self.next_look <= self.settled).then_some(self.next_look)
    }

    /// Puts some to sleep, if it is time. Between two turns. Whether it took some time.
    pub(super) fn tend(&mut self, board: &Arc<Board>, now: Instant) -> bool {
        note_sleepers(board);
        let crowded = crowd::is_crowded(board.awake_max - board.awake_max / SPARE_PART)
            && now >= self.not_before;
        if !crowded && now < self.next_look {
            return false;
        }
        let (idle, count) = if crowded { (Duration::ZERO, AT_ONCE) } else { (IDLE_MAX, LOOK_MAX) };
        let fallen = lull(board, now, idle, count);
        let soon = now + LOOK_AGAIN;
        match (crowded, fallen) {
            (true, 0) => self.not_before = soon,
            (true, _) => {}
            (false, LOOK_MAX) => (self.next_look, self.settled) = (soon, self.settled.max(soon)),
            (false, _) => self.next_look = now + LOOK_EVERY,
        }
        true
    }
}

/// Puts up to `count` of this core to sleep, programs and handlers, that have waited for so long; if too many are awake, and
/// none of them only waits, those whose turn comes late. How many fell asleep.
fn lull(board: &Arc<Board>, now: Instant, idle: Duration, count: usize) -> usize {
    let before_ns = board.time_ns(now.checked_sub(idle).unwrap_or(now));
    let mut search = Search { before_ns, crowded: idle.is_zero(), done: [false; 3] };
    let lulled = (0..count).map_while(|_| {
        Some(match search.next()? {
            Next::Idle(seat) => lull_program(board, now, seat),
            Next::Late(seat) => {
                put_to_sleep(board, here::with(|core| core.begin_nap(seat)), || true)
            }
            Next::Handler(handler) => talk::lull_handler(handler),
        })
    });
    let fallen = lulled.filter(|fell| *fell).count();
    note_sleepers(board);
    fallen
}

/// Who is to fall asleep.
enum Next {
    /// A program that has waited, in this seat.
    Idle(usize),
    /// One that could run.
    Late(usize),
    Handler(Idle),
}

/// A search for those who are to fall asleep.
struct Search {
    before_ns: u64,
    /// Too many are awake: nobody has time to look at all, and who is not the one that should sleep first may, too.
    crowded: bool,
    /// Of which kinds there are no more.
    done: [bool; 3],
}

impl Search {
    /// Whoever has waited longest; but one of those that could run, if nobody has waited for longer than two rounds of them: who
    /// has waited less is one of those whom they call, and they would wake him again.
    fn next(&mut self) -> Option<Next> {
        let looks_max = if self.crowded { LOOKS_MAX } else { usize::MAX };
        let [no_programs, no_handlers, no_late] = &mut self.done;
        *no_late |= !self.crowded;
        let idle = || here::with(|core| core.next_idle(self.before_ns, looks_max));
        let program = look(no_programs, idle);
        let handler = look(no_handlers, || talk::idle_handler(self.before_ns, looks_max));
        let late = look(no_late, || here::with(|core| core.next_late(self.before_ns, looks_max)));
        let program = program.map(|(since_ns, seat)| (since_ns, Next::Idle(seat)));
        let handler = handler.map(|idle| (idle.since_ns, Next::Handler(idle)));
        let late = late.map(|(since_ns, seat)| {
            let round_ns = self.before_ns.saturating_sub(since_ns);
            (since_ns.saturating_sub(round_ns), Next::Late(seat))
        });
        let all = [program, handler, late].into_iter().flatten();
        all.min_by_key(|(since_ns, _)| *since_ns).map(|(_, next)| next)
    }
}

/// Looks for one, unless there was none before.
fn look<T>(done: &mut bool, find: impl FnOnce() -> Option<T>) -> Option<T> {
    let found = if *done { None } else { find() };
    *done = found.is_none();
    found
}

/// Notes which handlers sleep.
pub(super) fn note_sleepers(board: &Board) {
    for (pid, asleep) in talk::take_sleepers() {
        if asleep {
            board.registry.fell_asleep(pid);
        } else {
            board.registry.woke(pid);
        }
    }
}

/// Whether one fell asleep that has waited.
fn lull_program(board: &Arc<Board>, now: Instant, seat: usize) -> bool {
    let nap = here::with(|core| core.begin_nap(seat));
    let pid = nap.tag.pid();
    if !talk::is_blocked(pid) {
        here::with(|core| core.stays_awake(nap, board.time_ns(now)));
        return false;
    }
    put_to_sleep(board, nap, || talk::is_blocked(pid))
}

/// Whether it fell asleep. It does only if it may, being frozen.
fn put_to_sleep(board: &Arc<Board>, mut nap: Nap, may: impl Fn() -> bool) -> bool {
    let pid = nap.tag.pid();
    // To ask for the freeze calls its waker, which comes back here: nothing is borrowed. Should its answer have come in
    // this moment, it runs to its next check.
    nap.control.freeze();
    match nap.execution.poll() {
        // A wish is noted before the freeze is asked for: if there is none yet, its freeze is still to come.
        Poll::Ready(end) if is_frozen(&end) && nap.tag.wish() == Wish::None && may() => {
            let Ok((process, _)) = *end else { unreachable!("it is frozen") };
            nap.execution = Execution::asleep(process, &nap.tag, Arc::downgrade(board));
            let fell = nap.execution.is_asleep();
            if fell {
                board.registry.fell_asleep(pid);
            }
            here::with(|core| core.lies_down(nap));
            fell
        }
        polled => {
            if let Some(departure) = here::with(|core| core.end_nap(nap, polled)) {
                board.tell(turns::leave(board, departure));
            }
            false
        }
    }
}
