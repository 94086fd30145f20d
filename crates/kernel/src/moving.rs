//! A process that goes to another kernel, with what is under way around it.
//!
//! It takes along its queue, its own call and who waits for it. Behind it stays where it went, so that what was on its
//! way follows it ([`Kernel::arrived`]); whoever it waits for finds it as an alien.
//!
//! A send that is still on its way as a packet is nobody's but the packet's: who took it for one that has arrived would
//! drop it as a duplicate when it comes ([`At::Away`]).

use peripatos_abi::Pid;

use crate::kernel::Kernel;
use crate::packet::Place;
use crate::process::{At, Call, Process};
use crate::remote::Alien;
use crate::table::Slot;

/// A process between two kernels.
#[derive(Debug)]
pub struct Moving {
    pub(crate) process: Process,
    /// Who has sent to it and has not been replied to, or may not have heard the reply.
    pub(crate) clients: Vec<(Pid, Alien)>,
}

impl Moving {
    /// Which process it is.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid
    }
}

impl Kernel {
    /// Takes a process out, which goes to that place. `None`: it is not here.
    pub fn extract(&mut self, slot: Slot, to: Place) -> Option<Moving> {
        let mut process = self.table.remove(slot)?;
        let pid = process.pid;
        let mut clients = self.aliens.take_clients(pid);
        for sender in self.table.iter_mut() {
            if let Call::Send { to, at, .. } = &mut sender.call
                && *to == pid
                && *at != At::Away
            {
                *at = At::Away;
                clients.push((sender.pid, Alien::new(self.place, pid, sender.sends)));
            }
        }
        if let Call::Send { to: server, at, .. } = &mut process.call
            && *at != At::Away
        {
            *at = At::Away;
            self.aliens.insert(pid, Alien::new(to, *server, process.sends));
        }
        self.move_ties(&mut process, to);
        self.routes.set(pid, to);
        Some(Moving { process, clients })
    }

    /// Those who stay behind, and are tied to one that goes, need to know where it is; and it, where they are.
    fn move_ties(&mut self, process: &mut Process, to: Place) {
        let (pid, here) = (process.pid, self.place);
        let Some(ties) = &mut process.ties else { return };
        for (&(other, watch), watcher) in &mut ties.watchers {
            let Some(theirs) = self.table.ties_of(other) else { continue };
            watcher.place = Some(here);
            if let Some(watching) = theirs.watching.get_mut(&(pid, watch)) {
                watching.place = Some(to);
            }
        }
        for (&(other, watch), watching) in &mut ties.watching {
            let Some(theirs) = self.table.ties_of(other) else { continue };
            watching.place = Some(here);
            if let Some(watcher) = theirs.watchers.get_mut(&(pid, watch)) {
                watcher.place = Some(to);
            }
        }
    }

    /// Takes a process in that has come from another kernel. `None`: one of this pid is here already.
    pub fn adopt(&mut self, moving: Moving) -> Option<Slot> {
        let Moving { process, clients } = moving;
        let pid = process.pid;
        let slot = self.table.insert(process)?;
        self.routes.forget(pid);
        // It is no alien here any more: whom it waits for here finds it by its pid.
        if let Some(alien) = self.aliens.forget(pid) {
            self.comes_home(slot, &alien);
        }
        for (client, alien) in clients {
            match self.table.find(client) {
                Some(client) => self.comes_home(client, &alien),
                None => self.aliens.insert(client, alien),
            }
        }
        Some(slot)
    }

    /// Sender and receiver of a send are in one table again.
    fn comes_home(&mut self, sender: Slot, alien: &Alien) {
        let Some(process) = self.table.get(sender) else { return };
        let Call::Send { to, .. } = process.call else { return };
        if !alien.waits(to, process.sends) {
            return;
        }
        let from = process.pid;
        let server = self.table.find(to).and_then(|slot| self.table.get(slot));
        let queued = |server: &Process| server.queue.iter().any(|waiting| waiting.from == from);
        match server {
            Some(server) if queued(server) => self.set_at(sender, At::Queued),
            Some(_) => self.set_at(sender, At::Received),
            None => {}
        }
    }
}
