//! What a process's host asks on its behalf: its devices, where these are processes.
//!
//! It is a send like any other, but for the reply, which goes to the host and not into the process's memory. So it is as
//! exact, and moves with the process as any call that is under way.

use peripatos_abi::Pid;
use peripatos_abi::message::{MESSAGE_BYTES_MAX, Status};

use crate::kernel::Kernel;
use crate::process::{Call, Span};
use crate::table::Slot;

impl Kernel {
    /// Sends a message on behalf of a process, which waits. [`Kernel::asked`] has the reply, once.
    ///
    /// # Errors
    /// As a send's. [`Status::NotNow`]: the process has something under way itself.
    pub fn ask(&mut self, me: Slot, to: Pid, message: &[u8]) -> Result<(), Status> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Status::TooLong);
        }
        let process = self.table.get(me).ok_or(Status::NoProcess)?;
        if !process.call.is_none() {
            return Err(Status::NotNow);
        }
        let before = process.sends;
        let sent = match self.table.find(to) {
            None => self.send_away(me, to, message, Span::HOST).map(drop),
            Some(receiver) if receiver == me => return Err(Status::Deadlock),
            Some(receiver) => self.deliver_from(me, receiver, message, Span::HOST),
        };
        self.lend_later(me, before);
        sent?;
        if let Some(process) = self.table.get_mut(me) {
            process.asks = true;
        }
        Ok(())
    }

    /// Whether something was asked on behalf of a process, and its answer was not taken.
    #[must_use]
    pub fn is_asking(&self, me: Slot) -> bool {
        self.table.get(me).is_some_and(|process| process.asks)
    }

    /// Takes the answer. `None`: it is not there, or nothing was asked.
    pub fn asked(&mut self, me: Slot) -> Option<Result<Vec<u8>, Status>> {
        let process = self.table.get_mut(me).filter(|process| process.asks)?;
        let answer = match process.call {
            Call::Reply(_) => Ok(process.answer.bytes().to_vec()),
            Call::Failed(status) => Err(status),
            _ => return None,
        };
        (process.call, process.asks) = (Call::None, false);
        Some(answer)
    }
}
