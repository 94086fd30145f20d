//! The word that a name of a process is somebody else's ([`dispute`](crate::dispute)): received as a message is, but nobody
//! waits for a reply.

use peripatos_abi::Pid;
use peripatos_abi::message::{Envelope, Kind, NAMES_MAX, Status};

use crate::kernel::{Kernel, Woken};
use crate::process::{Call, Form, Process, Receive};
use crate::table::Slot;

impl Kernel {
    /// A process has lost a name, which that one has: it will receive an envelope of [`Kind::NameLost`], with the name as its
    /// message. `false`: it has not received [`NAMES_MAX`] such words yet, and does not get this one.
    pub fn name_lost(&mut self, slot: Slot, name: &[u8], owner: Pid) -> bool {
        let Some(process) = self.table.get_mut(slot) else { return false };
        let lost = &mut process.ties().names_lost;
        if lost.len() >= NAMES_MAX {
            return false;
        }
        lost.push_back((name.to_vec(), owner));
        match process.call {
            Call::Receive(receive) if receive.from.is_none() => {
                process.give_lost_name(receive);
                self.woken.push_back(Woken::Process(slot));
            }
            Call::None if process.form == Form::Handler && process.serves.is_none() => {
                self.woken.push_back(Woken::Handler(slot));
            }
            _ => {}
        }
        true
    }

    /// Names of which a process has yet to receive that it has lost them.
    #[must_use]
    pub fn names_lost(&self, slot: Slot) -> usize {
        let ties = self.table.get(slot).and_then(|process| process.ties.as_ref());
        ties.map_or(0, |ties| ties.names_lost.len())
    }
}

impl Process {
    fn next_lost_name(&self) -> Option<&(Vec<u8>, Pid)> {
        self.ties.as_ref()?.names_lost.front()
    }

    fn drop_lost_name(&mut self) {
        self.ties().names_lost.pop_front();
    }

    /// The next word, taken in by a process that runs: the length of the name. Without room for it the word stays.
    pub(crate) fn receive_lost_name(
        &mut self,
        memory: &mut [u8],
        receive: Receive,
    ) -> Option<Result<u32, Status>> {
        let (name, owner) = self.next_lost_name()?;
        let envelope = envelope(name, *owner);
        memory[receive.envelope.range()].copy_from_slice(&envelope.to_bytes());
        if !receive.buffer.holds(name.len()) {
            return Some(Err(Status::TooLong));
        }
        memory[receive.buffer.first(name.len())].copy_from_slice(name);
        self.drop_lost_name();
        Some(Ok(envelope.len))
    }

    /// The same, for one that waits.
    fn give_lost_name(&mut self, receive: Receive) {
        let Some((name, owner)) = self.next_lost_name() else { return };
        let envelope = envelope(name, *owner);
        if !receive.buffer.holds(name.len()) {
            self.call = Call::NoRoom(receive, envelope);
            return;
        }
        let name = name.clone();
        self.answer.set(&name);
        self.call = Call::Message(receive, envelope);
        self.drop_lost_name();
    }

    /// The same, for a handler that is called for it. In a buffer with less room it is told without the name.
    pub(crate) fn take_lost_name(&mut self, room: usize) -> Option<(Envelope, Vec<u8>)> {
        let (mut name, owner) = self.ties.as_mut()?.names_lost.pop_front()?;
        if name.len() > room {
            name.clear();
        }
        Some((envelope(&name, owner), name))
    }
}

/// What goes before the name.
fn envelope(name: &[u8], owner: Pid) -> Envelope {
    Envelope { from: owner, transaction: 0, len: name.len() as u32, kind: Kind::NameLost }
}
