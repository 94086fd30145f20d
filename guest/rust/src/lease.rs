//! Leases: whoever has a message reads and writes a part of its sender's memory, which waits.

use crate::raw::Lent;
use crate::{Caller, Error, MESSAGE_BYTES_MAX, Pid, raw};

/// As [`send`](crate::send); until the reply is there, whoever has the message may read `lent`.
///
/// # Errors
/// As [`send`](crate::send).
pub fn send_lending<'r>(
    to: Pid,
    message: &[u8],
    lent: &[u8],
    reply: &'r mut [u8],
) -> Result<&'r [u8], Error> {
    let len = Error::check(raw::send_lending(to.bytes(), message, Lent::Read(lent), reply))?;
    Ok(&reply[..len])
}

/// The same; it may write there, too.
///
/// # Errors
/// As [`send`](crate::send). Some may have been written then.
pub fn send_lending_mut<'r>(
    to: Pid,
    message: &[u8],
    lent: &mut [u8],
    reply: &'r mut [u8],
) -> Result<&'r [u8], Error> {
    let len = Error::check(raw::send_lending(to.bytes(), message, Lent::Write(lent), reply))?;
    Ok(&reply[..len])
}

/// What callers lend.
impl Caller {
    /// How many bytes it lends.
    ///
    /// # Errors
    /// [`Error::NotPermitted`]: none. [`Error::NotWaiting`], [`Error::NoProcess`], [`Error::Unreachable`].
    pub fn lent(&self) -> Result<usize, Error> {
        Error::check(raw::lease(self.envelope()))
    }

    /// Reads from what it lends: how many bytes; fewer at the end of it, none beyond.
    ///
    /// # Errors
    /// As [`Caller::lent`].
    pub fn read_lease(&self, offset: usize, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        for part in buffer.chunks_mut(MESSAGE_BYTES_MAX) {
            let read = Error::check(raw::read_lease(self.envelope(), at(offset + done), part))?;
            done += read;
            if read < part.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Writes to what it lends: how many bytes; fewer at the end of it, none beyond.
    ///
    /// # Errors
    /// As [`Caller::lent`]. A part may have been written then.
    pub fn write_lease(&self, offset: usize, bytes: &[u8]) -> Result<usize, Error> {
        let mut done = 0;
        for part in bytes.chunks(MESSAGE_BYTES_MAX) {
            let written = Error::check(raw::write_lease(self.envelope(), at(offset + done), part))?;
            done += written;
            if written < part.len() {
                break;
            }
        }
        Ok(done)
    }
}

/// No lease goes so far.
fn at(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
