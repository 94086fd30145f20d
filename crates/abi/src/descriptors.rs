//! A process's descriptors as data: what the origin exports into an image, and imports from one.
//!
//! A table names files by where they can be opened again, never by content. What cannot be named
//! any more (a removed file) is [`Resource::Lost`]: the descriptor stays, every use of it fails
//! with `Errno::Io`, and whoever exports or imports gets a [`Warning`].

use std::path::PathBuf;

use crate::device::Reply;
use crate::{DirectoryEntry, Fd, FdFlags, Rights};

pub use crate::wire::{DecodeError, VERSION};

/// All that the origin knows of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescriptorTable {
    /// The directories that were given to the process, open or closed since.
    pub roots: Vec<Root>,
    /// The open descriptors, by number, ascending.
    pub descriptors: Vec<(Fd, Descriptor)>,
    /// The last reply, with its request's sequence number: it may not have arrived yet.
    pub last_reply: Option<(u64, Reply)>,
    /// The request under way, if it has waited: its sequence number, and the reading of the
    /// process's monotonic clock when it began to. A relative timeout counts from there.
    pub waiting: Option<(u64, u64)>,
    /// Reading of the process's monotonic clock at export, nanoseconds.
    pub monotonic_ns: u64,
    /// Processor time the process had used at export, nanoseconds.
    pub cpu_ns: u64,
}

/// A directory that was given to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Where it is, absolute.
    pub host_path: PathBuf,
    /// What the process calls it.
    pub guest_path: String,
    /// Which directory it was.
    pub identity: Identity,
}

/// Tells whether what is at a path is still the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device that holds it.
    pub device: u64,
    /// Its serial number there.
    pub inode: u64,
}

/// One open descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What it refers to.
    pub resource: Resource,
    /// How it behaves.
    pub flags: FdFlags,
    /// What may be done through it.
    pub rights: Rights,
    /// What may be done through descriptors opened through it.
    pub rights_inheriting: Rights,
}

/// What a descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// One of the streams of whoever started (or thawed) the process.
    Stream(Stream),
    /// A directory that was given to the process: index into [`DescriptorTable::roots`].
    Preopen {
        /// Which.
        root: u32,
        /// The listing being read, if any.
        listing: Vec<DirectoryEntry>,
    },
    /// A directory below a root.
    Directory {
        /// Where it is.
        place: Place,
        /// The listing being read, if any.
        listing: Vec<DirectoryEntry>,
    },
    /// A file below a root.
    File {
        /// Where it is.
        place: Place,
        /// Bytes from its start; 0 where it has no positions.
        offset: u64,
        /// Opened for reading.
        readable: bool,
        /// Opened for writing.
        writable: bool,
    },
    /// What was open there cannot be opened again.
    Lost,
}

/// Where a file below a root can be opened again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into [`DescriptorTable::roots`].
    pub root: u32,
    /// From the root, no leading slash.
    pub path: PathBuf,
    /// Which file it was.
    pub identity: Identity,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// A descriptor that did not survive, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("descriptor {} is lost: {path}: {reason}", fd.0)]
pub struct Warning {
    /// Which.
    pub fd: Fd,
    /// The file's path where known, for a person to read.
    pub path: String,
    /// What was wrong.
    pub reason: LostReason,
}

/// Why a descriptor did not survive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostReason {
    /// It was removed while open.
    #[error("the file was removed while it was open")]
    Removed,
    /// Another file has its path.
    #[error("another file is there now")]
    Replaced,
    /// Opening it failed.
    #[error("it cannot be opened again: {0}")]
    CannotOpen(String),
    /// The directory through which it was opened is lost.
    #[error("the directory given to the process cannot be opened: {0}")]
    RootLost(String),
    /// It was lost before.
    #[error("it was lost in an earlier move")]
    LostBefore,
}
