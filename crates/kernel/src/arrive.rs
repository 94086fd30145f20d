//! A packet has come: to whom it goes, and what is said to whoever sent it.

use peripatos_abi::message::Status;
use peripatos_abi::{EndReason, Pid};

use crate::alien::{Alien, Answer, Pair, Send, Stage};
use crate::bytes::Bytes;
use crate::claim::Concern;
use crate::group::principal;
use crate::kernel::Kernel;
use crate::limits::{ALIENS_MAX, RELAYS_MAX};
use crate::mutation::Mutation;
use crate::packet::{Body, Packet, Place};
use crate::table::Slot;
use crate::watch::Undone;

/// From where an acknowledgement has come.
#[derive(Clone, Copy)]
pub(crate) struct Heard {
    /// From the kernel there.
    pub(crate) source: Place,
    /// Where the process is then. `None`: it was there, and may have gone on since.
    pub(crate) place: Option<Place>,
}

impl Kernel {
    /// A packet has come.
    pub fn arrived(&mut self, packet: Packet) {
        let Packet { source, from, to, .. } = packet;
        match packet.body {
            // For this kernel, whoever is here.
            Body::Got(Concern::Errand { number }) => return self.errand_done(number),
            Body::NotHere { concern: Concern::Errand { number }, at } => {
                return self.errand_not_there(source, number, at);
            }
            // What is known here is answered here, wherever the receiver is.
            Body::Send { transaction, hop, .. }
            | Body::Ask { transaction, hop }
            | Body::Access { transaction, hop, .. }
                if self.table.find(from).is_none()
                    && self.knows((from, to), (transaction, hop)) =>
            {
                return self.came_again(source, packet.moved, from, to, (transaction, hop));
            }
            Body::Over { transaction, hop } if self.alien_over(from, to, (transaction, hop)) => {
                return;
            }
            _ => {}
        }
        match self.table.find(to) {
            Some(slot) => self.take_in(slot, packet),
            None => self.pass_on(packet),
        }
    }

    /// It is for a process that is here.
    fn take_in(&mut self, slot: Slot, packet: Packet) {
        let concern = packet.concern();
        let Packet { source, target, from, to, moved, relays, body, toll: _ } = packet;
        // Within the node words keep their order. What took another way may be older than what was heard since.
        let direct = !source.is_near(self.place) || relays == 0 && target == Some(self.place);
        let heard = Heard { source, place: direct.then_some(source) };
        match body {
            Body::Send { transaction, hop, message } => {
                self.came((source, moved), from, slot, (transaction, hop), &message);
                self.tell_where(source, target, from, to, (transaction, hop));
            }
            Body::Access { transaction, hop, access, bytes } => {
                self.access_came((source, moved), from, slot, (transaction, hop), access, bytes);
                self.tell_where(source, target, from, to, (transaction, hop));
            }
            Body::Ask { transaction, hop } => {
                if let Some(sender) = self.table.find(from) {
                    // It has moved here meanwhile.
                    return self.press_send(sender);
                }
                // It has forgotten, or has never had it.
                let answer = Answer::Failed(Status::Unreachable);
                self.post(Some(source), to, from, Body::Reply { transaction, hop, answer });
            }
            Body::Reply { transaction, hop, answer } => {
                self.answered(source, from, slot, (transaction, hop), answer);
            }
            Body::Got(Concern::Send { transaction, hop }) => {
                self.got_send(heard, from, slot, (transaction, hop));
            }
            Body::Got(Concern::Watch { watch, number }) => {
                self.got_watch(heard, from, slot, watch, number);
            }
            Body::NotHere { concern: Concern::Send { transaction, hop }, at } => {
                self.send_not_there(source, from, slot, (transaction, hop), at);
            }
            Body::NotHere { concern: Concern::Watch { watch, number }, at } => {
                self.watch_not_there(source, from, slot, watch, number, at);
            }
            Body::Moved { at } => self.moved_on(from, slot, at),
            Body::Watch { watch, number, again } => {
                self.watch_came((source, moved), from, slot, watch, number, again);
            }
            Body::Ended { reason } => self.end_came(slot, from, reason),
            Body::Probe { origin, token, edge, steps, passed } => {
                self.probe_came(from, slot, edge, origin, token, steps, passed);
            }
            Body::Notify { errand, .. } | Body::Unwatch { errand, .. } | Body::Kill { errand } => {
                if self.errand_is_new(source, errand) {
                    match body {
                        Body::Notify { bits, .. } => self.notified(slot, bits),
                        Body::Unwatch { watch, number, theirs, .. } => {
                            self.unwatched(slot, from, watch, Undone { number, theirs });
                        }
                        // Whoever is not its parent is not told so.
                        _ => drop(self.kill_child(slot, from)),
                    }
                }
                self.got_errand(source, from, to, concern);
            }
            Body::Over { .. }
            | Body::Got(Concern::Errand { .. })
            | Body::NotHere { concern: Concern::Errand { .. }, .. } => {}
        }
    }

    /// Who did not know where a receiver is would look elsewhere, too.
    fn tell_where(&mut self, source: Place, target: Option<Place>, from: Pid, to: Pid, send: Send) {
        if target.is_none() && self.aliens.waits((from, to), send) {
            let (transaction, hop) = send;
            let got = Body::Got(Concern::Send { transaction, hop });
            self.post(Some(source), to, from, got);
        }
    }

    fn got_errand(&mut self, source: Place, from: Pid, to: Pid, concern: Option<Concern>) {
        if let Some(concern @ Concern::Errand { number: 1.. }) = concern {
            self.post(Some(source), to, from, Body::Got(concern));
        }
    }

    /// It is for a process that is not here: it was, and has gone on, or is on its way here, or nobody knows.
    fn pass_on(&mut self, packet: Packet) {
        if let Some(reason) = self.ends.get(packet.to).copied() {
            return self.has_ended(packet, reason);
        }
        // Who sends to a group in its stead is where it is, or over. A host would bring it back here, for ever.
        let lives_with = principal(packet.to);
        if lives_with != packet.to && self.table.find(lives_with).is_some() {
            return self.has_ended(packet, EndReason::NORMAL);
        }
        let route = self.routes.get(packet.to);
        let near = |place: Place| place.is_near(self.place);
        match packet.concern() {
            // Nobody stands up for it outside of this node: this kernel does.
            Some(Concern::Errand { number: 0 }) if !route.is_some_and(near) => {
                let Packet { from, to, body, toll, .. } = packet;
                // Too many of them: it is lost.
                let _ = self.send_errand(from, to, body, toll);
            }
            // Whoever stands up for it says it again, there.
            Some(concern) if !(near(packet.source) && route.is_some_and(near)) => {
                let body = Body::NotHere { concern, at: route };
                self.post(Some(packet.source), packet.to, packet.from, body);
            }
            // An answer, which will be asked for again; or it does not matter.
            None if route.is_none() && !near(packet.source) => {}
            // On its way within the node. The host finds whom nobody here knows.
            _ => {
                let follows = packet.relays < RELAYS_MAX;
                let relays = if follows { packet.relays + 1 } else { packet.relays };
                let target = route.filter(|_| follows);
                self.packets.push_back(Box::new(Packet { target, relays, ..packet }));
            }
        }
    }

    /// It is for one that has ended here.
    fn has_ended(&mut self, packet: Packet, reason: u64) {
        if self.answers_again(&packet) {
            return;
        }
        let Packet { source, from, to, .. } = packet;
        if let Body::Got(Concern::Send { transaction, hop }) = packet.body {
            return self.no_longer(source, to, from, (transaction, hop));
        }
        let body = match packet.concern() {
            Some(Concern::Send { transaction, hop }) => {
                let answer = Answer::Failed(without_answer(&packet));
                Body::Reply { transaction, hop, answer }
            }
            Some(Concern::Watch { .. }) => Body::Ended { reason },
            concern => return self.got_errand(source, from, to, concern),
        };
        self.post(Some(source), to, from, body);
    }

    /// Nobody has the pid that this packet is for. Whoever waits for an answer is told; be it what the process had answered
    /// before it ended, for that is kept where it ended. So all kernels of a node are asked, one after the other, that of
    /// the packet's source, if it is here, as the last. Given back: this one is not the last, and knows nothing of it.
    pub fn nobody(&mut self, packet: Packet, is_last: bool) -> Option<Packet> {
        let Packet { source, from, to, .. } = packet;
        let ended = self.ends.get(to).copied();
        let answered = self.kept_answer(&packet).is_some();
        if !is_last && !answered && ended.is_none() {
            return Some(packet);
        }
        let reason = ended.unwrap_or(EndReason::NoProcess.to_bits());
        if source == self.place && !answered {
            // It may have been from here, and about one that has moved on since.
            match (packet.concern(), self.table.find(from)) {
                (Some(Concern::Errand { number }), _) => {
                    self.errand_done(number);
                    return None;
                }
                (Some(Concern::Send { transaction, hop }), Some(slot)) => {
                    if let Some(sender) = self.table.get(slot)
                        && sender.is_away((transaction, hop))
                    {
                        // Whoever had it may be lost with his node.
                        let lost = ended.is_none() && sender.out.claim.tries > 1;
                        let status =
                            if lost { Status::Unreachable } else { without_answer(&packet) };
                        self.fail(from, transaction, to, status);
                    }
                    return None;
                }
                (Some(Concern::Watch { .. }), Some(slot)) => {
                    self.end_came(slot, to, reason);
                    return None;
                }
                (None, _) if !matches!(packet.body, Body::Got(_)) => return None,
                _ => {}
            }
        }
        self.has_ended(packet, reason);
        None
    }

    /// What one that has ended had answered to the send that this packet is about.
    fn kept_answer(&self, packet: &Packet) -> Option<&Answer> {
        let Some(Concern::Send { transaction, hop }) = packet.concern() else { return None };
        let alien = self.aliens.get((packet.from, packet.to))?;
        match &alien.stage {
            _ if self.does_wrong(Mutation::AnswersEndToo) => None,
            Stage::Answered(answer) if alien.send == (transaction, hop) => Some(answer),
            _ => None,
        }
    }

    /// Says it again. `false`: there is nothing to say.
    fn answers_again(&mut self, packet: &Packet) -> bool {
        let Some(answer) = self.kept_answer(packet).cloned() else { return false };
        let Packet { source, from, to, moved, .. } = *packet;
        let Some(Concern::Send { transaction, hop }) = packet.concern() else { return false };
        let send = (transaction, hop);
        match self.table.find(from) {
            None => self.came_again(source, moved, from, to, send),
            // It has come here meanwhile.
            Some(slot) if self.table.get(slot).is_some_and(|sender| sender.is_away(send)) => {
                self.aliens.close((from, to));
                self.answer_sender(slot, answer);
            }
            Some(_) => {}
        }
        true
    }

    /// Whether this send, or a later one, has come before.
    fn knows(&self, pair: Pair, send: Send) -> bool {
        !self.does_wrong(Mutation::NoDuplicateFilter)
            && self.aliens.get(pair).is_some_and(|alien| alien.send >= send)
    }

    /// A send that is known has come again, or is asked after.
    fn came_again(&mut self, source: Place, moved: u32, from: Pid, to: Pid, send: Send) {
        let now = self.now;
        let forgets = self.does_wrong(Mutation::NoAnswerKept);
        let Some(alien) = self.aliens.get_mut((from, to)) else { return };
        if alien.send != send {
            return;
        }
        let (transaction, hop) = send;
        let body = match &alien.stage {
            Stage::Answered(_) if forgets => return,
            Stage::Waits => Body::Got(Concern::Send { transaction, hop }),
            Stage::Answered(answer) => Body::Reply { transaction, hop, answer: answer.clone() },
            Stage::Over => return,
        };
        if moved >= alien.moved {
            (alien.place, alien.moved) = (source, moved);
        }
        let place = alien.place;
        self.aliens.touch((from, to), now);
        self.post(Some(place), to, from, body);
    }

    /// A send has come for the first time.
    fn came(
        &mut self,
        place: (Place, u32),
        from: Pid,
        receiver: Slot,
        send: Send,
        message: &Bytes,
    ) {
        let ((transaction, hop), (source, moved)) = (send, place);
        let Some(server) = self.table.get(receiver) else { return };
        let to = server.pid;
        if let Some(sender) = self.table.find(from) {
            // It has moved here meanwhile, and what it has sent has followed it.
            return self.press_send(sender);
        }
        let full = if self.aliens.len() >= ALIENS_MAX { Err(Status::Full) } else { Ok(()) };
        if let Err(status) = full.and(server.takes(message.len())) {
            let answer = Answer::Failed(status);
            return self.post(Some(source), to, from, Body::Reply { transaction, hop, answer });
        }
        let taken = self.offer(receiver, from, transaction, message);
        let alien = Alien { taken, ..Alien::new(source, moved, send) };
        self.aliens.insert((from, to), alien, self.now);
    }

    /// Replies to a sender of another kernel.
    pub(crate) fn reply_away(
        &mut self,
        me: Slot,
        pid: Pid,
        to: Pid,
        transaction: u64,
        answer: Answer,
    ) -> Result<(), Status> {
        // What it has not received nobody can have told it of but itself.
        if !self.aliens.get((to, pid)).is_some_and(|alien| alien.taken) {
            return Err(Status::NotWaiting);
        }
        self.answer_alien(to, transaction, pid, answer)?;
        if let Some(server) = self.table.get_mut(me) {
            server.has_answered(to, transaction);
        }
        Ok(())
    }

    pub(crate) fn answer_alien(
        &mut self,
        from: Pid,
        transaction: u64,
        of: Pid,
        answer: Answer,
    ) -> Result<(), Status> {
        let answered = self.aliens.answer((from, of), transaction, &answer, self.now);
        let (place, (transaction, hop)) = answered.ok_or(Status::NotWaiting)?;
        self.post(Some(place), of, from, Body::Reply { transaction, hop, answer });
        Ok(())
    }

    /// A sender waits no more. `false`: it is not known here.
    fn alien_over(&mut self, from: Pid, to: Pid, send: Send) -> bool {
        let receiver = self.table.find(to);
        let Some(alien) = self.aliens.get_mut((from, to)) else { return false };
        if alien.send != send {
            return false;
        }
        alien.stage = Stage::Over;
        if let Some(server) = receiver.and_then(|slot| self.table.get_mut(slot)) {
            server.queue.retain(|waiting| waiting.from != from || waiting.transaction != send.0);
            server.access_over(from, send.0);
        }
        true
    }
}

/// What a send has come to whose receiver is no more, and of whose answer nothing is known: if the receiver had the message,
/// it may have done what it was to do.
fn without_answer(packet: &Packet) -> Status {
    if matches!(packet.body, Body::Ask { .. }) { Status::Unreachable } else { Status::NoProcess }
}
