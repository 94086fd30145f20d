//! A process that goes to another kernel, with what is under way around it.
//!
//! It takes along its queue, its own call and who waits for it. Behind it stays where it went, so that what was on its
//! way follows it ([`Kernel::arrived`]); whoever it waits for finds it as an alien.
//!
//! A send that is still on its way as a packet is nobody's but the packet's: who took it for one that has arrived would
//! drop it as a duplicate when it comes ([`At::Away`]).

use std::collections::BTreeSet;

use peripatos_abi::Pid;

use crate::alien::{Alien, Stage};
use crate::callers::Callers;
use crate::claim::Claim;
use crate::kernel::{Kernel, Woken};
use crate::mutation::Mutation;
use crate::packet::{Body, Place};
use crate::process::{At, Call, Form, Process, State};

use crate::table::Slot;

/// A process between two kernels.
#[derive(Debug)]
pub struct Moving {
    pub(crate) process: Process,
    /// Who has sent to it and has not been replied to, or may not have heard the reply.
    pub(crate) clients: Vec<(Pid, Alien)>,
    /// Whoever sends to groups on its behalf.
    pub(crate) delegates: Vec<Moving>,
}

impl Moving {
    /// Which process it is.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.pid
    }

    /// How it takes its messages.
    #[must_use]
    pub fn form(&self) -> Form {
        self.process.form
    }

    /// A handler: whether it has been called, and has not answered.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.process.serves.is_some()
    }

    /// It was between two kernels for so many nanoseconds, as one that was kept as an image is. What it waits for is then
    /// given up the earlier; the message that it has sent may not be known any more where it went.
    pub fn has_waited(&mut self, nanoseconds: u64) {
        let ties = self.process.ties.iter_mut().flat_map(|ties| ties.watching.values_mut());
        for claim in ties.map(|watching| &mut watching.claim).chain([&mut self.process.out.claim]) {
            claim.since = claim.since.saturating_add(nanoseconds);
        }
        self.delegates.iter_mut().for_each(|delegate| delegate.has_waited(nanoseconds));
    }
}

impl Kernel {
    /// Takes a process out, which goes to that place. `None`: it is not here.
    pub fn extract(&mut self, slot: Slot, to: Place) -> Option<Moving> {
        let mut process = self.table.remove(slot)?;
        process.moved += 1;
        let (pid, here, now) = (process.pid, self.place, self.now);
        let mut left = Vec::new();
        let is_waited_for = process.is_waited_for() || process.wanted().is_some();
        let callers = if is_waited_for { self.callers_of(&process) } else { Vec::new() };
        process.callers = Callers::default();
        for caller in callers {
            let Some(sender) = self.table.get_mut(caller) else { continue };
            let (last, moved) = (sender.last_send(), sender.moved);
            if let Call::Send { at, .. } = &mut sender.call {
                *at = At::Away;
                sender.out.claim = Claim::known(to, now);
                self.aliens.insert((sender.pid, pid), Alien::new(here, moved, last), now);
                left.push(caller);
            }
        }
        let last = process.last_send();
        if let Call::Send { to: server, at, .. } = &mut process.call {
            if *at != At::Away {
                let taken = *at == At::Received;
                *at = At::Away;
                process.out.claim = Claim::known(here, now);
                let alien = Alien { taken, ..Alien::new(to, process.moved, last) };
                self.aliens.insert((pid, *server), alien, now);
            }
            process.out.claim.place = process.out.claim.place.or(self.routes.get(*server));
        }
        process.out.claim.leave(here, now);
        process.ties.iter_mut().for_each(|ties| ties.turn_times(now));
        let mut clients = self.aliens.leave_with(pid);
        if !to.is_near(here) && !self.does_wrong(Mutation::NoWordOfLeaving) {
            self.tell_moved(&process, &clients, to);
        }
        self.move_ties(&mut process, to);
        if !self.does_wrong(Mutation::NoForwarder) {
            self.routes.went(pid, to);
        }
        for slot in left {
            self.rearm_send(slot);
        }
        if self.does_wrong(Mutation::QueueLost) {
            process.queue.clear();
        }
        if self.does_wrong(Mutation::ClientsLost) {
            clients.clear();
        }
        if self.does_wrong(Mutation::ServedForgotten) {
            process.serves = None;
        }
        if self.does_wrong(Mutation::WantedLost) {
            process.lease.iter_mut().for_each(|lease| lease.wanted = None);
        }
        if self.does_wrong(Mutation::DelegatesLeft) {
            return Some(Moving { process, clients, delegates: Vec::new() });
        }
        let delegates = process.delegates().filter_map(|pid| self.table.find(pid));
        let delegates: Vec<Slot> = delegates.collect();
        let delegates = delegates.into_iter().filter_map(|slot| self.extract(slot, to)).collect();
        Some(Moving { process, clients, delegates })
    }

    /// Those on other cores who count on it that nothing is lost within the node have to ask from now on.
    fn tell_moved(&mut self, process: &Process, clients: &[(Pid, Alien)], at: Place) {
        let waiting = clients.iter().filter(|(_, alien)| alien.stage == Stage::Waits);
        let waiting = waiting.map(|(pid, alien)| (*pid, Some(alien.place)));
        let watchers = process.ties.iter().flat_map(|ties| &ties.watchers);
        let watching = watchers.map(|((pid, _), watcher)| (*pid, watcher.place));
        let all: Vec<_> = waiting.chain(watching).collect();
        for (pid, place) in all {
            let place = place.or(self.routes.get(pid));
            if self.table.find(pid).is_none() && place.is_none_or(|one| one.is_near(self.place)) {
                self.post(place, process.pid, pid, Body::Moved { at });
            }
        }
    }

    /// Those who stay behind, and are tied to one that goes, need to know where it is; and it, where they are.
    fn move_ties(&mut self, process: &mut Process, to: Place) {
        let (pid, moved) = (process.pid, process.moved);
        let (here, now) = (self.place, self.now);
        let Some(ties) = &mut process.ties else { return };
        let mut left = Vec::new();
        for (&(other, watch), watcher) in &mut ties.watchers {
            let Some((moved, theirs)) = self.table.ties_of(other) else { continue };
            (watcher.place, watcher.moved) = (Some(here), moved);
            if let Some(watching) = theirs.watching.get_mut(&(pid, watch)) {
                watching.claim = Claim::known(to, now);
                left.push((other, watch));
            }
        }
        for (&(other, watch), watching) in &mut ties.watching {
            if let Some((_, theirs)) = self.table.ties_of(other) {
                let watcher = theirs.watchers.get_mut(&(pid, watch));
                // Whom it watches may have come only now, and not have been told yet.
                watching.claim = match watching.claim.got || watcher.is_some() {
                    true => Claim::known(here, now),
                    false => Claim::new(Some(here), now),
                };
                if let Some(watcher) = watcher {
                    (watcher.place, watcher.moved) = (Some(to), moved);
                }
            }
            watching.claim.leave(here, now);
        }
        for (other, watch) in left {
            if let Some(slot) = self.table.find(other) {
                self.rearm_watch(slot, pid, watch);
            }
        }
    }

    /// Takes a process in that has come from another kernel, and runs only here from now on. `None`: one of this pid is
    /// here already.
    pub fn adopt(&mut self, moving: Moving) -> Option<Slot> {
        let Moving { mut process, clients, delegates } = moving;
        let (pid, now) = (process.pid, self.now);
        process.out.claim.come(now);
        process.out.came = Some(now);
        process.ties.iter_mut().for_each(|ties| ties.turn_times(now));
        for watching in process.ties.iter_mut().flat_map(|ties| ties.watching.values_mut()) {
            watching.claim.come(now);
        }
        let slot = self.table.insert(process)?;
        self.routes.forget(pid);
        self.ends.remove(pid);
        let queued = queued_for(self.table.get(slot), &clients);
        for (client, mut alien) in clients {
            alien.taken = !queued.contains(&(client, alien.send.0));
            self.aliens.insert((client, pid), alien, now);
            if let Some(client) = self.table.find(client) {
                self.meet(client, slot);
            }
        }
        // Whomever it waits for or watches learns from where it asks.
        self.press_send(slot);
        self.press_watches(slot);
        self.wake_ready(slot);
        for delegate in delegates {
            self.adopt(delegate);
        }
        Some(slot)
    }

    /// What woke it where it was has woken nobody here.
    fn wake_ready(&mut self, slot: Slot) {
        let Some(process) = self.table.get(slot) else { return };
        let callable = process.form == Form::Handler && process.serves.is_none();
        if callable && process.has_waiting() {
            self.woken.push_back(Woken::Handler(slot));
        }
        if !process.call.is_none() && process.state() == State::Ready {
            self.woken.push_back(Woken::Process(slot));
        }
    }

    /// A sender and its receiver's record of it are in one table.
    fn meet(&mut self, client: Slot, server: Slot) {
        let Some((sender, receiver)) = self.table.pair_mut(client, server) else { return };
        let (pair, last) = ((sender.pid, receiver.pid), sender.last_send());
        let waits = matches!(sender.call, Call::Send { to, .. } if to == pair.1);
        let known = self.aliens.get(pair).is_some_and(|alien| alien.send == last);
        if waits && known && sender.is_away(last) {
            self.send_home(client, server);
        } else {
            self.aliens.close(pair);
        }
    }
}

/// Which sends lie in the queue of a process that has come, if it has clients at all.
fn queued_for(process: Option<&Process>, clients: &[(Pid, Alien)]) -> BTreeSet<(Pid, u64)> {
    let queue = process.filter(|_| !clients.is_empty()).into_iter().flat_map(|one| &one.queue);
    queue.map(|waiting| (waiting.from, waiting.transaction)).collect()
}
