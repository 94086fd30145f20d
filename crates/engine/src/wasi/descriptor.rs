//! The `fd_*` functions.

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{Advice, DirectoryEntry, Errno, Fd, FdFlags, Rights, SetTimesFlags, Whence};

use super::memory::{
    FDSTAT_SIZE, FILESTAT_SIZE, buffers_len, bytes_mut, check, gather, scatter, write,
    write_fdstat, write_filestat, write_u32, write_u64,
};
use super::table::Args;

/// Bytes of a preopen's description: tag, padding, length of the name.
const PRESTAT_SIZE: u32 = 8;
/// The only tag there is.
const PREOPENTYPE_DIR: u32 = 0;
/// Bytes of a directory entry before its name.
const DIRENT_SIZE: usize = 24;

pub(super) fn begin_advise(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    let advice = u8::try_from(args.u32(3)).ok().and_then(Advice::from_code);
    Ok(Request::Advise {
        fd: fd(args),
        offset: args.u64(1),
        len: args.u64(2),
        advice: advice.ok_or(Errno::Inval)?,
    })
}

pub(super) fn begin_allocate(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::Allocate { fd: fd(args), offset: args.u64(1), len: args.u64(2) })
}

pub(super) fn begin_close(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::Close(fd(args)))
}

pub(super) fn begin_datasync(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::DataSync(fd(args)))
}

pub(super) fn begin_sync(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::Sync(fd(args)))
}

pub(super) fn begin_fdstat_get(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(1), FDSTAT_SIZE)?;
    Ok(Request::FdstatGet(fd(args)))
}

pub(super) fn finish_fdstat_get(
    memory: &mut [u8],
    args: Args<'_>,
    reply: &Reply,
) -> Result<(), Errno> {
    match reply {
        Reply::Fdstat(stat) => write_fdstat(memory, args.u32(1), stat),
        _ => Err(Errno::Io),
    }
}

pub(super) fn begin_set_flags(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::FdstatSetFlags { fd: fd(args), flags: fd_flags(args.u32(1))? })
}

/// Bits that name no right are ignored: programs ask for "all" with every bit set.
pub(super) fn begin_set_rights(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::FdstatSetRights {
        fd: fd(args),
        rights: Rights::from_bits_truncate(args.u64(1)),
        rights_inheriting: Rights::from_bits_truncate(args.u64(2)),
    })
}

pub(super) fn begin_filestat_get(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(1), FILESTAT_SIZE)?;
    Ok(Request::FilestatGet(fd(args)))
}

pub(super) fn finish_filestat_get(
    memory: &mut [u8],
    args: Args<'_>,
    reply: &Reply,
) -> Result<(), Errno> {
    match reply {
        Reply::Filestat(stat) => write_filestat(memory, args.u32(1), stat),
        _ => Err(Errno::Io),
    }
}

pub(super) fn begin_set_size(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::FilestatSetSize { fd: fd(args), size: args.u64(1) })
}

pub(super) fn begin_set_times(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::FilestatSetTimes {
        fd: fd(args),
        accessed_ns: args.u64(1),
        modified_ns: args.u64(2),
        flags: set_times_flags(args.u32(3))?,
    })
}

pub(super) fn begin_read(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(3), 4)?;
    let len = buffers_len(memory, args.u32(1), args.u32(2))?;
    Ok(Request::Read { fd: fd(args), len, offset: None })
}

pub(super) fn finish_read(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    finish_data(memory, args, args.u32(3), reply)
}

pub(super) fn begin_pread(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(4), 4)?;
    let len = buffers_len(memory, args.u32(1), args.u32(2))?;
    Ok(Request::Read { fd: fd(args), len, offset: Some(args.u64(3)) })
}

pub(super) fn finish_pread(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    finish_data(memory, args, args.u32(4), reply)
}

pub(super) fn begin_write(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(3), 4)?;
    let data = gather(memory, args.u32(1), args.u32(2))?;
    Ok(Request::Write { fd: fd(args), data, offset: None })
}

pub(super) fn finish_write(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    finish_count(memory, args.u32(3), reply)
}

pub(super) fn begin_pwrite(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(4), 4)?;
    let data = gather(memory, args.u32(1), args.u32(2))?;
    Ok(Request::Write { fd: fd(args), data, offset: Some(args.u64(3)) })
}

pub(super) fn finish_pwrite(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    finish_count(memory, args.u32(4), reply)
}

pub(super) fn begin_prestat_get(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(1), PRESTAT_SIZE)?;
    Ok(Request::PreopenName(fd(args)))
}

pub(super) fn finish_prestat_get(
    memory: &mut [u8],
    args: Args<'_>,
    reply: &Reply,
) -> Result<(), Errno> {
    let Reply::Data(name) = reply else { return Err(Errno::Io) };
    write_u32(memory, args.u32(1), PREOPENTYPE_DIR)?;
    write_u32(memory, args.u32(1).wrapping_add(4), name.len() as u32)
}

pub(super) fn begin_prestat_name(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(1), args.u32(2))?;
    Ok(Request::PreopenName(fd(args)))
}

pub(super) fn finish_prestat_name(
    memory: &mut [u8],
    args: Args<'_>,
    reply: &Reply,
) -> Result<(), Errno> {
    match reply {
        Reply::Data(name) if name.len() > args.u32(2) as usize => Err(Errno::NameTooLong),
        Reply::Data(name) => write(memory, args.u32(1), name),
        _ => Err(Errno::Io),
    }
}

pub(super) fn begin_readdir(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(4), 4)?;
    check(memory, args.u32(1), args.u32(2))?;
    Ok(Request::ReadDirectory { fd: fd(args), cookie: args.u64(3), bytes: args.u32(2) })
}

/// Fills the buffer; the last entry may be cut, which tells the guest that there is more.
pub(super) fn finish_readdir(
    memory: &mut [u8],
    args: Args<'_>,
    reply: &Reply,
) -> Result<(), Errno> {
    let Reply::Entries(entries) = reply else { return Err(Errno::Io) };
    let buffer = bytes_mut(memory, args.u32(1), args.u32(2))?;
    let mut used = 0;
    for entry in entries.iter() {
        for part in [&dirent(entry)[..], entry.name.as_bytes()] {
            let room = &mut buffer[used..];
            let len = part.len().min(room.len());
            room[..len].copy_from_slice(&part[..len]);
            used += len;
        }
    }
    write_u32(memory, args.u32(4), used as u32)
}

pub(super) fn begin_renumber(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    Ok(Request::Renumber { from: fd(args), to: Fd(args.u32(1)) })
}

pub(super) fn begin_seek(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(3), 8)?;
    let whence = u8::try_from(args.u32(2)).ok().and_then(Whence::from_code);
    Ok(Request::Seek {
        fd: fd(args),
        delta: args.u64(1).cast_signed(),
        whence: whence.ok_or(Errno::Inval)?,
    })
}

pub(super) fn finish_seek(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    finish_offset(memory, args.u32(3), reply)
}

pub(super) fn begin_tell(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(1), 8)?;
    Ok(Request::Tell(fd(args)))
}

pub(super) fn finish_tell(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    finish_offset(memory, args.u32(1), reply)
}

fn fd(args: Args<'_>) -> Fd {
    Fd(args.u32(0))
}

pub(super) fn fd_flags(word: u32) -> Result<FdFlags, Errno> {
    u16::try_from(word).ok().and_then(FdFlags::from_bits).ok_or(Errno::Inval)
}

/// A time cannot be set to a value and to now at once.
pub(super) fn set_times_flags(word: u32) -> Result<SetTimesFlags, Errno> {
    let flags = u16::try_from(word).ok().and_then(SetTimesFlags::from_bits).ok_or(Errno::Inval)?;
    let both = |one: SetTimesFlags, other| flags.contains(one.union(other));
    if both(SetTimesFlags::ATIM, SetTimesFlags::ATIM_NOW)
        || both(SetTimesFlags::MTIM, SetTimesFlags::MTIM_NOW)
    {
        return Err(Errno::Inval);
    }
    Ok(flags)
}

/// Bytes that were read, into the list of the second and third argument.
fn finish_data(memory: &mut [u8], args: Args<'_>, count: u32, reply: &Reply) -> Result<(), Errno> {
    let Reply::Data(data) = reply else { return Err(Errno::Io) };
    scatter(memory, args.u32(1), args.u32(2), data)?;
    write_u32(memory, count, data.len() as u32)
}

pub(super) fn finish_count(memory: &mut [u8], address: u32, reply: &Reply) -> Result<(), Errno> {
    match reply {
        Reply::Number(count) => {
            write_u32(memory, address, u32::try_from(*count).map_err(|_| Errno::Io)?)
        }
        _ => Err(Errno::Io),
    }
}

fn finish_offset(memory: &mut [u8], address: u32, reply: &Reply) -> Result<(), Errno> {
    match reply {
        Reply::Number(offset) => write_u64(memory, address, *offset),
        _ => Err(Errno::Io),
    }
}

fn dirent(entry: &DirectoryEntry) -> [u8; DIRENT_SIZE] {
    let mut wire = [0; DIRENT_SIZE];
    wire[..8].copy_from_slice(&entry.next.to_le_bytes());
    wire[8..16].copy_from_slice(&entry.inode.to_le_bytes());
    wire[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
    wire[20] = entry.file_type.code();
    wire
}
