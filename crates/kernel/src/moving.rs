//! A process that goes to another kernel, with what is under way around it.
//!
//! It takes along its queue, its own call and who waits for it. Behind it stays where it went, so that what was on its
//! way follows it ([`Kernel::arrived`]); whoever it waits for finds it as an alien.

use peripatos_abi::Pid;

use crate::kernel::Kernel;
use crate::packet::Place;
use crate::process::{Call, Process};
use crate::remote::Alien;
use crate::table::Slot;

/// A process between two kernels.
#[derive(Debug)]
pub struct Moving {
    process: Process,
    /// Who has sent to it and has not been replied to, or may not have heard the reply.
    clients: Vec<(Pid, Alien)>,
}

impl Kernel {
    /// Takes a process out, which goes to that place. `None`: it is not here.
    pub fn extract(&mut self, slot: Slot, to: Place) -> Option<Moving> {
        let mut process = self.table.remove(slot)?;
        let pid = process.pid;
        let mut clients = self.aliens.take_clients(pid);
        for sender in self.table.iter_mut() {
            if let Call::Send { to, received, .. } = &mut sender.call
                && *to == pid
            {
                // Whether it is received, from now on only another kernel knows.
                *received = true;
                clients.push((sender.pid, Alien::new(self.place, pid, sender.sends)));
            }
        }
        if let Call::Send { to: server, received, .. } = &mut process.call {
            *received = true;
            if self.table.find(*server).is_some() {
                self.aliens.insert(pid, Alien::new(to, *server, process.sends));
            }
        }
        self.routes.set(pid, to);
        Some(Moving { process, clients })
    }

    /// Takes a process in that has come from another kernel. `None`: one of this pid is here already.
    pub fn adopt(&mut self, moving: Moving) -> Option<Slot> {
        let Moving { process, clients } = moving;
        let pid = process.pid;
        let slot = self.table.insert(process)?;
        self.routes.forget(pid);
        // It is no alien here any more: whom it waits for here finds it by its pid.
        self.aliens.forget(pid);
        for (client, alien) in clients {
            if self.table.find(client).is_none() {
                self.aliens.insert(client, alien);
            }
        }
        Some(slot)
    }
}
