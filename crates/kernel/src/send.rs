//! Send, reply, forward, notify: what does not wait.

use peripatos_abi::Pid;
use peripatos_abi::message::{Envelope, Kind, PID_BYTES, QUEUE_MAX, Status};

use crate::alien::Answer;
use crate::budget::Charge;
use crate::buffer::Buffer;
use crate::bytes::Bytes;
use crate::deadlock;
use crate::group::{meant, shown};
use crate::kernel::{Kernel, Woken};
use crate::packet::Body;
use crate::process::{At, Call, Form, Process, Span, Waiting};
use crate::table::Slot;

/// What is to be done about a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The message has gone its way; the sender waits.
    Waits,
    /// Call the receiver, which is there, with it: [`Kernel::end_call`] says what came of it.
    Call(Slot),
    /// Let the receiver run on the sender's stack, with the sender's memory at hand: it waits on its fiber for this
    /// message. Or keep the message for it: [`Kernel::end_pass`], in either case. Only of [`Kernel::send_or_pass`].
    Pass(Slot),
}

impl Kernel {
    /// A process sends what lies in its memory, and will wait for the reply there.
    ///
    /// # Errors
    /// See [`Status`]; the sender goes on.
    #[inline]
    pub fn send(
        &mut self,
        from: Slot,
        memory: &[u8],
        to: u32,
        message: (u32, u32),
        reply: (u32, u32),
    ) -> Result<Sent, Status> {
        let sent = self.send_now(from, memory, to, message, reply, false);
        self.unless_sent(from, sent)
    }

    /// The same, and a receiver that waits for it on its fiber is not woken, but to run at once ([`Sent::Pass`]).
    ///
    /// # Errors
    /// See [`Status`]; the sender goes on.
    #[inline]
    pub fn send_or_pass(
        &mut self,
        from: Slot,
        memory: &[u8],
        to: u32,
        message: (u32, u32),
        reply: (u32, u32),
    ) -> Result<Sent, Status> {
        let sent = self.send_now(from, memory, to, message, reply, true);
        self.unless_sent(from, sent)
    }

    /// What was to be lent with a send that is none is not lent with the next one.
    #[inline]
    fn unless_sent(&mut self, from: Slot, sent: Result<Sent, Status>) -> Result<Sent, Status> {
        if sent.is_err() {
            self.lend_nothing(from);
        }
        sent
    }

    #[inline]
    fn send_now(
        &mut self,
        from: Slot,
        memory: &[u8],
        to: u32,
        message: (u32, u32),
        reply: (u32, u32),
        passes: bool,
    ) -> Result<Sent, Status> {
        let to = read_pid(memory, to)?;
        let message = Span::message(message.0, message.1, memory.len())?;
        let reply = Span::new(reply.0, reply.1, memory.len())?;
        let Some(receiver) = self.table.find(to) else {
            return self.send_away(from, to, &memory[message.range()], reply);
        };
        let pair = self.table.pair_mut(from, receiver);
        // Only itself is not another: it would wait for itself.
        let (sender, server) = pair.ok_or(Status::Deadlock)?;
        if !sender.call.is_none() {
            return Err(Status::NotNow);
        }
        if server.form == Form::Handler
            && message.len() <= server.room as usize
            && server.serves.is_none()
            && self.depth < crate::call::DEPTH_MAX
            && server.queue.is_empty()
        {
            self.begin_call(from, receiver, reply);
            return Ok(Sent::Call(receiver));
        }
        if passes && self.begin_pass(from, receiver, message, reply) {
            return Ok(Sent::Pass(receiver));
        }
        self.deliver_from(from, receiver, &memory[message.range()], reply)?;
        Ok(Sent::Waits)
    }

    /// The receiver takes it at once, or later.
    pub(crate) fn deliver_from(
        &mut self,
        from: Slot,
        receiver: Slot,
        message: &[u8],
        reply: Span,
    ) -> Result<(), Status> {
        let (sender, server) = self.table.pair_mut(from, receiver).ok_or(Status::NoProcess)?;
        let (pid, to) = (sender.pid, server.pid);
        sender.begin_send();
        let transaction = sender.sends;
        server.takes(message.len())?;
        let waits = server.waits_for(pid);
        if !waits || !server.has_room_for(message.len()) {
            sender.out.charge = Charge::of(sender.budget.as_ref(), message.len())?;
        }
        sender.call = Call::Send { to, reply, at: At::Queued };
        if !waits && deadlock::closes(&self.table, from, receiver) {
            if let Some(sender) = self.table.get_mut(from) {
                sender.call = Call::None;
                sender.out.charge = None;
            }
            self.note_closed(from, receiver);
            return Err(Status::Deadlock);
        }
        if self.offer(receiver, pid, transaction, message)
            && let Some(sender) = self.table.get_mut(from)
        {
            sender.call = Call::Send { to, reply, at: At::Received };
            self.note_caller(receiver, from);
        }
        Ok(())
    }

    /// A message has come for a process, which takes it now (`true`) or later.
    pub(crate) fn offer(
        &mut self,
        receiver: Slot,
        from: Pid,
        transaction: u64,
        message: &[u8],
    ) -> bool {
        let Some(server) = self.table.get_mut(receiver) else { return false };
        let mut taken = false;
        if let (true, Call::Receive(receive)) = (server.waits_for(from), server.call) {
            let len = message.len() as u32;
            let envelope = envelope(from, transaction, len);
            taken = receive.buffer.holds(message.len());
            if taken {
                server.answer.set(message);
                server.call = Call::Message(receive, envelope);
                server.clients += 1;
            } else {
                server.call = Call::NoRoom(receive, envelope);
            }
            self.woken.push_back(Woken::Process(receiver));
        }
        if !taken {
            self.enqueue(receiver, Waiting { from, transaction, message: Buffer::of(message) });
        }
        taken
    }

    /// Keeps a message for its receiver.
    fn enqueue(&mut self, receiver: Slot, waiting: Waiting) {
        let Some(server) = self.table.get_mut(receiver) else { return };
        server.queue.push_back(waiting);
        let callable = server.form == Form::Handler && server.serves.is_none();
        if callable && server.queue.len() == 1 {
            self.woken.push_back(Woken::Handler(receiver));
        }
    }

    /// A process replies to a message that it has received.
    ///
    /// # Errors
    /// [`Status::NotWaiting`]: nobody waits for it (any more).
    pub fn reply(
        &mut self,
        me: Slot,
        memory: &[u8],
        envelope: u32,
        message: (u32, u32),
    ) -> Result<(), Status> {
        let (from, transaction) = read_sender(memory, envelope)?;
        let message = Span::message(message.0, message.1, memory.len())?;
        self.reply_with(me, from, transaction, &memory[message.range()])
    }

    /// The same, to this send.
    pub(crate) fn reply_with(
        &mut self,
        me: Slot,
        to: Pid,
        transaction: u64,
        message: &[u8],
    ) -> Result<(), Status> {
        let server = self.table.get_mut(me).ok_or(Status::NoProcess)?;
        let pid = server.pid;
        let Some(slot) = self.table.find(to) else {
            return self.reply_away(me, pid, to, transaction, Answer::Replied(message.into()));
        };
        let sender = self.table.get_mut(slot).ok_or(Status::NotWaiting)?;
        if !sender.awaits(transaction, pid) {
            return Err(Status::NotWaiting);
        }
        take_reply(sender, message);
        self.woken.push_back(Woken::Process(slot));
        if let Some(server) = self.table.get_mut(me) {
            server.has_answered(to, transaction);
        }
        Ok(())
    }

    /// Hands a message that was received on to another process, as if it had been sent there: that process, if it and the
    /// sender are here. If nobody has that pid, the sender is told.
    ///
    /// # Errors
    /// As [`Kernel::reply`], or [`Status::Full`]; the message stays the caller's.
    pub fn forward(
        &mut self,
        me: Slot,
        memory: &[u8],
        envelope: u32,
        to: u32,
        message: (u32, u32),
    ) -> Result<Option<Slot>, Status> {
        let (from, transaction) = read_sender(memory, envelope)?;
        let to = read_pid(memory, to)?;
        let message = Span::message(message.0, message.1, memory.len())?;
        let pid = self.pid(me).ok_or(Status::NoProcess)?;
        let bytes = Bytes::from(&memory[message.range()]);
        if from == to {
            return Err(Status::Deadlock);
        }
        let Some(slot) = self.table.find(from) else {
            // Its kernel sends it again: who has sent is who knows for whom it is.
            let answer = Answer::Forwarded { to, message: bytes };
            return self.reply_away(me, pid, from, transaction, answer).map(|()| None);
        };
        let sender = self.table.get_mut(slot).ok_or(Status::NotWaiting)?;
        if !sender.awaits(transaction, pid) {
            return Err(Status::NotWaiting);
        }
        let next = self.table.find(to);
        let queue = next.and_then(|slot| self.table.get(slot));
        if queue.is_some_and(|server| server.queue.len() >= QUEUE_MAX) {
            return Err(Status::Full);
        }
        if let Some(server) = self.table.get_mut(me) {
            server.has_answered(from, transaction);
        }
        self.readdress(slot, to, bytes);
        Ok(next)
    }

    /// Sets bits for a process; never waits. Bits that are set already stay so.
    ///
    /// # Errors
    /// [`Status::BadAddress`]. Whether somebody has the pid is not told. [`Status::Full`]: too many bits are on their way.
    pub fn notify(&mut self, me: Slot, memory: &[u8], to: u32, bits: u64) -> Result<(), Status> {
        let to = read_pid(memory, to)?;
        let from = self.pid(me).ok_or(Status::NoProcess)?;
        match self.table.find(to) {
            Some(slot) => self.notified(slot, bits),
            None => {
                let toll = self.toll(me)?;
                self.send_errand(from, to, Body::Notify { errand: 0, bits }, toll)?;
            }
        }
        Ok(())
    }

    pub(crate) fn notified(&mut self, slot: Slot, bits: u64) {
        let Some(process) = self.table.get_mut(slot) else { return };
        process.bits |= bits;
        if let Call::Receive(receive) = process.call
            && receive.from.is_none()
            && process.bits != 0
        {
            let envelope = notification(std::mem::take(&mut process.bits));
            process.answer.set(&[]);
            process.call = Call::Message(receive, envelope);
            self.woken.push_back(Woken::Process(slot));
        }
    }
}

/// Of a message, as its receiver sees it.
#[inline]
pub(crate) fn envelope(from: Pid, transaction: u64, len: u32) -> Envelope {
    let (from, transaction) = shown(from, transaction);
    Envelope { from, transaction, len, kind: Kind::Message }
}

/// A reply reaches the process that waits for it.
pub(crate) fn take_reply(sender: &mut Process, message: &[u8]) {
    let Call::Send { reply, .. } = sender.call else { return };
    sender.out.charge = None;
    if reply.holds(message.len()) {
        sender.answer.set(message);
        sender.call = Call::Reply(reply);
    } else {
        sender.fail(Status::TooLong);
    }
}

pub(crate) fn notification(bits: u64) -> Envelope {
    Envelope { from: Pid::from_bits(0), transaction: bits, len: 0, kind: Kind::Notification }
}

#[inline]
pub(crate) fn read_pid(memory: &[u8], at: u32) -> Result<Pid, Status> {
    let bytes = memory.get(at as usize..).and_then(|rest| rest.first_chunk::<PID_BYTES>());
    let bytes = bytes.ok_or(Status::BadAddress)?;
    Ok(Pid::from_bits(u128::from_le_bytes(*bytes)))
}

#[inline]
pub(crate) fn read_sender(memory: &[u8], at: u32) -> Result<(Pid, u64), Status> {
    let bytes = memory.get(at as usize..).and_then(|rest| rest.first_chunk());
    let (from, transaction) = Envelope::sender(bytes.ok_or(Status::BadAddress)?);
    Ok(meant(from, transaction))
}
