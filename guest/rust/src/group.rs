//! Groups: a name that several processes have, and messages to all of them.

use crate::{Error, Pid, raw};

/// Members of a group.
pub const GROUP_MEMBERS_MAX: usize = 1_024;
const PID_BYTES: usize = 16;

/// Makes this process a member, until it leaves or ends.
///
/// # Errors
/// [`Error::TooLong`], [`Error::TooMany`], [`Error::NotPermitted`].
pub fn join(group: &str) -> Result<(), Error> {
    Error::check(raw::join(group.as_bytes())).map(drop)
}

/// It is none any more.
///
/// # Errors
/// [`Error::NoName`]: it was none.
pub fn leave(group: &str) -> Result<(), Error> {
    Error::check(raw::leave(group.as_bytes())).map(drop)
}

/// Who is in a group; nobody, if there is none of this name.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn members(group: &str) -> Result<Vec<Pid>, Error> {
    let mut pids = vec![0; GROUP_MEMBERS_MAX * PID_BYTES];
    let count = Error::check(raw::members(group.as_bytes(), &mut pids))?;
    Ok(pids.chunks(PID_BYTES).take(count).map(pid).collect())
}

/// Sends to all members but this process, and waits for the first reply. The others are dropped.
///
/// # Errors
/// [`Error::NoName`]: nobody is there. Else what was wrong with the first that cannot reply, if none can.
pub fn send_any<'r>(group: &str, message: &[u8], reply: &'r mut [u8]) -> Result<&'r [u8], Error> {
    let len = Error::check(raw::send_all(group.as_bytes(), message, reply, false))?;
    Ok(&reply[..len])
}

/// Sends to all members but this process, and waits until each has replied or cannot. `buffer` has to have room for 20
/// bytes a member, and for their replies, each filled up to a multiple of four bytes.
///
/// # Errors
/// [`Error::NoName`]: nobody is there. [`Error::TooLong`]: there is no room for so many members.
pub fn send_all<'r>(
    group: &str,
    message: &[u8],
    buffer: &'r mut [u8],
) -> Result<Replies<'r>, Error> {
    let len = Error::check(raw::send_all(group.as_bytes(), message, buffer, true))?;
    Ok(Replies(&buffer[..len]))
}

/// What members have replied: each one, and its reply or why there is none. [`Error::TooLong`]: there was no room left for
/// it, and it is lost.
#[derive(Clone, Debug)]
pub struct Replies<'r>(&'r [u8]);

impl<'r> Iterator for Replies<'r> {
    type Item = (Pid, Result<&'r [u8], Error>);

    fn next(&mut self) -> Option<Self::Item> {
        let (member, rest) = self.0.split_at_checked(PID_BYTES)?;
        let (code, rest) = rest.split_first_chunk()?;
        let len = Error::check(i32::from_le_bytes(*code));
        let reply = len.map(|len| &rest[..len]);
        self.0 = &rest[len.map_or(0, |len| len.next_multiple_of(4))..];
        Some((pid(member), reply))
    }
}

fn pid(bytes: &[u8]) -> Pid {
    let mut pid = Pid::NOBODY;
    pid.bytes_mut().copy_from_slice(bytes);
    pid
}
