//! The handlers of a core: they come, go to other cores, and end. The kernel has them between two calls
//! ([`crate::talk`]); here is what the cores know of them.
//!
//! Invariants:
//! * All this is done by the core's loop, which runs nothing meanwhile: a handler that is here is at rest or parked, and
//!   nobody is in the middle of calling it.
//! * What is wanted of a handler stands in its tag. Who finds it is not where the packet came follows it, or leaves it to the
//!   core that it is on its way to, which looks when it comes.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use peripatos_abi::Pid;
use peripatos_engine::{Outcome, ProcessError};

use super::board::Board;
use super::packet::{Packet, Station};
use super::tag::{Tag, Wish};
use super::{CoreEvent, ProcessEnd, sleep};
use crate::talk::{self, HandlerEnd};

/// A handler comes.
pub(super) fn take(board: &Board, number: usize, station: Station) {
    let Station { tag, server, talking } = station;
    // Its pid was free.
    talk::adopt_server(server, talking.map(|leaving| *leaving));
    attend(board, number, tag);
}

/// Does what is wanted of a handler.
pub(super) fn attend(board: &Board, number: usize, tag: Arc<Tag>) {
    match tag.core() {
        Some(core) if core == number => {}
        Some(core) => return board.send(core, hint(tag)),
        None => return,
    }
    if !talk::is_handler(tag.pid()) {
        // It is on its way here.
        return;
    }
    match tag.wish() {
        Wish::Kill => end(board, tag.pid()),
        Wish::Freeze | Wish::None => {
            if let Some(core) = tag.take_shift() {
                give(board, number, &tag, core);
            }
        }
    }
}

/// Has a handler's core look at what is wanted of it.
fn hint(tag: Arc<Tag>) -> Packet {
    if tag.wish() == Wish::None { Packet::Shift(tag) } else { Packet::Hurry(tag) }
}

/// Sends a handler to another core, whole: at rest, asleep or parked. `false`: it stays.
pub(super) fn give(board: &Board, number: usize, tag: &Arc<Tag>, core: usize) -> bool {
    if core == number {
        return false;
    }
    let Some((server, leaving)) = talk::extract_handler(tag.pid(), board.place(core)) else {
        return false;
    };
    // Before another core may note the contrary.
    sleep::note_sleepers(board);
    tag.move_to(core);
    let station = Station { tag: Arc::clone(tag), server, talking: Some(Box::new(leaving)) };
    board.send(core, Packet::Serve(station));
    true
}

/// What a handler waited for may be there.
pub(super) fn resume(board: &Board, number: usize, tag: Arc<Tag>) {
    match tag.core() {
        // One that comes goes on in any case.
        Some(core) if core == number => talk::resume_handler(tag.pid()),
        Some(core) => board.send(core, Packet::Resume(tag)),
        None => {}
    }
}

/// Ends a handler that somebody wants to end. It runs on nobody's slice while the core looks into its inbox.
fn end(board: &Board, pid: Pid) {
    talk::end_handler(pid);
    board.registry.leave_handler(pid);
    board.tell(CoreEvent::Ended { pid, end: ProcessEnd::Killed, cpu: Duration::ZERO });
}

/// Tells of handlers that have ended.
pub(super) fn tell_over(board: &Board) {
    while let Some((pid, end)) = talk::next_over() {
        let killed = board.registry.leave_handler(pid) == Wish::Kill;
        let end = match end {
            _ if killed => ProcessEnd::Killed,
            HandlerEnd::Ended(Outcome::Exited(code)) => ProcessEnd::Exited(code),
            HandlerEnd::Ended(Outcome::Raised(signal)) => ProcessEnd::Raised(signal),
            HandlerEnd::Ended(Outcome::Frozen) => ProcessEnd::Failed(ProcessError::Ended),
            HandlerEnd::Failed(error) => ProcessEnd::Failed(error),
        };
        board.tell(CoreEvent::Ended { pid, end, cpu: Duration::ZERO });
    }
}

/// Makes a handler's core resume it.
pub(super) fn waker(board: &Arc<Board>, tag: &Arc<Tag>) -> Waker {
    struct Bell {
        board: Weak<Board>,
        tag: Arc<Tag>,
    }
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            if let (Some(board), Some(core)) = (self.board.upgrade(), self.tag.core()) {
                board.send(core, Packet::Resume(Arc::clone(&self.tag)));
            }
        }
    }
    Waker::from(Arc::new(Bell { board: Arc::downgrade(board), tag: Arc::clone(tag) }))
}
