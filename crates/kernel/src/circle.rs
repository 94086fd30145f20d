//! Circles of processes that were waiting for each other: what a kernel has found, for its host to show.

use std::collections::BTreeMap;

use peripatos_abi::Pid;
use serde::{Deserialize, Serialize};

use crate::deadlock::waits_for;
use crate::group::principal;
use crate::kernel::Kernel;
use crate::limits::{CIRCLE_PIDS_MAX, CIRCLES_MAX};
use crate::table::{Slot, Table};

/// Processes each of which sends to the next one, and the last one to the first, which was told
/// [`Status::Deadlock`](peripatos_abi::message::Status::Deadlock).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circle {
    /// The first of them, [`CIRCLE_PIDS_MAX`] at most.
    pub pids: Vec<Pid>,
    /// How many there are.
    pub len: u32,
}

impl Circle {
    /// The next one of it.
    pub(crate) fn push(&mut self, pid: Pid) {
        let pid = principal(pid);
        if self.pids.last() == Some(&pid) {
            // One of its delegates is no step of its own.
            return;
        }
        self.len = self.len.saturating_add(1);
        if self.pids.len() < CIRCLE_PIDS_MAX {
            self.pids.push(pid);
        }
    }
}

impl Kernel {
    /// The next circle that was found, each once. Those that nobody has asked for in time are forgotten.
    pub fn next_circle(&mut self) -> Option<Circle> {
        self.circles.pop_front()
    }

    /// A circle was found.
    pub(crate) fn note_circle(&mut self, circle: Circle) {
        if self.circles.len() < CIRCLES_MAX {
            self.circles.push_back(circle);
        }
    }

    /// A send would have closed one, which lies in this table.
    #[cold]
    pub(crate) fn note_closed(&mut self, from: Slot, receiver: Slot) {
        let circle = find(&self.table, from, receiver);
        self.note_circle(circle);
    }
}

/// Who waits for whom from the receiver to the sender.
fn find(table: &Table, from: Slot, receiver: Slot) -> Circle {
    let (mut open, mut before) = (vec![receiver], BTreeMap::from([(receiver, from)]));
    while let Some(at) = open.pop().filter(|at| *at != from) {
        let Some(process) = table.get(at) else { continue };
        let next = process.gathers().chain(waits_for(process));
        for next in next.filter_map(|pid| table.find(pid)) {
            before.entry(next).or_insert_with(|| {
                open.push(next);
                at
            });
        }
    }
    // From its end to its beginning: the sender, to which the receiver is the next one.
    let steps = std::iter::successors(before.get(&from), |at| before.get(at));
    let steps = steps.take_while(|at| **at != from).take(before.len()).copied();
    let slots: Vec<Slot> = steps.collect();
    let mut circle = Circle::default();
    let pids = std::iter::once(from).chain(slots.into_iter().rev());
    pids.filter_map(|slot| table.get(slot)).for_each(|process| circle.push(process.pid));
    circle
}
