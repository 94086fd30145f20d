//! Senders and receivers of other kernels.
//!
//! A sender that is elsewhere has an *alien* here (the V kernel's word), named by its pid: which of its sends is under
//! way, for whom, and the reply, until its next send says that it has come. That is the filter of duplicates: a send
//! that comes again finds its alien, and is not delivered twice, or is replied to again.

use std::collections::VecDeque;

use peripatos_abi::Pid;
use peripatos_abi::message::{QUEUE_MAX, Status};

use crate::kernel::{Kernel, Woken};
use crate::packet::{Body, Packet, Place};
use crate::process::{At, Call, Form, Span};
use crate::send::take_reply;
use crate::table::{PidMap, Slot};

/// Senders of other kernels that are remembered.
const ALIENS_MAX: usize = 1 << 20;
/// Replies that are kept for the case that they were lost.
const REPLIES_MAX: usize = 4_096;

/// Where processes are that are not here, as far as it was heard.
#[derive(Debug, Default)]
pub struct Routes(PidMap<Place>);

impl Routes {
    /// A process is there.
    pub fn set(&mut self, pid: Pid, place: Place) {
        self.0.insert(pid, place);
    }

    /// It is not there any more.
    pub fn forget(&mut self, pid: Pid) {
        self.0.remove(&pid);
    }

    fn get(&self, pid: Pid) -> Option<Place> {
        self.0.get(&pid).copied()
    }
}

/// The senders of other kernels.
#[derive(Debug, Default)]
pub(crate) struct Aliens {
    of: PidMap<Alien>,
    /// Whose replies are kept, oldest first.
    replied: VecDeque<(Pid, u64)>,
}

/// A sender of another kernel.
#[derive(Debug)]
pub(crate) struct Alien {
    place: Place,
    to: Pid,
    transaction: u64,
    /// Kept for the case that it was lost.
    reply: Option<Result<Vec<u8>, Status>>,
}

impl Alien {
    pub(crate) fn new(place: Place, to: Pid, transaction: u64) -> Alien {
        Alien { place, to, transaction, reply: None }
    }
}

impl Alien {
    /// Whether this send, to that process, waits for its reply.
    pub(crate) fn waits(&self, to: Pid, transaction: u64) -> bool {
        self.to == to && self.transaction == transaction && self.reply.is_none()
    }
}

impl Aliens {
    /// Remembers a sender's send, unless a later one is known.
    pub(crate) fn insert(&mut self, pid: Pid, alien: Alien) {
        let known = self.of.get(&pid);
        if known.is_none_or(|known| known.transaction <= alien.transaction) {
            self.of.insert(pid, alien);
        }
    }

    /// Takes out who has sent to this process.
    pub(crate) fn take_clients(&mut self, to: Pid) -> Vec<(Pid, Alien)> {
        self.of.extract_if(|_, alien| alien.to == to).collect()
    }

    /// A process of that name is here now, or has ended. What was known of its last send.
    pub(crate) fn forget(&mut self, pid: Pid) -> Option<Alien> {
        self.of.remove(&pid)
    }

    /// Who waits for a reply of this process.
    pub(crate) fn clients_of(&self, to: Pid) -> impl Iterator<Item = (Pid, u64)> {
        let waits = move |alien: &Alien| alien.to == to && alien.reply.is_none();
        self.of
            .iter()
            .filter(move |(_, alien)| waits(alien))
            .map(|(pid, alien)| (*pid, alien.transaction))
    }

    fn keep_reply(&mut self, from: Pid, transaction: u64) {
        self.replied.push_back((from, transaction));
        if self.replied.len() > REPLIES_MAX
            && let Some((oldest, transaction)) = self.replied.pop_front()
        {
            let replied = |alien: &Alien| alien.transaction == transaction && alien.reply.is_some();
            if self.of.get(&oldest).is_some_and(replied) {
                self.of.remove(&oldest);
            }
        }
    }
}

impl Kernel {
    /// Sends to a process that is not here.
    pub(crate) fn send_away(
        &mut self,
        from: Slot,
        to: Pid,
        message: &[u8],
        reply: Span,
    ) -> Result<crate::Sent, Status> {
        let sender = self.table.get_mut(from).ok_or(Status::NoProcess)?;
        if sender.call != Call::None {
            return Err(Status::NotNow);
        }
        sender.sends += 1;
        sender.call = Call::Send { to, reply, at: At::Away };
        let (from, transaction) = (sender.pid, sender.sends);
        let body = Body::Send { transaction, message: message.to_vec() };
        self.post(self.routes.get(to), from, to, body);
        Ok(crate::Sent::Waits)
    }

    pub(crate) fn notify_away(&mut self, me: Slot, to: Pid, bits: u64) {
        let from = self.pid(me).unwrap_or(Pid::from_bits(0));
        self.post(self.routes.get(to), from, to, Body::Notify(bits));
    }

    fn post(&mut self, target: Option<Place>, from: Pid, to: Pid, body: Body) {
        self.packets.push_back(Packet { source: self.place, target, from, to, body });
    }

    /// Replies to a sender of another kernel.
    pub(crate) fn reply_away(
        &mut self,
        me: Slot,
        pid: Pid,
        to: Pid,
        transaction: u64,
        message: &[u8],
    ) -> Result<(), Status> {
        self.answer_alien(to, transaction, pid, Ok(message.to_vec()))?;
        if let Some(server) = self.table.get_mut(me) {
            server.clients = server.clients.saturating_sub(1);
        }
        Ok(())
    }

    pub(crate) fn fail_alien(&mut self, from: Pid, transaction: u64, of: Pid, status: Status) {
        // Whoever has gone meanwhile need not be told.
        let _ = self.answer_alien(from, transaction, of, Err(status));
    }

    fn answer_alien(
        &mut self,
        from: Pid,
        transaction: u64,
        of: Pid,
        result: Result<Vec<u8>, Status>,
    ) -> Result<(), Status> {
        let alien = self.aliens.of.get_mut(&from).ok_or(Status::NotWaiting)?;
        let waits = alien.transaction == transaction && alien.to == of;
        if !waits || alien.reply.is_some() {
            return Err(Status::NotWaiting);
        }
        alien.reply = Some(result.clone());
        let place = alien.place;
        self.aliens.keep_reply(from, transaction);
        self.post(Some(place), of, from, Body::Reply { transaction, result });
        Ok(())
    }

    /// A packet has come.
    pub fn arrived(&mut self, packet: Packet) {
        if self.table.find(packet.to).is_none() {
            let place = self.routes.get(packet.to);
            // It was here, and has gone on: so does this. Or it is on its way here, or nobody knows: the host looks. Of a
            // send its sender is told, and has it looked for.
            if place.is_some() || !matches!(packet.body, Body::Send { .. }) {
                self.packets.push_back(Packet { target: place, ..packet });
                return;
            }
        }
        let Packet { source, from, to, body, .. } = packet;
        match body {
            Body::Send { transaction, message } => {
                self.came(source, from, to, transaction, message)
            }
            Body::Reply { transaction, result } => self.came_back(from, to, transaction, result),
            Body::Notify(bits) => {
                if let Some(slot) = self.table.find(to) {
                    self.notified(slot, bits);
                }
            }
            Body::NotHere { transaction, message } => {
                let waits =
                    |slot| self.table.get(slot).is_some_and(|p| p.awaits(transaction, from));
                if self.table.find(to).is_some_and(waits) {
                    self.routes.forget(from);
                    self.post(None, to, from, Body::Send { transaction, message });
                }
            }
        }
    }

    /// Nobody has this pid: whoever has sent a packet to it is told.
    pub fn nobody(&mut self, packet: Packet) {
        let Body::Send { transaction, .. } = packet.body else { return };
        let (from, to) = (packet.from, packet.to);
        if self.table.find(from).is_some() {
            return self.fail(from, transaction, to, Status::NoProcess);
        }
        // It has moved on since it sent.
        let result = Err(Status::NoProcess);
        self.post(self.routes.get(from), to, from, Body::Reply { transaction, result });
    }

    fn came(&mut self, source: Place, from: Pid, to: Pid, transaction: u64, message: Vec<u8>) {
        if let Some(sender) = self.table.find(from) {
            return self.came_home(sender, to, transaction, message);
        }
        if let Some(alien) = self.aliens.of.get_mut(&from)
            && alien.transaction >= transaction
        {
            let again = alien.transaction == transaction;
            alien.place = source;
            if let (true, Some(result)) = (again, &alien.reply) {
                let result = result.clone();
                self.post(Some(source), to, from, Body::Reply { transaction, result });
            }
            return;
        }
        let Some(receiver) = self.table.find(to) else {
            return self.post(Some(source), to, from, Body::NotHere { transaction, message });
        };
        let server = self.table.get(receiver).expect("it was found");
        if server.queue.len() >= QUEUE_MAX || self.aliens.of.len() >= ALIENS_MAX {
            let result = Err(Status::Full);
            return self.post(Some(source), to, from, Body::Reply { transaction, result });
        }
        self.offer(receiver, from, transaction, &message);
        self.aliens.insert(from, Alien::new(source, to, transaction));
    }

    /// A send reaches the kernel to which its sender has moved meanwhile.
    fn came_home(&mut self, sender: Slot, to: Pid, transaction: u64, message: Vec<u8>) {
        let Some(process) = self.table.get(sender) else { return };
        let from = process.pid;
        let awaited = matches!(process.call, Call::Send { to: of, at: At::Away, .. } if of == to);
        if !awaited || process.sends != transaction {
            // It came twice.
            return;
        }
        let Some(receiver) = self.table.find(to) else {
            return self.post(self.routes.get(to), from, to, Body::Send { transaction, message });
        };
        if self.table.get(receiver).is_some_and(|server| server.queue.len() >= QUEUE_MAX) {
            return self.fail(from, transaction, to, Status::Full);
        }
        let taken = self.offer(receiver, from, transaction, &message);
        self.set_at(sender, if taken { At::Received } else { At::Queued });
    }

    pub(crate) fn set_at(&mut self, sender: Slot, now: At) {
        if let Some(Call::Send { at, .. }) = self.table.get_mut(sender).map(|one| &mut one.call) {
            *at = now;
        }
    }

    fn came_back(&mut self, from: Pid, to: Pid, transaction: u64, result: Result<Vec<u8>, Status>) {
        let Some(slot) = self.table.find(to) else { return };
        let Some(sender) = self.table.get_mut(slot) else { return };
        if !sender.awaits(transaction, from) {
            return;
        }
        match result {
            Ok(message) => take_reply(sender, &message),
            Err(status) => sender.fail(status),
        }
        self.woken.push_back(Woken::Process(slot));
    }

    /// Whether a handler is here that could be called, or a fiber: for whoever looks.
    #[must_use]
    #[inline]
    pub fn form(&self, slot: Slot) -> Option<Form> {
        self.table.get(slot).map(|process| process.form)
    }
}
