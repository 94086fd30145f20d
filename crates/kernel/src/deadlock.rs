//! Whether a send would close a circle of processes that wait for each other.

use std::collections::BTreeSet;

use peripatos_abi::Pid;

use crate::limits::CHAIN_MAX;
use crate::process::{Call, Form, State};
use crate::table::{Slot, Table};

/// Whether the receiver waits, directly or through others, for the sender. Only what is in this table is seen.
pub(crate) fn closes(table: &Table, from: Slot, receiver: Slot) -> bool {
    let mut at = receiver;
    for _ in 0..CHAIN_MAX {
        if at == from {
            return true;
        }
        let process = table.get(at);
        if process.is_some_and(|process| process.call == Call::Gather) {
            return any_closes(table, from, at);
        }
        match process.and_then(waits_for).and_then(|pid| table.find(pid)) {
            Some(next) => at = next,
            None => return false,
        }
    }
    false
}

/// The same, where some wait for several others.
fn any_closes(table: &Table, from: Slot, receiver: Slot) -> bool {
    let (mut open, mut seen) = (vec![receiver], BTreeSet::new());
    while let Some(at) = open.pop() {
        if at == from {
            return true;
        }
        let Some(process) = table.get(at).filter(|_| seen.insert(at)) else { continue };
        let next = process.gathers().chain(waits_for(process));
        open.extend(next.filter_map(|pid| table.find(pid)));
    }
    false
}

/// For whom a process waits, and for nobody else.
pub(crate) fn waits_for(process: &crate::process::Process) -> Option<Pid> {
    // Its lender's kernel answers, while the lender waits.
    if process.accesses() {
        return None;
    }
    if process.call == Call::Gather {
        return None;
    }
    match process.state() {
        State::SendBlocked(pid) | State::ReplyBlocked(pid) => Some(pid),
        // One that receives from nobody else gets nothing from others.
        State::ReceiveBlocked => match process.call {
            Call::Receive(receive) if process.form == Form::Fiber => receive.from,
            _ => None,
        },
        State::Ready => None,
    }
}
