//! The sender's side of a send to another kernel's process.
//!
//! The kernel of the sender stands up for the send: it keeps the message until the receiver's kernel has it, and asks
//! after it until it was answered. It is the only one that knows for whom the send is: what is forwarded comes back to
//! it, and is sent again from here.

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

use crate::alien::{Alien, Answer, Send, Stage};
use crate::arrive::Heard;
use crate::budget::{Charge, Toll};
use crate::bytes::Bytes;
use crate::claim::{Claim, Concern, Timer};
use crate::deadlock;
use crate::group::principal;
use crate::kernel::{Kernel, Woken};
use crate::mutation::Mutation;
use crate::packet::{Body, Packet, Place};
use crate::process::{At, Call, Span};
use crate::send::{Sent, take_reply};
use crate::table::Slot;

impl Kernel {
    /// Sends to a process that is not here.
    pub(crate) fn send_away(
        &mut self,
        from: Slot,
        to: Pid,
        message: &[u8],
        reply: Span,
    ) -> Result<Sent, Status> {
        let place = self.routes.get(to);
        let sender = self.table.get_mut(from).ok_or(Status::NoProcess)?;
        if !sender.call.is_none() {
            return Err(Status::NotNow);
        }
        sender.begin_send();
        sender.out.charge = Charge::of(sender.budget.as_ref(), message.len())?;
        sender.call = Call::Send { to, reply, at: At::Away };
        sender.out.claim = Claim::new(place, self.now);
        sender.out.kept = Some(Bytes::from(message));
        self.press_send(from);
        Ok(Sent::Waits)
    }

    pub(crate) fn post(&mut self, target: Option<Place>, from: Pid, to: Pid, body: Body) {
        let moved = self.table.find(from).and_then(|slot| self.table.get(slot));
        let moved = moved.map_or(0, |process| process.moved);
        let (source, relays) = (self.place, 0);
        let toll = Toll::default();
        let packet = Packet { source, target, from, to, moved, relays, body, toll };
        self.packets.push_back(Box::new(packet));
    }

    /// Says a send again, or asks after it, and looks again later. If sender and receiver have met, it is made here.
    pub(crate) fn press_send(&mut self, slot: Slot) {
        let Some(process) = self.table.get_mut(slot) else { return };
        let Call::Send { to, at: At::Away, .. } = process.call else { return };
        if let Some(receiver) = self.table.find(to) {
            return self.send_home(slot, receiver);
        }
        let (here, now) = (self.place, self.now);
        let Some(process) = self.table.get_mut(slot) else { return };
        let (transaction, hop) = process.last_send();
        let (pid, out) = (process.pid, &mut process.out);
        let place = out.claim.aim(here, &mut self.routes, to);
        if let Some(due) = out.claim.arm(here, now) {
            let concern = Concern::Send { transaction, hop };
            self.timers.push(now, Timer { due, pid, to, concern });
        }
        out.claim.tries += 1;
        let body = match (&out.kept, out.access) {
            (Some(message), None) => Body::Send { transaction, hop, message: message.clone() },
            (Some(bytes), Some(access)) => {
                Body::Access { transaction, hop, access, bytes: bytes.clone() }
            }
            (None, _) => Body::Ask { transaction, hop },
        };
        self.post(place, pid, to, body);
    }

    /// A send that had gone away, and whose sender and receiver are in one table now.
    pub(crate) fn send_home(&mut self, sender: Slot, receiver: Slot) {
        let Some((process, server)) = self.table.pair_mut(sender, receiver) else { return };
        let (from, to, send) = (process.pid, server.pid, process.last_send());
        if !process.is_away(send) {
            return;
        }
        let known = self.aliens.get((from, to)).is_some_and(|alien| alien.send == send);
        if known && let Some(stage) = self.aliens.close((from, to)) {
            match stage {
                Stage::Waits => {
                    let queued = |one: &crate::process::Waiting| {
                        one.from == from && one.transaction == send.0
                    };
                    let taken = !server.queue.iter().any(queued) && !process.accesses();
                    let at = if taken { At::Received } else { At::Queued };
                    process.out.kept = None;
                    self.set_at(sender, at);
                    if taken {
                        self.note_caller(receiver, sender);
                    }
                }
                Stage::Answered(answer) => self.answer_sender(sender, answer),
                Stage::Over => self.fail(from, send.0, to, Status::Unreachable),
            }
            return;
        }
        match process.out.kept.take() {
            Some(bytes) => {
                // It may have been sent more than once, to wherever the receiver goes.
                let (moved, accesses) = (process.moved, process.accesses());
                let alien = Alien { stage: Stage::Over, ..Alien::new(self.place, moved, send) };
                self.aliens.insert((from, to), alien, self.now);
                if accesses {
                    self.access_here(sender, receiver, bytes);
                } else {
                    self.deliver_here(sender, receiver, &bytes);
                }
            }
            // Its receiver has had it, and does not know of it any more.
            None => self.fail(from, send.0, to, Status::Unreachable),
        }
    }

    /// A send whose message is in nobody's hands, to a receiver in the same table.
    fn deliver_here(&mut self, sender: Slot, receiver: Slot, message: &[u8]) {
        let Some((process, server)) = self.table.pair_mut(sender, receiver) else { return };
        let (from, transaction, to) = (process.pid, process.sends, server.pid);
        if let Err(status) = server.takes(message.len()) {
            return self.fail(from, transaction, to, status);
        }
        if !server.waits_for(from) && deadlock::closes(&self.table, sender, receiver) {
            self.note_closed(sender, receiver);
            return self.fail(from, transaction, to, Status::Deadlock);
        }
        let taken = self.offer(receiver, from, transaction, message);
        self.set_at(sender, if taken { At::Received } else { At::Queued });
        if taken {
            self.note_caller(receiver, sender);
        }
    }

    pub(crate) fn set_at(&mut self, sender: Slot, now: At) {
        if let Some(Call::Send { at, .. }) = self.table.get_mut(sender).map(|one| &mut one.call) {
            *at = now;
        }
    }

    /// The answer to a send has come from there.
    pub(crate) fn answered(
        &mut self,
        source: Place,
        from: Pid,
        slot: Slot,
        send: Send,
        answer: Answer,
    ) {
        let (here, now) = (self.place, self.now);
        let any = self.does_wrong(Mutation::AnyReply);
        let Some(sender) = self.table.get_mut(slot) else { return };
        let awaited = matches!(sender.call, Call::Send { to, .. } if to == from);
        if !any && (!awaited || !sender.is_away(send)) {
            return;
        }
        let pid = sender.pid;
        if sender.out.claim.place != Some(source) {
            self.routes.heard(from, source);
        }
        if source.node != here.node {
            sender.out.heard = Some((from, send));
            self.heard.push(now, pid, from, send, source);
        }
        self.answer_sender(slot, answer);
    }

    pub(crate) fn answer_sender(&mut self, slot: Slot, answer: Answer) {
        let Some(sender) = self.table.get_mut(slot) else { return };
        sender.out.kept = None;
        match answer {
            Answer::Replied(message) => take_reply(sender, &message),
            Answer::Failed(status) => sender.fail(status),
            Answer::Done(count) if sender.may_have_done(count) => sender.call = Call::Done(count),
            // Nobody says so who keeps to the rules.
            Answer::Done(_) => sender.fail(Status::Unreachable),
            Answer::Forwarded { .. } if sender.accesses() => sender.fail(Status::Unreachable),
            Answer::Forwarded { to, message } => return self.readdress(slot, to, message),
        }
        self.woken.push_back(Woken::Process(slot));
    }

    /// A send was forwarded: it is made again, to that process.
    pub(crate) fn readdress(&mut self, slot: Slot, to: Pid, message: Bytes) {
        let hops = !self.does_wrong(Mutation::NoHops);
        let here = self.table.find(to);
        let Some(sender) = self.table.get_mut(slot) else { return };
        let Call::Send { reply, .. } = sender.call else { return };
        sender.call = Call::Send { to, reply, at: At::Away };
        sender.out.hop += u32::from(hops);
        if sender.pid == to {
            sender.fail(Status::Deadlock);
            self.woken.push_back(Woken::Process(slot));
            return;
        }
        if let Some(receiver) = here {
            // By this name it has left for nowhere, so it cannot come again.
            sender.out.kept = None;
            return self.deliver_here(slot, receiver, &message);
        }
        sender.out.claim = Claim::new(self.routes.get(to), self.now);
        sender.out.kept = Some(message);
        self.press_send(slot);
    }

    /// Aims a packet that is about to leave. `locate`: where the host has a process, if that is on one of its cores. If it is a send
    /// that is said for the first time, it is for that kernel from now on: nothing is lost within the node, so nobody need say
    /// that it has come, or ask after it. Who goes on meanwhile is looked for as anybody whose place was known.
    pub fn aim(&mut self, packet: &mut Packet, locate: impl FnOnce(Pid) -> Option<Place>) {
        if packet.target.is_some() || packet.source != self.place {
            return;
        }
        let Some(Concern::Send { transaction, hop }) = packet.concern() else { return };
        let sender = self.table.find(packet.from).and_then(|slot| self.table.get_mut(slot));
        let Some(sender) = sender else { return };
        let first = sender.is_away((transaction, hop)) && sender.out.claim.is_first();
        let at = if first { locate(principal(packet.to)) } else { None };
        if let Some(at) = at.filter(|at| at.is_near(self.place)) {
            sender.out.claim.aim_at(at);
            packet.target = Some(at);
        }
    }

    /// The receiver's kernel has the message.
    pub(crate) fn got_send(&mut self, heard: Heard, from: Pid, slot: Slot, send: Send) {
        let Heard { source, place } = heard;
        let (here, now) = (self.place, self.now);
        let Some(sender) = self.table.get_mut(slot) else { return };
        let pid = sender.pid;
        let Call::Send { to, .. } = sender.call else {
            return self.no_longer(source, pid, from, send);
        };
        if sender.last_send() != send {
            return self.no_longer(source, pid, from, send);
        }
        if to != from || !sender.is_away(send) {
            return;
        }
        sender.out.kept = None;
        if source.node != here.node
            && place == Some(source)
            && sender.out.claim.place != Some(source)
        {
            // The answer comes from where the claim has it by then, and teaches nothing. (Within the node the host knows.)
            self.routes.heard(from, source);
        }
        sender.out.claim.acknowledged(place, now);
        if let Some(due) = sender.out.claim.arm(here, now) {
            let concern = Concern::Send { transaction: send.0, hop: send.1 };
            self.timers.push(now, Timer { due, pid, to, concern });
        }
    }

    /// A receiver's kernel has a send that nobody waits for.
    pub(crate) fn no_longer(&mut self, source: Place, from: Pid, to: Pid, send: Send) {
        let (transaction, hop) = send;
        self.post(Some(source), from, to, Body::Over { transaction, hop });
    }

    /// The receiver was not where it was looked for.
    pub(crate) fn send_not_there(
        &mut self,
        source: Place,
        from: Pid,
        slot: Slot,
        send: Send,
        at: Option<Place>,
    ) {
        let (here, now) = (self.place, self.now);
        let Some(sender) = self.table.get_mut(slot) else { return };
        let awaited = matches!(sender.call, Call::Send { to, .. } if to == from);
        // Another place may have been tried since.
        let tried = sender.out.claim.was_tried(here, source);
        if !awaited || !sender.is_away(send) || !tried {
            return;
        }
        let at_once = sender.out.claim.redirected(here, source, at, now);
        self.learn(source, from, at);
        if at_once {
            self.press_send(slot);
        } else if let Some(sender) = self.table.get_mut(slot)
            && sender.out.claim.due == 0
        {
            let due = sender.out.claim.wait(now);
            let concern = Concern::Send { transaction: send.0, hop: send.1 };
            self.timers.push(now, Timer { due, pid: sender.pid, to: from, concern });
        }
    }

    /// The process is not there, but perhaps at that place.
    pub(crate) fn learn(&mut self, source: Place, pid: Pid, at: Option<Place>) {
        self.routes.not_at(pid, source);
        if let Some(at) = at.filter(|at| *at != self.place) {
            self.routes.heard(pid, at);
        }
    }

    /// What is not looked at will be, if it has to.
    pub(crate) fn rearm_send(&mut self, slot: Slot) {
        let (here, now) = (self.place, self.now);
        let Some(sender) = self.table.get_mut(slot) else { return };
        let Call::Send { to, at: At::Away, .. } = sender.call else { return };
        let (pid, (transaction, hop)) = (sender.pid, sender.last_send());
        if sender.out.claim.due == 0
            && let Some(due) = sender.out.claim.arm(here, now)
        {
            let concern = Concern::Send { transaction, hop };
            self.timers.push(now, Timer { due, pid, to, concern });
        }
    }
}
