//! Paths below a directory: everything but opening and listing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cap_fs_ext::{DirExt, SystemTimeSpec};
use peripatos_abi::device::Reply;
use peripatos_abi::{Errno, Fd, LookupFlags, Rights, SetTimesFlags};

use super::errno::from_io;
use super::stat::filestat;
use super::table::{OpenDirectory, Table};

pub(super) fn create_directory(table: &Table, fd: Fd, path: &str) -> Result<Reply, Errno> {
    let directory = allowed(table, fd, Rights::PATH_CREATE_DIRECTORY)?;
    done(directory.dir.create_dir(path))
}

pub(super) fn filestat_get(
    table: &Table,
    fd: Fd,
    lookup: LookupFlags,
    path: &str,
) -> Result<Reply, Errno> {
    let directory = allowed(table, fd, Rights::PATH_FILESTAT_GET)?;
    let metadata = if lookup.contains(LookupFlags::SYMLINK_FOLLOW) {
        directory.dir.metadata(path)
    } else {
        directory.dir.symlink_metadata(path)
    };
    metadata.map(|metadata| Reply::Filestat(filestat(&metadata))).map_err(|error| from_io(&error))
}

pub(super) fn set_times(
    table: &Table,
    fd: Fd,
    lookup: LookupFlags,
    path: &str,
    (accessed_ns, modified_ns): (u64, u64),
    flags: SetTimesFlags,
) -> Result<Reply, Errno> {
    let directory = allowed(table, fd, Rights::PATH_FILESTAT_SET_TIMES)?;
    let accessed = time(flags, SetTimesFlags::ATIM, SetTimesFlags::ATIM_NOW, accessed_ns)?;
    let modified = time(flags, SetTimesFlags::MTIM, SetTimesFlags::MTIM_NOW, modified_ns)?;
    done(if lookup.contains(LookupFlags::SYMLINK_FOLLOW) {
        DirExt::set_times(&*directory.dir, path, accessed, modified)
    } else {
        directory.dir.set_symlink_times(path, accessed, modified)
    })
}

fn time(
    flags: SetTimesFlags,
    value: SetTimesFlags,
    now: SetTimesFlags,
    ns: u64,
) -> Result<Option<SystemTimeSpec>, Errno> {
    if flags.contains(now) {
        Ok(Some(SystemTimeSpec::SymbolicNow))
    } else if flags.contains(value) {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(ns));
        let time = cap_std::time::SystemTime::from_std(time.ok_or(Errno::Overflow)?);
        Ok(Some(SystemTimeSpec::Absolute(time)))
    } else {
        Ok(None)
    }
}

pub(super) fn link(
    table: &Table,
    (from, from_path): (Fd, &str),
    lookup: LookupFlags,
    (to, to_path): (Fd, &str),
) -> Result<Reply, Errno> {
    let source = allowed(table, from, Rights::PATH_LINK_SOURCE)?;
    let target = allowed(table, to, Rights::PATH_LINK_TARGET)?;
    if !lookup.contains(LookupFlags::SYMLINK_FOLLOW) {
        return done(source.dir.hard_link(from_path, &target.dir, to_path));
    }
    let resolved = source.dir.canonicalize(from_path).map_err(|error| from_io(&error))?;
    done(source.dir.hard_link(resolved, &target.dir, to_path))
}

pub(super) fn read_link(table: &Table, fd: Fd, path: &str) -> Result<Reply, Errno> {
    let directory = allowed(table, fd, Rights::PATH_READLINK)?;
    let target = directory.dir.read_link(path).map_err(|error| from_io(&error))?;
    let target = target.into_os_string().into_string().map_err(|_| Errno::IlSeq)?;
    Ok(Reply::Data(Arc::new(target.into_bytes())))
}

pub(super) fn remove_directory(table: &Table, fd: Fd, path: &str) -> Result<Reply, Errno> {
    let directory = allowed(table, fd, Rights::PATH_REMOVE_DIRECTORY)?;
    done(directory.dir.remove_dir(path))
}

pub(super) fn rename(
    table: &Table,
    (from, from_path): (Fd, &str),
    (to, to_path): (Fd, &str),
) -> Result<Reply, Errno> {
    let source = allowed(table, from, Rights::PATH_RENAME_SOURCE)?;
    let target = allowed(table, to, Rights::PATH_RENAME_TARGET)?;
    done(source.dir.rename(from_path, &target.dir, to_path))
}

/// A target outside of the directory could not be followed, so it is not made: `Errno::Perm`.
pub(super) fn symlink(table: &Table, target: &str, fd: Fd, path: &str) -> Result<Reply, Errno> {
    let directory = allowed(table, fd, Rights::PATH_SYMLINK)?;
    done(directory.dir.symlink(target, path))
}

pub(super) fn unlink_file(table: &Table, fd: Fd, path: &str) -> Result<Reply, Errno> {
    let directory = allowed(table, fd, Rights::PATH_UNLINK_FILE)?;
    done(directory.dir.remove_file(path))
}

/// The directory, if it may be used for this.
fn allowed(table: &Table, fd: Fd, rights: Rights) -> Result<&OpenDirectory, Errno> {
    let descriptor = table.get(fd)?;
    let directory = descriptor.directory()?;
    descriptor.allow(rights)?;
    Ok(directory)
}

fn done(result: std::io::Result<()>) -> Result<Reply, Errno> {
    result.map(|()| Reply::Done).map_err(|error| from_io(&error))
}
