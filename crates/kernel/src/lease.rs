//! Leases: a server reads and writes a part of the memory of whoever waits for its reply.
//!
//! A blocked process's memory cannot be reached from outside. So a server's operation on it, an [`Access`], is a send to
//! the lender that the lender's kernel answers in its stead, when it waits and shows its memory ([`Kernel::wait`]). It
//! travels, is repeated, asked after and told of ends as any send is. One is there at a time: whoever has the message has
//! one call under way.
//!
//! Whoever is called on the lender's stack has its memory at hand ([`Lender`]), and needs nothing of that.

use peripatos_abi::Pid;
use peripatos_abi::message::{LEASE_BYTES_MAX, LEASE_READ, LEASE_WRITE, Status};
use serde::{Deserialize, Serialize};

use crate::alien::{Alien, Answer, Send};
use crate::bytes::Bytes;
use crate::claim::Claim;
use crate::kernel::{Kernel, Woken};
use crate::limits::ALIENS_MAX;
use crate::mutation::Mutation;
use crate::packet::{Body, Place};
use crate::process::{At, Call, Process, Span};
use crate::send::{read_sender, take_reply};
use crate::table::Slot;

/// What a process lends with a send, until that is over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) part: Span,
    rights: u32,
    /// With which of its sends.
    transaction: u64,
    /// What is to be done when it shows its memory.
    pub(crate) wanted: Option<Wanted>,
}

/// Somebody's operation, at the lender.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    from: Pid,
    transaction: u64,
    pub(crate) access: Access,
    /// What is to be written.
    pub(crate) bytes: Bytes,
}

/// An operation on what somebody lends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// What it is.
    pub kind: AccessKind,
    /// With which of the lender's sends that was lent.
    pub lent: u64,
    /// Where it begins.
    pub offset: u32,
    /// How many bytes, if there are so many.
    pub len: u32,
}

/// Kinds of [`Access`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessKind {
    /// Ask how long it is.
    Measure,
    /// Copy from there.
    Read,
    /// Copy to there.
    Write,
}

impl AccessKind {
    /// What has to be allowed.
    fn right(self) -> u32 {
        match self {
            AccessKind::Measure => LEASE_READ | LEASE_WRITE,
            AccessKind::Read => LEASE_READ,
            AccessKind::Write => LEASE_WRITE,
        }
    }
}

impl Process {
    /// The part of its memory that this operation is to have. `outlives`: a mutation.
    fn granted(&self, from: Pid, access: Access, outlives: bool) -> Result<Span, Status> {
        if !outlives && !self.awaits(access.lent, from) {
            return Err(Status::NotWaiting);
        }
        let lease = self.lease.as_ref().filter(|lease| lease.transaction == access.lent);
        let lease = lease.filter(|lease| lease.rights & access.kind.right() != 0);
        Ok(lease.ok_or(Status::NotPermitted)?.part)
    }

    /// Who wants something of what it lends, with which send.
    pub(crate) fn wanted(&self) -> Option<(Pid, u64)> {
        let wanted = self.lease.as_ref()?.wanted.as_ref()?;
        Some((wanted.from, wanted.transaction))
    }

    /// Somebody's operation is not wanted any more.
    pub(crate) fn access_over(&mut self, from: Pid, transaction: u64) {
        if self.wanted() == Some((from, transaction))
            && let Some(lease) = &mut self.lease
        {
            lease.wanted = None;
        }
    }

    /// Whether an operation under way can have come to so many bytes.
    pub(crate) fn may_have_done(&self, count: u32) -> bool {
        match self.out.access {
            Some(Access { kind: AccessKind::Measure, .. }) => count as usize <= LEASE_BYTES_MAX,
            Some(Access { len, .. }) => count <= len,
            None => false,
        }
    }
}

/// A process that waits beneath another one on the same stack, and all of its memory.
#[derive(Debug)]
pub struct Lender<'a> {
    /// Which process.
    pub pid: Pid,
    /// Not longer than when it lent.
    pub memory: &'a mut [u8],
}

/// What lenders and borrowers do.
impl Kernel {
    /// A process will lend a part of its memory to whoever has the message that it sends next, until the reply. If that
    /// send fails at once, nothing is lent.
    ///
    /// # Errors
    /// [`Status::BadAddress`], [`Status::TooLong`], [`Status::NotNow`]; [`Status::NotPermitted`]: there are no such rights.
    pub fn lend(
        &mut self,
        me: Slot,
        memory: &mut [u8],
        part: (u32, u32),
        rights: u32,
    ) -> Result<(), Status> {
        let span = Span::new(part.0, part.1, memory.len())?;
        if part.1 as usize > LEASE_BYTES_MAX {
            return Err(Status::TooLong);
        }
        if rights == 0 || rights & !(LEASE_READ | LEASE_WRITE) != 0 {
            return Err(Status::NotPermitted);
        }
        let process = self.table.get(me).ok_or(Status::NoProcess)?;
        if !process.call.is_none() {
            return Err(Status::NotNow);
        }
        // Of an earlier lease, somebody may still want something: no more.
        self.serve_access(me, memory);
        let process = self.table.get_mut(me).ok_or(Status::NoProcess)?;
        let transaction = process.sends + 1;
        process.lease = Some(Box::new(Lease { part: span, rights, transaction, wanted: None }));
        Ok(())
    }

    /// A process's send has failed at once: what it was to lend is not lent by the next one.
    pub(crate) fn lend_nothing(&mut self, me: Slot) {
        if let Some(process) = self.table.get_mut(me)
            && process.lease.as_ref().is_some_and(|lease| lease.transaction > process.sends)
        {
            process.lease = None;
        }
    }

    /// A process has sent, but its program has not: what it was to lend it lends with its next send.
    pub(crate) fn lend_later(&mut self, me: Slot, before: u64) {
        let Some(process) = self.table.get_mut(me) else { return };
        let sends = process.sends;
        if let Some(lease) = process.lease.as_mut().filter(|lease| lease.transaction > before) {
            lease.transaction = sends + 1;
        }
    }

    /// A process asks how much was lent with a message that it has. It waits.
    ///
    /// # Errors
    /// See [`Status`]: it goes on. What is wrong with the lease is told by [`Kernel::wait`].
    pub fn measure_lease(&mut self, me: Slot, memory: &[u8], envelope: u32) -> Result<(), Status> {
        let nowhere = Span::new(0, 0, memory.len())?;
        self.begin_access(me, memory, envelope, (AccessKind::Measure, 0, 0), &[], nowhere)
    }

    /// A process reads from what was lent with a message that it has: fewer bytes at the end of it, none beyond. It waits.
    ///
    /// # Errors
    /// As [`Kernel::measure_lease`].
    pub fn read_lease(
        &mut self,
        me: Slot,
        memory: &[u8],
        envelope: u32,
        offset: u32,
        buffer: (u32, u32),
    ) -> Result<(), Status> {
        let reply = Span::message(buffer.0, buffer.1, memory.len())?;
        let access = (AccessKind::Read, offset, buffer.1);
        self.begin_access(me, memory, envelope, access, &[], reply)
    }

    /// A process writes to what was lent with a message that it has: fewer bytes at the end of it, none beyond. It waits.
    ///
    /// # Errors
    /// As [`Kernel::measure_lease`].
    pub fn write_lease(
        &mut self,
        me: Slot,
        memory: &[u8],
        envelope: u32,
        offset: u32,
        bytes: (u32, u32),
    ) -> Result<(), Status> {
        let from = Span::message(bytes.0, bytes.1, memory.len())?;
        let nowhere = Span::new(0, 0, memory.len())?;
        let access = (AccessKind::Write, offset, bytes.1);
        self.begin_access(me, memory, envelope, access, &memory[from.range()], nowhere)
    }

    /// Does an operation at once, with so many bytes of the caller's memory as the buffer, if this is who lends: what
    /// [`Kernel::wait`] would have answered. `None`: it is somebody else, or something is wrong with the call, which the call for
    /// the operation says.
    pub fn access_beneath(
        &self,
        me: Slot,
        memory: &mut [u8],
        envelope: u32,
        (kind, offset): (AccessKind, u32),
        buffer: (u32, u32),
        lender: Lender<'_>,
    ) -> Option<Result<u32, Status>> {
        let (to, lent) = read_sender(memory, envelope).ok()?;
        let buffer = Span::message(buffer.0, buffer.1, memory.len()).ok()?;
        let process = self.table.get(me).filter(|process| process.call.is_none())?;
        let lends = self.table.find(to).filter(|_| lender.pid == to)?;
        let lends = self.table.get(lends)?;
        let access = Access { kind, lent, offset, len: buffer.len() as u32 };
        let part = match lends.granted(process.pid, access, false) {
            Ok(part) => part,
            Err(status) => return Some(Err(status)),
        };
        let cut = part.cut(offset, access.len);
        let own = &mut memory[buffer.first(cut.len())];
        match kind {
            AccessKind::Measure => return Some(Ok(part.len() as u32)),
            AccessKind::Read => own.copy_from_slice(&lender.memory[cut.range()]),
            AccessKind::Write => lender.memory[cut.range()].copy_from_slice(own),
        }
        Some(Ok(cut.len() as u32))
    }

    fn begin_access(
        &mut self,
        me: Slot,
        memory: &[u8],
        envelope: u32,
        (kind, offset, len): (AccessKind, u32, u32),
        bytes: &[u8],
        reply: Span,
    ) -> Result<(), Status> {
        let (to, lent) = read_sender(memory, envelope)?;
        let pid = self.pid(me).ok_or(Status::NoProcess)?;
        let known = self.aliens.get((to, pid)).map(|lender| lender.place);
        let (place, now) = (known.or(self.routes.get(to)), self.now);
        let process = self.table.get_mut(me).ok_or(Status::NoProcess)?;
        if !process.call.is_none() {
            return Err(Status::NotNow);
        }
        if pid == to {
            return Err(Status::NotWaiting);
        }
        let before = process.sends;
        process.begin_send();
        process.call = Call::Send { to, reply, at: At::Away };
        process.out.claim = Claim::new(place, now);
        process.out.kept = Some(Bytes::from(bytes));
        process.out.access = Some(Access { kind, lent, offset, len });
        self.lend_later(me, before);
        // Also if the lender is here.
        self.press_send(me);
        Ok(())
    }
}

/// What kernels do.
impl Kernel {
    /// An operation whose lender is in the same table.
    pub(crate) fn access_here(&mut self, server: Slot, lender: Slot, bytes: Bytes) {
        let Some((process, lends)) = self.table.pair_mut(server, lender) else { return };
        let Some(access) = process.out.access else { return };
        let (from, transaction, to) = (process.pid, process.sends, lends.pid);
        self.set_at(server, At::Queued);
        if let Err(status) = self.want(lender, Wanted { from, transaction, access, bytes }) {
            self.fail(from, transaction, to, status);
        }
    }

    /// An operation has come from another kernel for the first time.
    pub(crate) fn access_came(
        &mut self,
        (source, moved): (Place, u32),
        from: Pid,
        lender: Slot,
        send: Send,
        access: Access,
        bytes: Bytes,
    ) {
        if let Some(server) = self.table.find(from) {
            // It has moved here meanwhile, and what it has sent has followed it.
            return self.press_send(server);
        }
        let (transaction, hop) = send;
        let Some(to) = self.pid(lender) else { return };
        let done = if self.aliens.len() >= ALIENS_MAX {
            Err(Status::Full)
        } else {
            self.want(lender, Wanted { from, transaction, access, bytes })
        };
        match done {
            Ok(()) => self.aliens.insert((from, to), Alien::new(source, moved, send), self.now),
            Err(status) => {
                let answer = Answer::Failed(status);
                self.post(Some(source), to, from, Body::Reply { transaction, hop, answer });
            }
        }
    }

    /// Keeps an operation until the lender shows its memory.
    fn want(&mut self, lender: Slot, wanted: Wanted) -> Result<(), Status> {
        let outlives = self.does_wrong(Mutation::LeaseOutlives);
        let process = self.table.get_mut(lender).ok_or(Status::NoProcess)?;
        process.granted(wanted.from, wanted.access, outlives)?;
        let (pid, from) = (process.pid, wanted.from);
        let lease = process.lease.as_mut().ok_or(Status::NotPermitted)?;
        let before = lease.wanted.replace(wanted);
        self.woken.push_back(Woken::Process(lender));
        // One that was there already is of the same process, which does not wait for it any more, or of one that has handed the message
        // on, and wanted it before that was heard here.
        if let Some(before) = before.filter(|before| before.from != from) {
            self.fail(before.from, before.transaction, pid, Status::NotWaiting);
        }
        Ok(())
    }

    /// A process shows its memory: what is wanted of it is done.
    #[inline]
    pub(crate) fn serve_access(&mut self, me: Slot, memory: &mut [u8]) {
        let lease = self.table.get_mut(me).and_then(|process| process.lease.as_mut());
        if let Some(wanted) = lease.and_then(|lease| lease.wanted.take()) {
            self.carry_out(me, wanted, memory);
        }
    }

    fn carry_out(&mut self, me: Slot, wanted: Wanted, memory: &mut [u8]) {
        let Some(process) = self.table.get(me) else { return };
        let Wanted { from, transaction, access, bytes } = wanted;
        let outlives = self.does_wrong(Mutation::LeaseOutlives);
        let (pid, granted) = (process.pid, process.granted(from, access, outlives));
        let unseen = self.does_wrong(Mutation::WriteUnseen);
        let waits = |server: &&mut Process| {
            server.sends == transaction
                && server.accesses()
                && matches!(server.call, Call::Send { to, .. } if to == pid)
        };
        let here = self.table.find(from);
        let server = here.and_then(|slot| self.table.get_mut(slot)).filter(waits);
        let answer = match (granted, access.kind) {
            (Err(status), _) => Answer::Failed(status),
            (Ok(part), AccessKind::Measure) => Answer::Done(part.range().len() as u32),
            (Ok(part), AccessKind::Write) => {
                let part = part.cut(access.offset, bytes.len() as u32);
                if !unseen {
                    memory[part.range()].copy_from_slice(&bytes[..part.range().len()]);
                }
                Answer::Done(part.range().len() as u32)
            }
            (Ok(part), AccessKind::Read) => {
                let read = &memory[part.cut(access.offset, access.len).range()];
                match (server, here) {
                    (Some(server), Some(slot)) => {
                        take_reply(server, read);
                        return self.woken.push_back(Woken::Process(slot));
                    }
                    _ => Answer::Replied(Bytes::from(read)),
                }
            }
        };
        match here {
            // Whoever waits no more need not be told.
            None => drop(self.answer_alien(from, transaction, pid, answer)),
            Some(slot) if self.table.get_mut(slot).as_ref().is_some_and(waits) => {
                self.answer_sender(slot, answer);
            }
            Some(_) => {}
        }
    }
}
