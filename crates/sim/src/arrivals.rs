//! What a kernel says after something has happened: who can go on, who is to end, what leaves.

use peripatos_abi::EndReason;
use peripatos_abi::message::{Envelope, Status};
use peripatos_kernel::{Form, Slot, Woken};

use crate::actor::{Doing, ENVELOPE, Id, MESSAGE, REPLY, Serving};
use crate::checkers;
use crate::config::MS;
use crate::event::Event;
use crate::world::World;

impl World {
    /// Does what a kernel wants done.
    pub(crate) fn hear(&mut self, kernel: usize) {
        if !self.is_alive(kernel) {
            return;
        }
        while let Some(woken) = self.kernels[kernel].next_woken() {
            let slot = match woken {
                Woken::Process(slot) | Woken::Handler(slot) | Woken::Kill(slot, _) => slot,
            };
            let Some(id) = self.who(kernel, slot) else { continue };
            match woken {
                // Somebody wants what it lends: its turn may come late, and it may go elsewhere meanwhile.
                Woken::Process(_)
                    if self.kernels[kernel].is_blocked(slot) && self.random.permille(300) =>
                {
                    let after = self.random.within(1_000..30 * MS);
                    self.events.plan(self.now + after, Event::Look(id));
                }
                Woken::Process(_) => self.look(id),
                Woken::Handler(_) => self.call_alone(id),
                Woken::Kill(_, by) => {
                    let by = self.by_pid[&by];
                    checkers::ends::killed(self, id, by);
                    self.end(id, EndReason::Killed.to_bits());
                }
            }
        }
        while let Some(packet) = self.kernels[kernel].next_packet() {
            self.transmit(kernel, *packet);
        }
        self.plan_tick(kernel);
    }

    pub(crate) fn who(&self, kernel: usize, slot: Slot) -> Option<Id> {
        let pid = self.kernels[kernel].pid(slot)?;
        Some(self.by_pid[&pid])
    }

    /// A process looks whether what it waits for is there.
    pub(crate) fn look(&mut self, id: Id) {
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        if actor.doing == Doing::Running {
            return;
        }
        if actor.asleep.is_some() {
            return self.stirs(id);
        }
        let Some(result) = kernel.wait(slot, &mut actor.memory) else { return };
        match actor.doing {
            Doing::Sent(number) => self.told(id, number, result),
            Doing::Borrowing => self.borrowed(id, result),
            Doing::Gathering(gather) => self.gathered(id, gather, result),
            Doing::Running | Doing::Receiving => self.received(id, result),
        }
    }

    /// A process is told what became of its send.
    pub(crate) fn told(&mut self, id: Id, number: usize, result: Result<u32, Status>) {
        let (now, actor) = (self.now, &mut self.actors[id]);
        actor.doing = Doing::Running;
        actor.turns += 1;
        let words = [3, id as u64, number as u64, u64::from(result.is_ok())];
        self.trace.note(now, &words, || format!("p{id} is told of {number}: {result:?}"));
        checkers::leases::over(self, id, number);
        match result {
            Ok(len) => {
                let reply = self.actors[id].part(REPLY, len).to_vec();
                checkers::replies::check(self, number, &reply);
                self.outcome.replies += 1;
            }
            Err(status) => {
                checkers::truth::check(self, id, number, status);
                self.outcome.deadlocks += usize::from(status == Status::Deadlock);
                self.outcome.unreachable += usize::from(status == Status::Unreachable);
                self.ledger.broken = now;
            }
        }
        self.ledger.sends[number].told = Some(result.map(|_| ()));
        self.goes_on(id);
    }

    /// A process is told what it waited for.
    pub(crate) fn goes_on(&mut self, id: Id) {
        checkers::sleep::acts(self, id);
        if self.actors[id].role.form() == Form::Handler {
            self.plan_resume(id);
        } else {
            let think = self.random.within(MS..self.config.think + 2 * MS);
            self.plan_turn(id, think);
        }
    }

    /// A process has received something, or nothing in time.
    pub(crate) fn received(&mut self, id: Id, result: Result<u32, Status>) {
        let actor = &mut self.actors[id];
        actor.doing = Doing::Running;
        actor.turns += 1;
        match result {
            Ok(len) => {
                let envelope: [u8; 32] =
                    *self.actors[id].part(ENVELOPE, 32).first_chunk().expect("it is as long");
                match envelope[28] {
                    0 => {
                        let message = self.actors[id].part(MESSAGE, len).to_vec();
                        self.takes(id, &message, envelope);
                    }
                    1 => {}
                    3 => {
                        let name = self.actors[id].part(MESSAGE, len).to_vec();
                        let (owner, _) = Envelope::sender(&envelope);
                        self.hears_of_lost_name(id, owner, &name);
                    }
                    _ => checkers::ends::told(self, id, &envelope),
                }
            }
            Err(Status::TimedOut) => {}
            Err(status) => self.violated("truth", format!("p{id} received {status:?}")),
        }
        let service = self.random.within(MS / 10..20 * MS);
        self.plan_turn(id, service);
    }

    /// A process has taken a message.
    pub(crate) fn takes(&mut self, id: Id, message: &[u8], envelope: [u8; 32]) {
        let number = u64::from_le_bytes(*message.first_chunk().expect("it has a number")) as usize;
        let hop = u32::from_le_bytes(*message[8..].first_chunk().expect("and a hop"));
        let (number, hop) = self.part_of(id, number, hop);
        let now = self.now;
        self.trace.note(now, &[4, id as u64, number as u64, u64::from(hop)], || {
            format!("p{id} takes {number}, forwarded {hop} times")
        });
        checkers::sleep::acts(self, id);
        checkers::once::check(self, id, number, hop);
        self.actors[id].serving.push(Serving { number, hop, envelope });
    }
}
