//! Passing a message: its receiver waits for it on its fiber, and is to run at once, on the sender's stack. (The name is
//! Hoare's, for the baton of a monitor: who signals hands its turn over, and gets it back.)
//!
//! Meanwhile the sender stands in its own send, and its memory does not change. So the message is copied once, from memory
//! to memory, when the receiver takes it; the reply likewise.
//!
//! Invariants:
//! * A message that was passed ([`Call::Passed`]) is taken, or kept for its receiver, before the sender's send is over
//!   ([`Kernel::end_pass`]); no other call of the kernel comes across it meanwhile but those of the receiver.
//! * So a process that leaves for another kernel, or has ended, has none.

use peripatos_abi::message::Status;

use crate::kernel::{Kernel, Woken};
use crate::lease::Lender;
use crate::mutation::Mutation;
use crate::process::{At, Call, Form, Span};
use crate::send::{envelope, read_sender};
use crate::table::Slot;

impl Kernel {
    /// Passes a message of the sender's memory, if its receiver waits for it on its fiber. `false`: nothing has happened.
    #[inline]
    pub(crate) fn begin_pass(&mut self, from: Slot, to: Slot, message: Span, reply: Span) -> bool {
        let Some((sender, server)) = self.table.pair_mut(from, to) else { return false };
        let Call::Receive(receive) = server.call else { return false };
        let fits = receive.buffer.holds(message.len()) && receive.buffer != Span::HOST;
        let may = fits && server.form == Form::Fiber && server.waits_for(sender.pid);
        if !may || server.takes(message.len()).is_err() {
            return false;
        }
        sender.begin_send();
        sender.call = Call::Send { to: server.pid, reply, at: At::Received };
        let envelope = envelope(sender.pid, sender.sends, message.len() as u32);
        server.call = Call::Passed(receive, envelope, message);
        server.clients += 1;
        true
    }

    /// Whether a message was passed to a process, which has not taken it.
    #[must_use]
    #[inline]
    pub fn is_passed(&self, me: Slot) -> bool {
        self.table.get(me).is_some_and(|process| matches!(process.call, Call::Passed(..)))
    }

    /// A process takes the message that was passed to it, if this is who has sent it: what [`Kernel::wait`] would have
    /// answered. `None`: none was.
    #[inline]
    pub fn take_passed(
        &mut self,
        me: Slot,
        memory: &mut [u8],
        sender: &Lender<'_>,
    ) -> Option<Result<u32, Status>> {
        let process = self.table.get_mut(me)?;
        let Call::Passed(receive, envelope, message) = process.call else { return None };
        if envelope.from != sender.pid {
            return None;
        }
        memory[receive.buffer.first(message.len())]
            .copy_from_slice(&sender.memory[message.range()]);
        memory[receive.envelope.range()].copy_from_slice(&envelope.to_bytes());
        process.call = Call::None;
        Some(Ok(message.len() as u32))
    }

    /// Replies straight into the memory of a sender that stands in its send, and looks for the reply when that is over.
    /// `None`: it is not this one who waits for it, or something is wrong with the call, which [`Kernel::reply`] says.
    #[inline]
    pub fn reply_beneath(
        &mut self,
        me: Slot,
        memory: &[u8],
        envelope: u32,
        message: (u32, u32),
        (slot, sender): (Slot, Lender<'_>),
    ) -> Option<()> {
        let (to, transaction) = read_sender(memory, envelope).ok()?;
        let message = Span::message(message.0, message.1, memory.len()).ok()?;
        let (server, client) = self.table.pair_mut(me, slot)?;
        if to != sender.pid || client.pid != to || !client.awaits(transaction, server.pid) {
            return None;
        }
        let Call::Send { reply, .. } = client.call else { return None };
        if !reply.holds(message.len()) {
            return None;
        }
        sender.memory[reply.first(message.len())].copy_from_slice(&memory[message.range()]);
        client.call = Call::Done(message.len() as u32);
        client.out.charge = None;
        server.has_answered(to, transaction);
        Some(())
    }

    /// The receiver `to` of a message that `from` has passed has run, or could not: the length of the reply, if that lies in
    /// the memory of the sender, whose send is over then. If the receiver has not taken the message, it can still, and is woken.
    #[inline]
    pub fn end_pass(&mut self, from: Slot, to: Slot, memory: &[u8]) -> Option<u32> {
        let forgets = self.does_wrong(Mutation::PassedNotKept);
        let (sender, server) = self.table.pair_mut(from, to)?;
        let passed = matches!(server.call, Call::Passed(..));
        // What it lends somebody may still want to read.
        if let (Call::Done(len), false, None) = (sender.call, passed, &sender.lease) {
            sender.call = Call::None;
            return Some(len);
        }
        let held = sender.is_held_by(server.pid);
        if let Call::Passed(receive, envelope, message) = server.call {
            server.call = Call::Receive(receive);
            if !forgets {
                server.answer.set(&memory[message.range()]);
                server.call = Call::Message(receive, envelope);
                self.woken.push_back(Woken::Process(to));
            }
        }
        // Mostly it has the reply, and need not be found when the receiver ends.
        if held {
            self.note_caller(to, from);
        }
        None
    }
}
