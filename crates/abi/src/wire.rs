//! The wire form of a descriptor table: a version byte, then postcard.
//!
//! The types here are what is stored; they are converted by hand to and from those that programs
//! use, so that either can change without the other. What is read is an allegation: numbers are
//! parsed into types, indices checked, lengths limited. Host paths are stored as bytes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::descriptors::{Descriptor, DescriptorTable, Identity, Place, Resource, Root, Stream};
use crate::device::Reply;
use crate::limits::{DESCRIPTOR_TABLE_BYTES_MAX, DESCRIPTORS_MAX};
use crate::{
    DirectoryEntry, Errno, Event, EventFlags, EventKind, Fd, FdFlags, Fdstat, FileType, Filestat,
    Rights,
};

/// Version of the wire form; it is its first byte.
pub const VERSION: u8 = 1;

/// Why bytes are not a descriptor table. Nothing has been opened or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by another version.
    #[error("the descriptor table has version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// Cut short, damaged, or longer than the limits allow.
    #[error("the descriptor table is damaged: {0}")]
    Damaged(String),
    /// A number in it means nothing.
    #[error("the descriptor table is damaged: {0} is out of range")]
    OutOfRange(&'static str),
}

impl DescriptorTable {
    /// The wire form.
    ///
    /// # Panics
    /// Never: encoding into memory has no way to fail.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = Table::from(self);
        postcard::to_extend(&wire, vec![VERSION]).expect("a vector takes all that is written")
    }

    /// The table of this wire form.
    ///
    /// # Errors
    /// When the bytes are of another version, damaged, or say something impossible.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (&version, rest) =
            bytes.split_first().ok_or_else(|| DecodeError::Damaged("it is empty".into()))?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        if rest.len() > DESCRIPTOR_TABLE_BYTES_MAX {
            return Err(DecodeError::OutOfRange("its length"));
        }
        let (wire, rest) = postcard::take_from_bytes::<Table>(rest)
            .map_err(|error| DecodeError::Damaged(error.to_string()))?;
        if !rest.is_empty() {
            return Err(DecodeError::Damaged("bytes follow its end".into()));
        }
        wire.parse()
    }
}

#[derive(Serialize, Deserialize)]
struct Table {
    roots: Vec<WireRoot>,
    descriptors: Vec<WireDescriptor>,
    last_reply: Option<(u64, WireReply)>,
    waiting: Option<(u64, u64)>,
    monotonic_ns: u64,
    cpu_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct WireRoot {
    host_path: Vec<u8>,
    guest_path: String,
    identity: (u64, u64),
}

#[derive(Serialize, Deserialize)]
struct WireDescriptor {
    fd: u32,
    resource: WireResource,
    flags: u16,
    rights: u64,
    rights_inheriting: u64,
}

#[derive(Serialize, Deserialize)]
enum WireResource {
    Stream(u8),
    Preopen { root: u32, listing: Vec<WireEntry> },
    Directory { place: WirePlace, listing: Vec<WireEntry> },
    File { place: WirePlace, offset: u64, readable: bool, writable: bool },
    Lost,
}

#[derive(Serialize, Deserialize)]
struct WirePlace {
    root: u32,
    path: Vec<u8>,
    identity: (u64, u64),
}

#[derive(Serialize, Deserialize)]
struct WireEntry {
    next: u64,
    inode: u64,
    file_type: u8,
    name: String,
}

#[derive(Serialize, Deserialize)]
enum WireReply {
    Failed(u16),
    Done,
    Number(u64),
    Data(Vec<u8>),
    Descriptor(u32),
    Fdstat { file_type: u8, flags: u16, rights: u64, rights_inheriting: u64 },
    Filestat { file_type: u8, numbers: [u64; 7] },
    Entries(Vec<WireEntry>),
    Events(Vec<WireEvent>),
}

#[derive(Serialize, Deserialize)]
struct WireEvent {
    userdata: u64,
    error: u16,
    kind: u8,
    bytes: u64,
    flags: u16,
}

// Out: nothing can fail.

impl From<&DescriptorTable> for Table {
    fn from(table: &DescriptorTable) -> Self {
        Self {
            roots: table.roots.iter().map(WireRoot::from).collect(),
            descriptors: table
                .descriptors
                .iter()
                .map(|(fd, descriptor)| WireDescriptor {
                    fd: fd.0,
                    resource: WireResource::from(&descriptor.resource),
                    flags: descriptor.flags.bits(),
                    rights: descriptor.rights.bits(),
                    rights_inheriting: descriptor.rights_inheriting.bits(),
                })
                .collect(),
            last_reply: table
                .last_reply
                .as_ref()
                .map(|(sequence, reply)| (*sequence, WireReply::from(reply))),
            waiting: table.waiting,
            monotonic_ns: table.monotonic_ns,
            cpu_ns: table.cpu_ns,
        }
    }
}

impl From<&Root> for WireRoot {
    fn from(root: &Root) -> Self {
        Self {
            host_path: path_bytes(&root.host_path),
            guest_path: root.guest_path.clone(),
            identity: (root.identity.device, root.identity.inode),
        }
    }
}

impl From<&Resource> for WireResource {
    fn from(resource: &Resource) -> Self {
        match resource {
            Resource::Stream(stream) => Self::Stream(match stream {
                Stream::Input => 0,
                Stream::Output => 1,
                Stream::Error => 2,
            }),
            Resource::Preopen { root, listing } => {
                Self::Preopen { root: *root, listing: entries(listing) }
            }
            Resource::Directory { place, listing } => {
                Self::Directory { place: place.into(), listing: entries(listing) }
            }
            Resource::File { place, offset, readable, writable } => Self::File {
                place: place.into(),
                offset: *offset,
                readable: *readable,
                writable: *writable,
            },
            Resource::Lost => Self::Lost,
        }
    }
}

impl From<&Place> for WirePlace {
    fn from(place: &Place) -> Self {
        Self {
            root: place.root,
            path: path_bytes(&place.path),
            identity: (place.identity.device, place.identity.inode),
        }
    }
}

impl From<&Reply> for WireReply {
    fn from(reply: &Reply) -> Self {
        match reply {
            Reply::Failed(errno) => Self::Failed(errno.code()),
            Reply::Done => Self::Done,
            Reply::Number(number) => Self::Number(*number),
            Reply::Data(data) => Self::Data(data.as_ref().clone()),
            Reply::Descriptor(fd) => Self::Descriptor(fd.0),
            Reply::Fdstat(stat) => Self::Fdstat {
                file_type: stat.file_type.code(),
                flags: stat.flags.bits(),
                rights: stat.rights.bits(),
                rights_inheriting: stat.rights_inheriting.bits(),
            },
            Reply::Filestat(stat) => Self::Filestat {
                file_type: stat.file_type.code(),
                numbers: [
                    stat.device,
                    stat.inode,
                    stat.links,
                    stat.size,
                    stat.accessed_ns,
                    stat.modified_ns,
                    stat.changed_ns,
                ],
            },
            Reply::Entries(listing) => Self::Entries(entries(listing)),
            Reply::Events(events) => Self::Events(events.iter().map(WireEvent::from).collect()),
        }
    }
}

impl From<&Event> for WireEvent {
    fn from(event: &Event) -> Self {
        Self {
            userdata: event.userdata,
            error: event.error.map_or(Errno::SUCCESS, Errno::code),
            kind: event.kind as u8,
            bytes: event.bytes,
            flags: event.flags.bits(),
        }
    }
}

fn entries(listing: &[DirectoryEntry]) -> Vec<WireEntry> {
    let wire = |entry: &DirectoryEntry| WireEntry {
        next: entry.next,
        inode: entry.inode,
        file_type: entry.file_type.code(),
        name: entry.name.clone(),
    };
    listing.iter().map(wire).collect()
}

fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

// In: every number is checked.

impl Table {
    fn parse(self) -> Result<DescriptorTable, DecodeError> {
        if self.descriptors.len() > DESCRIPTORS_MAX {
            return Err(DecodeError::OutOfRange("the number of descriptors"));
        }
        let roots: Vec<Root> = self.roots.into_iter().map(WireRoot::parse).collect();
        let descriptors = self
            .descriptors
            .into_iter()
            .map(|descriptor| descriptor.parse(roots.len()))
            .collect::<Result<Vec<_>, _>>()?;
        if !descriptors.is_sorted_by(|(left, _), (right, _)| left < right) {
            return Err(DecodeError::OutOfRange("the order of the descriptors"));
        }
        let last_reply = match self.last_reply {
            Some((sequence, reply)) => Some((sequence, reply.parse()?)),
            None => None,
        };
        Ok(DescriptorTable {
            roots,
            descriptors,
            last_reply,
            waiting: self.waiting,
            monotonic_ns: self.monotonic_ns,
            cpu_ns: self.cpu_ns,
        })
    }
}

impl WireRoot {
    fn parse(self) -> Root {
        Root {
            host_path: parse_path(self.host_path),
            guest_path: self.guest_path,
            identity: parse_identity(self.identity),
        }
    }
}

impl WireDescriptor {
    fn parse(self, roots: usize) -> Result<(Fd, Descriptor), DecodeError> {
        let rights = |bits| Rights::from_bits(bits).ok_or(DecodeError::OutOfRange("a right"));
        let descriptor = Descriptor {
            resource: self.resource.parse(roots)?,
            flags: FdFlags::from_bits(self.flags)
                .ok_or(DecodeError::OutOfRange("a descriptor flag"))?,
            rights: rights(self.rights)?,
            rights_inheriting: rights(self.rights_inheriting)?,
        };
        Ok((Fd(self.fd), descriptor))
    }
}

impl WireResource {
    fn parse(self, roots: usize) -> Result<Resource, DecodeError> {
        let check = |root: u32| {
            if (root as usize) < roots {
                Ok(root)
            } else {
                Err(DecodeError::OutOfRange("a directory's index"))
            }
        };
        Ok(match self {
            Self::Stream(0) => Resource::Stream(Stream::Input),
            Self::Stream(1) => Resource::Stream(Stream::Output),
            Self::Stream(2) => Resource::Stream(Stream::Error),
            Self::Stream(_) => return Err(DecodeError::OutOfRange("a stream")),
            Self::Preopen { root, listing } => {
                Resource::Preopen { root: check(root)?, listing: parse_entries(listing)? }
            }
            Self::Directory { place, listing } => {
                check(place.root)?;
                Resource::Directory { place: place.parse(), listing: parse_entries(listing)? }
            }
            Self::File { place, offset, readable, writable } => {
                check(place.root)?;
                Resource::File { place: place.parse(), offset, readable, writable }
            }
            Self::Lost => Resource::Lost,
        })
    }
}

impl WirePlace {
    fn parse(self) -> Place {
        Place {
            root: self.root,
            path: parse_path(self.path),
            identity: parse_identity(self.identity),
        }
    }
}

impl WireReply {
    fn parse(self) -> Result<Reply, DecodeError> {
        Ok(match self {
            Self::Failed(code) => {
                Reply::Failed(Errno::from_code(code).ok_or(DecodeError::OutOfRange("an error"))?)
            }
            Self::Done => Reply::Done,
            Self::Number(number) => Reply::Number(number),
            Self::Data(data) => Reply::Data(Arc::new(data)),
            Self::Descriptor(fd) => Reply::Descriptor(Fd(fd)),
            Self::Fdstat { file_type, flags, rights, rights_inheriting } => Reply::Fdstat(Fdstat {
                file_type: parse_file_type(file_type)?,
                flags: FdFlags::from_bits_truncate(flags),
                rights: Rights::from_bits_truncate(rights),
                rights_inheriting: Rights::from_bits_truncate(rights_inheriting),
            }),
            Self::Filestat { file_type, numbers } => {
                let [device, inode, links, size, accessed_ns, modified_ns, changed_ns] = numbers;
                Reply::Filestat(Filestat {
                    device,
                    inode,
                    file_type: parse_file_type(file_type)?,
                    links,
                    size,
                    accessed_ns,
                    modified_ns,
                    changed_ns,
                })
            }
            Self::Entries(listing) => Reply::Entries(Arc::new(parse_entries(listing)?)),
            Self::Events(events) => Reply::Events(Arc::new(
                events.into_iter().map(WireEvent::parse).collect::<Result<_, _>>()?,
            )),
        })
    }
}

impl WireEvent {
    fn parse(self) -> Result<Event, DecodeError> {
        Ok(Event {
            userdata: self.userdata,
            error: Errno::from_code(self.error),
            kind: match self.kind {
                0 => EventKind::Clock,
                1 => EventKind::Read,
                2 => EventKind::Write,
                _ => return Err(DecodeError::OutOfRange("an event")),
            },
            bytes: self.bytes,
            flags: EventFlags::from_bits_truncate(self.flags),
        })
    }
}

fn parse_entries(wire: Vec<WireEntry>) -> Result<Vec<DirectoryEntry>, DecodeError> {
    let parse = |entry: WireEntry| {
        Ok(DirectoryEntry {
            next: entry.next,
            inode: entry.inode,
            file_type: parse_file_type(entry.file_type)?,
            name: entry.name,
        })
    };
    wire.into_iter().map(parse).collect()
}

fn parse_file_type(code: u8) -> Result<FileType, DecodeError> {
    FileType::from_code(code).ok_or(DecodeError::OutOfRange("a file type"))
}

fn parse_identity((device, inode): (u64, u64)) -> Identity {
    Identity { device, inode }
}

fn parse_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
