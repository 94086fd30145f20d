//! A process's kernel state as bytes: what travels in its image.
//!
//! What is read is an allegation until it was checked: every span lies in the memory that comes with it, every length is
//! within its limit, nobody waits twice. So whoever adopts it need not look again.

use std::collections::BTreeSet;

use peripatos_abi::Pid;
use peripatos_abi::message::{
    ALL_REPLIES_BYTES_MAX, Envelope, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, NAMES_MAX, QUEUE_MAX,
    WATCHES_MAX,
};

use crate::alien::{Alien, Stage};
use crate::limits::{ALIENS_MAX, WATCHERS_MAX};
use crate::moving::Moving;
use crate::process::{Call, Form, Process, Receive, Span};

/// Version of this form. Another one is not read.
const VERSION: u8 = 7;

/// Nothing counts this far: what says so would soon count no further.
const COUNT_MAX: u64 = 1 << 62;
/// Nor do sends, whose numbers share their bits with those of delegates.
const SENDS_MAX: u64 = 1 << 47;
/// Nor clients, and tries.
const FEW_MAX: u32 = 1 << 31;
/// And no message is forwarded so often.
const HOPS_MAX: u32 = 1 << 30;

/// Why bytes are not a process's kernel state. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Of another version.
    #[error("kernel state of version {0}, not {VERSION}")]
    Version(u8),
    /// Cut short, followed by other bytes, or not of this form.
    #[error("kernel state is damaged: {0}")]
    Damaged(String),
    /// A part of it lies outside of the process's memory.
    #[error("kernel state leads out of the process's memory")]
    OutOfMemory,
    /// It holds more of something than there may be.
    #[error("kernel state has too many or too long {0}")]
    Limit(&'static str),
    /// Its parts say different things.
    #[error("kernel state contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl Moving {
    /// Its bytes, for an image.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let delegates = self.delegates.iter().map(|one| (&one.process, &one.clients));
        let delegates: Vec<_> = delegates.collect();
        let state = (VERSION, &self.process, &self.clients, delegates);
        postcard::to_stdvec(&state).expect("there is nothing in it that has no form")
    }

    /// What [`Moving::encode`] made, of a process with so many bytes of memory.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(bytes: &[u8], memory_len: usize) -> Result<Moving, DecodeError> {
        let version = *bytes.first().ok_or(DecodeError::Damaged("there is none".to_owned()))?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        type Delegates = Vec<(Process, Vec<(Pid, Alien)>)>;
        let read = postcard::take_from_bytes::<(u8, Process, Vec<(Pid, Alien)>, Delegates)>(bytes);
        let ((_, process, clients, delegates), rest) =
            read.map_err(|error| DecodeError::Damaged(error.to_string()))?;
        if !rest.is_empty() {
            return Err(DecodeError::Damaged("something follows it".to_owned()));
        }
        check_delegates(&process, &delegates)?;
        let delegates = delegates.into_iter().map(|(process, clients)| {
            agrees(process.asks, "a delegate that has sent nothing")?;
            checked(process, clients, Vec::new(), memory_len)
        });
        let delegates = delegates.collect::<Result<_, _>>()?;
        checked(process, clients, delegates, memory_len)
    }
}

fn checked(
    process: Process,
    clients: Vec<(Pid, Alien)>,
    delegates: Vec<Moving>,
    memory_len: usize,
) -> Result<Moving, DecodeError> {
    check_call(&process, memory_len)?;
    check_queue(&process)?;
    check_ties(&process)?;
    check_leases(&process, memory_len)?;
    check_clients(&clients)?;
    Ok(Moving { process, clients, delegates })
}

/// There is one for each answer that is waited for, and none of somebody else.
fn check_delegates<T>(process: &Process, delegates: &[(Process, T)]) -> Result<(), DecodeError> {
    let expected: BTreeSet<Pid> = process.delegates().collect();
    let there: BTreeSet<Pid> = delegates.iter().map(|(one, _)| one.pid).collect();
    agrees(expected == there && there.len() == delegates.len(), "other delegates")?;
    agrees(delegates.iter().all(|(one, _)| one.group.is_none()), "a delegate's delegates")?;
    agrees(delegates.iter().all(|(one, _)| one.form == Form::Fiber), "a delegate with a program")?;
    agrees(!there.contains(&process.pid), "a delegate of itself")
}

fn limit(holds: bool, what: &'static str) -> Result<(), DecodeError> {
    if holds { Ok(()) } else { Err(DecodeError::Limit(what)) }
}

fn agrees(holds: bool, what: &'static str) -> Result<(), DecodeError> {
    if holds { Ok(()) } else { Err(DecodeError::Contradiction(what)) }
}

fn within(span: Span, memory_len: usize) -> Result<(), DecodeError> {
    if span.range().end > memory_len { Err(DecodeError::OutOfMemory) } else { Ok(()) }
}

fn check_call(process: &Process, memory_len: usize) -> Result<(), DecodeError> {
    let answer = process.answer.len();
    limit(answer <= ALL_REPLIES_BYTES_MAX, "bytes of a message")?;
    limit(process.sends <= SENDS_MAX && process.out.hop <= HOPS_MAX, "sends")?;
    limit(process.clients <= FEW_MAX, "clients")?;
    limit(process.out.claim.tries <= FEW_MAX, "tries")?;
    limit(process.moved <= HOPS_MAX, "moves")?;
    let kept = process.out.kept.as_ref().map_or(0, |message| message.len());
    limit(kept <= MESSAGE_BYTES_MAX, "bytes of a message")?;
    agrees(process.group_is_sound(memory_len), "a send to a group")?;
    if process.asks {
        let span = match process.call {
            Call::Send { reply, .. } | Call::Reply(reply) => Some(reply),
            Call::Failed(_) => None,
            _ => return Err(DecodeError::Contradiction("its host has asked nothing")),
        };
        return agrees(span.is_none_or(|span| span == Span::HOST), "a reply to its host elsewhere");
    }
    match process.call {
        Call::None | Call::Failed(_) | Call::Done(_) | Call::Gather => Ok(()),
        Call::Send { to, reply, .. } => {
            agrees(to != process.pid, "it has sent to itself")?;
            within(reply, memory_len)
        }
        Call::Reply(reply) => {
            agrees(reply.holds(answer), "a reply without room")?;
            within(reply, memory_len)
        }
        Call::Receive(receive) | Call::NoRoom(receive, _) => check_receive(receive, memory_len),
        Call::Message(receive, envelope) => {
            agrees(receive.buffer.holds(answer), "a message without room")?;
            agrees(envelope.len as usize == answer, "a message of another length")?;
            check_receive(receive, memory_len)
        }
        Call::Passed(..) => Err(DecodeError::Contradiction("a message without its bytes")),
    }
}

fn check_receive(receive: Receive, memory_len: usize) -> Result<(), DecodeError> {
    within(receive.buffer, memory_len)?;
    within(receive.envelope, memory_len)?;
    agrees(receive.envelope.holds(Envelope::BYTES), "an envelope without room")
}

fn check_queue(process: &Process) -> Result<(), DecodeError> {
    limit(process.queue.len() <= QUEUE_MAX, "messages that wait")?;
    let long = process.queue.iter().any(|waiting| waiting.message.len() > MESSAGE_BYTES_MAX);
    limit(!long, "bytes of a message")?;
    let sends: BTreeSet<_> = process.queue.iter().map(|one| (one.from, one.transaction)).collect();
    agrees(sends.len() == process.queue.len(), "a message twice")?;
    agrees(sends.iter().all(|(from, _)| *from != process.pid), "it has sent to itself")
}

fn check_leases(process: &Process, memory_len: usize) -> Result<(), DecodeError> {
    let own = process.out.access.iter().map(|access| access.len as usize);
    let wanted = process.lease.iter().filter_map(|lease| lease.wanted.as_ref());
    let others = wanted.map(|wanted| wanted.bytes.len().max(wanted.access.len as usize));
    limit(own.chain(others).all(|len| len <= MESSAGE_BYTES_MAX), "bytes to be read or written")?;
    process.lease.as_ref().map_or(Ok(()), |lease| within(lease.part, memory_len))
}

fn check_ties(process: &Process) -> Result<(), DecodeError> {
    let Some(ties) = &process.ties else { return Ok(()) };
    limit(ties.watching.len() + ties.ended.len() <= WATCHES_MAX, "watches")?;
    limit(ties.watchers.len() <= WATCHERS_MAX, "watchers")?;
    limit(ties.undone.len() <= WATCHES_MAX, "watches")?;
    limit(ties.begun <= COUNT_MAX, "watches")?;
    limit(ties.watching.values().all(|one| one.claim.tries <= FEW_MAX), "tries")?;
    let short = ties.names_lost.iter().all(|(name, _)| name.len() <= NAME_BYTES_MAX);
    limit(ties.names_lost.len() <= NAMES_MAX && short, "names")?;
    let mut others = ties.watching.keys().chain(ties.watchers.keys());
    agrees(others.all(|(pid, _)| *pid != process.pid), "it watches itself")
}

fn check_clients(clients: &[(Pid, Alien)]) -> Result<(), DecodeError> {
    limit(clients.len() <= ALIENS_MAX, "clients")?;
    let pids: BTreeSet<Pid> = clients.iter().map(|(pid, _)| *pid).collect();
    agrees(pids.len() == clients.len(), "a client twice")?;
    for (_, alien) in clients {
        let len = if let Stage::Answered(answer) = &alien.stage { answer.len() } else { 0 };
        limit(len <= MESSAGE_BYTES_MAX, "bytes of a reply")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an image of a process says that is changed so.
    fn decoded(change: impl FnOnce(&mut Moving)) -> Result<(), DecodeError> {
        let process = Process::new(Pid::new(1, 1), Form::Fiber);
        let mut moving = Moving { process, clients: Vec::new(), delegates: Vec::new() };
        change(&mut moving);
        Moving::decode(&moving.encode(), 1_000).map(drop)
    }

    /// What is counted on from there would begin at zero again, or be taken for something else.
    #[test]
    fn counts_that_cannot_be_are_refused() {
        assert_eq!(decoded(|_| ()), Ok(()));
        let limit = |what| Err(DecodeError::Limit(what));
        assert_eq!(decoded(|one| one.process.clients = u32::MAX), limit("clients"));
        assert_eq!(decoded(|one| one.process.sends = 1 << 48), limit("sends"));
        assert_eq!(decoded(|one| one.process.out.claim.tries = u32::MAX), limit("tries"));
        assert_eq!(decoded(|one| one.process.moved = u32::MAX), limit("moves"));
    }
}
