//! Devices as a process: files, streams, clocks and random numbers, sent to.

use crate::{Error, Pid, raw};

/// Who serves this process's devices: its `peri run`, as a process, or whoever has the name that was given with `--devices`.
/// Messages to it have the form that docs/messages.md describes. What is sent to it, or forwarded, has descriptors of its
/// own, which are its sender's.
///
/// # Errors
/// [`Error::NoName`]: nobody has that name. [`Error::NoProcess`]: nobody serves them.
pub fn devices() -> Result<Pid, Error> {
    let mut pid = Pid::NOBODY;
    Error::check(raw::devices(pid.bytes_mut()))?;
    Ok(pid)
}
