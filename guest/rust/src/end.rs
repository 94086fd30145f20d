//! How processes end, and who is told.

use crate::raw::Tie;
use crate::{Error, Pid, raw};

/// A process that was monitored has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub pid: Pid,
    /// How.
    pub end: End,
}

impl Ended {
    pub(crate) fn new(pid: Pid, reason: u64) -> Ended {
        let end = match (reason >> 32, reason as u32) {
            (0, code) => End::Exited(code),
            (1, signal) => End::Raised(signal as u8),
            (2, _) => End::Trapped,
            (3, _) => End::Killed,
            (4, _) => End::Lost,
            (5, _) => End::NoProcess,
            _ => End::Other(reason),
        };
        Ended { pid, end }
    }
}

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// It exited with this code.
    Exited(u32),
    /// It raised this signal (of WASI) against itself.
    Raised(u8),
    /// It trapped: a panic, say.
    Trapped,
    /// Somebody ended it.
    Killed,
    /// The node that ran it cannot be reached. Whether it has ended is not known.
    Lost,
    /// Nobody had this pid when it was to be monitored.
    NoProcess,
    /// A reason that this version does not know.
    Other(u64),
}

impl End {
    /// It exited with code 0.
    #[must_use]
    pub fn is_well(self) -> bool {
        self == End::Exited(0)
    }
}

/// Wants to be told once, by [`Received::Ended`](crate::Received), when a process ends. If nobody has the pid, that is
/// told at once.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn monitor(pid: Pid) -> Result<(), Error> {
    tie(Tie::Monitor, pid)
}

/// Does not want to be told any more.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn unmonitor(pid: Pid) -> Result<(), Error> {
    tie(Tie::Unmonitor, pid)
}

/// When one of the two ends otherwise than by exit code 0, the other is ended.
///
/// # Errors
/// [`Error::NoProcess`], [`Error::NotPermitted`].
pub fn link(pid: Pid) -> Result<(), Error> {
    tie(Tie::Link, pid)
}

/// The two are not linked any more.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn unlink(pid: Pid) -> Result<(), Error> {
    tie(Tie::Unlink, pid)
}

/// Ends a process that the caller has spawned.
///
/// # Errors
/// [`Error::NoProcess`]; [`Error::NotPermitted`]: somebody else has spawned it.
pub fn end(pid: Pid) -> Result<(), Error> {
    tie(Tie::End, pid)
}

fn tie(how: Tie, pid: Pid) -> Result<(), Error> {
    Error::check(raw::tie(how, pid.bytes())).map(drop)
}
