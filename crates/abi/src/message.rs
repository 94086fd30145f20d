//! How processes talk: the calls that a guest imports from [`MODULE`], and what they answer.
//!
//! Only [`WAIT`] ever blocks. Every other call answers at once: with a result, or with [`Status::Wait`] if there is
//! something to wait for; the guest then calls `wait`, which answers what the call would have. So a process that is
//! frozen is frozen in `wait`, which has no arguments and can be made again elsewhere; how far the call got its kernel
//! knows. A process has one such call under way at most.
//!
//! All of a guest's pointers are offsets into its memory; numbers are little-endian.
//!
//! ```text
//! send(to: *pid, message: *, len, reply: *, capacity) -> length of the reply
//! receive(from: *pid or 0, buffer: *, capacity, envelope: *, timeout_ns: i64) -> length of the message
//! reply(envelope: *, message: *, len) -> 0
//! reply_receive(envelope: *, message: *, len, from: *pid or 0, buffer: *, capacity, timeout_ns: i64) -> length of the message
//! forward(envelope: *, to: *pid, message: *, len) -> 0
//! notify(to: *pid, bits) -> 0
//! lend(address: *, len, rights) -> 0
//! lease(envelope: *) -> length of what is lent
//! read_lease(envelope: *, offset, buffer: *, len) -> bytes read
//! write_lease(envelope: *, offset, bytes: *, len) -> bytes written
//! wait() -> as above
//! own_pid(pid: *) -> 0
//! parent(pid: *) -> 0
//! devices(pid: *) -> 0
//! argument(buffer: *, room) -> length of the argument
//! spawn(program: *, len, args: *, len, argument: *, len, pid: *) -> 0
//! monitor(pid: *) -> 0    unmonitor(pid: *) -> 0
//! link(pid: *) -> 0       unlink(pid: *) -> 0
//! end(pid: *) -> 0
//! register(name: *, len) -> 0
//! unregister(name: *, len) -> 0
//! lookup(name: *, len, pid: *) -> 0
//! next_name(prefix: *, len, after: *, len, name: *, room, pid: *) -> length of the name
//! join(name: *, len) -> 0
//! leave(name: *, len) -> 0
//! members(name: *, len, pids: *, room) -> how many
//! send_all(name: *, len, message: *, len, reply: *, room, mode) -> length of the reply, or of all of them
//! ```
//! A negative answer is a [`Status`].
//!
//! A module that exports [`HANDLER`] is a server that is called for each message: it has one buffer, told by
//! [`HANDLER_BUFFER`], in which an [`Envelope`] and behind it the message lie when it is called, and into which it
//! writes its reply, over the message.

use crate::Pid;

/// The module of these imports. Another version of them will have another name.
pub const MODULE: &str = "peripatos_v1";
/// The call that blocks.
pub const WAIT: &str = "wait";
/// The export of a handler: `(length of the message) -> length of the reply`.
pub const HANDLER: &str = "peripatos_handle";
/// The export by which a handler tells its buffer: `() -> address | size << 32`, called once, before all messages.
pub const HANDLER_BUFFER: &str = "peripatos_buffer";

/// What a handler answers that replies later, by [`reply`](self): it keeps the envelope, and is free for other messages.
pub const LATER: i32 = -1;
/// The export at which processes begin that other processes have spawned, if a program has it; else at its main
/// function.
pub const SPAWNED: &str = "peripatos_spawned";

/// Bytes of one message, or of one reply ([`Status::TooLong`]). More goes by leases.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Messages that wait for one receiver ([`Status::Full`]); each is from another sender.
pub const QUEUE_MAX: usize = 65_536;
/// A lease may be read.
pub const LEASE_READ: u32 = 1;
/// A lease may be written.
pub const LEASE_WRITE: u32 = 2;
/// Bytes of a lease ([`Status::TooLong`]): what an answer can count. An operation moves [`MESSAGE_BYTES_MAX`] at most.
pub const LEASE_BYTES_MAX: usize = i32::MAX as usize;
/// Members of a group ([`Status::TooMany`]).
pub const GROUP_MEMBERS_MAX: usize = 1_024;
/// Bytes of all replies to one send to a group ([`Status::TooLong`]).
pub const ALL_REPLIES_BYTES_MAX: usize = 1 << 20;
/// How a send to a group is answered: by the first reply. The others are dropped.
pub const FIRST_REPLY: u32 = 0;
/// By all replies, each as a record: the member's pid (16 bytes), the length of its reply or a [`Status`] (4), the reply,
/// zeros up to a multiple of four bytes.
pub const ALL_REPLIES: u32 = 1;
/// Bytes of a name ([`Status::TooLong`]).
pub const NAME_BYTES_MAX: usize = 256;
/// Names that a process may have, counting the groups of which it is a member ([`Status::TooMany`]).
pub const NAMES_MAX: usize = 4_096;
/// Bytes of what a new process is given as its argument, and of its arguments as a command ([`Status::TooLong`]).
pub const ARGUMENT_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
/// Processes that one watches, by monitors and links ([`Status::TooMany`]).
pub const WATCHES_MAX: usize = 131_072;
/// Bytes of a pid in a guest's memory.
pub const PID_BYTES: usize = 16;

/// What a call answers if not a length. In each case nothing has happened, if it is not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(i32)]
pub enum Status {
    /// Not yet: call `wait`.
    #[error("wait for it")]
    Wait = -1,
    /// Nobody has this pid, or has it any more. If it ended while the caller waited for its reply, it may have acted.
    #[error("no such process")]
    NoProcess = -2,
    /// The node that ran it cannot be reached: whether it has acted is not known.
    #[error("unreachable; the outcome is not known")]
    Unreachable = -3,
    /// The message is over [`MESSAGE_BYTES_MAX`], or does not fit where it is to go. A message that was to be received
    /// stays where it is, and its envelope says how long it is; a reply that does not fit is lost.
    #[error("too long")]
    TooLong = -4,
    /// A pointer or length leads out of the caller's memory.
    #[error("not in the caller's memory")]
    BadAddress = -5,
    /// Nothing came in time.
    #[error("timed out")]
    TimedOut = -6,
    /// The receiver waits, directly or through others, for the caller. If that was found while it waited, the receiver
    /// may have the message.
    #[error("deadlock")]
    Deadlock = -7,
    /// Nobody waits for this reply (any more).
    #[error("nobody waits for this reply")]
    NotWaiting = -8,
    /// [`QUEUE_MAX`] senders wait for it already.
    #[error("the receiver's queue is full")]
    Full = -9,
    /// A call is under way already, or none is that could be waited for.
    #[error("not now")]
    NotNow = -10,
    /// Somebody else has the name.
    #[error("the name is taken")]
    NameTaken = -11,
    /// Nobody has the name.
    #[error("no such name")]
    NoName = -12,
    /// The run has no program of that name or hash, or no process can be made of it.
    #[error("no such program")]
    NoProgram = -13,
    /// The caller may not do that: a name outside its prefix, the end of somebody whom it has not spawned, a part of a
    /// sender's memory that was not lent so.
    #[error("not permitted")]
    NotPermitted = -14,
    /// The run or the node has as many processes as it may have, or the caller watches [`WATCHES_MAX`] already, or has
    /// [`NAMES_MAX`] names, or its program may keep no more.
    #[error("too many processes")]
    TooMany = -15,
}

/// All of them, by number.
const STATUSES: [Status; 15] = [
    Status::Wait,
    Status::NoProcess,
    Status::Unreachable,
    Status::TooLong,
    Status::BadAddress,
    Status::TimedOut,
    Status::Deadlock,
    Status::NotWaiting,
    Status::Full,
    Status::NotNow,
    Status::NameTaken,
    Status::NoName,
    Status::NoProgram,
    Status::NotPermitted,
    Status::TooMany,
];

impl Status {
    /// The number that the guest sees.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The status of this number.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Status> {
        STATUSES.into_iter().find(|status| status.code() == code)
    }
}

/// As its number: what kernels tell each other.
impl serde::Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(self.code())
    }
}

impl<'d> serde::Deserialize<'d> for Status {
    fn deserialize<D: serde::Deserializer<'d>>(from: D) -> Result<Status, D::Error> {
        let code = i32::deserialize(from)?;
        Status::from_code(code).ok_or_else(|| serde::de::Error::custom("no such status"))
    }
}

/// What goes with a message that was received: 32 bytes in the receiver's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Envelope {
    /// Who has sent it. Nobody: [`Kind::Notification`]. With [`Kind::NameLost`] who has the name.
    pub from: Pid,
    /// Which of its sends this is; with [`Kind::Notification`] the bits, with [`Kind::Ended`] an
    /// [`EndReason`](crate::EndReason) as a number.
    pub transaction: u64,
    /// Length of the message, or of the name.
    pub len: u32,
    /// What it is.
    pub kind: Kind,
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[repr(u32)]
pub enum Kind {
    /// A message. Its sender waits for the reply.
    Message = 0,
    /// Bits that somebody has notified; nobody waits.
    Notification = 1,
    /// A process that the receiver monitors has ended; nobody waits, and there is no message.
    Ended = 2,
    /// A name of the receiver is somebody else's: two had it, on nodes that had not heard of each other. The name lies where
    /// a message would; nobody waits.
    NameLost = 3,
}

impl Envelope {
    /// Bytes that it takes.
    pub const BYTES: usize = 32;

    /// As the guest sees it.
    #[must_use]
    #[inline]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        self.write_to(&mut bytes);
        bytes
    }

    /// The same, put there. In words, so that none of them is written in pieces and read as a whole.
    #[inline]
    pub fn write_to(self, bytes: &mut [u8; Self::BYTES]) {
        let from = self.from.bits();
        let end = u64::from(self.len) | (self.kind as u64) << 32;
        let words = [from as u64, (from >> 64) as u64, self.transaction, end];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
    }

    /// Sender and transaction of an envelope that a guest shows; the rest of it means nothing any more.
    #[must_use]
    #[inline]
    pub fn sender(bytes: &[u8; Self::BYTES]) -> (Pid, u64) {
        let (from, rest) = bytes.split_at(PID_BYTES);
        let from = from.try_into().map_or(0, u128::from_le_bytes);
        let transaction = rest[..8].try_into().map_or(0, u64::from_le_bytes);
        (Pid::from_bits(from), transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_names_its_sender() {
        let from = Pid::new(7, u64::MAX - 1);
        let envelope = Envelope { from, transaction: 9 << 40, len: 3, kind: Kind::Message };
        assert_eq!(Envelope::sender(&envelope.to_bytes()), (from, 9 << 40));
    }

    #[test]
    fn a_status_is_its_number() {
        for (number, status) in (1..).zip(STATUSES) {
            assert_eq!(status.code(), -number);
            assert_eq!(Status::from_code(-number), Some(status));
        }
        assert_eq!(Status::from_code(0), None);
    }
}
