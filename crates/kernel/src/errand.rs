//! Words on a process's behalf that nobody waits for: bits, the end of a watch, the end of a child.
//!
//! To another node the kernel says them until they were acknowledged, also when the process has moved on or ended. One
//! that comes again is not done again; if its receiver moves between two of them, it may be.

use std::collections::BTreeMap;

use peripatos_abi::Pid;
use peripatos_abi::message::Status;

use crate::aged::Aged;
use crate::budget::{ErrandToll, Toll};
use crate::claim::{Claim, Concern, Timer};
use crate::kernel::Kernel;
use crate::limits::{ALIEN_NS, ERRANDS_DONE_MAX, ERRANDS_MAX};
use crate::packet::{Body, Packet, Place};
use crate::table::Slot;

#[derive(Debug)]
pub(crate) struct Errands {
    /// The number of the last one. The upper half is the kernel's era.
    last: u64,
    under_way: BTreeMap<u64, Errand>,
    /// Other kernels' that were done here.
    done: Aged<(Place, u64), ()>,
}

#[derive(Debug)]
struct Errand {
    from: Pid,
    to: Pid,
    body: Body,
    claim: Claim,
    toll: ErrandToll,
}

impl Errands {
    pub(crate) fn of_era(era: u32) -> Errands {
        let last = u64::from(era) << 32;
        Errands { last, under_way: BTreeMap::new(), done: Aged::new(ERRANDS_DONE_MAX) }
    }

    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn done(&self) -> usize {
        self.done.len()
    }

    pub(crate) fn tick(&mut self, now: u64) {
        self.done.expire(now, ALIEN_NS, |_, _| true);
    }
}

impl Kernel {
    /// Says something to a process that is not here, until it was heard.
    ///
    /// # Errors
    /// [`Status::Full`].
    pub(crate) fn send_errand(
        &mut self,
        from: Pid,
        to: Pid,
        body: Body,
        toll: Toll,
    ) -> Result<(), Status> {
        let place = self.routes.get(to);
        let claim = Claim::new(place, self.now);
        if !claim.is_lossy(self.place) {
            self.post(place, from, to, body);
            self.pay(toll);
            return Ok(());
        }
        if self.errands.under_way.len() >= ERRANDS_MAX {
            return Err(Status::Full);
        }
        let toll = toll.for_errand()?;
        // 0 is no number.
        self.errands.last = self.errands.last.wrapping_add(1).max(1);
        let number = self.errands.last;
        let body = numbered(body, number);
        self.errands.under_way.insert(number, Errand { from, to, body, claim, toll });
        self.press_errand(number);
        Ok(())
    }

    /// What a process says to others that nobody waits for: whether its program may say more.
    ///
    /// # Errors
    /// [`Status::Full`].
    pub(crate) fn toll(&self, me: Slot) -> Result<Toll, Status> {
        Toll::take(self.table.get(me).and_then(|process| process.budget.as_ref()))
    }

    /// The packet that was posted last counts as this.
    pub(crate) fn pay(&mut self, toll: Toll) {
        if let Some(packet) = self.packets.back_mut() {
            packet.toll = toll;
        }
    }

    fn press_errand(&mut self, number: u64) {
        let (here, now) = (self.place, self.now);
        let Some(errand) = self.errands.under_way.get_mut(&number) else { return };
        let (from, to) = (errand.from, errand.to);
        let place = errand.claim.aim(here, &mut self.routes, to);
        if let Some(due) = errand.claim.arm(here, now) {
            self.timers
                .push(now, Timer { due, pid: from, to, concern: Concern::Errand { number } });
        }
        errand.claim.tries += 1;
        let body = errand.body.clone();
        if self.table.find(to).is_some() || !errand.claim.is_lossy(here) {
            // It has come here, or to another core: nobody need stand up for it.
            let errand = self.errands.under_way.remove(&number);
            let toll = errand.map_or(Toll::default(), |errand| errand.toll.near());
            let body = numbered(body, 0);
            if self.table.find(to).is_none() {
                self.post(place, from, to, body);
                return self.pay(toll);
            }
            let (source, target, moved, relays) = (here, place, 0, 0);
            let packet = Packet { source, target, from, to, moved, relays, body, toll };
            return self.arrived(packet);
        }
        self.post(place, from, to, body);
    }

    pub(crate) fn retry_errand(&mut self, number: u64, due: u64) {
        let Some(errand) = self.errands.under_way.get_mut(&number) else { return };
        errand.claim.redirects = 0;
        if errand.claim.due != due {
            return;
        }
        if errand.claim.is_hopeless(self.now) {
            self.errands.under_way.remove(&number);
            return;
        }
        self.press_errand(number);
    }

    pub(crate) fn errand_done(&mut self, number: u64) {
        self.errands.under_way.remove(&number);
    }

    pub(crate) fn errand_not_there(&mut self, source: Place, number: u64, at: Option<Place>) {
        let (here, now) = (self.place, self.now);
        let Some(errand) = self.errands.under_way.get_mut(&number) else { return };
        let to = errand.to;
        let at_once = errand.claim.redirected(here, source, at, now);
        self.learn(source, to, at);
        if at_once {
            return self.press_errand(number);
        }
        let Some(errand) = self.errands.under_way.get_mut(&number) else { return };
        if errand.claim.due == 0 {
            let due = errand.claim.wait(now);
            let (pid, concern) = (errand.from, Concern::Errand { number });
            self.timers.push(now, Timer { due, pid, to, concern });
        }
    }

    /// Whether a word that has come was not done yet.
    pub(crate) fn errand_is_new(&mut self, source: Place, number: u64) -> bool {
        if number == 0 {
            return true;
        }
        let new = self.errands.done.get((source, number)).is_none();
        self.errands.done.insert((source, number), (), self.now);
        new
    }
}

fn numbered(body: Body, errand: u64) -> Body {
    match body {
        Body::Notify { bits, .. } => Body::Notify { errand, bits },
        Body::Unwatch { watch, number, theirs, .. } => {
            Body::Unwatch { errand, watch, number, theirs }
        }
        Body::Kill { .. } => Body::Kill { errand },
        other => other,
    }
}
