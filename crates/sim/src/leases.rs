//! What processes lend with a send, and what others do with it: while they have the message, and now and then when they have it no more.

use peripatos_abi::message::{LEASE_READ, LEASE_WRITE, Status};
use peripatos_kernel::{AccessKind, Lender};

use crate::actor::{Access, BORROWED, Doing, ENVELOPE, Id, LENT, LENT_MAX, Serving};
use crate::checkers;
use crate::config::MS;
use crate::ledger::Loan;
use crate::world::World;

/// What bytes of memories that are lent are, at most.
const BYTE_MAX: usize = 0x80;

impl World {
    /// A process lends something with the send that comes next.
    pub(crate) fn perhaps_lend(&mut self, id: Id, number: usize) {
        checkers::leases::untouched(self, id);
        if !self.random.permille(300) {
            return;
        }
        let rights = [LEASE_READ, LEASE_WRITE, LEASE_READ | LEASE_WRITE][self.random.below(3)];
        let bytes = self.some_bytes(LENT_MAX);
        let len = bytes.len() as u32;
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        actor.put(LENT, &bytes);
        if let Err(status) = kernel.lend(slot, &mut actor.memory, (LENT, len), rights) {
            return self.violated("leases", format!("p{id} cannot lend: {status:?}"));
        }
        let may_be: Vec<Vec<u8>> = bytes.into_iter().map(|byte| vec![byte]).collect();
        let loan = Loan { rights, was: may_be.clone(), may_be };
        self.ledger.sends[number].loan = Some(loan);
    }

    fn some_bytes(&mut self, most: u32) -> Vec<u8> {
        let len = self.random.below(most as usize + 1);
        (0..len).map(|_| self.random.below(BYTE_MAX) as u8).collect()
    }

    /// A process that has somebody's message may do something with what was lent with it, and wait until it is done.
    pub(crate) fn perhaps_borrow(&mut self, id: Id) -> bool {
        if self.calm || !self.random.permille(150) {
            return false;
        }
        let stale = self.random.permille(200);
        let actor = &self.actors[id];
        let serving = if stale { actor.served } else { actor.serving.last().copied() };
        let Some(serving) = serving else { return false };
        let access = self.access_to(serving, stale);
        self.borrow(id, serving, access);
        true
    }

    fn access_to(&mut self, serving: Serving, stale: bool) -> Access {
        let kind = [AccessKind::Measure, AccessKind::Read, AccessKind::Write][self.random.below(3)];
        let offset = self.random.below(LENT_MAX as usize) as u32;
        let bytes = self.some_bytes(LENT_MAX);
        let Serving { number, hop, .. } = serving;
        let sender = &self.actors[self.ledger.sends[number].from];
        let open = sender.lives() && sender.doing == Doing::Sent(number);
        Access { number, hop, kind, offset, bytes, stale, open }
    }

    fn borrow(&mut self, id: Id, serving: Serving, access: Access) {
        checkers::leases::begins(self, &access);
        let (kind, offset, len) = (access.kind, access.offset, access.bytes.len() as u32);
        let now = self.now;
        self.trace.note(now, &[42, id as u64, serving.number as u64], || {
            format!("p{id} wants of {}: {access:?}", serving.number)
        });
        let Some((kernel, slot, actor)) = self.parts(id) else { return };
        actor.put(ENVELOPE, &serving.envelope);
        actor.put(BORROWED, &access.bytes);
        let (memory, own) = (&actor.memory, (BORROWED, len));
        let result = match kind {
            AccessKind::Measure => kernel.measure_lease(slot, memory, ENVELOPE),
            AccessKind::Read => kernel.read_lease(slot, memory, ENVELOPE, offset, own),
            AccessKind::Write => kernel.write_lease(slot, memory, ENVELOPE, offset, own),
        };
        actor.doing = Doing::Borrowing;
        actor.access = Some(access);
        match result {
            Ok(()) => self.perhaps_nap(id),
            Err(status) => self.borrowed(id, Err(status)),
        }
    }

    /// It is done, or cannot be.
    pub(crate) fn borrowed(&mut self, id: Id, result: Result<u32, Status>) {
        let actor = &mut self.actors[id];
        (actor.doing, actor.turns) = (Doing::Running, actor.turns + 1);
        let Some(access) = actor.access.take() else { return };
        let now = self.now;
        let words = [43, id as u64, access.number as u64, u64::from(result.is_ok())];
        self.trace.note(now, &words, || format!("p{id} is told of its access: {result:?}"));
        checkers::leases::done(self, id, &access, result);
        if self.actors[id].parked {
            self.plan_resume(id);
        } else {
            let service = self.random.within(MS / 10..20 * MS);
            self.plan_turn(id, service);
        }
    }

    /// A handler that is called on its sender's stack has what that one lends at hand.
    pub(crate) fn perhaps_borrow_beneath(&mut self, id: Id, lender: Id) {
        if !self.random.permille(200) {
            return;
        }
        let Some(serving) = self.actors[id].serving.last().copied() else { return };
        let access = self.access_to(serving, false);
        let Some((at, slot)) = self.actors[id].place else { return };
        let pid = self.actors[lender].pid;
        let mut own = std::mem::take(&mut self.actors[id].memory);
        own[ENVELOPE as usize..][..32].copy_from_slice(&serving.envelope);
        own[BORROWED as usize..][..access.bytes.len()].copy_from_slice(&access.bytes);
        checkers::leases::begins(self, &access);
        let beneath = Lender { pid, memory: &mut self.actors[lender].memory };
        let (what, buffer) = ((access.kind, access.offset), (BORROWED, access.bytes.len() as u32));
        let result =
            self.kernels[at].access_beneath(slot, &mut own, ENVELOPE, what, buffer, beneath);
        self.actors[id].memory = own;
        match result {
            Some(result) => checkers::leases::done(self, id, &access, result),
            None => self.violated("leases", format!("p{id} does not find p{lender} beneath")),
        }
    }
}
