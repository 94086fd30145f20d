//! One process's descriptors: numbers, rights, and what is behind them.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::fs::Dir;
use peripatos_abi::descriptors::{Identity, Stream};
use peripatos_abi::limits::DESCRIPTORS_MAX;
use peripatos_abi::{DirectoryEntry, Errno, Fd, FdFlags, FileType, Rights};

/// The open descriptors by number.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Descriptor>>,
}

/// One open descriptor.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) resource: Resource,
    pub(super) flags: FdFlags,
    pub(super) rights: Rights,
    pub(super) rights_inheriting: Rights,
}

/// What is behind a descriptor.
#[derive(Debug)]
pub(super) enum Resource {
    Stream(Stream, OpenFile),
    File(OpenFile, Location),
    Directory(OpenDirectory),
    /// It did not survive a move. Every use but closing fails with `Errno::Io`.
    Lost,
}

/// A file or stream of this system.
#[derive(Clone, Debug)]
pub(super) struct OpenFile {
    /// Its own offset is the descriptor's.
    pub(super) file: Arc<File>,
    pub(super) file_type: FileType,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// A directory of this system.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub(super) dir: Arc<Dir>,
    /// Empty for the root itself.
    pub(super) location: Location,
    /// Whether it was given to the process, and is shown by `fd_prestat_get`.
    pub(super) preopen: bool,
    /// What is being listed: entries keep their cookies while the directory changes.
    pub(super) listing: Arc<Vec<DirectoryEntry>>,
}

/// Where something was opened.
#[derive(Clone, Debug)]
pub(super) struct Location {
    /// Index of the directory given to the process.
    pub(super) root: u32,
    /// From there, as the process named it.
    pub(super) path: PathBuf,
}

/// A directory given to the process. It stays here when its descriptor is closed: what was opened
/// through it is named relative to it.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) host_path: PathBuf,
    pub(super) guest_path: String,
    pub(super) identity: Identity,
    /// `None`: it could not be opened again after a move.
    pub(super) dir: Option<Arc<Dir>>,
}

impl OpenFile {
    /// Whether it has positions, and never makes anyone wait.
    pub(super) fn is_regular(&self) -> bool {
        matches!(self.file_type, FileType::RegularFile | FileType::BlockDevice)
    }
}

impl Table {
    /// The descriptor of this number.
    pub(super) fn get(&self, fd: Fd) -> Result<&Descriptor, Errno> {
        self.slots.get(fd.0 as usize).and_then(Option::as_ref).ok_or(Errno::BadF)
    }

    /// The descriptor of this number, to change.
    pub(super) fn get_mut(&mut self, fd: Fd) -> Result<&mut Descriptor, Errno> {
        self.slots.get_mut(fd.0 as usize).and_then(Option::as_mut).ok_or(Errno::BadF)
    }

    /// Whether one more can be opened.
    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < DESCRIPTORS_MAX || self.slots.iter().any(Option::is_none)
    }

    /// Gives it the lowest free number.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<Fd, Errno> {
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        self.insert_at(Fd(free as u32), descriptor)?;
        Ok(Fd(free as u32))
    }

    /// Gives it this number, in place of what has it.
    pub(super) fn insert_at(&mut self, fd: Fd, descriptor: Descriptor) -> Result<(), Errno> {
        let at = fd.0 as usize;
        if at >= DESCRIPTORS_MAX {
            return Err(Errno::MFile);
        }
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at] = Some(descriptor);
        Ok(())
    }

    /// Takes it out.
    pub(super) fn remove(&mut self, fd: Fd) -> Result<Descriptor, Errno> {
        self.slots.get_mut(fd.0 as usize).and_then(Option::take).ok_or(Errno::BadF)
    }

    /// Moves a descriptor onto another open one, which is closed.
    pub(super) fn renumber(&mut self, from: Fd, to: Fd) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            let descriptor = self.remove(from)?;
            self.insert_at(to, descriptor)?;
        }
        Ok(())
    }

    /// All, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Fd, &Descriptor)> {
        let numbered = |(at, slot): (usize, _)| Some((Fd(at as u32), Option::as_ref(slot)?));
        self.slots.iter().enumerate().filter_map(numbered)
    }
}

impl Descriptor {
    /// Checks that all of `rights` are there.
    pub(super) fn allow(&self, rights: Rights) -> Result<(), Errno> {
        if self.rights.contains(rights) { Ok(()) } else { Err(Errno::NotCapable) }
    }

    /// The file or stream, to use its bytes; `Errno::IsDir` for directories.
    pub(super) fn file(&self) -> Result<&OpenFile, Errno> {
        match &self.resource {
            Resource::Stream(_, file) | Resource::File(file, _) => Ok(file),
            Resource::Directory(_) => Err(Errno::IsDir),
            Resource::Lost => Err(Errno::Io),
        }
    }

    /// As [`Self::file`], where positions are needed: `Errno::SPipe` for streams without.
    pub(super) fn seekable(&self) -> Result<&OpenFile, Errno> {
        match &self.resource {
            Resource::Stream(_, file)
                if !file.is_regular() && !self.rights.contains(Rights::FD_SEEK) =>
            {
                Err(Errno::SPipe)
            }
            _ => self.file(),
        }
    }

    /// The directory, to use paths in it.
    pub(super) fn directory(&self) -> Result<&OpenDirectory, Errno> {
        match &self.resource {
            Resource::Directory(directory) => Ok(directory),
            Resource::Lost => Err(Errno::Io),
            _ => Err(Errno::NotDir),
        }
    }
}
