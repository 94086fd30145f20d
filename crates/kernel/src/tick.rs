//! What a kernel does as time passes: says again what was not heard, gives up what is hopeless, forgets what is over.
//!
//! A kernel has no clock. Its host says what time it is, when [`Kernel::next_tick`] has come and now and then.

use std::collections::VecDeque;

use peripatos_abi::message::Status;
use peripatos_abi::{EndReason, Pid};

use crate::alien::Send;
use crate::claim::{Concern, Timer};
use crate::kernel::{Kernel, Woken};
use crate::limits::{END_NS, HEARD_NS, PROBE_NS};
use crate::mutation::Mutation;
use crate::packet::{Body, Place};
use crate::process::{At, Call, Process};
use crate::table::Slot;
use crate::ties::Watch;

/// Replies that have come from other nodes, whose kernels do not know it. Oldest first.
#[derive(Debug, Default)]
pub(crate) struct HeardReplies(VecDeque<Heard>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    due: u64,
    pid: Pid,
    of: Pid,
    send: Send,
    place: Place,
}

impl HeardReplies {
    pub(crate) fn push(&mut self, now: u64, pid: Pid, of: Pid, send: Send, place: Place) {
        self.0.push_back(Heard { due: now + HEARD_NS, pid, of, send, place });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn pop_due(&mut self, now: u64) -> Option<Heard> {
        self.0.pop_front_if(|heard| heard.due <= now)
    }
}

impl Kernel {
    /// It is so late: nanoseconds of a clock that does not go back.
    pub fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
        let now = self.now;
        while let Some(timer) = self.timers.pop_due(now) {
            self.retry(timer);
        }
        self.acknowledge();
        if !self.does_wrong(Mutation::NothingForgotten) {
            self.routes.tick(now);
            self.doubt_aliens();
            self.errands.tick(now);
            self.ends.expire(now, END_NS, |_, _| true);
        }
        if now >= self.probe_due {
            self.probe_due = now + PROBE_NS;
            self.look_for_circles();
        }
    }

    /// When [`Kernel::tick`] has something to do next. `None`: it can wait for a second or so.
    #[must_use]
    pub fn next_tick(&self) -> Option<u64> {
        let heard = self.heard.0.front().map(|heard| heard.due);
        [self.timers.next(), heard].into_iter().flatten().min()
    }

    fn retry(&mut self, timer: Timer) {
        let Timer { due, pid, to, concern } = timer;
        match (concern, self.table.find(pid)) {
            (Concern::Errand { number }, _) => self.retry_errand(number, due),
            (Concern::Send { transaction, hop }, Some(slot)) => {
                self.retry_send(slot, to, (transaction, hop), due);
            }
            (Concern::Watch { watch, .. }, Some(slot)) => self.retry_watch(slot, to, watch, due),
            (_, None) => {}
        }
    }

    fn retry_send(&mut self, slot: Slot, to: Pid, send: Send, due: u64) {
        let Some(sender) = self.table.get(slot) else { return };
        if sender.out.claim.due != due || !sender.is_away(send) {
            return;
        }
        let hopeless = sender.out.claim.is_hopeless(self.now) && self.table.find(to).is_none();
        if hopeless && !self.does_wrong(Mutation::NoGivingUp) {
            return self.give_up(slot, Status::Unreachable);
        }
        if self.does_wrong(Mutation::NoResend) {
            if let Some(sender) = self.table.get_mut(slot) {
                sender.out.claim.due = 0;
            }
            return self.rearm_send(slot);
        }
        if let Some(sender) = self.table.get_mut(slot) {
            sender.out.claim.redirects = 0;
        }
        self.press_send(slot);
    }

    /// A send fails. Its receiver need not reply, and need not see it, if that is not too late.
    pub(crate) fn give_up(&mut self, slot: Slot, status: Status) {
        let Some(sender) = self.table.get_mut(slot) else { return };
        let Call::Send { to, at, .. } = sender.call else { return };
        let (pid, (transaction, hop), place) =
            (sender.pid, sender.last_send(), sender.out.claim.place);
        sender.fail(status);
        self.woken.push_back(Woken::Process(slot));
        if at == At::Away {
            self.post(place, pid, to, Body::Over { transaction, hop });
        } else if let Some(server) = self.table.find(to).and_then(|slot| self.table.get_mut(slot)) {
            server
                .queue
                .retain(|waiting| waiting.from != pid || waiting.transaction != transaction);
        }
    }

    /// Forgets aliens of whom nothing can be on its way. One that is on this node does not ask, and is asked itself.
    fn doubt_aliens(&mut self) {
        let table = &self.table;
        let is_there = |pid| table.find(pid).is_some();
        for ((from, to), alien) in self.aliens.tick(self.place, self.now, is_there) {
            let (transaction, hop) = alien.send;
            let got = Body::Got(Concern::Send { transaction, hop });
            self.post(Some(alien.place), to, from, got);
        }
    }

    /// Tells the kernels of those who have replied that the replies have come, unless another send has told them.
    fn acknowledge(&mut self) {
        let now = self.now;
        while let Some(Heard { pid, of, send, place, .. }) = self.heard.pop_due(now) {
            // Its next send to the same process has told, or its reply to that one will.
            let told = |one: &Process| {
                let again = matches!(one.call, Call::Send { to, .. } if to == of);
                again || one.out.heard.is_some_and(|(by, last)| by == of && last > send)
            };
            let told = self.table.find(pid).and_then(|slot| self.table.get(slot)).is_some_and(told);
            if !told && !self.does_wrong(Mutation::NoAcknowledgement) {
                let (transaction, hop) = send;
                self.post(Some(place), pid, of, Body::Over { transaction, hop });
            }
        }
    }

    /// A node cannot be reached, as the host has found out: who waits for its processes, or watches them, is told so
    /// now. What has been said there may have been heard.
    pub fn unreachable(&mut self, node: u128) {
        self.routes.not_at_node(node);
        let there = |place: Option<Place>| place.is_some_and(|place| place.node == node);
        let mut waiting = Vec::new();
        let mut watching: Vec<(Pid, Pid, Watch)> = Vec::new();
        for process in self.table.iter() {
            if process.is_away(process.last_send()) && there(process.out.claim.place) {
                waiting.push(process.pid);
            }
            let ties = process.ties.iter().flat_map(|ties| &ties.watching);
            let lost = ties.filter(|(_, watching)| there(watching.claim.place));
            watching.extend(lost.map(|((to, watch), _)| (process.pid, *to, *watch)));
        }
        for slot in waiting.into_iter().filter_map(|pid| self.table.find(pid)).collect::<Vec<_>>() {
            self.give_up(slot, Status::Unreachable);
        }
        for (pid, to, _) in watching {
            if let (Some(slot), None) = (self.table.find(pid), self.table.find(to)) {
                self.end_came(slot, to, EndReason::Lost.to_bits());
            }
        }
    }
}
