//! The origin: the device servers of processes started here.
//!
//! It opens directories with the user's rights and serves them, with the streams it was given, the
//! clocks and randomness, by the protocol of [`peripatos_abi::device`]. All state behind a process's
//! descriptors is here, by pid, so that the process itself can be anywhere.
//!
//! Invariants:
//! * A request is tried until it has its reply, and only then has it had its effect. The last reply
//!   of a process is kept: asked again, it is given again.
//! * A path never leads out of the directory it started from (cap-std).
//! * Regular files are served on the calling thread; what could make it wait (streams, pipes,
//!   timers) is watched by one thread of the origin, which only wakes.
//!
//! What it does not do: sockets (no descriptor is one), and opening anything on a process's word
//! alone; directories are given by whoever starts the process.

mod behind;
mod clock;
mod errno;
mod file;
mod heir;
mod listing;
mod open;
mod path;
mod poll;
mod process;
mod service;
mod services;
mod snapshot;
mod stat;
mod step;
mod stream;
mod table;
mod waiter;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use peripatos_abi::descriptors::{DescriptorTable, Stream, Warning};
use peripatos_abi::device::{Ahead, Devices, Reply, Request};
use peripatos_abi::{Errno, FdFlags, Pid, Rights};

pub use behind::Unwritten;
pub use heir::Heirs;
pub use service::Service;
pub use services::{Answered, Ask, Services};

use behind::Behind;
use clock::Clocks;
use process::Process;
use step::Step;
use table::{Descriptor, Location, OpenDirectory, Resource, Root, Table};
use waiter::Waiter;

/// A handle to an origin; clones share it. It is the [`Devices`] of all processes started on it.
#[derive(Clone, Debug)]
pub struct Origin {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    processes: BTreeMap<Pid, Process>,
    streams: Streams,
    /// Started when the first request waits.
    waiter: Option<Waiter>,
}

/// The streams that processes get as descriptors 0 to 2.
#[derive(Debug)]
pub enum Streams {
    /// Those of this OS process.
    Own,
    /// These files: standard input, output, error.
    Files([File; 3]),
}

/// A directory given to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preopen {
    /// Where it is on this system.
    pub host_path: PathBuf,
    /// What the process calls it.
    pub guest_path: String,
}

/// A process could not be given what it was meant to have. Nothing has been opened.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// A directory cannot be opened.
    #[error("cannot open directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of this OS process's own streams cannot be used.
    #[error("cannot use standard stream {stream:?}: {source}")]
    Stream {
        /// Which.
        stream: Stream,
        /// Why.
        source: io::Error,
    },
    /// More directories than a process can have descriptors.
    #[error(
        "too many directories: a process has at most {} descriptors",
        peripatos_abi::limits::DESCRIPTORS_MAX
    )]
    TooManyDirectories,
}

impl Default for Origin {
    fn default() -> Self {
        Self::new()
    }
}

impl Origin {
    /// An origin without processes, which gives them the streams of this OS process.
    #[must_use]
    pub fn new() -> Self {
        Self::with_streams(Streams::Own)
    }

    /// An origin without processes, which gives them these streams.
    #[must_use]
    pub fn with_streams(streams: Streams) -> Self {
        let state = State { processes: BTreeMap::new(), streams, waiter: None };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// Prepares for a new process: the origin's streams become its descriptors 0 to 2, the
    /// directories those from 3 on, in order.
    ///
    /// # Errors
    /// When a directory or stream cannot be opened; the origin is unchanged then.
    pub fn open(&self, pid: Pid, preopens: &[Preopen]) -> Result<(), OriginError> {
        let mut state = self.lock();
        let mut table = Table::default();
        for stream in [Stream::Input, Stream::Output, Stream::Error] {
            let opened = stream::open_standard(&state.streams, stream)
                .map_err(|source| OriginError::Stream { stream, source })?;
            table.insert(opened).map_err(|_| OriginError::TooManyDirectories)?;
        }
        let mut roots = Vec::new();
        for preopen in preopens {
            let root = open_root(preopen).map_err(|source| OriginError::Directory {
                path: preopen.host_path.clone(),
                source,
            })?;
            table
                .insert(preopened(&root, roots.len() as u32))
                .map_err(|_| OriginError::TooManyDirectories)?;
            roots.push(root);
        }
        let clocks = Clocks::new();
        let process = Process {
            table,
            roots,
            clocks,
            last_reply: None,
            waiting: None,
            sent: None,
            behind: Behind::default(),
        };
        state.processes.insert(pid, process);
        Ok(())
    }

    /// Closes all that a process has here. Does nothing for a process that is not known.
    pub fn close(&self, pid: Pid) {
        let mut state = self.lock();
        state.processes.remove(&pid);
        if let Some(waiter) = &state.waiter {
            waiter.cancel(pid);
        }
    }

    /// The files that a process has not written as it believes, as far as calls have not told it, and how many more there are.
    #[must_use]
    pub fn unwritten(&self, pid: Pid) -> (Vec<Unwritten>, u64) {
        self.lock().processes.get(&pid).map(|one| one.behind.unwritten()).unwrap_or_default()
    }

    /// A process's descriptors as data, to go into an image, and what will be lost of them. The
    /// process stays as it is. `None`: it is not known here.
    #[must_use]
    pub fn snapshot(&self, pid: Pid) -> Option<(DescriptorTable, Vec<Warning>)> {
        self.lock().processes.get(&pid).map(snapshot::save)
    }

    /// Prepares for a thawed process: opens again what its image names, in place of what this pid
    /// has here. Says what was lost. Its streams are this origin's.
    pub fn restore(&self, pid: Pid, table: &DescriptorTable) -> Vec<Warning> {
        let mut state = self.lock();
        let (process, warnings) = snapshot::restore(table, &state.streams);
        state.processes.insert(pid, process);
        warnings
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Devices for Origin {
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        request: &Request,
    ) -> Poll<Reply> {
        self.poll_ahead(cx, pid, sequence, Ahead::default(), request)
    }
}

impl Origin {
    /// The same, of a process on another node. `ahead`: what goes with the request. The reply to a read may be longer than what was asked
    /// for, by as much as that wants.
    pub(super) fn poll_ahead(
        &self,
        cx: &mut Context<'_>,
        pid: Pid,
        sequence: u64,
        ahead: Ahead,
        request: &Request,
    ) -> Poll<Reply> {
        let mut state = self.lock();
        let Some(process) = state.processes.get_mut(&pid) else {
            return Poll::Ready(Reply::Failed(Errno::BadF));
        };
        let wait = match process.request(sequence, ahead, request) {
            Step::Reply(reply) => return Poll::Ready(reply),
            Step::Wait(wait) => wait,
        };
        match state.waiter() {
            Ok(waiter) => waiter.wait(pid, wait, cx.waker().clone()),
            // Without a thread to wait on, waiting is trying again.
            Err(_) => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}

impl State {
    fn waiter(&mut self) -> io::Result<&Waiter> {
        if self.waiter.is_none() {
            self.waiter = Some(Waiter::start()?);
        }
        self.waiter.as_ref().ok_or_else(|| io::ErrorKind::Other.into())
    }
}

fn open_root(preopen: &Preopen) -> io::Result<Root> {
    let dir = snapshot::open_root(&preopen.host_path)?;
    Ok(Root {
        // An image is thawed from any directory.
        host_path: std::path::absolute(&preopen.host_path)?,
        guest_path: preopen.guest_path.clone(),
        identity: stat::identity(&dir)?,
        dir: Some(Arc::new(dir)),
    })
}

fn preopened(root: &Root, index: u32) -> Descriptor {
    let dir = root.dir.as_ref().map(Arc::clone);
    let location = Location { root: index, path: Path::new("").into() };
    let resource = dir.map_or(Resource::Lost, |dir| {
        Resource::Directory(OpenDirectory { dir, location, preopen: true, listing: Arc::default() })
    });
    Descriptor {
        resource,
        flags: FdFlags::NONE,
        rights: Rights::DIRECTORY,
        rights_inheriting: Rights::DIRECTORY_INHERITING,
    }
}
