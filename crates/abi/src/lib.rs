//! The contract between a guest and what serves it: process ids, status codes, and the protocol of
//! the devices.
//!
//! Pure data: nothing here knows an operating system, a clock or a WebAssembly engine. The engine
//! turns a guest's system call into a [`device::Request`]; the origin of the process answers with a
//! [`device::Reply`]. A request is identified by (pid, sequence number), and the last reply is kept,
//! so that a request asked again after a move has its effect once.
//!
//! Three things here leave the machine. The device protocol travels between nodes as it is, so
//! requests, replies and what they hold are serialisable, and decoding checks every number and
//! limit ([`device::decode_request`]). The descriptor table is stored in images: it has a versioned
//! wire form of its own, converted by hand ([`descriptors`]); only its last reply and its listings
//! are in the protocol's form. Pids, statuses and envelopes go with the words of the message kernels. No
//! other type is serialisable.

pub mod descriptors;
pub mod device;
mod device_wire;
mod end_reason;
mod errno;
mod file;
mod flags;
pub mod limits;
pub mod message;
mod pid;
mod poll;
mod signal;
mod wire;

pub use end_reason::EndReason;
pub use errno::Errno;
pub use file::{Advice, ClockId, DirectoryEntry, Fd, Fdstat, FileType, Filestat, Whence};
pub use flags::{
    EventFlags, FdFlags, LookupFlags, OpenFlags, ReceiveFlags, Rights, SetTimesFlags, ShutdownFlags,
};
pub use pid::{ParsePidError, Pid};
pub use poll::{Event, EventKind, Subject, Subscription};
pub use signal::{DefaultAction, Signal};
