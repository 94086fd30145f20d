//! Calling a handler: the protected procedure call of LRPC (Bershad et al., 1990).
//!
//! The sender's thread runs the server, on the sender's stack. The record of it stands in the two processes before the
//! server is called: the sender waits for the reply, the server serves it. However the call ends, that is where it is
//! looked up.

use peripatos_abi::Pid;
use peripatos_abi::message::{Envelope, Kind, Status};

use crate::alien::{Answer, Stage};
use crate::group::shown;
use crate::kernel::{Kernel, Woken};
use crate::mutation::Mutation;
use crate::process::{At, Call, Form, Span};
use crate::send::take_reply;
use crate::table::Slot;
use crate::watch::end_envelope;

/// Handlers that are called on one stack, one from another. Beyond, each would cost double, and a stack has an end: a
/// message waits until its receiver can be called on another one.
pub(crate) const DEPTH_MAX: u32 = 8;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The handler has replied.
    Replied(&'a [u8]),
    /// It waits for something, or was frozen, and will reply later: [`Kernel::finish_call`].
    Parked,
    /// It has not replied, is free for other messages, and will reply by itself ([`Kernel::reply`]).
    Later,
    /// It has ended, and is to be removed.
    Ended,
}

impl Kernel {
    #[inline]
    pub(crate) fn begin_call(&mut self, from: Slot, to: Slot, reply: Span) {
        let (sender, server) = self.table.pair_mut(from, to).expect("both were found");
        sender.begin_send();
        sender.call = Call::Send { to: server.pid, reply, at: At::Received };
        server.serves = Some((sender.pid, sender.sends));
        self.depth += 1;
    }

    /// What goes before a message of this length, which a handler is called for.
    #[must_use]
    #[inline]
    pub fn envelope(&self, to: Slot, len: u32) -> Envelope {
        let serves = self.table.get(to).and_then(|server| server.serves);
        let (from, transaction) = serves.unwrap_or((Pid::from_bits(0), 0));
        let (from, transaction) = shown(from, transaction);
        Envelope { from, transaction, len, kind: Kind::Message }
    }

    /// A call on the sender's stack is over; its memory gets the reply: the reply's length.
    ///
    /// # Errors
    /// [`Status::Wait`] if the handler was parked, or replies later. [`Status::NoProcess`] if it has ended. [`Status::TooLong`] if there is
    /// no room for the reply.
    #[inline]
    pub fn end_call(
        &mut self,
        from: Slot,
        to: Slot,
        outcome: Outcome<'_>,
        memory: &mut [u8],
    ) -> Result<u32, Status> {
        self.depth -= 1;
        if outcome == Outcome::Parked {
            return Err(Status::Wait);
        }
        let sender = self.table.get_mut(from).ok_or(Status::NotNow)?;
        let Call::Send { reply, .. } = sender.call else {
            // It has replied while it was called.
            self.served(to);
            return Err(Status::Wait);
        };
        if outcome == Outcome::Later {
            self.owes(to);
            return Err(Status::Wait);
        }
        sender.call = Call::None;
        self.served(to);
        let Outcome::Replied(bytes) = outcome else { return Err(Status::NoProcess) };
        if !reply.holds(bytes.len()) {
            return Err(Status::TooLong);
        }
        memory[reply.first(bytes.len())].copy_from_slice(bytes);
        Ok(bytes.len() as u32)
    }

    /// The next message for a handler that nobody's stack is at hand for, copied into `buffer`, and what goes before it;
    /// words of ends and of lost names first, to which it replies in vain. `None`: there is none, or it serves already.
    pub fn next_call(&mut self, to: Slot, buffer: &mut [u8]) -> Option<Envelope> {
        let server = self.table.get_mut(to)?;
        if server.form != Form::Handler || server.serves.is_some() {
            return None;
        }
        if let Some((of, reason)) = server.take_ended(None) {
            // Nobody of this pid waits for a reply: it has ended.
            server.serves = Some((of, reason));
            self.depth += 1;
            return Some(end_envelope(of, reason));
        }
        if let Some((envelope, name)) = server.take_lost_name(server.room as usize) {
            buffer[..name.len()].copy_from_slice(&name);
            server.serves = Some((Pid::from_bits(0), 0));
            self.depth += 1;
            return Some(envelope);
        }
        let waiting = server.queue.pop_front()?;
        let (from, transaction) = (waiting.from, waiting.transaction);
        let len = waiting.message.len();
        server.serves = Some((from, transaction));
        buffer[..len].copy_from_slice(waiting.message.bytes());
        self.received(to, from, transaction);
        self.depth += 1;
        let (from, transaction) = shown(from, transaction);
        Some(Envelope { from, transaction, len: len as u32, kind: Kind::Message })
    }

    /// A call that no sender's stack waits for is over, or has parked.
    pub fn finish_call(&mut self, to: Slot, outcome: Outcome<'_>) {
        self.depth -= 1;
        self.resumed(to, outcome);
    }

    /// A handler that was parked has gone on, and this is what came of it.
    pub fn resumed(&mut self, to: Slot, outcome: Outcome<'_>) {
        let bytes = match outcome {
            Outcome::Replied(bytes) => bytes,
            Outcome::Later => return self.owes(to),
            Outcome::Parked | Outcome::Ended => return,
        };
        let Some((from, transaction)) = self.table.get(to).and_then(|server| server.serves) else {
            return;
        };
        let pid = self.pid(to).expect("it is in the table");
        match self.table.find(from) {
            None => {
                // Whoever has gone does not miss its reply.
                let _ = self.answer_alien(from, transaction, pid, Answer::Replied(bytes.into()));
            }
            Some(slot) => {
                let sender = self.table.get_mut(slot).expect("it was found");
                if sender.awaits(transaction, pid) {
                    take_reply(sender, bytes);
                    self.woken.push_back(Woken::Process(slot));
                }
            }
        }
        self.served(to);
    }

    /// A handler is free again, and has not replied.
    fn owes(&mut self, to: Slot) {
        let serves = self.table.get(to).and_then(|server| Some((server.pid, server.serves?)));
        if let Some((pid, (from, transaction))) = serves
            && self.waits_for(from, transaction, pid)
            && !self.does_wrong(Mutation::DebtsForgotten)
            && let Some(server) = self.table.get_mut(to)
        {
            server.clients += 1;
            if let Some(sender) = self.table.find(from) {
                self.note_caller(to, sender);
            }
        }
        self.served(to);
    }

    /// Whether a sender waits for the reply of that process, wherever it is: it may have been forwarded, or replied to.
    fn waits_for(&self, from: Pid, transaction: u64, pid: Pid) -> bool {
        match self.table.find(from).and_then(|slot| self.table.get(slot)) {
            Some(sender) => sender.awaits(transaction, pid),
            None => {
                let alien = self.aliens.get((from, pid));
                alien.is_some_and(|one| one.send.0 == transaction && one.stage == Stage::Waits)
            }
        }
    }

    /// A handler is free again.
    #[inline]
    fn served(&mut self, to: Slot) {
        let Some(server) = self.table.get_mut(to) else { return };
        server.serves = None;
        if server.has_waiting() {
            self.woken.push_back(Woken::Handler(to));
        }
    }
}
