//! A send to several processes at once: to the members of a group.
//!
//! Each member is sent to by a *delegate* of the sender: a process without a program, with a send of its own under way. So
//! all that holds of sends holds for each member, and nothing else of the kernel knows of groups. A delegate has its
//! principal's pid with a number in its upper bits; to whom it sends it is the principal, with that number in the
//! transaction. It lives where its principal does, goes where that goes, and is over when it has its answer.
//!
//! What it does not do: find circles through a send to a group over several kernels.

use peripatos_abi::message::{ALL_REPLIES_BYTES_MAX, GROUP_MEMBERS_MAX, PID_BYTES, Status};
use peripatos_abi::{EndReason, Pid};
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::deadlock;
use crate::kernel::{Kernel, Woken};
use crate::mutation::Mutation;
use crate::process::{Call, Form, Process, Span};
use crate::table::Slot;

/// Delegates of one process. One may be left of an earlier send, whose first reply has counted.
pub(crate) const DELEGATES_MAX: usize = 4_096;
/// The bits of a pid's number that pids as they are given do not have.
const NUMBER_BITS: u32 = 48;
const PID_SHIFT: u32 = 64 + NUMBER_BITS;
const TRANSACTION_BITS: u32 = 48;

/// Whose delegate a process is; most are their own principals. It is where its principal is.
#[must_use]
#[inline]
pub fn principal(pid: Pid) -> Pid {
    Pid::from_bits(pid.bits() & ((1 << PID_SHIFT) - 1))
}

/// Which delegate of its principal it is. 0: it is none.
#[inline]
fn index_of(pid: Pid) -> u16 {
    (pid.bits() >> PID_SHIFT) as u16
}

fn delegate(pid: Pid, index: u16) -> Pid {
    Pid::from_bits(pid.bits() | u128::from(index) << PID_SHIFT)
}

/// A send, as its receiver sees it.
#[inline]
pub(crate) fn shown(from: Pid, transaction: u64) -> (Pid, u64) {
    (principal(from), transaction | u64::from(index_of(from)) << TRANSACTION_BITS)
}

/// And back.
#[inline]
pub(crate) fn meant(from: Pid, transaction: u64) -> (Pid, u64) {
    let index = (transaction >> TRANSACTION_BITS) as u16;
    (delegate(from, index), transaction & ((1 << TRANSACTION_BITS) - 1))
}

/// A process's delegates.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    last: u16,
    pub(crate) delegates: Vec<u16>,
    gather: Option<Gather>,
}

/// A send to a group that is under way.
#[derive(Debug, Serialize, Deserialize)]
struct Gather {
    transaction: u64,
    all: bool,
    reply: Span,
    parts: Vec<Part>,
    /// That all replies take so far, and all members without.
    bytes: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Part {
    member: Pid,
    index: u16,
    answer: Option<Result<Bytes, Status>>,
}

impl Gather {
    /// Takes an answer in. What its sender is to be told, if that is all.
    fn take(
        &mut self,
        index: u16,
        answer: Result<Bytes, Status>,
    ) -> Option<Result<Vec<u8>, Status>> {
        let room = self.room();
        let part = self.parts.iter_mut().find(|part| part.index == index)?;
        if let (false, Ok(bytes)) = (self.all, &answer) {
            return Some(Ok(bytes.to_vec()));
        }
        let bytes = answer.as_ref().map_or(0, |bytes| bytes.len().next_multiple_of(4));
        if self.all && bytes > 0 && self.bytes + bytes > room {
            part.answer = Some(Err(Status::TooLong));
        } else {
            self.bytes += bytes;
            part.answer = Some(answer);
        }
        self.outcome()
    }

    /// That all replies which are there take.
    fn kept(&self) -> usize {
        let replies = self.parts.iter().filter_map(|part| part.answer.as_ref()?.as_ref().ok());
        let replies = replies.map(|bytes| bytes.len().next_multiple_of(4)).sum::<usize>();
        replies + RECORD_BYTES * self.parts.len()
    }

    /// For all replies.
    fn room(&self) -> usize {
        self.reply.range().len().min(ALL_REPLIES_BYTES_MAX)
    }

    /// What its sender is to be told when all have answered.
    fn outcome(&self) -> Option<Result<Vec<u8>, Status>> {
        if self.parts.iter().any(|part| part.answer.is_none()) {
            return None;
        }
        if !self.all {
            let mut errors =
                self.parts.iter().filter_map(|part| part.answer.as_ref()?.as_ref().err());
            return Some(Err(errors.next().copied().unwrap_or(Status::NoProcess)));
        }
        let mut records = Vec::with_capacity(self.bytes);
        for Part { member, answer, .. } in &self.parts {
            let empty: &[u8] = &[];
            let (code, bytes) = match answer {
                Some(Ok(bytes)) => (bytes.len() as i32, &**bytes),
                Some(Err(status)) => (status.code(), empty),
                None => (Status::NoProcess.code(), empty),
            };
            records.extend_from_slice(&member.bits().to_le_bytes());
            records.extend_from_slice(&code.to_le_bytes());
            records.extend_from_slice(bytes);
            records.resize(records.len().next_multiple_of(4), 0);
        }
        Some(Ok(records))
    }
}

/// What a member takes among all replies, beside its reply.
const RECORD_BYTES: usize = PID_BYTES + 4;

impl Process {
    fn gather(&self) -> Option<&Gather> {
        let gather = self.group.as_ref().and_then(|group| group.gather.as_ref());
        gather.filter(|_| self.call == Call::Gather)
    }

    /// Delegates that it cannot go on without.
    pub(crate) fn gathers(&self) -> impl Iterator<Item = Pid> {
        let gather = self.gather().filter(|gather| gather.all);
        let parts = gather.into_iter().flat_map(|gather| &gather.parts);
        parts.filter(|part| part.answer.is_none()).map(|part| delegate(self.pid, part.index))
    }

    /// One of those whose replies it waits for.
    pub(crate) fn gathers_from(&self) -> Pid {
        let mut parts = self.gather().into_iter().flat_map(|gather| &gather.parts);
        parts.find(|part| part.answer.is_none()).map_or(self.pid, |part| part.member)
    }

    /// All its delegates.
    pub(crate) fn delegates(&self) -> impl Iterator<Item = Pid> {
        let indices = self.group.iter().flat_map(|group| &group.delegates);
        indices.map(|index| delegate(self.pid, *index))
    }

    /// Whether what it has to say of its group agrees with itself.
    pub(crate) fn group_is_sound(&self, memory_len: usize) -> bool {
        let Some(group) = &self.group else { return !matches!(self.call, Call::Gather) };
        let Some(gather) = &group.gather else { return !matches!(self.call, Call::Gather) };
        group.delegates.len() <= DELEGATES_MAX
            && gather.parts.len() <= GROUP_MEMBERS_MAX
            && gather.reply.range().end <= memory_len
            && gather.kept() <= gather.bytes
            && gather
                .parts
                .iter()
                .all(|part| part.answer.is_some() || group.delegates.contains(&part.index))
            && (!gather.all || gather.bytes <= gather.room())
    }
}

impl Kernel {
    /// A process sends the same to several others; itself is left out. It waits: for the first reply, which is its answer
    /// then, or (`all`) until everybody has replied or cannot. Nobody's reply is lost on another's account.
    ///
    /// All replies come as records: a pid (16 bytes), the length of its reply or a status (4), the reply, zeros up to a
    /// multiple of four bytes. Of one for which there is no room any more, that is told: [`Status::TooLong`].
    ///
    /// # Errors
    /// See [`Status`]; the sender goes on. [`Status::NoName`]: there is nobody else. [`Status::TooMany`].
    /// [`Status::TooLong`]: there is no room for so many records.
    pub fn send_all(
        &mut self,
        me: Slot,
        memory: &[u8],
        members: &[Pid],
        message: (u32, u32),
        reply: (u32, u32),
        all: bool,
    ) -> Result<(), Status> {
        let message = Span::message(message.0, message.1, memory.len())?;
        let reply = Span::new(reply.0, reply.1, memory.len())?;
        let process = self.table.get_mut(me).ok_or(Status::NoProcess)?;
        if !process.call.is_none() {
            return Err(Status::NotNow);
        }
        let pid = process.pid;
        let members: Vec<Pid> = members.iter().copied().filter(|member| *member != pid).collect();
        if members.is_empty() {
            return Err(Status::NoName);
        }
        let left = process.group.as_ref().map_or(0, |group| group.delegates.len());
        if members.len() > GROUP_MEMBERS_MAX || left + members.len() > DELEGATES_MAX {
            return Err(Status::TooMany);
        }
        if all && RECORD_BYTES * members.len() > reply.range().len() {
            return Err(Status::TooLong);
        }
        process.begin_send();
        let transaction = process.sends;
        let group = process.group.get_or_insert_default();
        let mut parts = Vec::with_capacity(members.len());
        for member in members {
            loop {
                group.last = group.last.checked_add(1).unwrap_or(1);
                if !group.delegates.contains(&group.last) {
                    break;
                }
            }
            group.delegates.push(group.last);
            parts.push(Part { member, index: group.last, answer: None });
        }
        let sends: Vec<(Pid, u16)> = parts.iter().map(|part| (part.member, part.index)).collect();
        let bytes = RECORD_BYTES * parts.len();
        group.gather = Some(Gather { transaction, all, reply, parts, bytes });
        process.call = Call::Gather;
        for (member, index) in sends {
            self.send_delegate(
                me,
                delegate(pid, index),
                transaction,
                member,
                &memory[message.range()],
            );
        }
        Ok(())
    }

    fn send_delegate(
        &mut self,
        principal: Slot,
        pid: Pid,
        transaction: u64,
        to: Pid,
        message: &[u8],
    ) {
        let budget = self.table.get(principal).and_then(|process| process.budget.clone());
        let new = Process::new(pid, Form::Fiber);
        let delegate = Process { sends: transaction - 1, asks: true, budget, ..new };
        let Some(slot) = self.table.insert(delegate) else { return };
        let sent = match self.table.find(to) {
            None => self.send_away(slot, to, message, Span::HOST).map(drop),
            Some(receiver) if deadlock::closes(&self.table, principal, receiver) => {
                self.note_closed(principal, receiver);
                Err(Status::Deadlock)
            }
            Some(receiver) => self.deliver_from(slot, receiver, message, Span::HOST),
        };
        if let (Err(status), Some(delegate)) = (sent, self.table.get_mut(slot)) {
            // Where nothing was sent, nothing was counted.
            delegate.sends = transaction;
            delegate.fail(status);
            self.woken.push_back(Woken::Process(slot));
        }
    }

    /// Whether this is somebody's delegate.
    #[inline]
    pub(crate) fn is_delegate(&self, slot: Slot) -> bool {
        self.table.get(slot).is_some_and(|process| index_of(process.pid) != 0)
    }

    /// A delegate may have its answer: it is its principal's.
    pub(crate) fn delegate_woken(&mut self, slot: Slot) {
        let Some(process) = self.table.get(slot) else { return };
        let answer = match process.call {
            Call::Reply(_) => Ok(Bytes::from(process.answer.bytes())),
            Call::Failed(status) => Err(status),
            _ => return,
        };
        let (pid, transaction) = (process.pid, process.sends);
        self.remove(slot, EndReason::NORMAL);
        if answer.is_err() && self.does_wrong(Mutation::MemberUncounted) {
            return;
        }
        let Some(slot) = self.table.find(principal(pid)) else { return };
        let Some(process) = self.table.get_mut(slot) else { return };
        let Some(group) = &mut process.group else { return };
        let index = index_of(pid);
        group.delegates.retain(|one| *one != index);
        let gather = group.gather.as_mut().filter(|_| process.call == Call::Gather);
        let Some(gather) = gather.filter(|gather| gather.transaction == transaction) else {
            return;
        };
        let Some(outcome) = gather.take(index, answer) else { return };
        let reply = gather.reply;
        group.gather = None;
        match outcome {
            Ok(bytes) if reply.holds(bytes.len()) => {
                process.answer.set(&bytes);
                process.call = Call::Reply(reply);
            }
            Ok(_) => process.fail(Status::TooLong),
            Err(status) => process.fail(status),
        }
        self.woken.push_back(Woken::Process(slot));
    }

    /// A principal has ended.
    pub(crate) fn remove_delegates(&mut self, process: &Process) {
        for slot in process.delegates().filter_map(|pid| self.table.find(pid)).collect::<Vec<_>>() {
            self.remove(slot, EndReason::NORMAL);
        }
    }
}
