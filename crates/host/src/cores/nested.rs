//! Processes that run nested: within the slice of another one, on its stack, because it waits for them
//! ([`crate::talk`]).
//!
//! Invariants:
//! * What runs nested comes back before what is under it goes on: it ends, waits or gives way.
//! * The board shows the innermost one as what runs. Who looked just before it changed, and told the wrong one to give
//!   way, had left a packet before: it is looked for after each change.
//! * One that has ended, or is frozen, is kept until the slice is over: events are told by the loop.

use std::mem;
use std::sync::Arc;
use std::task::Poll;

use peripatos_abi::Pid;
use peripatos_engine::Control;

use super::board::Board;
use super::core::{Core, Departure, Turn};
use super::execution::RunEnd;
use super::table::Stand;
use super::tag::Wish;

/// How deep processes run nested: each further one would be slower, and have less of the outermost one's stack.
const DEPTH_MAX: usize = 8;

/// What a core knows of them.
#[derive(Default)]
pub(super) struct Nested {
    depth: usize,
    /// Those that are over.
    over: Vec<(Turn, Poll<RunEnd>)>,
}

impl Nested {
    /// Nobody does, nor has in this slice and come to an end.
    pub(super) fn is_empty(&self) -> bool {
        self.depth == 0 && self.over.is_empty()
    }
}

/// What is left to do when one has come back.
#[derive(Default)]
pub(super) struct After {
    /// What runs on is to give way.
    pub(super) preempt: Option<Control>,
    /// The one that has come back is ready, on this core.
    pub(super) pressed: Option<(Arc<Board>, usize)>,
}

impl Core {
    /// Takes a process that waits out of its seat, to run it now; also says within whose slice. `None`: it does not
    /// wait here, or somebody wants something else. `at`: the seat where it may be, then where it is.
    pub(super) fn begin_nested(&mut self, pid: Pid, at: &mut usize) -> Option<(Turn, usize)> {
        let outer = self.running?;
        if self.nested.depth >= DEPTH_MAX || self.closing {
            return None;
        }
        if !self.table.is_at(pid, *at) {
            *at = self.table.seat_of(pid)?;
        }
        let seat = *at;
        let process = self.table.get(seat);
        let awake = matches!(&process.stand, Stand::Waiting(execution) if !execution.is_asleep());
        if !awake || process.tag.wish() != Wish::None {
            return None;
        }
        let post = self.board.post(self.number);
        post.show_nested(seat);
        if !post.inbox.is_empty() {
            post.show_nested(outer);
            return None;
        }
        let began_ns = post.slice_began_ns().unwrap_or_default();
        let stand = &mut self.table.get_mut(seat).stand;
        let Stand::Waiting(execution) = mem::replace(stand, Stand::Running { woken: false }) else {
            unreachable!("it was just looked at")
        };
        self.running = Some(seat);
        self.nested.depth += 1;
        Some((Turn { seat, execution, killed: false, began_ns }, outer))
    }

    /// It has come back.
    pub(super) fn end_nested(&mut self, turn: Turn, outer: usize, polled: Poll<RunEnd>) -> After {
        assert_eq!(self.running.replace(outer), Some(turn.seat));
        self.nested.depth -= 1;
        let post = self.board.post(self.number);
        post.show_nested(outer);
        let presses = !post.inbox.is_empty();
        let mut after = After::default();
        let process = self.table.get_mut(turn.seat);
        process.since_ns = turn.began_ns;
        process.habits.note_near();
        if polled.is_pending() && process.tag.wish() != Wish::Kill {
            let stand = mem::replace(&mut process.stand, Stand::Waiting(turn.execution));
            let Stand::Running { woken } = stand else { unreachable!("it has just run") };
            if woken {
                self.make_ready(turn.seat);
                after.pressed = Some((Arc::clone(&self.board), self.number));
            }
        } else {
            self.nested.over.push((turn, polled));
        }
        if presses || !self.nested.over.is_empty() {
            after.preempt = Some(self.table.get(outer).control.clone());
        }
        after
    }

    /// What has ended nested, when the slice is over.
    pub(super) fn next_departure(&mut self) -> Option<Departure> {
        while let Some((turn, polled)) = self.nested.over.pop() {
            let departure = self.stop(turn.seat, turn.execution, polled);
            if departure.is_some() {
                return departure;
            }
        }
        None
    }
}
