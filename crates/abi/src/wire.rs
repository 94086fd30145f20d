//! The wire form of a descriptor table: a version byte, then postcard.
//!
//! The types here are what is stored; they are converted by hand to and from those that programs
//! use, so that either can change without the other. The last reply and the listings are stored in
//! the form they have in the device protocol, of which [`VERSION`] is therefore the version too.
//! What is read is an allegation: numbers are parsed into types, indices checked, lengths limited.
//! Host paths are stored as bytes.

use std::ffi::OsString;
#[cfg(unix)]
use std::os::unix::ffi::{OsStrExt, OsStringExt};
// Guests that are device servers use this crate.
#[cfg(target_os = "wasi")]
use std::os::wasi::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::descriptors::{Descriptor, DescriptorTable, Identity, Place, Resource, Root, Stream};
use crate::device::Reply;
use crate::limits::{DESCRIPTOR_TABLE_BYTES_MAX, DESCRIPTORS_MAX};
use crate::{DirectoryEntry, Fd, FdFlags, Rights};

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
        let (wire, rest) =
            postcard::take_from_bytes::<Table>(rest).map_err(|error| match error {
                postcard::Error::SerdeDeCustom => DecodeError::OutOfRange("a number in it"),
                error => DecodeError::Damaged(error.to_string()),
            })?;
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
    last_reply: Option<(u64, Reply)>,
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
    Preopen { root: u32, listing: Vec<DirectoryEntry> },
    Directory { place: WirePlace, listing: Vec<DirectoryEntry> },
    File { place: WirePlace, offset: u64, readable: bool, writable: bool },
    Lost,
}

#[derive(Serialize, Deserialize)]
struct WirePlace {
    root: u32,
    path: Vec<u8>,
    identity: (u64, u64),
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
            last_reply: table.last_reply.clone(),
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
                Self::Preopen { root: *root, listing: listing.clone() }
            }
            Resource::Directory { place, listing } => {
                Self::Directory { place: place.into(), listing: listing.clone() }
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
        Ok(DescriptorTable {
            roots,
            descriptors,
            last_reply: self.last_reply,
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
            Self::Preopen { root, listing } => Resource::Preopen { root: check(root)?, listing },
            Self::Directory { place, listing } => {
                check(place.root)?;
                Resource::Directory { place: place.parse(), listing }
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

fn parse_identity((device, inode): (u64, u64)) -> Identity {
    Identity { device, inode }
}

fn parse_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
