//! A process's descriptors as data, and descriptors from data.
//!
//! Nothing is believed about files: what is found at a path counts as the same file only if device
//! and serial number say so. What cannot be found again becomes a lost descriptor and a warning.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_fs_ext::FollowSymlinks;
use cap_std::fs::{Dir, Metadata};
use peripatos_abi::descriptors::{
    Descriptor as Saved, DescriptorTable, Identity, LostReason, Place, Resource as SavedResource,
    Root as SavedRoot, Warning,
};
use peripatos_abi::{ClockId, Fd};
use rustix::fs::{OFlags, SeekFrom};

use super::Streams;
use super::behind::Behind;
use super::clock::Clocks;
use super::open::{open_file, status_flags};
use super::process::Process;
use super::stat::{file_type_of, identity, identity_of};
use super::stream;
use super::table::{Descriptor, Location, OpenDirectory, OpenFile, Resource, Root, Table};

/// The process as data. It stays as it is, and can go on.
pub(super) fn save(process: &Process) -> (DescriptorTable, Vec<Warning>) {
    let mut warnings = Vec::new();
    let mut descriptors = Vec::new();
    for (fd, descriptor) in process.table.iter() {
        let resource = save_resource(process, descriptor).unwrap_or_else(|(path, reason)| {
            warnings.push(Warning { fd, path, reason });
            SavedResource::Lost
        });
        let saved = Saved {
            resource,
            flags: descriptor.flags,
            rights: descriptor.rights,
            rights_inheriting: descriptor.rights_inheriting,
        };
        descriptors.push((fd, saved));
    }
    let roots = process.roots.iter().map(|root| SavedRoot {
        host_path: root.host_path.clone(),
        guest_path: root.guest_path.clone(),
        identity: root.identity,
    });
    let table = DescriptorTable {
        roots: roots.collect(),
        descriptors,
        last_reply: process.last_reply.clone(),
        waiting: process.waiting,
        monotonic_ns: process.clocks.read(ClockId::Monotonic),
        cpu_ns: process.clocks.read(ClockId::ProcessCpu),
    };
    (table, warnings)
}

/// A process of saved descriptors: opens everything again.
pub(super) fn restore(saved: &DescriptorTable, streams: &Streams) -> (Process, Vec<Warning>) {
    let (roots, root_errors): (Vec<Root>, Vec<Option<String>>) =
        saved.roots.iter().map(restore_root).unzip();
    let mut table = Table::default();
    let mut warnings = Vec::new();
    for (fd, descriptor) in &saved.descriptors {
        let restored = restore_resource(*fd, descriptor, &roots, &root_errors, streams);
        let resource = restored.unwrap_or_else(|(path, reason)| {
            warnings.push(Warning { fd: *fd, path, reason });
            Resource::Lost
        });
        let descriptor = Descriptor {
            resource,
            flags: descriptor.flags,
            rights: descriptor.rights,
            rights_inheriting: descriptor.rights_inheriting,
        };
        if table.insert_at(*fd, descriptor).is_err() {
            let reason = LostReason::CannotOpen("its number is too large".into());
            warnings.push(Warning { fd: *fd, path: String::new(), reason });
        }
    }
    let process = Process {
        table,
        roots,
        clocks: Clocks::at(saved.monotonic_ns, saved.cpu_ns),
        last_reply: saved.last_reply.clone(),
        waiting: saved.waiting,
        // Only a process that runs at its origin is saved: nothing is sent to it.
        sent: None,
        behind: Behind::default(),
    };
    (process, warnings)
}

/// The path to show, and why it is lost.
type Lost = (String, LostReason);

fn save_resource(process: &Process, descriptor: &Descriptor) -> Result<SavedResource, Lost> {
    match &descriptor.resource {
        Resource::Stream(stream, _) => Ok(SavedResource::Stream(*stream)),
        Resource::Lost => Err((String::new(), LostReason::LostBefore)),
        Resource::Directory(directory) => {
            let listing = directory.listing.as_ref().clone();
            if directory.location.path.as_os_str().is_empty() && directory.preopen {
                return Ok(SavedResource::Preopen { root: directory.location.root, listing });
            }
            let place = place(process, &directory.location, directory.dir.as_fd())?;
            Ok(SavedResource::Directory { place, listing })
        }
        Resource::File(file, location) => {
            let place = place(process, location, file.file.as_fd())?;
            let offset =
                if file.is_regular() { rustix::fs::tell(&file.file).unwrap_or(0) } else { 0 };
            Ok(SavedResource::File {
                place,
                offset,
                readable: file.readable,
                writable: file.writable,
            })
        }
    }
}

/// Where an open file can be found: the system knows it even after a rename; where it does not
/// tell, the path it was opened by may still do.
fn place(process: &Process, location: &Location, fd: impl AsFd) -> Result<Place, Lost> {
    let lost = |reason| (location.path.display().to_string(), reason);
    let cannot = |error: io::Error| lost(LostReason::CannotOpen(error.to_string()));
    let root = &process.roots[location.root as usize];
    let Some(dir) = &root.dir else {
        return Err(lost(LostReason::LostBefore));
    };
    let identity = identity(&fd).map_err(cannot)?;
    let now = current_path(dir, fd);
    for path in now.iter().chain([&location.path]) {
        let found = dir.metadata(if path.as_os_str().is_empty() { Path::new(".") } else { path });
        if found.is_ok_and(|metadata| identity_of(&metadata) == identity) {
            return Ok(Place { root: location.root, path: path.clone(), identity });
        }
    }
    Err(lost(LostReason::Removed))
}

/// The path of an open file below a directory, as the system knows it at this moment.
fn current_path(dir: &Dir, fd: impl AsFd) -> Option<PathBuf> {
    let path = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    let root = path(dir.as_fd().as_raw_fd())?;
    let file = path(fd.as_fd().as_raw_fd())?;
    Some(file.strip_prefix(root).ok()?.to_owned())
}

fn restore_root(saved: &SavedRoot) -> (Root, Option<String>) {
    let opened = open_root(&saved.host_path).and_then(|dir| {
        if identity(&dir)? == saved.identity {
            Ok(dir)
        } else {
            Err(io::Error::other("another directory is there now"))
        }
    });
    let (dir, error) = match opened {
        Ok(dir) => (Some(Arc::new(dir)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let root = Root {
        host_path: saved.host_path.clone(),
        guest_path: saved.guest_path.clone(),
        identity: saved.identity,
        dir,
    };
    (root, error)
}

/// Opens a directory by the user's own rights.
pub(super) fn open_root(path: &Path) -> io::Result<Dir> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        Ok(Dir::from_std_file(file))
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

fn restore_resource(
    fd: Fd,
    saved: &Saved,
    roots: &[Root],
    root_errors: &[Option<String>],
    streams: &Streams,
) -> Result<Resource, Lost> {
    let root_dir = |root: u32| match (&roots[root as usize].dir, &root_errors[root as usize]) {
        (Some(dir), _) => Ok(Arc::clone(dir)),
        (None, error) => {
            let path = roots[root as usize].host_path.display().to_string();
            Err((path, LostReason::RootLost(error.clone().unwrap_or_default())))
        }
    };
    Ok(match &saved.resource {
        SavedResource::Stream(stream) => {
            let opened = stream::open_standard(streams, *stream).map_err(|error| {
                (format!("stream {}", fd.0), LostReason::CannotOpen(error.to_string()))
            })?;
            return Ok(opened.resource);
        }
        SavedResource::Lost => return Err((String::new(), LostReason::LostBefore)),
        SavedResource::Preopen { root, listing } => Resource::Directory(OpenDirectory {
            dir: root_dir(*root)?,
            location: Location { root: *root, path: PathBuf::new() },
            preopen: true,
            listing: Arc::new(listing.clone()),
        }),
        SavedResource::Directory { place, listing } => {
            let root = root_dir(place.root)?;
            let (file, _) = reopen(&root, place, true, false, OFlags::DIRECTORY)?;
            Resource::Directory(OpenDirectory {
                dir: Arc::new(Dir::from_std_file(file)),
                location: Location { root: place.root, path: place.path.clone() },
                preopen: false,
                listing: Arc::new(listing.clone()),
            })
        }
        SavedResource::File { place, offset, readable, writable } => {
            let flags = status_flags(saved.flags);
            let dir = root_dir(place.root)?;
            let (file, metadata) = reopen(&dir, place, *readable, *writable, flags)?;
            let file = OpenFile {
                file: Arc::new(file),
                file_type: file_type_of(&metadata),
                readable: *readable,
                writable: *writable,
            };
            if file.is_regular() {
                rustix::fs::seek(&file.file, SeekFrom::Start(*offset))
                    .map_err(|error| cannot_open(place, &error.into()))?;
            }
            Resource::File(file, Location { root: place.root, path: place.path.clone() })
        }
    })
}

fn reopen(
    root: &Dir,
    place: &Place,
    read: bool,
    write: bool,
    flags: OFlags,
) -> Result<(File, Metadata), Lost> {
    let path = if place.path.as_os_str().is_empty() { Path::new(".") } else { &place.path };
    let opened = open_file(root, path, read, write, flags, FollowSymlinks::Yes)
        .and_then(|file| Metadata::from_file(&file).map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|error| cannot_open(place, &error))?;
    let found: Identity = identity_of(&metadata);
    if found == place.identity {
        Ok((file, metadata))
    } else {
        Err((place.path.display().to_string(), LostReason::Replaced))
    }
}

fn cannot_open(place: &Place, error: &io::Error) -> Lost {
    (place.path.display().to_string(), LostReason::CannotOpen(error.to_string()))
}
