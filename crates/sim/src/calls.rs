//! Handlers: called on the sender's stack or alone, they reply, at once or later, are parked, send themselves, or end.

use peripatos_abi::EndReason;
use peripatos_abi::message::{Kind, Status};
use peripatos_kernel::{Outcome, Slot};

use crate::actor::{Doing, Id, ROOM};
use crate::checkers;
use crate::config::MS;
use crate::event::Event;
use crate::world::World;

/// What a handler does with a message.
enum Decision {
    Reply(Vec<u8>),
    Park,
    Later,
    End,
}

impl World {
    /// A handler is called on its sender's stack.
    pub(crate) fn call(&mut self, caller: Id, number: usize, called: Slot, message: &[u8]) {
        let kernel = self.actors[caller].place.map(|(kernel, _)| kernel);
        let Some(id) = kernel.and_then(|kernel| self.who(kernel, called)) else { return };
        let Some((kernel, from, _)) = self.parts(caller) else { return };
        let envelope = kernel.envelope(called, message.len() as u32).to_bytes();
        self.wakes(id);
        let decision = self.handle(id, message, envelope, Some(caller));
        let Some((kernel, _, actor)) = self.parts(caller) else { return };
        let result = kernel.end_call(from, called, outcome(&decision), &mut actor.memory);
        match decision {
            Decision::Reply(_) => self.told(caller, number, result),
            Decision::Park | Decision::Later if result == Err(Status::Wait) => {}
            Decision::Park | Decision::Later => {
                let what = format!("p{caller}'s call of p{id} is not over: {result:?}");
                self.violated("truth", what);
            }
            Decision::End => {
                let reason = self.reason();
                self.end(id, reason);
                self.told(caller, number, result);
            }
        }
    }

    /// A handler is called for what waits for it.
    pub(crate) fn call_alone(&mut self, id: Id) {
        self.wakes(id);
        let mut buffer = [0; ROOM as usize];
        let Some((kernel, slot, _)) = self.parts(id) else { return };
        let Some(called) = kernel.next_call(slot, &mut buffer) else { return };
        let envelope = called.to_bytes();
        if called.kind == Kind::Ended {
            checkers::ends::told(self, id, &envelope);
            let Some((kernel, slot, _)) = self.parts(id) else { return };
            return kernel.finish_call(slot, Outcome::Replied(b""));
        }
        if called.kind == Kind::NameLost {
            self.hears_of_lost_name(id, called.from, &buffer[..called.len as usize]);
            let Some((kernel, slot, _)) = self.parts(id) else { return };
            return kernel.finish_call(slot, Outcome::Replied(b""));
        }
        let decision = self.handle(id, &buffer[..called.len as usize], envelope, None);
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        if !matches!(decision, Decision::Park) {
            actor.serving.clear();
        }
        kernel.finish_call(slot, outcome(&decision));
        if let Decision::End = decision {
            let reason = self.reason();
            self.end(id, reason);
        }
    }

    /// `beneath`: whoever has sent it waits on the same stack.
    fn handle(
        &mut self,
        id: Id,
        message: &[u8],
        envelope: [u8; 32],
        beneath: Option<Id>,
    ) -> Decision {
        self.takes(id, message, envelope);
        self.actors[id].turns += 1;
        if let Some(lender) = beneath {
            self.perhaps_borrow_beneath(id, lender);
        }
        if !self.calm {
            if self.random.permille(self.config.ending) {
                return Decision::End;
            }
            if self.random.permille(self.config.nesting / 3)
                && let Some(to) = self.somebody(id)
            {
                self.actors[id].parked = true;
                self.send(id, to);
                if self.actors[id].doing != Doing::Running {
                    return Decision::Park;
                }
                self.actors[id].parked = false;
            }
        }
        self.repay_some(id);
        self.actors[id].parked = true;
        if self.perhaps_borrow(id) {
            return Decision::Park;
        }
        self.actors[id].parked = false;
        self.perhaps_nap(id);
        if self.random.permille(300) {
            self.actors[id].parked = true;
            self.plan_resume(id);
            return Decision::Park;
        }
        if self.random.permille(200) {
            self.owe(id);
            return Decision::Later;
        }
        let number = self.actors[id].serving.first().map_or(0, |serving| serving.number);
        let reply = self.reply_of(id, number);
        self.actors[id].served = self.actors[id].serving.pop();
        self.ledger.sends[number].replied = Some(id);
        Decision::Reply(reply)
    }

    /// A handler will reply by itself, or has, before its call is over.
    fn owe(&mut self, id: Id) {
        let Some(serving) = self.actors[id].serving.pop() else { return };
        if self.random.permille(100) {
            return self.reply_to(id, serving);
        }
        self.actors[id].owed.push(serving);
        self.plan_repay(id);
    }

    fn plan_repay(&mut self, id: Id) {
        let delay = self.random.within(MS / 10..200 * MS);
        self.events.plan(self.now + delay, Event::Repay(id));
    }

    /// It is time for a handler to reply to somebody whom it owes it, unless it has meanwhile.
    pub(crate) fn repay(&mut self, id: Id) {
        let actor = &self.actors[id];
        if !actor.lives() || actor.owed.is_empty() {
            return;
        }
        // Only its own code replies: not that of one that is on its way, is parked or waits.
        if actor.place.is_none() || actor.parked || actor.doing != Doing::Running {
            return self.plan_repay(id);
        }
        let at = self.random.below(self.actors[id].owed.len());
        let owed = self.actors[id].owed.swap_remove(at);
        self.reply_to(id, owed);
    }

    /// A handler that is called for something else replies, now and then.
    fn repay_some(&mut self, id: Id) {
        if !self.actors[id].owed.is_empty() && self.random.permille(200) {
            let owed = self.actors[id].owed.swap_remove(0);
            self.reply_to(id, owed);
        }
    }

    pub(crate) fn plan_resume(&mut self, id: Id) {
        let delay = self.random.within(MS / 10..50 * MS);
        let turn = self.actors[id].turns;
        self.events.plan(self.now + delay, Event::Resume(id, turn));
    }

    /// A handler that was parked goes on, and replies.
    pub(crate) fn resume(&mut self, id: Id, turn: u64) {
        let actor = &self.actors[id];
        if !actor.parked || actor.turns != turn || actor.doing != Doing::Running || !actor.lives() {
            return;
        }
        if actor.place.is_none() {
            return self.events.plan(self.now + MS, Event::Resume(id, turn));
        }
        if self.random.permille(100) {
            self.owe(id);
            let Some((kernel, slot, actor)) = self.parts(id) else { return };
            actor.parked = false;
            actor.turns += 1;
            return kernel.resumed(slot, Outcome::Later);
        }
        let Some(serving) = self.actors[id].serving.pop() else { return };
        let reply = self.reply_of(id, serving.number);
        self.ledger.sends[serving.number].replied = Some(id);
        let now = self.now;
        self.trace.note(now, &[8, id as u64, serving.number as u64], || {
            format!("p{id} goes on, and replies to {}", serving.number)
        });
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        actor.parked = false;
        actor.turns += 1;
        kernel.resumed(slot, Outcome::Replied(&reply));
    }

    /// All end that have not, at the end of the run.
    pub(crate) fn end_all(&mut self) {
        self.ended = true;
        for id in 0..self.actors.len() {
            self.end(id, EndReason::NORMAL);
        }
        while let Some(kernel) = self.touched.pop() {
            self.hear(kernel);
        }
    }
}

fn outcome(decision: &Decision) -> Outcome<'_> {
    match decision {
        Decision::Reply(bytes) => Outcome::Replied(bytes),
        Decision::Park => Outcome::Parked,
        Decision::Later => Outcome::Later,
        Decision::End => Outcome::Ended,
    }
}
