//! What a host receives and answers for a process that is nothing but its host: one without a program.
//!
//! It is a receiver like any other, but for the message, which goes to the host and not into a memory. It is of
//! [`Form::Fiber`](crate::Form), and its host alone calls for it.

use peripatos_abi::message::{Envelope, Kind, MESSAGE_BYTES_MAX, Status};

use crate::group::{meant, shown};
use crate::kernel::Kernel;
use crate::process::{Call, Receive, Span};
use crate::send::notification;
use crate::table::Slot;
use crate::watch::end_envelope;

impl Kernel {
    /// Takes in what has come for a process, for its host: an end first, then the oldest message. `None`: nothing has come;
    /// when something does the process can go on ([`Woken::Process`](crate::Woken)).
    pub fn hear(&mut self, me: Slot) -> Option<(Envelope, Vec<u8>)> {
        let process = self.table.get_mut(me)?;
        if let Call::Message(_, envelope) = process.call {
            process.call = Call::None;
            return Some((envelope, process.answer.bytes().to_vec()));
        }
        if !process.call.is_none() {
            return None;
        }
        if process.bits != 0 {
            return Some((notification(std::mem::take(&mut process.bits)), Vec::new()));
        }
        if let Some((of, reason)) = process.take_ended(None) {
            return Some((end_envelope(of, reason), Vec::new()));
        }
        let Some(waiting) = process.queue.pop_front() else {
            // Any message fits.
            process.call =
                Call::Receive(Receive { from: None, buffer: Span::HOST, envelope: Span::HOST });
            return None;
        };
        process.clients += 1;
        let (from, transaction) = shown(waiting.from, waiting.transaction);
        let message = waiting.message.bytes().to_vec();
        self.received(me, waiting.from, waiting.transaction);
        let len = message.len() as u32;
        Some((Envelope { from, transaction, len, kind: Kind::Message }, message))
    }

    /// Replies to a message that was heard.
    ///
    /// # Errors
    /// [`Status::NotWaiting`]: nobody waits for it any more. [`Status::TooLong`].
    pub fn answer(&mut self, me: Slot, envelope: &Envelope, message: &[u8]) -> Result<(), Status> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Status::TooLong);
        }
        let (from, transaction) = meant(envelope.from, envelope.transaction);
        self.reply_with(me, from, transaction, message)
    }
}
