//! `path_open`.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, Metadata, OpenOptions, OpenOptionsExt};
use peripatos_abi::device::Reply;
use peripatos_abi::{Errno, Fd, FdFlags, FileType, LookupFlags, OpenFlags, Rights};
use rustix::fs::OFlags;

use super::errno::from_io;
use super::stat::file_type_of;
use super::step::{Step, Wait};
use super::table::{Descriptor, Location, OpenDirectory, OpenFile, Resource, Table};

/// How long to wait before trying again to open a pipe for writing that nobody reads.
const PIPE_RETRY: Duration = Duration::from_millis(10);

/// What `path_open` is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) path: &'a str,
    pub(super) lookup: LookupFlags,
    pub(super) flags: OpenFlags,
    pub(super) rights: Rights,
    pub(super) rights_inheriting: Rights,
    pub(super) fd_flags: FdFlags,
}

/// Opens a path below a directory.
pub(super) fn open(table: &mut Table, fd: Fd, wish: &Wish<'_>) -> Result<Step, Errno> {
    let descriptor = table.get(fd)?;
    let directory = descriptor.directory()?;
    check_rights(descriptor, wish)?;
    if wish.flags.contains(OpenFlags::DIRECTORY) && wish.flags != OpenFlags::DIRECTORY {
        return Err(Errno::Inval);
    }
    if !table.has_room() {
        return Err(Errno::MFile);
    }
    let (file, writable) = match open_host(&directory.dir, wish) {
        Ok(opened) => opened,
        Err(error) if is_pipe_without_reader(&error) => {
            return if wish.fd_flags.contains(FdFlags::NONBLOCK) {
                Err(Errno::Nxio)
            } else {
                Ok(Step::Wait(Wait::time(PIPE_RETRY)))
            };
        }
        Err(error) => return Err(from_io(&error)),
    };
    let location =
        Location { root: directory.location.root, path: directory.location.path.join(wish.path) };
    let descriptor = describe(file, writable, location, wish).map_err(|error| from_io(&error))?;
    if wish.flags.contains(OpenFlags::DIRECTORY)
        && !matches!(descriptor.resource, Resource::Directory(_))
    {
        return Err(Errno::NotDir);
    }
    Ok(Reply::Descriptor(table.insert(descriptor)?).into())
}

/// What the directory must allow: opening itself, what the flags do, and the rights asked for.
fn check_rights(directory: &Descriptor, wish: &Wish<'_>) -> Result<(), Errno> {
    let mut needed = Rights::PATH_OPEN;
    if wish.flags.contains(OpenFlags::CREATE) {
        needed = needed.union(Rights::PATH_CREATE_FILE);
    }
    if wish.flags.contains(OpenFlags::TRUNCATE) {
        needed = needed.union(Rights::PATH_FILESTAT_SET_SIZE);
    }
    directory.allow(needed)?;
    let mut inherited = wish.rights.union(wish.rights_inheriting);
    if wish.fd_flags.contains(FdFlags::DSYNC) {
        inherited = inherited.union(Rights::FD_DATASYNC);
    }
    if wish.fd_flags.intersects(FdFlags::SYNC.union(FdFlags::RSYNC)) {
        inherited = inherited.union(Rights::FD_SYNC);
    }
    if directory.rights_inheriting.contains(inherited) { Ok(()) } else { Err(Errno::NotCapable) }
}

/// Opens on this system; says whether for writing too. The right to write decides; rights to change
/// the size want writing where it can be had, since languages ask for them when they only read.
fn open_host(dir: &Dir, wish: &Wish<'_>) -> std::io::Result<(File, bool)> {
    let must = wish.rights.contains(Rights::FD_WRITE);
    let may = wish.rights.intersects(Rights::FD_ALLOCATE.union(Rights::FD_FILESTAT_SET_SIZE));
    if may
        && !must
        && !wish.flags.contains(OpenFlags::DIRECTORY)
        && let Ok(file) = open_as(dir, wish, true)
    {
        return Ok((file, true));
    }
    Ok((open_as(dir, wish, must)?, must))
}

fn open_as(dir: &Dir, wish: &Wish<'_>, write: bool) -> std::io::Result<File> {
    let read = wish.rights.intersects(Rights::FD_READ.union(Rights::FD_READDIR)) || !write;
    let mut flags = status_flags(wish.fd_flags);
    for (flag, host) in [
        (OpenFlags::CREATE, OFlags::CREATE),
        (OpenFlags::DIRECTORY, OFlags::DIRECTORY),
        (OpenFlags::EXCLUSIVE, OFlags::EXCL),
        (OpenFlags::TRUNCATE, OFlags::TRUNC),
    ] {
        if wish.flags.contains(flag) {
            flags |= host;
        }
    }
    let follow = if wish.lookup.contains(LookupFlags::SYMLINK_FOLLOW) {
        FollowSymlinks::Yes
    } else {
        FollowSymlinks::No
    };
    open_file(dir, Path::new(wish.path), read, write, flags, follow)
}

/// Opens a path below a directory, non-blocking: who waits is decided elsewhere.
pub(super) fn open_file(
    dir: &Dir,
    path: &Path,
    read: bool,
    write: bool,
    flags: OFlags,
    follow: FollowSymlinks,
) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(read).write(write).follow(follow);
    // The flags that create go here too: the methods for them insist on opening for writing.
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed());
    dir.open_with(path, &options).map(cap_std::fs::File::into_std)
}

/// The system's flags of a descriptor's.
pub(super) fn status_flags(fd_flags: FdFlags) -> OFlags {
    let mut flags = OFlags::empty();
    for (flag, host) in [
        (FdFlags::APPEND, OFlags::APPEND),
        (FdFlags::DSYNC, OFlags::DSYNC),
        (FdFlags::RSYNC, OFlags::RSYNC),
        (FdFlags::SYNC, OFlags::SYNC),
    ] {
        if fd_flags.contains(flag) {
            flags |= host;
        }
    }
    flags
}

/// The descriptor of what was opened, with those of the rights asked for that can apply to it.
fn describe(
    file: File,
    writable: bool,
    location: Location,
    wish: &Wish<'_>,
) -> std::io::Result<Descriptor> {
    let file_type = file_type_of(&Metadata::from_file(&file)?);
    let (resource, rights, rights_inheriting) = if file_type == FileType::Directory {
        let dir = Arc::new(Dir::from_std_file(file));
        let directory = OpenDirectory { dir, location, preopen: false, listing: Arc::default() };
        (Resource::Directory(directory), Rights::DIRECTORY, Rights::DIRECTORY_INHERITING)
    } else {
        let readable =
            wish.rights.intersects(Rights::FD_READ.union(Rights::FD_READDIR)) || !writable;
        let file = OpenFile { file: Arc::new(file), file_type, readable, writable };
        (Resource::File(file, location), Rights::FILE, Rights::NONE)
    };
    Ok(Descriptor {
        resource,
        flags: wish.fd_flags,
        rights: wish.rights.intersection(rights),
        rights_inheriting: wish.rights_inheriting.intersection(rights_inheriting),
    })
}

fn is_pipe_without_reader(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
}
