//! What processes do when it is their turn.

use peripatos_abi::EndReason;
use peripatos_abi::message::Status;
use peripatos_kernel::{Lender, Sent, Slot};

use crate::actor::{Actor, Doing, ENVELOPE, Id, MESSAGE, REPLY, ROOM, Role, Serving, TO};
use crate::checkers;
use crate::config::{MS, SECOND};
use crate::event::Event;
use crate::ledger::Sending;
use crate::world::World;

/// The parts, as often as they are played.
const ROLES: [Role; 10] = [
    Role::Client,
    Role::Client,
    Role::Client,
    Role::Server,
    Role::Handler,
    Role::Handler,
    Role::Forwarder,
    Role::Peer,
    Role::Peer,
    Role::Watcher,
];

impl World {
    pub(crate) fn populate(&mut self) {
        for _ in 0..self.config.processes {
            let kernel = self.random.below(self.kernels.len());
            let role = self.random.of(&ROLES).expect("there are some");
            self.spawn(kernel, role, None);
        }
    }

    pub(crate) fn spawn(&mut self, kernel: usize, role: Role, parent: Option<Id>) -> Id {
        let id = self.actors.len();
        let mut actor = Actor::new(id, role, self.random.next(), parent);
        let slot = match parent {
            Some(parent) => {
                let parent = self.actors[parent].pid;
                self.kernels[kernel].add_child(actor.pid, role.form(), parent)
            }
            None => self.kernels[kernel].add(actor.pid, role.form()),
        };
        actor.origin = self.node_of[kernel];
        if let Some(parent) = parent {
            let parent = &self.actors[parent];
            (actor.root, actor.parent_pid) = (parent.root, Some(parent.pid));
            actor.origin = self.actors[parent.root].origin;
        }
        actor.place = Some((kernel, slot.expect("a new pid")));
        self.by_pid.insert(actor.pid, id);
        self.actors.push(actor);
        self.directory.push((Some(kernel), self.now));
        if role.serves() {
            self.services.push(id);
        }
        let delay = self.random.within(0..100 * MS);
        self.plan_turn(id, delay);
        if self.cluster.is_some() {
            self.begins(id);
        }
        id
    }

    pub(crate) fn plan_turn(&mut self, id: Id, delay: u64) {
        if self.actors[id].role != Role::Handler && !self.actors[id].planned {
            self.actors[id].planned = true;
            self.events.plan(self.now + delay, Event::Turn(id));
        }
    }

    pub(crate) fn turn(&mut self, id: Id) {
        let actor = &mut self.actors[id];
        actor.planned = false;
        if actor.place.is_none() || !actor.lives() || actor.doing != Doing::Running {
            return;
        }
        actor.turns += 1;
        let role = actor.role;
        checkers::sleep::acts(self, id);
        if !self.calm && self.random.permille(self.config.ending) {
            let reason = self.reason();
            return self.end(id, reason);
        }
        self.perhaps_register(id);
        self.perhaps_join(id);
        let served = self.actors[id].serving.len();
        if self.perhaps_borrow(id) {
            return;
        }
        match role {
            Role::Client if self.calm => {}
            Role::Client if self.random.permille(100) => self.send_to_group(id),
            Role::Client => self.send_somewhere(id),
            Role::Watcher => self.watch_turn(id),
            Role::Server if served > 0 && served < 3 && self.random.permille(200) => {
                self.receive(id, 0);
            }
            Role::Server | Role::Handler if served > 0 => self.reply_some(id),
            Role::Forwarder if served > 0 && self.random.permille(900) => self.forward_some(id),
            Role::Peer if served > 0 && !self.calm && self.random.permille(self.config.nesting) => {
                self.send_somewhere(id);
            }
            Role::Peer | Role::Forwarder if served > 0 => self.reply_some(id),
            Role::Peer if !self.calm && self.random.permille(500) => self.send_somewhere(id),
            _ => {
                let timeout = self.random.within(5 * MS..SECOND);
                self.receive(id, timeout);
            }
        }
    }

    pub(crate) fn reason(&mut self) -> u64 {
        let all = [EndReason::Exited(0), EndReason::Exited(3), EndReason::Trapped];
        self.random.of(&all).expect("there are some").to_bits()
    }

    /// Somebody who answers, mostly one that lives.
    pub(crate) fn somebody(&mut self, but: Id) -> Option<Id> {
        for _ in 0..8 {
            let id = self.random.of(&self.services)?;
            if id != but && (self.actors[id].lives() || self.random.permille(50)) {
                return Some(id);
            }
        }
        None
    }

    fn send_somewhere(&mut self, id: Id) {
        match self.somebody(id) {
            Some(to) => self.send(id, to),
            None => self.plan_turn(id, SECOND),
        }
    }

    /// A process sends, and is perhaps told at once.
    pub(crate) fn send(&mut self, id: Id, to: Id) {
        let number = self.ledger.sends.len();
        let begun = self.now;
        self.trace
            .note(begun, &[5, id as u64, to as u64], || format!("p{id} sends {number} to p{to}"));
        self.ledger.sends.push(Sending::new(id, to, begun));
        self.perhaps_lend(id, number);
        let message = self.message(number, 0);
        let pid = self.actors[to].pid;
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        actor.doing = Doing::Sent(number);
        actor.put(TO, &pid.bits().to_le_bytes());
        actor.put(MESSAGE, &message);
        let len = message.len() as u32;
        let sent = kernel.send_or_pass(slot, &actor.memory, TO, (MESSAGE, len), (REPLY, ROOM));
        match sent {
            Ok(Sent::Waits) => self.perhaps_nap(id),
            Ok(Sent::Call(called)) => self.call(id, number, called, &message),
            Ok(Sent::Pass(to)) => self.pass(id, number, to),
            Err(status) => self.told(id, number, Err(status)),
        }
    }

    /// Every other receiver takes a message that is passed to it at once; the rest, and who sleeps, find it kept for them.
    fn pass(&mut self, id: Id, number: usize, to: Slot) {
        let Actor { pid, place, .. } = self.actors[id];
        let mut memory = self.actors[id].memory.clone();
        let receiver = place.and_then(|(kernel, _)| self.who(kernel, to));
        let Some(receiver) = receiver else { return };
        let Some((kernel, slot, actor)) = self.parts(receiver) else { return };
        let mut taken = None;
        if number.is_multiple_of(2) && actor.asleep.is_none() {
            let sender = Lender { pid, memory: &mut memory };
            taken = kernel.take_passed(slot, &mut actor.memory, &sender);
        }
        if let Some((kernel, sender, _)) = self.parts(id) {
            let replied = kernel.end_pass(sender, to, &memory);
            assert_eq!(replied, None, "nobody has replied yet");
        }
        if let Some(taken) = taken {
            self.received(receiver, taken);
        }
    }

    /// A message with its number, and something more.
    pub(crate) fn message(&mut self, number: usize, hop: u32) -> Vec<u8> {
        let mut message = (number as u64).to_le_bytes().to_vec();
        message.extend(hop.to_le_bytes());
        let len = if self.random.permille(50) { 900 } else { 40 };
        let more = self.random.below(len);
        message.resize(12 + more, number as u8);
        message
    }

    pub(crate) fn receive(&mut self, id: Id, timeout: u64) {
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        let result = kernel.receive(slot, &mut actor.memory, 0, (MESSAGE, ROOM), ENVELOPE);
        match result {
            Err(Status::Wait) => {
                actor.doing = Doing::Receiving;
                let turn = actor.turns;
                self.events.plan(self.now + timeout, Event::TimeOut(id, turn));
                self.perhaps_nap(id);
            }
            result => self.received(id, result),
        }
    }

    pub(crate) fn time_out(&mut self, id: Id, turn: u64) {
        let Some((kernel, slot, actor)) = self.parts(id) else {
            // It is on its way: it has waited a little longer.
            if self.actors[id].lives() {
                self.events.plan(self.now + MS, Event::TimeOut(id, turn));
            }
            return;
        };
        if actor.doing == Doing::Receiving && actor.turns == turn {
            kernel.time_out(slot);
        }
    }

    fn reply_some(&mut self, id: Id) {
        let at = self.random.below(self.actors[id].serving.len());
        let serving = self.actors[id].serving.swap_remove(at);
        self.reply_to(id, serving);
        self.plan_turn(id, MS / 10);
    }

    pub(crate) fn reply_to(&mut self, id: Id, serving: Serving) {
        let reply = self.reply_of(id, serving.number);
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        actor.put(ENVELOPE, &serving.envelope);
        actor.put(MESSAGE, &reply);
        let len = reply.len() as u32;
        let result = kernel.reply(slot, &actor.memory, ENVELOPE, (MESSAGE, len));
        self.gave(id, serving, result);
    }

    /// A kernel has taken a reply, or not.
    fn gave(&mut self, id: Id, serving: Serving, result: Result<(), Status>) {
        let now = self.now;
        self.trace.note(now, &[6, id as u64, serving.number as u64], || {
            format!("p{id} replies to {}: {result:?}", serving.number)
        });
        match result {
            Ok(()) => {
                self.ledger.sends[serving.number].replied = Some(id);
                self.actors[id].served = Some(serving);
            }
            Err(status) => checkers::lost::refused(self, id, serving, status),
        }
    }

    /// What a process replies to a send.
    pub(crate) fn reply_of(&mut self, id: Id, number: usize) -> Vec<u8> {
        let mut reply = (!(number as u64)).to_le_bytes().to_vec();
        reply.extend((id as u64).to_le_bytes());
        let more = self.random.below(60);
        reply.resize(16 + more, number as u8);
        reply
    }

    fn forward_some(&mut self, id: Id) {
        let at = self.random.below(self.actors[id].serving.len());
        let serving = self.actors[id].serving.swap_remove(at);
        let Some(to) = self.somebody(id) else {
            self.actors[id].serving.push(serving);
            return self.plan_turn(id, 100 * MS);
        };
        let message = self.message(serving.number, serving.hop + 1);
        let pid = self.actors[to].pid;
        // The kernel may deliver it at once.
        let sending = &mut self.ledger.sends[serving.number];
        sending.chain.push(to);
        sending.delivered.push(0);
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        actor.put(ENVELOPE, &serving.envelope);
        actor.put(TO, &pid.bits().to_le_bytes());
        actor.put(MESSAGE, &message);
        let len = message.len() as u32;
        let result = kernel.forward(slot, &actor.memory, ENVELOPE, TO, (MESSAGE, len));
        let now = self.now;
        self.trace.note(now, &[7, id as u64, serving.number as u64, to as u64], || {
            format!("p{id} forwards {} to p{to}: {result:?}", serving.number)
        });
        match result {
            Ok(_) => {
                self.outcome.forwards += 1;
                self.actors[id].served = Some(serving);
            }
            Err(status) => {
                let sending = &mut self.ledger.sends[serving.number];
                sending.chain.pop();
                sending.delivered.pop();
                if status == Status::Deadlock {
                    // It would have gone back to its sender.
                    self.actors[id].serving.push(serving);
                } else {
                    checkers::lost::refused(self, id, serving, status);
                }
            }
        }
        self.plan_turn(id, MS / 10);
    }

    /// A process ends.
    pub(crate) fn end(&mut self, id: Id, reason: u64) {
        let Some((kernel, slot, _)) = self.parts(id) else { return };
        kernel.remove(slot, reason);
        self.gone(id, Some(reason));
        if let Some(at) = self.actors[id].end.and_then(|end| end.kernel) {
            self.ended_at(self.node_of[at], id);
        }
    }
}
