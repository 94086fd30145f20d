//! Receive, and wait: what blocks.

use peripatos_abi::Pid;
use peripatos_abi::message::{Envelope, Kind, Status};

use crate::group::{principal, shown};
use crate::kernel::{Kernel, Woken};
use crate::process::{At, Call, Form, Process, Receive, Span, Waiting};
use crate::send::{notification, read_pid};
use crate::table::Slot;
use crate::watch::end_envelope;

impl Kernel {
    /// A process takes a message in: its length. From anybody if the pid lies at 0, and then notified bits first.
    /// The word that somebody has ended, and that a name is lost, comes before messages.
    ///
    /// # Errors
    /// [`Status::Wait`]: none is there. [`Status::TooLong`]: the next one does not fit; the envelope says how long it is.
    pub fn receive(
        &mut self,
        me: Slot,
        memory: &mut [u8],
        from: u32,
        buffer: (u32, u32),
        envelope: u32,
    ) -> Result<u32, Status> {
        let from = if from == 0 { None } else { Some(read_pid(memory, from)?) };
        let buffer = Span::new(buffer.0, buffer.1, memory.len())?;
        let envelope = Span::new(envelope, Envelope::BYTES as u32, memory.len())?;
        let receive = Receive { from, buffer, envelope };
        let process = self.table.get_mut(me).ok_or(Status::NoProcess)?;
        if !process.call.is_none() || process.form == Form::Handler {
            return Err(Status::NotNow);
        }
        if from.is_none() && process.bits != 0 {
            let bits = std::mem::take(&mut process.bits);
            memory[envelope.range()].copy_from_slice(&notification(bits).to_bytes());
            return Ok(0);
        }
        if process.ties.is_some()
            && let Some(answer) = receive_word(process, memory, receive)
        {
            return answer;
        }
        match next(process, from) {
            Some(at) => self.take(me, at, receive, memory),
            None => {
                process.call = Call::Receive(receive);
                Err(Status::Wait)
            }
        }
    }

    /// Takes a message out of the queue.
    fn take(
        &mut self,
        me: Slot,
        at: usize,
        receive: Receive,
        memory: &mut [u8],
    ) -> Result<u32, Status> {
        let process = self.table.get_mut(me).ok_or(Status::NoProcess)?;
        let Waiting { from, transaction, message } = &process.queue[at];
        let (from, transaction, len) = (*from, *transaction, message.len());
        let (shown_from, shown_as) = shown(from, transaction);
        let envelope = Envelope {
            from: shown_from,
            transaction: shown_as,
            len: len as u32,
            kind: Kind::Message,
        };
        memory[receive.envelope.range()].copy_from_slice(&envelope.to_bytes());
        if !receive.buffer.holds(len) {
            return Err(Status::TooLong);
        }
        memory[receive.buffer.first(len)].copy_from_slice(message.bytes());
        process.queue.remove(at);
        process.clients += 1;
        self.received(me, from, transaction);
        Ok(len as u32)
    }

    /// The sender's message has been taken: it waits for the reply now.
    pub(crate) fn received(&mut self, me: Slot, from: Pid, transaction: u64) {
        let slot = self.table.find(from);
        let Some(sender) = slot.and_then(|slot| self.table.get_mut(slot)) else {
            let alien = self.pid(me).and_then(|pid| self.aliens.get_mut((from, pid)));
            if let Some(alien) = alien.filter(|alien| alien.send.0 == transaction) {
                alien.taken = true;
            }
            return;
        };
        if sender.sends == transaction
            && let Call::Send { at, .. } = &mut sender.call
        {
            *at = At::Received;
            sender.out.charge = None;
            if let Some(slot) = slot {
                self.note_caller(me, slot);
            }
        }
    }

    /// What a process waited for, once: what its call would have answered. `None`: it is not there yet. What it lends is
    /// read and written now, if somebody wants that.
    #[inline]
    pub fn wait(&mut self, me: Slot, memory: &mut [u8]) -> Option<Result<u32, Status>> {
        match self.table.get(me) {
            // Whoever has just begun to wait for a message: nothing has come.
            Some(Process { call: Call::Receive(_), lease: None, .. }) => None,
            _ => self.wait_now(me, memory),
        }
    }

    fn wait_now(&mut self, me: Slot, memory: &mut [u8]) -> Option<Result<u32, Status>> {
        self.serve_access(me, memory);
        let Some(process) = self.table.get_mut(me) else { return Some(Err(Status::NoProcess)) };
        let answered = match process.call {
            Call::Send { .. } | Call::Gather | Call::Receive(_) | Call::Passed(..) => return None,
            _ if process.asks => return Some(Err(Status::NotNow)),
            Call::None => return Some(Err(Status::NotNow)),
            Call::Failed(status) => Err(status),
            Call::Done(count) => Ok(count),
            Call::NoRoom(receive, envelope) => {
                memory[receive.envelope.range()].copy_from_slice(&envelope.to_bytes());
                Err(Status::TooLong)
            }
            Call::Reply(reply) => {
                let bytes = process.answer.bytes();
                memory[reply.first(bytes.len())].copy_from_slice(bytes);
                Ok(bytes.len() as u32)
            }
            Call::Message(receive, envelope) => {
                let bytes = process.answer.bytes();
                memory[receive.buffer.first(bytes.len())].copy_from_slice(bytes);
                memory[receive.envelope.range()].copy_from_slice(&envelope.to_bytes());
                Ok(bytes.len() as u32)
            }
        };
        process.call = Call::None;
        Some(answered)
    }

    /// Nothing has come in time: a process does not wait for a message any more. `false`: it has one, or never waited.
    pub fn time_out(&mut self, me: Slot) -> bool {
        let Some(process) = self.table.get_mut(me) else { return false };
        let waits = matches!(process.call, Call::Receive(_));
        if waits {
            process.fail(Status::TimedOut);
            self.woken.push_back(Woken::Process(me));
        }
        waits
    }
}

/// The word that somebody has ended, or that a name is lost.
fn receive_word(
    process: &mut Process,
    memory: &mut [u8],
    receive: Receive,
) -> Option<Result<u32, Status>> {
    if let Some((of, reason)) = process.take_ended(receive.from) {
        memory[receive.envelope.range()].copy_from_slice(&end_envelope(of, reason).to_bytes());
        return Some(Ok(0));
    }
    if receive.from.is_none() { process.receive_lost_name(memory, receive) } else { None }
}

/// The first message in the queue that is wanted.
#[inline]
fn next(process: &Process, from: Option<Pid>) -> Option<usize> {
    match from {
        None => (!process.queue.is_empty()).then_some(0),
        Some(from) => process.queue.iter().position(|waiting| principal(waiting.from) == from),
    }
}
