//! How one `peri` command speaks to another's running process: a private directory with a socket a process.
//!
//! Whoever may open the directory (mode 0700, owned by this user) may list, freeze and thereby read the processes in
//! it; nobody else may. Invariants:
//! * A socket under a pid's name answers for that pid; a name is claimed by one OS process at a time.
//! * An image handed over leaves the source only when the receiver has said that it is safely stored ([`Delivery`]).
//!   Until then the source keeps the process, and resumes it if the receiver goes away.
//! * Every message has a length limit, a version, and a time limit for the peer to send it.
//!
//! What this does not do: cross machines, authenticate beyond the directory's owner, or know what an image is.

mod client;
mod directory;
mod frame;
mod server;
mod wire;

#[cfg(test)]
mod tests;

pub use client::{freeze, status};
pub use directory::{Entry, RuntimeDirectory};
pub use frame::{FRAME_BYTES_MAX, FrameError};
pub use server::{Delivery, FreezeRequest, Server};

use peripatos_abi::Pid;
use std::io;
use std::path::PathBuf;

/// What a running process says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub pid: Pid,
    /// The operating system's number of the `peri` that runs it.
    pub os_process: u32,
    /// The program's name as it was given.
    pub program: String,
    /// Its arguments, lossily as text.
    pub args: Vec<String>,
    /// When this `peri` started or thawed it, seconds since 1970.
    pub started_unix_seconds: u64,
    /// Processor time of this `peri` so far, milliseconds.
    pub cpu_ms: u64,
    /// How often the process has been frozen and thawed by this `peri`.
    pub freezes: u64,
    /// Whether it can be frozen (`--plain` cannot).
    pub freezable: bool,
}

/// Why a process could not be reached, or not be frozen. Unless a variant says otherwise it goes on undisturbed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The runtime directory cannot be used.
    #[error("{}: {cause}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The runtime directory belongs to somebody else, or others may enter it.
    #[error("{}: {reason}", path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another OS process answers under this pid.
    #[error("process {0:#} is running already")]
    Claimed(Pid),
    /// Nobody answers under this pid.
    #[error("no such process")]
    NoProcess,
    /// The process refused, in its own words.
    #[error("{0}")]
    Refused(String),
    /// The process ended, or its `peri` died, before the image was complete.
    #[error("the process ended before it was frozen")]
    Ended,
    /// The image is complete, but the source did not let go and still runs.
    #[error("the process did not confirm the hand-over and runs on")]
    Unconfirmed,
    /// What came is not the protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The receiver's side could not store the image.
    #[error("{0}")]
    Store(#[source] io::Error),
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}
