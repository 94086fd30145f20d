//! The processes of one core: slots, and where each pid is. A slot is a process's as long as it is on
//! this core.

use std::collections::HashMap;
use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_engine::Control;

use super::execution::Execution;
use super::tag::Tag;

/// See the module.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_pid: HashMap<Pid, usize>,
}

/// One process.
pub(super) struct Slot {
    pub(super) tag: Arc<Tag>,
    pub(super) control: Control,
    pub(super) stand: Stand,
}

/// How it stands with a process.
pub(super) enum Stand {
    /// Its waker was not called yet.
    Waiting(Execution),
    /// In the queue.
    Ready(Execution),
    /// Its execution is taken out. `woken`: its waker was called on this thread meanwhile.
    Running { woken: bool },
}

impl Table {
    pub(super) fn insert(&mut self, slot: Slot) -> usize {
        let at = self.free.pop().unwrap_or(self.slots.len());
        let before = self.by_pid.insert(slot.tag.pid(), at);
        assert!(before.is_none(), "a pid is taken once, by the registry");
        if at == self.slots.len() {
            self.slots.push(Some(slot));
        } else {
            self.slots[at] = Some(slot);
        }
        at
    }

    pub(super) fn remove(&mut self, at: usize) -> Slot {
        let slot = self.slots[at].take().expect("who is removed is there");
        self.by_pid.remove(&slot.tag.pid());
        self.free.push(at);
        slot
    }

    /// Where the process of this tag is; not one of the same pid that came after it.
    pub(super) fn find(&self, tag: &Arc<Tag>) -> Option<usize> {
        let at = *self.by_pid.get(&tag.pid())?;
        Arc::ptr_eq(&self.get(at).tag, tag).then_some(at)
    }

    pub(super) fn get(&self, at: usize) -> &Slot {
        self.slots[at].as_ref().expect("slots that are spoken of are filled")
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut Slot {
        self.slots[at].as_mut().expect("slots that are spoken of are filled")
    }
}
