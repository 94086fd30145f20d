//! One process, as its kernel knows it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use peripatos_abi::Pid;
use peripatos_abi::message::{Envelope, MESSAGE_BYTES_MAX, QUEUE_MAX, Status};

use serde::{Deserialize, Serialize};

use crate::alien::Send;
use crate::budget::{Budget, Charge};
use crate::buffer::Buffer;
use crate::bytes::Bytes;
use crate::callers::Callers;
use crate::claim::Claim;
use crate::group::{Group, principal};
use crate::lease::{Access, Lease};
use crate::ties::Ties;

/// How a process takes its messages; follows from its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// It runs on a stack of its own and calls `receive`.
    Fiber,
    /// It is called for each message.
    Handler,
}

/// What a process does, in QNX's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or could. A handler: it has been called.
    Ready,
    /// It has sent, and the receiver has not taken the message.
    SendBlocked(Pid),
    /// It waits for the reply.
    ReplyBlocked(Pid),
    /// It waits for a message. A handler: it can be called.
    ReceiveBlocked,
}

/// A part of a guest's memory: where it begins, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Of a reply that goes to the process's host, and not into its memory ([`Process::asks`]).
    pub(crate) const HOST: Span = Span { start: 0, len: MESSAGE_BYTES_MAX as u32 };

    /// In a memory of so many bytes, or nowhere. Memories do not shrink: it stays there.
    #[inline]
    pub(crate) fn new(start: u32, len: u32, memory_len: usize) -> Result<Span, Status> {
        let span = Span { start, len };
        if span.range().end > memory_len { Err(Status::BadAddress) } else { Ok(span) }
    }

    /// Of a message: not longer than one may be.
    #[inline]
    pub(crate) fn message(start: u32, len: u32, memory_len: usize) -> Result<Span, Status> {
        if len as usize > MESSAGE_BYTES_MAX {
            return Err(Status::TooLong);
        }
        Span::new(start, len, memory_len)
    }

    #[inline]
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }

    /// A part of it, or what there is of that.
    pub(crate) fn cut(self, offset: u32, len: u32) -> Span {
        let offset = offset.min(self.len);
        Span { start: self.start + offset, len: len.min(self.len - offset) }
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(crate) fn holds(self, len: usize) -> bool {
        len <= self.len as usize
    }

    /// The first bytes of it.
    #[inline]
    pub(crate) fn first(self, len: usize) -> Range<usize> {
        self.start as usize..self.start as usize + len
    }
}

/// What a process has under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Call {
    None,
    /// Its last send; the reply goes to that span.
    Send {
        to: Pid,
        reply: Span,
        at: At,
    },
    Receive(Receive),
    /// What it waited for is there: in [`Process::answer`], or this status.
    Message(Receive, Envelope),
    /// A message is there, and there is no room for it.
    NoRoom(Receive, Envelope),
    Reply(Span),
    /// It has sent to a group: [`Process::group`].
    Gather,
    /// An operation on a lease is done, with so many bytes.
    Done(u32),
    Failed(Status),
    /// A message is there: in the memory of its sender, on whose stack the process is to run. See `pass.rs`.
    #[serde(skip)]
    Passed(Receive, Envelope, Span),
}

impl Call {
    /// It has nothing under way. (To compare all of it would be a call of a function.)
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Call::None)
    }
}

/// How far a send has come, as far as the sender's kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum At {
    /// It lies in its receiver's queue, in the same table.
    Queued,
    /// Its receiver, in the same table, has it.
    Received,
    /// It went away as a packet, or its receiver did: another kernel knows.
    Away,
}

/// A receive: from whom, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receive {
    pub(crate) from: Option<Pid>,
    pub(crate) buffer: Span,
    pub(crate) envelope: Span,
}

/// A message that its receiver has not taken.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) from: Pid,
    pub(crate) transaction: u64,
    pub(crate) message: Buffer,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) form: Form,
    pub(crate) call: Call,
    /// How many sends it has made: the name of the last one.
    pub(crate) sends: u64,
    /// The message or reply that it has not taken yet.
    pub(crate) answer: Buffer,
    pub(crate) queue: VecDeque<Waiting>,
    /// Notified, and not received.
    pub(crate) bits: u64,
    /// A handler: whose message it has been called for; nobody's, if for a word.
    pub(crate) serves: Option<(Pid, u64)>,
    /// A handler: the longest message that it can be called with, bytes.
    pub(crate) room: u32,
    /// How many wait for its reply, as far as this kernel knows. Zero spares a search when it ends.
    pub(crate) clients: u32,
    /// Who of them is in this table, and others who were.
    #[serde(skip)]
    pub(crate) callers: Callers,
    /// What it has under way is its host's: [`Span::HOST`].
    pub(crate) asks: bool,
    /// How often it has moved.
    pub(crate) moved: u32,
    /// Most have none.
    pub(crate) ties: Option<Box<Ties>>,
    /// What it lends with its next send, or has lent with its last one.
    pub(crate) lease: Option<Box<Lease>>,
    /// Whoever sends to groups on its behalf.
    pub(crate) group: Option<Box<Group>>,
    /// What its messages are charged to while they wait. On another node it has another one.
    #[serde(skip)]
    pub(crate) budget: Option<Arc<Budget>>,
    pub(crate) out: Out,
}

/// Of a process's last send, what matters if its receiver is elsewhere ([`At::Away`]).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Out {
    /// How often it was forwarded.
    pub(crate) hop: u32,
    pub(crate) claim: Claim,
    /// What was sent, until the receiver's kernel has it.
    pub(crate) kept: Option<Bytes>,
    /// It is no message, but an operation on what the receiver lends.
    pub(crate) access: Option<Access>,
    /// Whose reply has come last from another node, and to which send.
    pub(crate) heard: Option<(Pid, Send)>,
    /// What was sent is charged until its receiver, in the same table, takes it, or the send is over.
    #[serde(skip)]
    pub(crate) charge: Option<Charge>,
    /// It waited already when circles were looked for last.
    pub(crate) waited: bool,
    /// When it came from another kernel, if it has.
    #[serde(skip)]
    pub(crate) came: Option<u64>,
}

impl Process {
    pub(crate) fn new(pid: Pid, form: Form) -> Process {
        Process {
            pid,
            form,
            call: Call::None,
            sends: 0,
            answer: Buffer::new(),
            queue: VecDeque::new(),
            bits: 0,
            serves: None,
            room: MESSAGE_BYTES_MAX as u32,
            clients: 0,
            callers: Callers::default(),
            asks: false,
            moved: 0,
            ties: None,
            lease: None,
            group: None,
            budget: None,
            out: Out::default(),
        }
    }

    /// Its ties, made if it has none.
    pub(crate) fn ties(&mut self) -> &mut Ties {
        self.ties.get_or_insert_default()
    }

    /// The next end that it is to be told of, of that one or of anybody.
    pub(crate) fn take_ended(&mut self, from: Option<Pid>) -> Option<(Pid, u64)> {
        self.ties.as_mut()?.take_ended(from)
    }

    /// Whether something waits that a handler is to be called for.
    pub(crate) fn has_waiting(&self) -> bool {
        let word = |ties: &Ties| !ties.ended.is_empty() || !ties.names_lost.is_empty();
        !self.queue.is_empty() || self.ties.as_deref().is_some_and(word)
    }

    pub(crate) fn state(&self) -> State {
        match self.call {
            Call::Send { to, at: At::Queued, .. } => State::SendBlocked(to),
            Call::Send { to, .. } => State::ReplyBlocked(to),
            Call::Gather => State::ReplyBlocked(self.gathers_from()),
            Call::Receive(_) => State::ReceiveBlocked,
            Call::None if self.form == Form::Handler && self.serves.is_none() => {
                State::ReceiveBlocked
            }
            Call::None
            | Call::Message(..)
            | Call::NoRoom(..)
            | Call::Passed(..)
            | Call::Reply(_)
            | Call::Done(_)
            | Call::Failed(_) => State::Ready,
        }
    }

    /// Whether a message from there would end its waiting.
    pub(crate) fn waits_for(&self, from: Pid) -> bool {
        matches!(self.call, Call::Receive(receive) if receive.from.is_none_or(|one| one == principal(from)))
    }

    /// Whether what it waits with holds a message of this length.
    #[inline]
    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        matches!(self.call, Call::Receive(receive) if receive.buffer.holds(len))
    }

    /// Whether a message of this length can be left with it.
    ///
    /// # Errors
    /// It cannot: why.
    #[inline]
    pub(crate) fn takes(&self, len: usize) -> Result<(), Status> {
        if len > self.room as usize {
            return Err(Status::TooLong);
        }
        if self.queue.len() >= QUEUE_MAX { Err(Status::Full) } else { Ok(()) }
    }

    /// What it has under way is over, with this status.
    pub(crate) fn fail(&mut self, status: Status) {
        self.call = Call::Failed(status);
        self.out.kept = None;
        self.out.charge = None;
    }

    /// Another send, which has not been forwarded.
    #[inline]
    pub(crate) fn begin_send(&mut self) {
        self.sends += 1;
        self.out.hop = 0;
        self.out.access = None;
        self.out.charge = None;
    }

    /// Whether it waits for an operation on a lease: for another's kernel, not for its program.
    pub(crate) fn accesses(&self) -> bool {
        matches!(self.call, Call::Send { .. }) && self.out.access.is_some()
    }

    /// Whether somebody waits for it, or may.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.clients > 0 || !self.queue.is_empty() || self.serves.is_some()
    }

    /// A client has its answer. Whom a handler serves right now is not among the clients.
    pub(crate) fn has_answered(&mut self, client: Pid, transaction: u64) {
        if self.serves != Some((client, transaction)) {
            self.clients = self.clients.saturating_sub(1);
        }
    }

    /// See [`Kernel::luggage`](crate::Kernel::luggage).
    pub(crate) fn luggage(&self) -> usize {
        let ties = self.ties.as_ref().map_or(0, |ties| ties.watching.len() + ties.watchers.len());
        ties + self.queue.len()
    }

    /// Its last send, as kernels name it beside its pid.
    pub(crate) fn last_send(&self) -> Send {
        (self.sends, self.out.hop)
    }

    /// Whether this send has gone to another kernel, and waits.
    pub(crate) fn is_away(&self, send: Send) -> bool {
        matches!(self.call, Call::Send { at: At::Away, .. }) && self.last_send() == send
    }

    /// Whether it waits for the reply to this send.
    pub(crate) fn awaits(&self, transaction: u64, of: Pid) -> bool {
        let Call::Send { to, at, .. } = self.call else { return false };
        to == of && at != At::Queued && self.sends == transaction
    }
}
