//! The asking side of a control socket.

use super::frame::{self, FrameError, Kind};
use super::{ControlError, RuntimeDirectory, Status, wire};
use peripatos_abi::Pid;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a process may take to reach its next check: it can be stuck in a long copy, never in a compilation.
const FREEZE_SECONDS_MAX: u64 = 120;

/// Asks a process who it is.
pub fn status(directory: &RuntimeDirectory, pid: Pid) -> Result<Status, ControlError> {
    status_on(directory.connect(pid)?)
}

pub(super) fn status_on(mut stream: UnixStream) -> Result<Status, ControlError> {
    frame::write(&mut stream, Kind::AskStatus, &[])?;
    match frame::read(&mut stream)? {
        (Kind::Status, payload) => Ok(wire::decode_status(&payload)?),
        (kind, _) => Err(frame::unexpected(kind).into()),
    }
}

/// Freezes a process and takes its image: writes it to `to`, calls `store` (to bring it safely to its device), and only
/// when that has worked lets the source go. Returns the image's length in bytes.
///
/// Errors: the process goes on undisturbed, and what was written must not be thawed.
pub fn freeze<W: Write>(
    directory: &RuntimeDirectory,
    pid: Pid,
    to: &mut W,
    store: impl FnOnce(&mut W) -> io::Result<()>,
) -> Result<u64, ControlError> {
    let mut stream = directory.connect(pid)?;
    stream.set_read_timeout(Some(Duration::from_secs(FREEZE_SECONDS_MAX)))?;
    frame::write(&mut stream, Kind::AskFreeze, &[])?;
    let bytes = receive(&mut stream, to)?;
    store(to).map_err(ControlError::Store)?;
    frame::write(&mut stream, Kind::Commit, &[])?;
    match frame::read(&mut stream) {
        Ok((Kind::Committed, _)) => Ok(bytes),
        // The source did not confirm. Either it is there and did not hear, or it let go and died saying so.
        _ if status(directory, pid).is_ok() => Err(ControlError::Unconfirmed),
        _ => Ok(bytes),
    }
}

fn receive(stream: &mut UnixStream, to: &mut impl Write) -> Result<u64, ControlError> {
    let mut bytes = 0;
    loop {
        match frame::read(stream) {
            Ok((Kind::Chunk, chunk)) => {
                to.write_all(&chunk).map_err(ControlError::Store)?;
                bytes += chunk.len() as u64;
            }
            Ok((Kind::End, _)) => return Ok(bytes),
            Ok((Kind::Refused, reason)) => {
                return Err(ControlError::Refused(String::from_utf8_lossy(&reason).into_owned()));
            }
            Ok((kind, _)) => return Err(frame::unexpected(kind).into()),
            Err(FrameError::Closed) => return Err(ControlError::Ended),
            Err(error) => return Err(error.into()),
        }
    }
}
