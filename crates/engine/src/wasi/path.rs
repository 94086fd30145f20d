//! The `path_*` functions.

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{Errno, Fd, LookupFlags, OpenFlags, Rights};

use super::descriptor::{fd_flags, set_times_flags};
use super::memory::{FILESTAT_SIZE, check, path, write, write_fd, write_filestat, write_u32};
use super::table::Args;

pub(super) fn begin_create_directory(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::CreateDirectory { fd: Fd(args.u32(0)), path: path_at(memory, args, 1)? })
}

pub(super) fn begin_filestat_get(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(4), FILESTAT_SIZE)?;
    Ok(Request::PathFilestatGet {
        fd: Fd(args.u32(0)),
        lookup: lookup(args.u32(1))?,
        path: path_at(memory, args, 2)?,
    })
}

pub(super) fn finish_filestat_get(
    memory: &mut [u8],
    args: Args<'_>,
    reply: &Reply,
) -> Result<(), Errno> {
    match reply {
        Reply::Filestat(stat) => write_filestat(memory, args.u32(4), stat),
        _ => Err(Errno::Io),
    }
}

pub(super) fn begin_set_times(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::PathFilestatSetTimes {
        fd: Fd(args.u32(0)),
        lookup: lookup(args.u32(1))?,
        path: path_at(memory, args, 2)?,
        accessed_ns: args.u64(4),
        modified_ns: args.u64(5),
        flags: set_times_flags(args.u32(6))?,
    })
}

pub(super) fn begin_link(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::Link {
        from: Fd(args.u32(0)),
        lookup: lookup(args.u32(1))?,
        from_path: path_at(memory, args, 2)?,
        to: Fd(args.u32(4)),
        to_path: path_at(memory, args, 5)?,
    })
}

/// Bits that name no right are ignored: programs ask for "all" with every bit set.
pub(super) fn begin_open(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(8), 4)?;
    let flags = u16::try_from(args.u32(4)).ok().and_then(OpenFlags::from_bits);
    Ok(Request::Open {
        fd: Fd(args.u32(0)),
        lookup: lookup(args.u32(1))?,
        path: path_at(memory, args, 2)?,
        flags: flags.ok_or(Errno::Inval)?,
        rights: Rights::from_bits_truncate(args.u64(5)),
        rights_inheriting: Rights::from_bits_truncate(args.u64(6)),
        fd_flags: fd_flags(args.u32(7))?,
    })
}

pub(super) fn finish_open(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    match reply {
        Reply::Descriptor(fd) => write_fd(memory, args.u32(8), *fd),
        _ => Err(Errno::Io),
    }
}

pub(super) fn begin_readlink(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(3), args.u32(4))?;
    check(memory, args.u32(5), 4)?;
    Ok(Request::ReadLink { fd: Fd(args.u32(0)), path: path_at(memory, args, 1)? })
}

/// A target that is longer than the buffer is cut, as POSIX does.
pub(super) fn finish_readlink(
    memory: &mut [u8],
    args: Args<'_>,
    reply: &Reply,
) -> Result<(), Errno> {
    let Reply::Data(target) = reply else { return Err(Errno::Io) };
    let len = target.len().min(args.u32(4) as usize);
    write(memory, args.u32(3), &target[..len])?;
    write_u32(memory, args.u32(5), len as u32)
}

pub(super) fn begin_remove_directory(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::RemoveDirectory { fd: Fd(args.u32(0)), path: path_at(memory, args, 1)? })
}

pub(super) fn begin_rename(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::Rename {
        from: Fd(args.u32(0)),
        from_path: path_at(memory, args, 1)?,
        to: Fd(args.u32(3)),
        to_path: path_at(memory, args, 4)?,
    })
}

pub(super) fn begin_symlink(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::Symlink {
        target: path_at(memory, args, 0)?,
        fd: Fd(args.u32(2)),
        path: path_at(memory, args, 3)?,
    })
}

pub(super) fn begin_unlink_file(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::UnlinkFile { fd: Fd(args.u32(0)), path: path_at(memory, args, 1)? })
}

/// The path whose address is argument `index` and whose length is the next.
fn path_at(memory: &[u8], args: Args<'_>, index: usize) -> Result<String, Errno> {
    path(memory, args.u32(index), args.u32(index + 1))
}

fn lookup(word: u32) -> Result<LookupFlags, Errno> {
    LookupFlags::from_bits(word).ok_or(Errno::Inval)
}
