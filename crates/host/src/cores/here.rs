//! The core whose thread this is, for what runs on it: the loop, and wakers that are called on it.
//!
//! The core is borrowed for moments only, and by nothing that could come back here: no process is polled
//! or dropped meanwhile, no event told, no control used, no waker called.

use std::cell::RefCell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use peripatos_abi::Pid;

use super::board::Board;
use super::core::Core;
use super::lane::Way;
use super::nested::After;
use super::packet::{Packet, Parcel};
use super::tag::Tag;
use crate::talk::Looked;

thread_local! {
    static CORE: RefCell<Option<Core>> = const { RefCell::new(None) };
    static WAYS: RefCell<Option<Ways>> = const { RefCell::new(None) };
}

/// From this core to all others.
struct Ways {
    board: Arc<Board>,
    from: usize,
    to: Box<[Way]>,
}

/// This thread is a core from now on.
pub(super) fn enter(core: Core) {
    let (board, from) = (Arc::clone(&core.board), core.number);
    let to = (0..board.cores()).map(|_| Way::default()).collect();
    WAYS.set(Some(Ways { board, from, to }));
    CORE.set(Some(core));
}

/// This thread is a core no longer.
pub(super) fn leave() -> Option<Core> {
    drop(WAYS.take());
    CORE.take()
}

/// Leaves a packet for a core, whichever thread this is. It comes back if the core has ended.
pub(super) fn push(board: &Board, to: usize, packet: Packet) -> Option<Packet> {
    let inbox = &board.post(to).inbox;
    // Of a thread that ends there are none any more.
    let mut packet = Some(packet);
    let refused = WAYS.try_with(|ways| {
        let mut ways = ways.borrow_mut();
        let ways = ways.as_mut().filter(|ways| ptr::eq(&raw const *ways.board, board))?;
        Some(inbox.push_from(ways.from, &mut ways.to[to], packet.take()?))
    });
    match (refused, packet) {
        (Ok(Some(refused)), _) => refused,
        (_, packet) => inbox.push(packet?),
    }
}

/// What the loop does with its core.
pub(super) fn with<T>(act: impl FnOnce(&mut Core) -> T) -> T {
    CORE.with_borrow_mut(|core| act(core.as_mut().expect("only the loop calls this")))
}

/// What runs on this thread, if anything does, has called somebody on that core.
pub(super) fn note_far(number: usize) {
    let _ = CORE.try_with(|core| {
        if let Ok(Some(core)) = core.try_borrow_mut().as_deref_mut() {
            core.note_far(number);
        }
    });
}

/// What runs on this thread, if anything does, has called somebody on that node.
pub(super) fn note_away(node: u128) {
    let _ = CORE.try_with(|core| {
        if let Ok(Some(core)) = core.try_borrow().as_deref() {
            core.note_away(node);
        }
    });
}

/// Takes a new process in, while another one runs.
pub(super) fn take(board: &Board, parcel: Parcel) {
    let number = with(|core| core.adopt(parcel));
    // As in `wake`.
    fence(Ordering::SeqCst);
    board.pressed_here(number, true);
}

/// See [`Core::begin_looking`].
pub(super) fn begin_looking() {
    CORE.with_borrow(|core| core.as_ref().map_or((), Core::begin_looking));
}

/// See [`Core::look_out`].
pub(super) fn look_out() -> Looked {
    let looked = CORE.with_borrow_mut(|core| core.as_mut().map(Core::look_out));
    let Some((looked, pressed)) = looked else { return Looked::NotNow };
    if let Some((board, number)) = pressed {
        board.post(number).preempt(None);
    }
    looked
}

/// Lets a process of this thread run nested. `seat`: where it was the last time. `false`: it could not, and has not.
pub(super) fn turn(pid: Pid, seat: &mut usize) -> bool {
    let begun = CORE.with_borrow_mut(|core| core.as_mut()?.begin_nested(pid, seat));
    let Some((mut turn, outer)) = begun else { return false };
    let polled = turn.run();
    let After { pressed, preempt } = with(|core| core.end_nested(turn, outer, polled));
    if let Some((board, number)) = pressed {
        // As below.
        fence(Ordering::SeqCst);
        board.pressed_here(number, false);
    }
    if let Some(control) = preempt {
        control.preempt();
    }
    true
}

/// Wakes a process if it is this thread's.
pub(super) fn wake(board: &Arc<Board>, tag: &Arc<Tag>) -> bool {
    let woken = CORE.try_with(|core| {
        let mut core = core.try_borrow_mut().ok()?;
        let core = core.as_mut()?;
        let number = core.number_at(board)?;
        core.wake(tag).map(|spare| spare.map(|spare| (number, spare)))
    });
    // A thread that ends has no core any more.
    let Some(ready) = woken.ok().flatten() else { return false };
    if let Some((number, spare)) = ready {
        // Between what was just written and what is looked at now: see `board`.
        fence(Ordering::SeqCst);
        board.pressed_here(number, spare);
    }
    true
}
