//! The device protocol: what a process asks its origin, and what it is told.
//!
//! The origin holds all state behind the numbers (descriptors, offsets, rights, clocks); a process
//! and the kernel under it know only numbers, and can therefore move. Invariants:
//! * A request is named by (pid, sequence number). Asked again under the same name it is the same
//!   request: its effect happens once, and the same reply is given.
//! * Sequence numbers of a process only grow. A new number says that the last reply has arrived.
//! * A request that is pending has had no effect yet that cannot be undone: input is consumed only
//!   together with the reply that carries it.
//!
//! Between machines, requests and replies are postcard, at most
//! [`crate::limits::DEVICE_BYTES_MAX`] bytes each. The variants' order and the fields' order are
//! that form: what images hold of it ([`Reply`]) changes only with [`crate::descriptors::VERSION`].

use std::sync::Arc;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};

use crate::{
    Advice, ClockId, DirectoryEntry, Errno, Event, Fd, FdFlags, Fdstat, Filestat, LookupFlags,
    OpenFlags, Pid, ReceiveFlags, Rights, SetTimesFlags, ShutdownFlags, Subscription, Whence,
    device_wire,
};

pub use crate::device_wire::{
    LimitError, WireError, decode_reply, decode_request, encode_reply, encode_request,
};

/// Answers the requests of processes. Calls come from the thread that runs the process.
pub trait Devices: Send {
    /// Asks. `Pending` registers the waker of `cx`, in place of an earlier one.
    ///
    /// Asking again with the same (pid, sequence) joins the request under way or returns the kept
    /// last reply: an effect happens once. A new sequence number discards the kept reply.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply>;
}

/// What a process asks. Paths are UTF-8, relative to the directory given beside them, at most
/// [`crate::limits::PATH_BYTES_MAX`] bytes; lengths are at most
/// [`crate::limits::TRANSFER_BYTES_MAX`]. Each variant names the reply that a success brings.
///
/// Fields of the same name mean the same everywhere: `fd` is the descriptor acted on, or the
/// directory a path starts from; `from` and `to` are the two of an operation on two; `offset` and
/// `len` are bytes; times are nanoseconds since 1970; `lookup` says whether a symbolic link at the
/// end of the path is followed.
#[allow(missing_docs, reason = "the fields are explained above, once for all variants")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A clock's resolution in nanoseconds: [`Reply::Number`].
    ClockResolution(ClockId),
    /// A clock's reading in nanoseconds: [`Reply::Number`].
    ClockTime(ClockId),
    /// So many random bytes, at most [`crate::limits::RANDOM_BYTES_MAX`]: [`Reply::Data`].
    Random(u32),
    /// Announces how a part of a file will be used (`len` 0: to its end): [`Reply::Done`].
    Advise { fd: Fd, offset: u64, len: u64, advice: Advice },
    /// Makes room in a file: [`Reply::Done`].
    Allocate { fd: Fd, offset: u64, len: u64 },
    /// Closes: [`Reply::Done`].
    Close(Fd),
    /// Brings a file's data to the device: [`Reply::Done`].
    DataSync(Fd),
    /// Brings a file's data and metadata to the device: [`Reply::Done`].
    Sync(Fd),
    /// A descriptor's type, flags, rights: [`Reply::Fdstat`].
    FdstatGet(Fd),
    /// Sets a descriptor's flags: [`Reply::Done`].
    FdstatSetFlags { fd: Fd, flags: FdFlags },
    /// Gives up rights; more than there are cannot be had: [`Reply::Done`].
    FdstatSetRights { fd: Fd, rights: Rights, rights_inheriting: Rights },
    /// A file's attributes: [`Reply::Filestat`].
    FilestatGet(Fd),
    /// Sets a file's size: [`Reply::Done`].
    FilestatSetSize { fd: Fd, size: u64 },
    /// Sets a file's times: [`Reply::Done`].
    FilestatSetTimes { fd: Fd, accessed_ns: u64, modified_ns: u64, flags: SetTimesFlags },
    /// Reads up to `len` bytes, at `offset` or where the descriptor stands: [`Reply::Data`]; empty
    /// is the end.
    Read { fd: Fd, len: u32, offset: Option<u64> },
    /// Writes bytes, at `offset` or where the descriptor stands; fewer may be written:
    /// [`Reply::Number`].
    Write {
        fd: Fd,
        #[serde(with = "device_wire::bytes")]
        data: Vec<u8>,
        offset: Option<u64>,
    },
    /// The name of a preopened directory: [`Reply::Data`], UTF-8.
    PreopenName(Fd),
    /// Entries of a directory from `cookie` on, as many as fill `bytes` of the guest's form:
    /// [`Reply::Entries`].
    ReadDirectory { fd: Fd, cookie: u64, bytes: u32 },
    /// Moves a descriptor to another number, in place of what is there: [`Reply::Done`].
    Renumber { from: Fd, to: Fd },
    /// Moves the offset and returns the new one: [`Reply::Number`].
    Seek { fd: Fd, delta: i64, whence: Whence },
    /// The offset: [`Reply::Number`].
    Tell(Fd),
    /// Makes a directory: [`Reply::Done`].
    CreateDirectory { fd: Fd, path: String },
    /// The attributes of the file at a path: [`Reply::Filestat`].
    PathFilestatGet { fd: Fd, lookup: LookupFlags, path: String },
    /// Sets the times of the file at a path: [`Reply::Done`].
    PathFilestatSetTimes {
        fd: Fd,
        lookup: LookupFlags,
        path: String,
        accessed_ns: u64,
        modified_ns: u64,
        flags: SetTimesFlags,
    },
    /// Makes a hard link: [`Reply::Done`].
    Link { from: Fd, lookup: LookupFlags, from_path: String, to: Fd, to_path: String },
    /// Opens: [`Reply::Descriptor`].
    Open {
        fd: Fd,
        lookup: LookupFlags,
        path: String,
        flags: OpenFlags,
        rights: Rights,
        rights_inheriting: Rights,
        fd_flags: FdFlags,
    },
    /// The target of a symbolic link: [`Reply::Data`].
    ReadLink { fd: Fd, path: String },
    /// Removes an empty directory: [`Reply::Done`].
    RemoveDirectory { fd: Fd, path: String },
    /// Renames: [`Reply::Done`].
    Rename { from: Fd, from_path: String, to: Fd, to_path: String },
    /// Makes a symbolic link at `path` that says `target`: [`Reply::Done`].
    Symlink { target: String, fd: Fd, path: String },
    /// Removes what is not a directory: [`Reply::Done`].
    UnlinkFile { fd: Fd, path: String },
    /// Waits until one of these comes true: [`Reply::Events`], at least one.
    Poll(Vec<Subscription>),
    /// Accepts a connection: [`Reply::Descriptor`].
    Accept { fd: Fd, flags: FdFlags },
    /// Receives up to `len` bytes: [`Reply::Data`].
    Receive { fd: Fd, len: u32, flags: ReceiveFlags },
    /// Sends; less may be sent: [`Reply::Number`].
    Send {
        fd: Fd,
        #[serde(with = "device_wire::bytes")]
        data: Vec<u8>,
    },
    /// Ends one or both directions of a connection: [`Reply::Done`].
    Shutdown { fd: Fd, how: ShutdownFlags },
}

/// What goes with a request of a process that runs on another node than its origin, besides what it asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// What was used of what had been sent ahead: it is done before the request is.
    pub used: Option<Used>,
    /// With a [`Request::Read`] without an offset: so many bytes more may be sent with its reply, if they come next in a file that
    /// the process has opened. The descriptor does not pass them. With a [`Request::Write`]: see [`Ahead::told`]. With any other: 0.
    pub bytes: u32,
}

impl Ahead {
    /// With a write: the process asks whether its next ones to this descriptor may be written behind it. The reply to one that may
    /// is [`Reply::GoOn`].
    pub const ASKS: u32 = 1;

    /// Goes with a write of which the process was told before that so many bytes of it are written, at least one.
    #[must_use]
    pub const fn behind(used: Option<Used>, bytes: u32) -> Ahead {
        Ahead { used, bytes: bytes.saturating_add(Self::ASKS) }
    }

    /// With a write: of so many bytes the process was told before that they are written, so that they all are, or it fails with what
    /// kept the rest of them from being. Where they are more than the write has, the rest was lost on the way. `None`: it waits.
    #[must_use]
    pub fn told(self) -> Option<u32> {
        self.bytes.checked_sub(Self::ASKS).filter(|bytes| *bytes > 0)
    }
}

/// How many of the bytes that were sent ahead a process has read: its descriptor passes them. Said twice it is done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// They were sent with the reply to this request.
    pub sequence: u64,
    /// How many, from the first of them on.
    pub bytes: u32,
}

/// What the origin answers. Cheap to clone: the origin keeps a copy of the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It failed, with no effect but those POSIX lets a failed call have.
    Failed(Errno),
    /// Done, nothing to tell.
    Done,
    /// A count, offset or time.
    Number(u64),
    /// Bytes.
    Data(#[serde(with = "device_wire::bytes")] Arc<Vec<u8>>),
    /// A new descriptor.
    Descriptor(Fd),
    /// About a descriptor.
    Fdstat(Fdstat),
    /// About a file.
    Filestat(Filestat),
    /// Of a directory.
    Entries(#[serde(with = "device_wire::list")] Arc<Vec<DirectoryEntry>>),
    /// What came true.
    Events(#[serde(with = "device_wire::list")] Arc<Vec<Event>>),
    /// To a write with [`Ahead::ASKS`], in place of [`Reply::Number`], which it becomes before a process gets it: and the next writes to
    /// this descriptor may be written behind the process.
    GoOn(u64),
}
