//! Files by descriptor: everything but their bytes.

use std::num::NonZeroU64;

use cap_std::fs::Metadata;
use peripatos_abi::device::Reply;
use peripatos_abi::{Advice, Errno, FdFlags, Fdstat, FileType, Rights, SetTimesFlags};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FallocateFlags, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::{Errno as Host, retry_on_intr};

use super::errno::{from_host, from_io};
use super::stat::filestat;
use super::table::{Descriptor, Resource};

/// The flags that can be changed after opening.
const CHANGEABLE: FdFlags = FdFlags::APPEND.union(FdFlags::NONBLOCK);
const NANOSECONDS: u64 = 1_000_000_000;

pub(super) fn fdstat(descriptor: &Descriptor) -> Result<Reply, Errno> {
    let file_type = match &descriptor.resource {
        Resource::Stream(_, file) | Resource::File(file, _) => file.file_type,
        Resource::Directory(_) => FileType::Directory,
        Resource::Lost => return Err(Errno::Io),
    };
    Ok(Reply::Fdstat(Fdstat {
        file_type,
        flags: descriptor.flags,
        rights: descriptor.rights,
        rights_inheriting: descriptor.rights_inheriting,
    }))
}

/// Whether a descriptor waits is decided here, not by the system's own flag: a stream's mode
/// belongs to all programs that share it, and files are always opened non-blocking.
pub(super) fn set_flags(descriptor: &mut Descriptor, flags: FdFlags) -> Result<Reply, Errno> {
    descriptor.allow(Rights::FD_FDSTAT_SET_FLAGS)?;
    if flags.without(CHANGEABLE) != descriptor.flags.without(CHANGEABLE) {
        return Err(Errno::NotSup);
    }
    if let Resource::File(file, _) = &descriptor.resource {
        let append = if flags.contains(FdFlags::APPEND) { OFlags::APPEND } else { OFlags::empty() };
        rustix::fs::fcntl_setfl(&file.file, OFlags::NONBLOCK | append).map_err(from_host)?;
    }
    descriptor.flags = flags;
    Ok(Reply::Done)
}

pub(super) fn set_rights(
    descriptor: &mut Descriptor,
    rights: Rights,
    rights_inheriting: Rights,
) -> Result<Reply, Errno> {
    if !descriptor.rights.contains(rights)
        || !descriptor.rights_inheriting.contains(rights_inheriting)
    {
        return Err(Errno::NotCapable);
    }
    descriptor.rights = rights;
    descriptor.rights_inheriting = rights_inheriting;
    Ok(Reply::Done)
}

pub(super) fn advise(
    descriptor: &Descriptor,
    offset: u64,
    len: u64,
    advice: Advice,
) -> Result<Reply, Errno> {
    let fd = host_fd(descriptor)?;
    if matches!(&descriptor.resource, Resource::Stream(_, file) if !file.is_regular()) {
        return Err(Errno::SPipe);
    }
    descriptor.allow(Rights::FD_ADVISE)?;
    check_range(offset, len)?;
    let advice = match advice {
        Advice::Normal => rustix::fs::Advice::Normal,
        Advice::Sequential => rustix::fs::Advice::Sequential,
        Advice::Random => rustix::fs::Advice::Random,
        Advice::WillNeed => rustix::fs::Advice::WillNeed,
        Advice::DontNeed => rustix::fs::Advice::DontNeed,
        Advice::NoReuse => rustix::fs::Advice::NoReuse,
    };
    done(rustix::fs::fadvise(fd, offset, NonZeroU64::new(len), advice))
}

/// Where the file system cannot reserve room, the file is only made as long as asked.
pub(super) fn allocate(descriptor: &Descriptor, offset: u64, len: u64) -> Result<Reply, Errno> {
    let file = descriptor.seekable()?;
    descriptor.allow(Rights::FD_ALLOCATE)?;
    if len == 0 {
        return Err(Errno::Inval);
    }
    let end = check_range(offset, len)?;
    match retry_on_intr(|| rustix::fs::fallocate(&file.file, FallocateFlags::empty(), offset, len))
    {
        Err(Host::OPNOTSUPP | Host::NOSYS) => {
            let size = rustix::fs::fstat(&file.file).map_err(from_host)?.st_size.unsigned_abs();
            if size < end {
                rustix::fs::ftruncate(&file.file, end).map_err(from_host)?;
            }
            Ok(Reply::Done)
        }
        result => done(result),
    }
}

pub(super) fn sync(descriptor: &Descriptor, data_only: bool) -> Result<Reply, Errno> {
    let fd = host_fd(descriptor)?;
    if matches!(&descriptor.resource, Resource::Stream(_, file) if !file.is_regular()) {
        return Err(Errno::Inval);
    }
    if data_only {
        descriptor.allow(Rights::FD_DATASYNC)?;
        done(rustix::fs::fdatasync(fd))
    } else {
        descriptor.allow(Rights::FD_SYNC)?;
        done(rustix::fs::fsync(fd))
    }
}

pub(super) fn filestat_get(descriptor: &Descriptor) -> Result<Reply, Errno> {
    let metadata = match &descriptor.resource {
        Resource::Stream(_, file) | Resource::File(file, _) => Metadata::from_file(&file.file),
        Resource::Directory(directory) => directory.dir.dir_metadata(),
        Resource::Lost => return Err(Errno::Io),
    };
    descriptor.allow(Rights::FD_FILESTAT_GET)?;
    metadata.map(|metadata| Reply::Filestat(filestat(&metadata))).map_err(|error| from_io(&error))
}

pub(super) fn set_size(descriptor: &Descriptor, size: u64) -> Result<Reply, Errno> {
    let file = descriptor.file()?;
    descriptor.allow(Rights::FD_FILESTAT_SET_SIZE)?;
    done(retry_on_intr(|| rustix::fs::ftruncate(&file.file, size)))
}

pub(super) fn set_times(
    descriptor: &Descriptor,
    accessed_ns: u64,
    modified_ns: u64,
    flags: SetTimesFlags,
) -> Result<Reply, Errno> {
    let fd = host_fd(descriptor)?;
    descriptor.allow(Rights::FD_FILESTAT_SET_TIMES)?;
    let time = |value, now, ns: u64| {
        if flags.contains(now) {
            Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }
        } else if flags.contains(value) {
            // At most 1.8e10 seconds and 1e9 nanoseconds: both fit.
            Timespec { tv_sec: (ns / NANOSECONDS) as i64, tv_nsec: (ns % NANOSECONDS) as i64 }
        } else {
            Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }
        }
    };
    let times = Timestamps {
        last_access: time(SetTimesFlags::ATIM, SetTimesFlags::ATIM_NOW, accessed_ns),
        last_modification: time(SetTimesFlags::MTIM, SetTimesFlags::MTIM_NOW, modified_ns),
    };
    done(rustix::fs::futimens(fd, &times))
}

fn host_fd(descriptor: &Descriptor) -> Result<BorrowedFd<'_>, Errno> {
    match &descriptor.resource {
        Resource::Stream(_, file) | Resource::File(file, _) => Ok(file.file.as_fd()),
        Resource::Directory(directory) => Ok(directory.dir.as_fd()),
        Resource::Lost => Err(Errno::Io),
    }
}

/// The end of a range; the system counts file offsets in signed words.
fn check_range(offset: u64, len: u64) -> Result<u64, Errno> {
    let end = offset.checked_add(len).ok_or(Errno::Inval)?;
    if i64::try_from(end).is_err() { Err(Errno::Inval) } else { Ok(end) }
}

fn done(result: rustix::io::Result<()>) -> Result<Reply, Errno> {
    result.map(|()| Reply::Done).map_err(from_host)
}
