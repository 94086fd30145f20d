//! The `sock_*` functions.

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::{Errno, Fd, ReceiveFlags, ShutdownFlags};

use super::descriptor::{fd_flags, finish_count};
use super::memory::{buffers_len, check, gather, scatter, write, write_fd, write_u32};
use super::table::Args;

pub(super) fn begin_accept(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(2), 4)?;
    Ok(Request::Accept { fd: Fd(args.u32(0)), flags: fd_flags(args.u32(1))? })
}

pub(super) fn finish_accept(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    match reply {
        Reply::Descriptor(fd) => write_fd(memory, args.u32(2), *fd),
        _ => Err(Errno::Io),
    }
}

pub(super) fn begin_recv(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(4), 4)?;
    check(memory, args.u32(5), 2)?;
    let flags = u16::try_from(args.u32(3)).ok().and_then(ReceiveFlags::from_bits);
    Ok(Request::Receive {
        fd: Fd(args.u32(0)),
        len: buffers_len(memory, args.u32(1), args.u32(2))?,
        flags: flags.ok_or(Errno::Inval)?,
    })
}

/// Data is never cut here, so the flags that would say so are 0.
pub(super) fn finish_recv(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    let Reply::Data(data) = reply else { return Err(Errno::Io) };
    scatter(memory, args.u32(1), args.u32(2), data)?;
    write_u32(memory, args.u32(4), data.len() as u32)?;
    write(memory, args.u32(5), &[0, 0])
}

/// There are no flags for sending.
pub(super) fn begin_send(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(4), 4)?;
    if args.u32(3) != 0 {
        return Err(Errno::Inval);
    }
    let data = gather(memory, args.u32(1), args.u32(2))?;
    Ok(Request::Send { fd: Fd(args.u32(0)), data })
}

pub(super) fn finish_send(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    finish_count(memory, args.u32(4), reply)
}

pub(super) fn begin_shutdown(_: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    let how = u8::try_from(args.u32(1)).ok().and_then(ShutdownFlags::from_bits);
    Ok(Request::Shutdown { fd: Fd(args.u32(0)), how: how.ok_or(Errno::Inval)? })
}
