//! Who of the same table has sent to a process, was received, and may wait for its reply.
//!
//! That is looked for when the receiver ends or moves. To look at the whole table each time would take time that grows with the square of
//! the processes where many end at once. So a receiver notes whose messages it takes. Nobody is taken out when it is answered, for a server
//! would look for each: when there is no room those who wait no more are left out, and there is room for twice as many as are left. A
//! process that has been noted and waits no more is found out by what it does itself.

use crate::kernel::Kernel;
use crate::process::{At, Call, Process};
use crate::table::{Slot, Table};

/// Of so many all are kept.
const ROOM_MIN: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Callers(Vec<Slot>);

impl Kernel {
    /// A process has a message of another one of this table.
    pub(crate) fn note_caller(&mut self, receiver: Slot, sender: Slot) {
        let Some(server) = self.table.get_mut(receiver) else { return };
        if server.callers.0.len() == server.callers.0.capacity() {
            self.tidy_callers(receiver);
        }
        if let Some(server) = self.table.get_mut(receiver) {
            server.callers.0.push(sender);
        }
    }

    #[cold]
    fn tidy_callers(&mut self, receiver: Slot) {
        let Some(server) = self.table.get_mut(receiver) else { return };
        let (pid, mut callers) = (server.pid, std::mem::take(&mut server.callers.0));
        self.looks += callers.len() as u64;
        callers.retain(|slot| self.table.get(*slot).is_some_and(|one| one.is_held_by(pid)));
        callers.sort_unstable();
        callers.dedup();
        // So the next time is not before as many more have come as are looked at then.
        callers.reserve(callers.len().max(ROOM_MIN));
        if let Some(server) = self.table.get_mut(receiver) {
            server.callers.0 = callers;
        }
    }

    /// Those in this table that have sent to a process which has left it, and wait: for it to take their message, or to reply.
    pub(crate) fn callers_of(&mut self, process: &Process) -> Vec<Slot> {
        let table = &self.table;
        let queued = process.queue.iter().map(|waiting| waiting.from);
        let others = queued.chain(process.serves.map(|(from, _)| from));
        let others = others.chain(process.wanted().map(|(from, _)| from));
        let others = others.filter_map(|pid| table.find(pid));
        let mut callers: Vec<Slot> = process.callers.0.iter().copied().chain(others).collect();
        callers.sort_unstable();
        callers.dedup();
        self.looks += callers.len() as u64;
        callers.retain(|slot| waits(&self.table, *slot, process));
        callers
    }

    /// How many processes were looked at because another one had ended, had moved, or was sent to: what costs time where there are many.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks
    }
}

fn waits(table: &Table, sender: Slot, process: &Process) -> bool {
    let call = table.get(sender).map(|sender| sender.call);
    matches!(call, Some(Call::Send { to, at, .. }) if to == process.pid && at != At::Away)
}

impl Process {
    /// Whether that one has its message, in this table, and it waits for the reply.
    pub(crate) fn is_held_by(&self, pid: peripatos_abi::Pid) -> bool {
        matches!(self.call, Call::Send { to, at: At::Received, .. } if to == pid)
    }
}
