//! Clocks and random bytes.

use peripatos_abi::device::{Reply, Request};
use peripatos_abi::limits::RANDOM_BYTES_MAX;
use peripatos_abi::{ClockId, Errno};

use super::memory::{check, write, write_u64};
use super::table::Args;

pub(super) fn begin_resolution(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(1), 8)?;
    Ok(Request::ClockResolution(clock(args.u32(0))?))
}

pub(super) fn finish_resolution(
    memory: &mut [u8],
    args: Args<'_>,
    reply: &Reply,
) -> Result<(), Errno> {
    finish_number(memory, args.u32(1), reply)
}

/// The precision asked for is ignored: clocks are always read as well as they can be.
pub(super) fn begin_time(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    check(memory, args.u32(2), 8)?;
    Ok(Request::ClockTime(clock(args.u32(0))?))
}

pub(super) fn finish_time(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    finish_number(memory, args.u32(2), reply)
}

pub(super) fn begin_random(memory: &[u8], args: Args<'_>) -> Result<Request, Errno> {
    let len = args.u32(1);
    check(memory, args.u32(0), len)?;
    if len > RANDOM_BYTES_MAX {
        return Err(Errno::Inval);
    }
    Ok(Request::Random(len))
}

pub(super) fn finish_random(memory: &mut [u8], args: Args<'_>, reply: &Reply) -> Result<(), Errno> {
    match reply {
        Reply::Data(data) if data.len() == args.u32(1) as usize => write(memory, args.u32(0), data),
        _ => Err(Errno::Io),
    }
}

fn finish_number(memory: &mut [u8], address: u32, reply: &Reply) -> Result<(), Errno> {
    match reply {
        Reply::Number(number) => write_u64(memory, address, *number),
        _ => Err(Errno::Io),
    }
}

fn clock(code: u32) -> Result<ClockId, Errno> {
    ClockId::from_code(code).ok_or(Errno::Inval)
}
